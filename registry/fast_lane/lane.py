"""FastLane: the protocol that answers heartbeats, finds and batch finds where it can, in the order they came.

A request is taken when the connection has no unanswered one, the client reads what it is sent, and nothing in the
head asks for more than the hot answers know (decisions/0005). What is not taken is played back to uvicorn's callbacks
as if the lane were not there - at the end of the head, or later, when answering turns out to need a wait.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry.domain.errors import RegistryError
from registry.domain.view import InstanceRow, Tenant
from registry.fast_lane.hot import Hot, Taken
from registry.http_api.protocol import RegistryProtocol
from registry.http_api.reply import Reply

#: Bytes of a body that the lane collects; a larger one goes on by the other way.
BODY_MAX_BYTES: Final = 256 * 1024

#: Headers that the hot answers take into account.
_READ: Final = frozenset((b"x-domain-name", b"x-consumerid", b"x-consumer_id", b"accept-encoding"))
#: Headers that ask for something else than a hot answer.
_ELSEWHERE: Final = frozenset(
    (b"x-registry-position", b"origin", b"expect", b"upgrade", b"transfer-encoding", b"connection")
)


class FastLane(RegistryProtocol):
    """Given to uvicorn as `http=`, through `fast_lane`."""

    hot: ClassVar[Hot]

    #: Whether the present request is still the lane's.
    _mine = True
    _elsewhere = False
    _taken: Taken | None = None

    # -- the head ------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_done = False
        self._mine = True
        self._elsewhere = False
        self._taken = None
        self._url = b""
        self._head: list[tuple[bytes, bytes]] = []
        self._read: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if self._head_done:
            return  # what follows a chunked body is no header of the request
        self._head.append((name, value))
        name = name.lower()
        if name in _READ:
            # One that is given twice is for the other lane to refuse.
            self._elsewhere |= name in self._read
            self._read[name] = value
        elif name in _ELSEWHERE:
            self._elsewhere |= not (name == b"connection" and value.lower() == b"keep-alive")

    def on_headers_complete(self) -> None:
        self._head_done = True
        if self._may_take():
            self._taken = self.hot.take(self.parser.get_method(), self._url, self._read)
        if self._taken is None:
            self._hand_over()

    def _may_take(self) -> bool:
        return (
            not self._elsewhere
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
        )

    def _hand_over(self) -> None:
        """Play back to uvicorn what has come of this request."""
        self._mine = False
        self._taken = None
        HttpToolsProtocol.on_message_begin(self)
        HttpToolsProtocol.on_url(self, self._url)
        for name, value in self._head:
            HttpToolsProtocol.on_header(self, name, value)
        super().on_headers_complete()
        for chunk in self._body:
            super().on_body(chunk)

    # -- the body ------------------------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        if not self._mine:
            super().on_body(body)
            return
        self._silent_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > BODY_MAX_BYTES:
            self._hand_over()
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        taken = self._taken
        if taken is None:
            if not self._mine:
                super().on_message_complete()
            return
        if taken.row is not None:
            self._beat(taken.tenant, taken.row)
            return
        reply = self.hot.answer(taken, b"".join(self._body), self.server_state.default_headers)
        if reply is None:
            self._hand_over()
            super().on_message_complete()
            return
        self.transport.write(reply)
        self.on_response_complete()

    # -- heartbeats ----------------------------------------------------------------------------------------------------

    def _beat(self, tenant: Tenant, row: InstanceRow) -> None:
        """Hand the renewal to the next batch; the connection's next request waits for this one's answer."""
        try:
            renewed = self.hot.renew(tenant, row)
        except RegistryError:
            self._hand_over()
            super().on_message_complete()
            return
        beat = _Beat()
        self.cycle = self._active = beat  # type: ignore[assignment]  # what uvicorn looks at while one is unanswered
        renewed.add_done_callback(lambda future: self._renewed(beat, tenant, row, future))

    def _renewed(self, beat: _Beat, tenant: Tenant, row: InstanceRow, future: asyncio.Future[bool]) -> None:
        if beat.disconnected:
            if not future.cancelled():
                future.exception()  # looked at: nobody is left to be told
            beat.response_complete = True
        elif not future.cancelled() and future.exception() is None and future.result():
            self._finish(beat, self.hot.beaten(tenant))
        else:
            # Lapsed, or the store is away: the whole use case, which may wait, decides what is true.
            task = self.loop.create_task(self._beat_slowly(beat, tenant, row))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _beat_slowly(self, beat: _Beat, tenant: Tenant, row: InstanceRow) -> None:
        reply = await self.hot.beat(tenant, row)
        if beat.disconnected:
            beat.response_complete = True
        else:
            self._finish(beat, reply)

    def _finish(self, beat: _Beat, reply: Reply) -> None:
        self.transport.write(self.hot.render(reply, self.server_state.default_headers, beat.keep_alive))
        beat.response_complete = True
        if not beat.keep_alive:
            self.transport.close()
        self.on_response_complete()


class _Beat:
    """A heartbeat under way, in the place where uvicorn looks for the request that it has not answered."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "more_body", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS


class _Nobody:
    def set(self) -> None:
        """Nobody waits for more of a request that is complete."""


_NOBODY_WAITS: Final = _Nobody()


def fast_lane(hot: Hot) -> type[FastLane]:
    """The protocol class over one replica's hot answers."""
    members: dict[str, Any] = {"hot": hot}
    return type("BoundFastLane", (FastLane,), members)
