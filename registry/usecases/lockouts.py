"""Lockouts: wrong passwords are counted for all replicas, by account and client address.

What is counted are notes that expire, no events. While the store is away, each replica goes by what it has seen itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec
from msgspec import Struct

from registry.access.lockout import Failures, failed, is_locked
from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import ACCOUNTS
from registry.store.port import Store

#: Accounts and addresses that are counted at a time. Of one more those go that would be forgotten soonest.
COUNTED_MAX: Final = 5_000
#: Seconds that a log-in waits for the store.
STORE_TIMEOUT_S: Final = 1.0
#: Times that a count is tried again which another replica has changed at the same moment.
TRIES_MAX: Final = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Failures).decode


class Lock(Struct, frozen=True, rename="camel"):
    """As `GET /v4/account-locks` shows it. `release_at`: Unix seconds."""

    key: str
    status: str
    release_at: int


class Lockouts:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: What this replica knows, newest last.
        self._seen: OrderedDict[str, bytes] = OrderedDict()

    async def are_locked(self, key: str) -> bool:
        return is_locked(_read(await self._note(key)), self._clock.wall_ms())

    async def failed(self, key: str) -> None:
        """Count one more failure."""
        for _ in range(TRIES_MAX):
            seen, now = await self._note(key), self._clock.wall_ms()
            after = failed(_read(seen), now)
            if await self._replace(key, seen, _encode(after), after.ends_ms - now):
                return

    async def forget(self, key: str) -> None:
        """The right password was given."""
        for _ in range(TRIES_MAX):
            seen = await self._note(key)
            if not seen or await self._replace(key, seen, b"", 0):
                return

    async def all(self) -> list[Lock]:
        """What is counted now."""
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                notes = await self._store.notes.all(ACCOUNTS)
        except (StoreUnavailable, TimeoutError):
            notes = dict(self._seen)
        now, found = self._clock.wall_ms(), []
        for key, note in sorted(notes.items()):
            failures = _read(note)
            if failures is not None and now < failures.release_ms:
                found.append(Lock(key, "banned" if failures.locked else "attempted", failures.release_ms // 1000))
        return found

    async def _note(self, key: str) -> bytes:
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                note = await self._store.notes.read(ACCOUNTS, key)
        except (StoreUnavailable, TimeoutError):
            return self._seen.get(key, b"")
        self._remember(key, note)
        return note

    async def _replace(self, key: str, seen: bytes, note: bytes, lasts_ms: int) -> bool:
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                if not await self._store.notes.write(ACCOUNTS, key, seen, note, lasts_ms, COUNTED_MAX):
                    return False
        except (StoreUnavailable, TimeoutError):
            pass  # what is known here counts here
        self._remember(key, note)
        return True

    def _remember(self, key: str, note: bytes) -> None:
        self._seen.pop(key, None)
        if note:
            self._seen[key] = note
            if len(self._seen) > COUNTED_MAX:
                self._seen.popitem(last=False)


def _read(note: bytes) -> Failures | None:
    try:
        return _decode(note) if note else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
