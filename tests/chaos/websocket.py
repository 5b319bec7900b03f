"""WatchSocket: a watcher's websocket on asyncio streams, which takes events down as they come."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from tests.chaos.client import seen_of
from tests.chaos.fleet import now_ms
from tests.support.history import Change
from tests.support.websocket import PING, PONG, TEXT, handshake, masked

#: Payload lengths that announce two or eight bytes of length (RFC 6455 5.2).
_TWO: Final = 126
_EIGHT: Final = 127


class _Event(Struct):
    action: str
    instance: msgspec.Raw


_decode = msgspec.json.Decoder(_Event).decode


class WatchSocket:
    """One connection. `broken` is set when it ends, or says what no event is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self.changes: list[Change] = []
        self.broken = asyncio.Event()
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    async def dial(cls, host: str, port: int, target: str, headers: Mapping[str, str], timeout_s: float) -> WatchSocket:
        """Raises OSError or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(handshake(target, headers, base64.b64encode(os.urandom(16))))
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError) as exc:
                writer.transport.abort()
                if isinstance(exc, asyncio.IncompleteReadError):
                    raise ConnectionError("no answer to the handshake") from exc
                raise
        if not head.startswith(b"HTTP/1.1 101 "):
            writer.transport.abort()
            raise ConnectionError(f"no websocket: {head!r}")
        return cls(reader, writer)

    async def drain(self, timeout_s: float) -> None:
        """Take down every event that the server wrote before it reads this. Raises OSError or TimeoutError."""
        token = os.urandom(8)
        self._writer.write(masked(PING, token))
        async with asyncio.timeout(timeout_s):
            while not self.broken.is_set():
                if await self._next_pong() == token:
                    return
        raise ConnectionError("the connection has ended")

    async def _next_pong(self) -> bytes:
        pong = asyncio.ensure_future(self._pongs.get())
        broken = asyncio.ensure_future(self.broken.wait())
        try:
            await asyncio.wait((pong, broken), return_when=asyncio.FIRST_COMPLETED)
            return pong.result() if pong.done() else b""
        finally:
            pong.cancel()
            broken.cancel()

    async def _receive(self) -> None:
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == PING:
                    self._writer.write(masked(PONG, payload))
                elif opcode == PONG:
                    self._pongs.put_nowait(payload)
                elif opcode == TEXT:
                    event = _decode(payload)
                    seen = seen_of(b"[" + bytes(event.instance) + b"]")[0]
                    self.changes.append(Change(now_ms(), event.action, seen))
                else:
                    return
        except (asyncio.IncompleteReadError, OSError, msgspec.DecodeError):
            return  # it has ended, or has told why it refuses
        finally:
            self.broken.set()

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size in (_TWO, _EIGHT):
            size = int.from_bytes(await self._reader.readexactly(2 if size == _TWO else 8), "big")
        return first & 0xF, await self._reader.readexactly(size)

    def close(self) -> None:
        self._receiving.cancel()
        self._writer.transport.abort()
