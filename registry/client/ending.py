"""Ending: SIGTERM, which would end a process at once, ends its `with` blocks in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: What a shell sees of a process that SIGTERM ended.
EXIT_CODE: Final = 128 + signal.SIGTERM


@contextmanager
def on_sigterm(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` when SIGTERM comes, unless the program has its own way of ending; not outside the main thread."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        end()

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
