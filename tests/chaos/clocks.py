"""Clocks: what time a process sees, by libfaketime. Only the wall is moved, never the clock that waits are timed by."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Debian's package `faketime`. The variant for threads is not needed, and both are mute about which they want.
LIBRARIES: Final = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)


def faketime_library() -> str:
    """Where libfaketime is; "" when it is not installed."""
    return next((library for library in LIBRARIES if Path(library).exists()), "")


class Clock:
    """The wall clock of the processes that are started with `environment`. They notice a step within a second."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)
        self.environment = {
            "LD_PRELOAD": faketime_library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, offset_s: float) -> None:
        """Show the true time and a number of seconds more."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{offset_s:+}\n")
        temporary.replace(self._file)
