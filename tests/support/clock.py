"""ManualClock: time that moves only when a test says so."""

from __future__ import annotations


class ManualClock:
    """A wall clock in Unix milliseconds; call it to read it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, ms: int) -> None:
        """Move on by `ms`; a negative number is a clock that was set back."""
        self.now_ms += ms
