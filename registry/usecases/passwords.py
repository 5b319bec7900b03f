"""Passwords: made into hashes, and compared with them, in threads: nobody else waits for it, and not too many do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from registry.domain.accounts import Secret
from registry.domain.errors import TooManyRequests

if TYPE_CHECKING:
    from registry.access.hasher import Hasher

T = TypeVar("T")

#: Passwords that are worked on at once (each takes 64 MiB meanwhile), and that may wait for it.
AT_ONCE_MAX: Final = 2
WAITING_MAX: Final = 200


class Passwords:
    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, "passwords")
        self._waiting = 0

    async def hash(self, password: str) -> Secret:
        return await self._work(lambda: self._hasher.hash(password))

    async def is_right(self, password: str, hash: Secret | None) -> bool:
        """Whether the hash is that of the password. It takes as long when there is none."""
        return await self._work(lambda: self._hasher.is_right(password, hash or self._hasher.nobodys))

    async def _work(self, work: Callable[[], T]) -> T:
        """Raises TooManyRequests."""
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests(f"{self._waiting} passwords are being checked")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
