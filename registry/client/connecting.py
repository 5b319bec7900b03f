"""Connecting: the connections of httpcore, made in turn, with time-outs that a loop which is late does not cut short.

All clients of an event loop share the turns: what must not be too much is what the loop has to do at once.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import httpcore

from registry.client.lateness import Lateness
from registry.client.turns import BEGUN, Turns

#: What this task sends is needed by then, in seconds of the steady clock: a lease ends. Who needs it first is connected
#: first, and what no lease depends on comes behind.
needed_by: Final[ContextVar[float]] = ContextVar("needed_by", default=math.inf)

#: Polls under way at once, of all clients of an event loop. Others wait: what is known stands meanwhile, and the
#: heartbeats of a process that has too little processor do not stand behind all of its polls.
POLLS_AT_ONCE: Final = 64

Place = tuple[str, int]


class _Loop:
    """What all clients of an event loop share."""

    def __init__(self) -> None:
        self.lateness = Lateness()
        self.turns: WeakValueDictionary[Place, Turns] = WeakValueDictionary()
        self.polls = Turns(POLLS_AT_ONCE)


_loops: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop]] = WeakKeyDictionary()


def _this_loop() -> _Loop:
    loop = asyncio.get_running_loop()
    if loop not in _loops:
        _loops[loop] = _Loop()
    return _loops[loop]


@asynccontextmanager
async def turn_at(place: Place, by: float | None = None, patience: float = math.inf) -> AsyncIterator[Turns]:
    """A turn to make a connection to this host and port in `patience` seconds. `by`: None is `needed_by`."""
    turns = _this_loop().turns.setdefault(place, Turns())
    async with turns.turn(needed_by.get() if by is None else by, patience):
        yield turns


@asynccontextmanager
async def turn_to_poll() -> AsyncIterator[None]:
    async with _this_loop().polls.turn(0.0):
        yield


class Connecting(httpcore.AsyncNetworkBackend):
    """Makes connections, one after the other where there are many."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        lateness = _this_loop().lateness
        patience = math.inf if timeout is None else timeout
        async with turn_at((host, port), patience=patience) as turns:
            connecting = self._inner.connect_tcp(host, port, None, local_address, socket_options)
            try:
                stream = await lateness.wait_for(connecting, timeout, httpcore.ConnectTimeout)
            except httpcore.ConnectTimeout as exc:
                turns.failed(exc, patience)
                raise
            except httpcore.ConnectError as exc:
                turns.failed(exc)
                raise
        return _Stream(stream, (host, port), lateness)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream, place: Place, lateness: Lateness) -> None:
        self._inner = inner
        self._place = place
        self._lateness = lateness

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._lateness.wait_for(self._inner.read(max_bytes), timeout, httpcore.ReadTimeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._lateness.wait_for(self._inner.write(buffer), timeout, httpcore.WriteTimeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            # What is begun is brought to its end before something else is begun.
            async with turn_at(self._place, BEGUN):
                starting = self._inner.start_tls(ssl_context, server_hostname)
                stream = await self._lateness.wait_for(starting, timeout, httpcore.ConnectTimeout)
        except BaseException:
            await self._inner.aclose()  # also while it waits for its turn: nobody else knows of it
            raise
        return _Stream(stream, self._place, self._lateness)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
