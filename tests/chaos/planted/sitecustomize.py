"""Python imports this at its start, in a replica that is to have a planted bug."""

import os

from tests.chaos.bugs import plant

plant(os.environ["CHAOS_BUG"])
