"""Recorder: the history of a run, and its trace - every store call, request and fault, in order."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from tests.simulation.virtual_time import VirtualLoop
from tests.support.history import Entry, Failure, History, history_of


class Recorder:
    """Takes down what happens, with the virtual time.

    Args:
        keep_trace: also keep the trace, which costs more than the run itself.
    """

    def __init__(self, loop: VirtualLoop, keep_trace: bool) -> None:
        self._loop = loop
        self.keep_trace = keep_trace
        self.lines: list[str] = []
        self._entries: list[Entry] = []

    def trace(self, text: str) -> None:
        if self.keep_trace:
            self.lines.append(f"{self._loop.now_ms() % 1_000_000:>9} {text}")

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if self.keep_trace:
            self.trace(msgspec.json.encode(entry).decode())

    def failure(self, replica: str, text: str) -> None:
        self.add(Failure(replica=replica, at_ms=self._loop.now_ms(), text=text))

    def history(self) -> History:
        return history_of(self._entries)

    def digest(self) -> str:
        """Equal for two runs exactly when they did the same in the same order at the same time."""
        return sha256("\n".join(self.lines).encode()).hexdigest()
