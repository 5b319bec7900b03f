"""`python -m registry`."""

import sys

try:
    from registry.command import main

    sys.exit(main())
except KeyboardInterrupt:  # while the modules are read
    sys.exit(130)
