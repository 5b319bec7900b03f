"""RegistryProtocol: uvicorn's HTTP protocol, sending header names as they are given.

uvicorn's httptools protocol lower-cases every header name, and java clients look `X-Resource-Revision` up
case-sensitively (clients.md 0.8): in lower case each of their polls would bring the full list. So the sending side of
the request cycle is ours: it also joins head and body into one write.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle


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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # The cycle is made deep inside uvicorn's header callback; it has no state yet that the class would change.
        cycle.__class__ = _ExactCycle
        super()._start_asgi_task(cycle, app)
