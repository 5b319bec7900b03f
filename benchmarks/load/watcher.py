"""Watcher: a websocket that is told of changes (RFC 6455, as much of it as a client of a registry needs)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

from benchmarks.errors import BenchmarkError
from benchmarks.load.driver import CONNECTS_AT_ONCE
from benchmarks.wire import Address
from benchmarks.workload import BASE

OPEN_TIMEOUT_S: Final = 30.0
#: Any 16 bytes will do; nobody is between us and the registry.
_KEY: Final = "YmVuY2htYXJrcyBiZW5jaA=="
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
#: A mask of zeros leaves the payload as it is, and is allowed.
_NO_MASK: Final = b"\x00\x00\x00\x00"

#: Called with the payload of an event and the `time.monotonic()` of its arrival.
OnEvent = Callable[[bytes, float], None]


class Watcher(asyncio.Protocol):
    """One socket; use `open_all`."""

    def __init__(self, address: Address, consumer: str, on_event: OnEvent) -> None:
        self._request = (
            f"GET {BASE}/microservices/{consumer}/watcher HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n"
        )
        self._on_event = on_event
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request.encode())

    def data_received(self, data: bytes) -> None:
        now_s = time.monotonic()
        self._buffer += data
        if not self.opened.done() and not self._read_handshake():
            return
        while self._read_frame(now_s):
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(BenchmarkError("a watcher's connection ended before it was open."))

    def close(self) -> None:
        """End it without a farewell."""
        if self._transport is not None:
            self._transport.abort()

    def _read_handshake(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if self._buffer[9:12] != b"101":
            line = bytes(self._buffer[:end]).split(b"\r\n")[0].decode(errors="replace")
            self.opened.set_exception(BenchmarkError(f"a watcher was not let in: {line}."))
            return False
        del self._buffer[: end + 4]
        self.opened.set_result(None)
        return True

    def _read_frame(self, now_s: float) -> bool:
        """Take one whole frame from the buffer; servers do not mask theirs."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        at, length = 2, buffer[1] & 0x7F
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:at], "big")
        if len(buffer) < at + length:
            return False
        kind, payload = buffer[0] & 0x0F, bytes(buffer[at : at + length])
        del buffer[: at + length]
        if kind == _TEXT:
            self._on_event(payload, now_s)
        elif kind in (_PING, _CLOSE) and self._transport is not None:
            answer = _PONG if kind == _PING else _CLOSE
            self._transport.write(bytes([0x80 | answer, 0x80 | len(payload)]) + _NO_MASK + payload)
        return True


async def open_all(address: Address, consumers: list[str], on_event: OnEvent) -> list[Watcher]:
    """Open one socket per consumer named (the same one may be named often), not all at the same moment."""
    watchers: list[Watcher] = []
    for start in range(0, len(consumers), CONNECTS_AT_ONCE):
        some = consumers[start : start + CONNECTS_AT_ONCE]
        watchers += await asyncio.gather(*(_open(address, consumer, on_event) for consumer in some))
    return watchers


async def _open(address: Address, consumer: str, on_event: OnEvent) -> Watcher:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            _, watcher = await loop.create_connection(
                lambda: Watcher(address, consumer, on_event), address.host, address.port
            )
            await watcher.opened
    except (OSError, TimeoutError) as exc:
        raise BenchmarkError(f"a watcher of {consumer} at {address.url} was not opened: {exc!r}.") from exc
    return watcher
