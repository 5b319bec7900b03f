"""RegistryProtocol: uvicorn's HTTP protocol, sending header names as they are given.

uvicorn's httptools protocol lower-cases every header name, and java clients look `X-Resource-Revision` up
case-sensitively (clients.md 0.8): in lower case each of their polls would bring the full list. So the sending side of
the request cycle is ours: it also joins head and body into one write.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

#: Bytes of a request's line and headers (servicecomb-v4.md 1.2: 32768 and Go's slack of 4096).
HEAD_MAX_BYTES: Final = 32768 + 4096
TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 35\r\nConnection: close\r\n\r\n431 Request Header Fields Too Large"
)


class _ExactCycle(RequestResponseCycle):
    """One request and its response. `send` accepts what this registry sends: a start with a length, then one body."""

    _head: list[bytes]

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
        else:
            self._finish(message.get("body", b""))

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.response_started
        self.response_started = True
        self.waiting_for_100_continue = False
        head = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            head += (name, b": ", value, b"\r\n")
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            head.append(b"Connection: close\r\n")
        head.append(b"\r\n")
        self._head = head

    def _finish(self, body: bytes) -> None:
        assert self.response_started
        assert not self.response_complete
        if body and self.scope["method"] != "HEAD":
            self._head.append(body)
        self.transport.write(b"".join(self._head))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class RegistryProtocol(HttpToolsProtocol):
    """Given to uvicorn as `http=`."""

    _head_bytes = 0

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        # A longer URI is refused by the application, with its words; this bounds what is kept of one.
        if self._count(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._count(len(name) + len(value) + 4):
            super().on_header(name, value)

    def _count(self, size: int) -> bool:
        """Count the bytes of a request's head; too many end the connection."""
        before, self._head_bytes = self._head_bytes, self._head_bytes + size
        if before <= HEAD_MAX_BYTES < self._head_bytes:
            self.transport.write(TOO_LARGE)
            self.transport.close()
        return self._head_bytes <= HEAD_MAX_BYTES

    def on_headers_complete(self) -> None:
        if self._head_bytes <= HEAD_MAX_BYTES:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._head_bytes <= HEAD_MAX_BYTES:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._head_bytes <= HEAD_MAX_BYTES:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # The cycle is made deep inside uvicorn's header callback; it has no state yet that the class would change.
        cycle.__class__ = _ExactCycle
        super()._start_asgi_task(cycle, app)
