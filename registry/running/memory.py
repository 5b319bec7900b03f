"""Memory: how the C library hands it out, where its habit would let a replica grow."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
#: Seconds between looks at how many instances there are.
LOOK_EVERY_S: Final = 10.0
#: Free memory is given back when this share of the instances has left since it was last, and this number of them.
LEFT_SHARE: Final = 0.25
LEFT_LEAST: Final = 1_000
#: What is held of those that stay is made anew when this share has left since that was done last, and this number, and
#: nearly all of those there were at the last look are still there.
SCATTERED_SHARE: Final = 0.5
SCATTERED_LEAST: Final = 10_000
STILL_SHARE: Final = 0.995
#: Bytes from which on a piece of memory is asked of the system, and given back to it as soon as it is free.
LARGE_BYTES: Final = 128 * 1024


def give_back_large_pieces() -> bool:
    """Let glibc treat large pieces for ever as it does at first. False: this C library is another one.

    With TLS each connection has a buffer of 256 KiB. Once one of them was given back, glibc would keep such pieces
    among the small ones, and between what stays for long they are never whole again: fuzzed, a replica had five times
    its memory after some ten thousand connections by TLS.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
    except AttributeError:
        return False


def give_back_free_pages() -> bool:
    """Give pages in which nothing is left back to the system. False: this C library cannot.

    glibc keeps them otherwise. It takes some 0.5 ms per MB given back, in which nobody else is given large pieces.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except AttributeError:
        return False


class Departures:
    """Whether enough instances have left for memory to be given back."""

    def __init__(self, share: float = LEFT_SHARE, least: int = LEFT_LEAST) -> None:
        self._share = share
        self._least = least
        self._most = 0

    def are_many(self, instances: int) -> bool:
        """Given the number of instances now. After a yes it is counted from there."""
        self._most = max(self._most, instances)
        left = self._most - instances
        if left < max(self._least, self._share * self._most):
            return False
        self._most = instances
        return True


async def give_back_after_departures(count: Callable[[], int], gather: Callable[[], Awaitable[None]]) -> None:
    """Look until cancelled.

    Args:
        count: the number of instances now.
        gather: makes anew what is held of them, so that it lies together.
    """
    departures, exodus = Departures(), Departures(SCATTERED_SHARE, SCATTERED_LEAST)
    before = 0
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = count()
        many = departures.are_many(now)
        # While they still leave it would have to be done again.
        if now >= STILL_SHARE * before and exodus.are_many(now):
            await gather()
            many = True
        if many:
            await asyncio.to_thread(give_back_free_pages)
        before = now
