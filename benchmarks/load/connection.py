"""Connection: one keep-alive HTTP connection with at most one request under way."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final, Protocol, cast

import httptools

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r", re.IGNORECASE)
_HEAD_END: Final = b"\r\n\r\n"
NOT_MODIFIED: Final = 304


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def answered(self, connection: Connection, status: int, head: bytes, body: bytes) -> None:
        """The request under way got its whole answer. `head` lacks the empty line at its end."""

    def lost(self, connection: Connection) -> None:
        """The connection ended; the request under way, if any, gets no answer."""


class Connection(asyncio.Protocol):
    """Send with `send`; the owner is called back."""

    __slots__ = ("_in_pieces", "_owner", "_parser", "_transport", "call", "counted_from_s", "sent_s")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser: _Parser | None = None
        self._in_pieces = False
        self.call: Any = None
        """What the owner sent; None while nothing is under way."""
        self.counted_from_s = 0.0
        self.sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, data: bytes) -> None:
        """Send a whole request."""
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        """End it now; the owner is told by `lost`."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._in_pieces:
            whole = whole_reply(data)
            if whole is not None:
                self._owner.answered(self, *whole)
                return
            self._in_pieces = True
        # One parser for the connection's life: it is part of a cycle, and nothing is collected during a load.
        self._parser = parser = self._parser or _Parser()
        try:
            done = parser.feed(data)
        except httptools.HttpParserError:
            self.close()
            return
        if done:
            self._in_pieces = False
            self._owner.answered(self, parser.status, bytes(parser.head), bytes(parser.body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)


def whole_reply(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Status, head and body of a reply that came in one piece with its length; None for all others."""
    end = data.find(_HEAD_END)
    if end < 0:
        return None
    head = data[:end]
    status = int(head[9:12])
    if status == NOT_MODIFIED:
        return (status, head, b"") if len(data) == end + 4 else None
    length = _LENGTH.search(data, 0, end + 2)
    if length is None or len(data) != end + 4 + int(length[1]):
        return None
    return status, head, data[end + 4 :]


class _Parser:
    """The general way: replies in several pieces, chunked ones too."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.head = bytearray()
        self.body = bytearray()
        self.status = 0
        self._complete = False

    def feed(self, data: bytes) -> bool:
        """Take a piece; whether the reply is whole."""
        self._parser.feed_data(data)
        return self._complete

    def on_message_begin(self) -> None:
        self._complete = False
        self.head.clear()
        self.body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head += b"\r\n" + name + b": " + value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self._complete = True
