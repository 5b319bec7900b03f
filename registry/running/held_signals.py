"""HeldSignals: a stop that arrives where an exception could be lost counts when that is over.

What a signal handler raises is swallowed where Python ignores exceptions: while it forks, and where an object is thrown
away. A process that starts another one spends most of its time there.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held_signals(hurry: Callable[[], object]) -> Iterator[None]:
    """Within, a stop only calls `hurry`, which may not raise; at the end it is handled as it would have been before.

    Signals reach the main thread alone; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(signum: int, _frame: object) -> None:
        came.append(signum)
        hurry()

    before = {signum: handler for signum in STOPS if callable(handler := signal.getsignal(signum))}
    for signum in before:
        signal.signal(signum, note)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if came:
            signal.raise_signal(came[0])
