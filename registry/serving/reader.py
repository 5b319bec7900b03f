"""Reader: bytes of one connection into requests, by httptools' parser. It decides what is HTTP, and what is an upgrade.

A request that asks for an upgrade which is not given is read as if it had not asked: its body is framed by its own
headers, and what follows it is the next request.
"""

from __future__ import annotations

from typing import Final, Protocol

import httptools
from msgspec import Struct

from registry.serving.refusals import NOT_HTTP, TOO_LARGE
from registry.settings import HEAD_MAX_BYTES, HEADERS_MAX

#: Bytes that a request's line and headers may have on top of the limit. Go's server grants them as well.
HEAD_SLACK_BYTES: Final = 4096
#: What belongs to an upgrade, and goes with one that is not given.
_HOP: Final = frozenset((b"upgrade", b"http2-settings"))

Header = tuple[bytes, bytes]


class Head(Struct, gc=False):
    """The head of one request. Header names are as they were sent."""

    method: bytes
    path: bytes
    query: bytes
    version: str
    headers: list[Header]
    #: The client may send another request on this connection.
    keep_alive: bool
    #: It asks to go on as a websocket, which needs a GET without a body.
    websocket: bool

    @property
    def is_heartbeat(self) -> bool:
        """Whether it may renew leases. Such a request is never refused for what it costs (D17)."""
        return self.path.endswith((b"/heartbeat", b"/heartbeats"))

    def has_body(self) -> bool:
        return any(
            name.lower() == b"transfer-encoding" or (name.lower() == b"content-length" and value != b"0")
            for name, value in self.headers
        )


class Sink(Protocol):
    """What is told of what was read, in order."""

    def request_begun(self) -> None: ...

    def head_read(self, head: Head) -> None:
        """Raises BadRequest for what is not to be read on."""

    def body_read(self, chunk: bytes) -> None: ...

    def request_read(self) -> None: ...


class BadRequest(Exception):
    """What came is refused, and nothing after it on the connection is read. `response`: the whole answer."""

    def __init__(self, response: bytes) -> None:
        super().__init__(response)
        self.response = response


class Reader:
    """The parser of one connection.

    Args:
        head_max_bytes: of a request's line and headers.
        headers_max: how many headers a request may have.
    """

    def __init__(self, sink: Sink, head_max_bytes: int = HEAD_MAX_BYTES, headers_max: int = HEADERS_MAX) -> None:
        self._sink = sink
        self._head_max_bytes = head_max_bytes + HEAD_SLACK_BYTES
        self._headers_max = headers_max
        self._parser = httptools.HttpRequestParser(self)
        #: The parser stands between two requests.
        self.between = True
        #: A head of which the end has not come yet.
        self._in_head = False
        #: Bytes of the present head that the parser has told, and bytes that it was fed without telling anything.
        self._head_bytes = 0
        self._silent_bytes = 0
        self._refusal = NOT_HTTP
        self._target = b""
        self._headers: list[Header] = []
        #: A head that asks for an upgrade.
        self._upgrading: Head | None = None

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Read on. The head of a websocket's handshake and what came after it, when one is reached.

        Raises:
            BadRequest: also in the middle of a body.
        """
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            return self._upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            raise BadRequest(self._refusal) from None
        if self._in_head and self._silent_bytes > self._head_max_bytes:
            raise BadRequest(TOO_LARGE)
        return None

    def close(self) -> None:
        """The parser holds its reader: without it both go at once, and not when the garbage collector looks."""
        del self._parser

    def _upgrade(self, rest: bytes) -> tuple[Head, bytes] | None:
        head, self._upgrading = self._upgrading, None
        if head is None or head.method == b"CONNECT":
            raise BadRequest(NOT_HTTP)
        if head.websocket and not head.has_body():
            return head, rest
        # The parser has skipped the body, if there is one: another reads the request without the upgrade.
        self._parser = httptools.HttpRequestParser(self)
        return self.feed(_without_upgrade(head, self._target) + rest)

    # -- what the parser tells -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.between = False
        self._in_head = True
        self._head_bytes = 0
        self._target = b""
        self._headers = []
        if self._upgrading is None:
            self._sink.request_begun()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        # What follows a chunked body is no header of the request.
        if self._in_head:
            self._headers.append((name, value))
            if len(self._headers) > self._headers_max:
                self._refuse(TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._silent_bytes = 0
        version = self._parser.get_http_version()
        hosts = {value for name, value in self._headers if name.lower() == b"host"}
        if version not in ("1.0", "1.1") or len(hosts) > 1 or (version == "1.1" and not hosts):
            self._refuse(NOT_HTTP)
        target = _path_and_query(self._target)
        if target is None:
            self._refuse(NOT_HTTP)
            return
        method = self._parser.get_method()
        upgrade = self._parser.should_upgrade()
        websocket = upgrade and method == b"GET" and version == "1.1" and _asks_for_websocket(self._headers)
        keep_alive = self._parser.should_keep_alive()
        head = Head(method, *target, version, self._headers, keep_alive, websocket)
        if upgrade:
            self._upgrading = head
        else:
            try:
                self._sink.head_read(head)
            except BadRequest as bad:
                self._refuse(bad.response)

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        self._sink.body_read(body)

    def on_message_complete(self) -> None:
        if self._upgrading is None:
            self.between = True
            self._sink.request_read()

    def _count(self, size: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += size
        if self._head_bytes > self._head_max_bytes:
            self._refuse(TOO_LARGE)

    def _refuse(self, response: bytes) -> None:
        self._refusal = response
        raise BadRequest(response)  # the parser stops, and raises an error of its own


def _path_and_query(target: bytes) -> tuple[bytes, bytes] | None:
    """Of an origin-form target, or of the absolute form that proxies send; None: it is neither."""
    if target.startswith(b"/") or target == b"*":
        path, _, query = target.partition(b"#")[0].partition(b"?")
        return path, query
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return None
    return (url.path or b"/", url.query or b"") if url.schema and url.host else None


def _asks_for_websocket(headers: list[Header]) -> bool:
    offers = [value for name, value in headers if name.lower() == b"upgrade"]
    return any(offer.strip().lower() == b"websocket" for value in offers for offer in value.split(b","))


def _without_upgrade(head: Head, target: bytes) -> bytes:
    """The same head without its wish for an upgrade."""
    lines = [b"%b %b HTTP/%b" % (head.method, target, head.version.encode())]
    for name, value in head.headers:
        lower = name.lower()
        if lower == b"connection":
            tokens = [token for token in value.split(b",") if token.strip().lower() not in _HOP]
            if tokens:
                lines.append(name + b":" + b",".join(tokens))
        elif lower not in _HOP:
            lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"
