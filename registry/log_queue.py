"""LogQueue: what a process has to say, on its way to standard error.

A pipe that nobody reads, a terminal that was stopped, a disk that hangs: a write to them may take for ever, and on the
event loop nobody would be answered meanwhile. So a thread writes, and what there is no room for is dropped and counted.
"""

from __future__ import annotations

import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

#: Lines that may wait to be written, and their bytes.
LINES_MAX: Final = 5_000
BYTES_MAX: Final = 2 * 1024 * 1024


class LogQueue(io.TextIOBase):
    """A text stream in the place of `sys.stderr`: writing to it never waits. Lines are written whole and in order.

    Once one was dropped, all are until the queue is half empty; then their number is said.

    Args:
        descriptor: where the lines go.
        loss: what is said of a number of dropped lines; one line without its end.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, descriptor: int, loss: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._loss = loss
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        #: What each thread has written of a line that has no end yet.
        self._begun: dict[int, str] = {}
        self._full = False
        #: Lines that were dropped, and how many of them have been told of.
        self.dropped = 0
        self._told = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._changed:
            *lines, rest = (self._begun.pop(threading.get_ident(), "") + text).split("\n")
            if rest:
                self._begun[threading.get_ident()] = rest
            for line in lines:
                self._offer(line + "\n")
            self._changed.notify_all()
        return len(text)

    def drain(self, within_s: float) -> bool:
        """Wait until everything is written; False when that takes longer than `within_s`."""
        with self._changed:
            while self._begun:
                self._offer(self._begun.popitem()[1])
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting, within_s)

    def _offer(self, text: str) -> None:
        line = text.encode(self.encoding, self.errors)
        has_room = len(self._waiting) < LINES_MAX and self._waiting_bytes + len(line) <= BYTES_MAX
        if has_room and not self._full:
            self._add(line)
        else:
            self.dropped += 1
            self._full = bool(self._waiting)

    def _add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            written = _write(self._descriptor, line)
            with self._changed:
                self._take(written)
                self._changed.notify_all()

    def _take(self, written: bool) -> None:
        """The eldest line is done with."""
        self._waiting_bytes -= len(self._waiting.popleft())
        self.dropped += not written
        if len(self._waiting) <= LINES_MAX // 2 and self._waiting_bytes <= BYTES_MAX // 2:
            self._full = False
            if written and self.dropped > self._told:
                self._add(f"{self._loss(self.dropped - self._told)}\n".encode())
                self._told = self.dropped


def _write(descriptor: int, line: bytes) -> bool:
    """Write all of it, however long that takes; False when it cannot be written."""
    rest = memoryview(line)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # others who share the descriptor do not want to wait
            select.select((), (descriptor,), ())
        except OSError:
            return False
    return True
