"""Exchange: one request and its response, as ASGI sees them (HTTP, specification version 2.4)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Scope

from registry.http_api.shared_parts import Part
from registry.serving.reader import Head
from registry.serving.wire import Wire

logger = logging.getLogger(__name__)

#: Bytes of a body that wait for the application; then the client is not read from.
BODY_WAITING_MAX_BYTES: Final = 64 * 1024

STATUS_LINES: Final = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
#: Statuses whose responses have no body, and no length either.
_BODILESS: Final = frozenset((204, 304))
_HEADER_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(rb"[^\x00\r\n]*")


class ClientDisconnected(OSError):
    """The client has gone: nothing can be sent to it any more."""


class Channel(Protocol):
    """What an exchange needs of its connection."""

    wire: Wire
    #: Sends parts of a response.
    write: Callable[[Sequence[Part]], None]
    #: This response is the last one.
    stopping: bool

    @property
    def lines(self) -> bytes:
        """Header lines of every response."""

    def balance(self) -> None:
        """Read from the client, or not, as what waits now allows."""

    def exchange_complete(self, exchange: Exchange) -> None:
        """The response has ended, or will never."""

    def abort(self) -> None:
        """End the connection at once."""


class Exchange:
    """One request, from its head to the end of its response."""

    def __init__(self, connection: Channel, head: Head) -> None:
        self._connection = connection
        self._head = head
        self.is_heartbeat = head.is_heartbeat
        self._chunks: deque[bytes] = deque()
        self.waiting_bytes = 0
        #: Bytes of the body that have come, the application's included, until the request is answered.
        self.arrived_bytes = 0
        #: The whole body has come.
        self.read = False
        self.keep_alive = head.keep_alive
        self.disconnected = False
        #: The client sends nothing more, though it may still read.
        self.half_closed = False
        self.complete = False
        #: The application has the whole body.
        self._handed_over = False
        #: The response has begun.
        self.started = False
        self._bodiless = False
        self._streams = False
        self._chunked = False
        self._length: int | None = None
        self._head_lines: list[bytes] = []
        self._expects_continue = head.has_body() and any(
            name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in head.headers
        )
        self._changed = asyncio.Event()

    def scope(self) -> Scope:
        head, connection = self._head, self._connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": head.version,
            "method": head.method.decode("ascii"),
            "scheme": "https" if connection.wire.is_secure else "http",
            "path": decoded(head.path),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in head.headers],
            "client": connection.wire.client,
            "server": connection.wire.server,
            "state": {},
            "extensions": {},
        }

    async def run(self, app: ASGIApp) -> None:
        """Call the application. What it leaves undone, or raises, ends the exchange all the same."""
        try:
            await app(self.scope(), self.receive, self.send)
            if not self.complete and not self.disconnected:
                logger.error("the application has not answered", extra={"action": "no_answer"})
        except ClientDisconnected:
            pass
        except Exception:
            if self.disconnected:
                return  # applications tell it in exceptions of their own
            logger.exception("the application failed", extra={"action": "application_failed"})
        finally:
            if not self.complete:
                self._give_up()

    def _give_up(self) -> None:
        self.complete = True
        self.arrived_bytes = 0
        self.keep_alive = False
        if self.disconnected:
            self._connection.exchange_complete(self)
            return
        if self.started:
            # Half a response is on its way: only the end of the connection can say so.
            self._connection.abort()
            return
        line = STATUS_LINES[500]
        self._connection.write([line, self._connection.lines, b"Content-Length: 0\r\nConnection: close\r\n\r\n"])
        self._connection.exchange_complete(self)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def body_read(self, chunk: bytes) -> None:
        if not self.complete:
            self._chunks.append(chunk)
            self.waiting_bytes += len(chunk)
            self.arrived_bytes += len(chunk)
            self._changed.set()

    def request_read(self) -> None:
        self.read = True
        self._changed.set()

    def disconnect(self) -> None:
        self.disconnected = True
        self._changed.set()

    def half_close(self) -> None:
        """The client has said its last word: the application is told, but the client is still owed an answer. Only
        what has no end is ended.
        """
        self.half_closed = True
        if self._streams or not self.read:
            self.disconnected = True
        self._changed.set()

    async def receive(self) -> Message:
        asked = self.read or bool(self._chunks) or self.started or self.disconnected
        if self._expects_continue and not asked:
            self._expects_continue = False
            self._connection.write([b"HTTP/1.1 100 Continue\r\n\r\n"])
        while not (self._chunks or self.read or self.disconnected or self.complete):
            self._changed.clear()
            await self._changed.wait()
        if self._chunks or (self.read and not self._handed_over):
            body = b"".join(self._chunks)
            self._chunks.clear()
            self.waiting_bytes = 0
            self._connection.balance()
            self._handed_over = self.read
            return {"type": "http.request", "body": body, "more_body": not self.read}
        while not (self.disconnected or self.half_closed or self.complete):
            self._changed.clear()
            await self._changed.wait()
        return {"type": "http.disconnect"}

    # -- what goes -----------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        if self.disconnected:
            raise ClientDisconnected("the client has gone")
        kind = message["type"]
        if kind == "http.response.start" and not self.started:
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.started and not self.complete:
            self._send_body(message.get("body", b""), message.get("more_body", False))
            if not self.complete:
                await self._connection.wire.drained()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._connection.lines]
        for name, value in headers:
            lower = name.lower()
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise RuntimeError(f"not a header: {name!r}")
            if lower == b"content-length":
                self._length = int(value)
            elif lower == b"transfer-encoding":
                continue  # how the body is framed is decided here
            elif lower == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                continue
            lines += (name, b": ", value, b"\r\n")
        self._bodiless = self._head.method == b"HEAD" or status in _BODILESS or status < 200
        self._streams = self._length is None and not self._bodiless
        if self._streams and self._head.version == "1.1":
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self._streams:
            self.keep_alive = False  # the end of the connection is the end of the body
        if self._connection.stopping or (self._expects_continue and not self.read):
            self.keep_alive = False  # without a `100 Continue`, whether a body comes is the client's to choose
        if not self.keep_alive:
            lines.append(b"Connection: close\r\n")
        elif self._head.version == "1.0":
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        self._head_lines = lines
        self.started = True

    def _send_body(self, body: bytes, more: bool) -> None:
        if self._length is not None and not self._bodiless:
            self._length -= len(body)
            if self._length < 0 or (not more and self._length):
                raise RuntimeError("the response's body is not as long as its Content-Length says")
        parts, self._head_lines = self._head_lines, []
        if not self._bodiless:
            parts += _chunk(body, more) if self._chunked else [body]
        if not more:
            self.complete = True
            self._chunks.clear()
            self.waiting_bytes = self.arrived_bytes = 0
            self._changed.set()
        self._connection.write(parts)
        if self.complete:
            self._connection.exchange_complete(self)


def _chunk(body: bytes, more: bool) -> list[bytes]:
    parts = [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
    return parts if more else [*parts, b"0\r\n\r\n"]


def decoded(path: bytes) -> str:
    """The path, percent-decoded, as ASGI asks for it."""
    raw = unquote_to_bytes(path) if b"%" in path else path
    return raw.decode("utf-8", "surrogateescape")
