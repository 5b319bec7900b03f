"""The registry of a version to come, as far as its events go: one type is of a format that nobody else reads."""

from __future__ import annotations

import sys
from typing import Final

from registry.domain import events

#: What it writes that is new.
NEW: Final = events.PolicySaved


def main() -> int:
    number = events.EVENT_FORMAT + 1
    NEW.since = number
    events.EVENT_FORMAT = number  # type: ignore[misc]  # a later version's
    from registry.command import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
