"""Outbox: the frames that go to one websocket. Those that its client has not taken yet wait here, and are counted."""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from collections import deque
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Final, Protocol

from registry.serving.backlog import Slow
from registry.serving.shared import Shared, Timed

#: What the system takes before anything waits here: up to twice as much.
SYSTEM_BUFFER_BYTES: Final = 64 * 1024
#: Bytes of waiting frames that are written together.
WRITTEN_TOGETHER_BYTES: Final = 64 * 1024


class Owner(Timed, Slow, Protocol):
    """The websocket: it is let go when it does not read, or when too much waits for it."""


class Outbox:
    """A websocket has one, and is not held by it: as a `Wire`."""

    def __init__(self, transport: asyncio.Transport, shared: Shared) -> None:
        socket: TransportSocket = transport.get_extra_info("socket")
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SYSTEM_BUFFER_BYTES)
        self._transport = transport
        self._shared = shared
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[bytes] = deque()
        #: Bytes of the frames that wait.
        self.waiting_bytes = 0

    def begin(self) -> None:
        """Keep all here that the system does not take. By TLS the owner may be told at once that it takes nothing."""
        self._transport.set_write_buffer_limits(high=1, low=0)

    def write(self, frame: bytes, owner: Owner) -> None:
        """Write a frame behind those that wait."""
        if self._transport.is_closing():
            return
        if self._writable.is_set() and not self._waiting:
            self._transport.write(frame)
        else:
            self._waiting.append(frame)
            self.waiting_bytes += len(frame)
            self._shared.backlog.put(owner, frame)

    def fill(self, owner: Owner) -> None:
        """The client stops to take what it is sent."""
        self._writable.clear()
        self._shared.begin_unsent(owner, self._transport.get_write_buffer_size())

    def drain(self, owner: Owner) -> None:
        """The client has taken all that it was sent: what waits follows."""
        self._shared.end_unsent(owner)
        self._writable.set()
        while self._waiting and self._writable.is_set() and not self._transport.is_closing():
            some: list[bytes] = []
            size = 0
            while self._waiting and size < WRITTEN_TOGETHER_BYTES:
                some.append(self._take(owner))
                size += len(some[-1])
            self._transport.write(some[0] if len(some) == 1 else b"".join(some))

    async def drained(self) -> None:
        """Wait until the client has taken what was sent."""
        await self._writable.wait()

    def _take(self, owner: Owner) -> bytes:
        frame = self._waiting.popleft()
        self.waiting_bytes -= len(frame)
        self._shared.backlog.take(owner, frame)
        return frame

    def forget(self, owner: Owner) -> None:
        """Drop what waits."""
        while self._waiting:
            self._take(owner)

    def end(self, owner: Owner) -> None:
        """The client has gone; who waits for it to read is told."""
        self.forget(owner)
        self._writable.set()
