"""A tiny HTTP/1.1 client on a blocking socket: it shows exactly the bytes a server sent, header case included.

`http.client` and every larger client look header names up in any case, so they cannot see the one mistake that costs
java clients their cache (clients.md 0.8).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.support.conformance import check

#: Far beyond what an answer takes, so that only a broken server reaches it (seconds).
TIMEOUT_S = 20.0


class ConnectionLost(ConnectionError):
    """The server ended the connection before its answer was complete: whether the request was done is unknown."""


@dataclass(frozen=True)
class Response:
    """One answer. `head` is its first part as it came, `headers` its lines in order, names as they were sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    head: bytes

    def header(self, name: str) -> str:
        """The value of the header of exactly this name, letter case included; "" when there is none."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rev(self) -> str:
        return self.header("X-Resource-Revision")

    @property
    def position(self) -> str:
        return self.header("X-Registry-Position")


class Connection:
    """One client connection, kept alive between requests as long as the server does; opened when first needed."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        #: How often it had to be opened.
        self.opened = 0
        self._socket: socket.socket | None = None
        self._rest = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._rest = b""

    def request(
        self,
        method: str,
        target: str | bytes,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Response:
        """Send one request and read its answer. The target is sent as given, nothing is encoded.

        Raises:
            ConnectionLost: the answer did not come, or not completely. Nothing is sent a second time.
        """
        lines = [
            b"%s %s HTTP/1.1" % (method.encode(), _bytes(target)),
            b"Host: %s:%d" % (_bytes(self.address[0]), self.address[1]),
        ]
        lines += [b"%s: %s" % (name.encode(), _bytes(value)) for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        request = b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")
        response = self.exchange(request, head_only=method == "HEAD")
        check(method, target, response.status, response.headers, response.body)
        return response

    def exchange(self, request: bytes, head_only: bool = False) -> Response:
        """Send these bytes and read one answer."""
        try:
            self.send(request)
            response = self.receive(head_only)
        except OSError:
            self.close()
            raise
        if any(name.lower() == "connection" and value == "close" for name, value in response.headers):
            self.close()
        return response

    def send(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self.address, TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.opened += 1
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as exc:
            # An answer may have been sent before the server hung up; reading will tell.
            if isinstance(exc, ConnectionResetError):
                raise ConnectionLost("reset while sending") from exc

    def receive(self, head_only: bool = False) -> Response:
        """Read the next answer."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        if status == 100:
            return self.receive(head_only)
        length = 0 if head_only or status in (101, 204, 304) else _length(headers)
        if length is None:
            body = self._to_the_end()
        else:
            while len(self._rest) < length:
                self._more()
            body, self._rest = self._rest[:length], self._rest[length:]
        return Response(status, headers, body, head + b"\r\n\r\n")

    def at_end(self) -> bool:
        """Whether the server closes the connection without another byte."""
        assert self._socket is not None, "nothing was sent"
        return not self._rest and not self._socket.recv(65536)

    def detach(self) -> int:
        """The socket's file descriptor, from now on the caller's, who reads what no answer is."""
        assert self._socket is not None, "nothing was sent"
        assert not self._rest, "something has been read that nobody has looked at"
        descriptor, self._socket = self._socket.detach(), None
        return descriptor

    def surplus(self) -> bytes:
        """What came after the answer's announced end."""
        return self._rest

    def _more(self) -> None:
        assert self._socket is not None, "nothing was sent"
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError as exc:
            raise ConnectionLost("reset while reading") from exc
        if not data:
            raise ConnectionLost(f"closed after {self._rest[:200]!r}")
        self._rest += data

    def _to_the_end(self) -> bytes:
        """The body of an answer without a length: everything until the server hangs up."""
        assert self._socket is not None
        while data := self._socket.recv(65536):
            self._rest += data
        body, self._rest = self._rest, b""
        return body


def _length(headers: list[tuple[str, str]]) -> int | None:
    for name, value in headers:
        assert name.lower() != "transfer-encoding", "an answer of unannounced length"
        if name.lower() == "content-length":
            return int(value)
    return None


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
