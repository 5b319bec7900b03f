"""Ticker: wakes an event loop at a fixed interval of microseconds.

Event loops count in milliseconds, which would add up to one to every latency of an open loop. A timerfd (Linux) does
not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


@contextlib.contextmanager
def timer(every_us: int) -> Iterator[int]:
    """A file descriptor that can be read every `every_us` (below a second)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    every = _Timespec(0, every_us * 1000)
    libc.timerfd_settime(fd, 0, ctypes.byref(_Itimerspec(every, every)), None)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def ticking(every_us: int, call: Callable[[], None]) -> Iterator[None]:
    """Call a function of the running loop every `every_us`, as long as the block lasts.

    Ticks that pass while the loop is busy are not made up for.
    """
    loop = asyncio.get_running_loop()
    with timer(every_us) as fd:

        def tick() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 8)
            call()

        loop.add_reader(fd, tick)
        try:
            yield
        finally:
            loop.remove_reader(fd)
