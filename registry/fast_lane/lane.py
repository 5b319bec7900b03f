"""FastLane: the protocol that answers heartbeats, finds, batch finds and registrations, in the order they came.

A request is taken when the connection has no unanswered one, the client reads what it is sent, and nothing in the
head asks for more than the hot answers know (decisions/0005). What is not taken is played back to uvicorn's callbacks
as if the lane were not there - at the end of the head, or later, when answering turns out to need a wait.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry.domain.errors import RegistryError
from registry.domain.view import InstanceRow, Tenant
from registry.fast_lane.heads import SEGMENT_MAX_BYTES, Head
from registry.fast_lane.hot import Hot, Taken
from registry.http_api.call import INSTANCE_BODY_MAX_BYTES, takes_gzip
from registry.http_api.protocol import RegistryProtocol
from registry.http_api.reply import Reply

#: Bytes of a body that the lane collects; a larger one goes on by the other way.
BODY_MAX_BYTES: Final = 256 * 1024

#: Headers that the hot answers take into account.
_READ: Final = frozenset(
    (
        *(b"x-domain-name", b"x-consumerid", b"x-consumer_id", b"accept-encoding", b"content-length"),
        b"x-registry-durability",
    )
)
#: Headers that ask for something else than a hot answer.
_ELSEWHERE: Final = frozenset(
    (
        *(b"connection", b"expect", b"origin", b"transfer-encoding", b"upgrade"),
        *(b"x-registry-position", b"x-tenant-name"),
    )
)


class FastLane(RegistryProtocol):
    """Given to uvicorn as `http=`, through `fast_lane`."""

    hot: ClassVar[Hot]

    #: Whether the parser stands between two requests.
    _between = True
    #: Requests of the present segment, as far as the parser has come.
    _begun = 0
    _last_s = 0.0
    #: Whether the present request is still the lane's.
    _mine = True
    _elsewhere = False
    _taken: Taken | None = None

    # -- whole requests ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        between = self._between and self._is_idle()
        if between and len(data) <= SEGMENT_MAX_BYTES and self._answer_whole(data):
            self._silent_bytes = 0
            return
        self._begun = 0
        super().data_received(data)
        taken = self._taken
        if between and self._between and self._begun == 1 and taken is not None:
            self.hot.heads.learn(data, self.parser.get_method(), self._url, self._head_of_request())

    def _is_idle(self) -> bool:
        """Nothing is owed to the client, it reads what it is sent, and the connection stays."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self._broken
            and not self.transport.is_closing()
        )

    def _answer_whole(self, segment: bytes) -> bool:
        """Answer without the parser. False: not understood, or it needs a wait; nothing has been done."""
        response = self.hot.repeats.find(segment, self.server_state.default_headers)
        if response is not None:
            self._send(response)
            return True
        whole = self.hot.heads.read(segment)
        if whole is None:
            return False
        method, url, head, body = whole
        taken = self.hot.take(method, url, head)
        return taken is not None and self._answer(taken, body, segment)

    def _answer(self, taken: Taken, body: bytes, segment: bytes = b"") -> bool:
        """Answer now, or when the batch of heartbeats is back. False: it needs a wait; nothing has been done.

        Args:
            segment: the whole request, where it came as one.
        """
        if self.hot.aside and taken.tenant in self.hot.aside:
            return False
        if taken.row is not None:
            return self._beat(taken.tenant, taken.row)
        if taken.service_id:
            return self._register(taken, body)
        headers = self.server_state.default_headers
        response = self.hot.answer(taken, body, headers)
        if response is None:
            return False
        if segment:
            self.hot.repeats.keep(segment, taken.tenant, headers, response)
        self._send(response)
        return True

    def _send(self, response: bytes) -> None:
        self.transport.write(response)
        self._answered()

    def _answered(self) -> None:
        """What uvicorn does after a response, as far as it is needed while the connection goes on as it was."""
        if self.timeout_keep_alive_task is None or self.pipeline or self._broken or self.flow.read_paused:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._last_s = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """The timer is not set anew for each request: it looks when the last one was."""
        left_s = self._last_s + self.timeout_keep_alive - self.loop.time()
        ours = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if left_s <= 0 and not ours:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(max(left_s, 1.0), self.timeout_keep_alive_handler)

    # -- the head ------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._between = False
        self._begun += 1
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
            self._taken = self.hot.take(self.parser.get_method(), self._url, self._head_of_request())
        if self._taken is None:
            self._hand_over()

    def _head_of_request(self) -> Head:
        read = self._read
        consumer = read.get(b"x-consumerid") or read.get(b"x-consumer_id", b"")
        length = read.get(b"content-length", b"0")
        return Head(
            read.get(b"x-domain-name", b""),
            consumer,
            takes_gzip(read.get(b"accept-encoding", b"")),
            int(length) if length.isdigit() else -1,
            b"x-registry-durability" in read,
        )

    def _may_take(self) -> bool:
        return (
            not self._elsewhere
            and self._is_idle()
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
        self._body.clear()

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
        self._between = True
        if self._taken is not None and not self._answer(self._taken, b"".join(self._body)):
            self._hand_over()
        if self._mine:
            self._body.clear()  # an idle connection keeps nothing
        else:
            super().on_message_complete()

    # -- what takes a while --------------------------------------------------------------------------------------------

    def _register(self, taken: Taken, body: bytes) -> bool:
        if len(body) > INSTANCE_BODY_MAX_BYTES:
            return False
        owed = self.cycle = self._active = _Owed(self, taken.tenant)  # type: ignore[assignment]  # see _beat
        self._answer_later(owed, self.hot.register(taken, body, self.client[0] if self.client else ""))
        return True

    def _beat(self, tenant: Tenant, row: InstanceRow) -> bool:
        """Hand the renewal to the next batch; the connection's next request waits for this one's answer."""
        beat = _Beat(self, tenant, row)
        try:
            self.hot.renew(tenant, row, beat)
        except RegistryError:
            return False
        self.cycle = self._active = beat  # type: ignore[assignment]  # what uvicorn looks at while one is unanswered
        return True

    def beat_slowly(self, beat: _Beat) -> None:
        """Lapsed, or the store is away: the whole use case, which may wait, decides what is true."""
        self._answer_later(beat, self.hot.beat(beat.tenant, beat.row))

    def _answer_later(self, owed: _Owed, answer: Coroutine[Any, Any, Reply]) -> None:
        task = self.loop.create_task(self._answer_when_known(owed, answer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer_when_known(self, owed: _Owed, answer: Coroutine[Any, Any, Reply]) -> None:
        reply = await answer
        self.finish(owed, self.hot.render(reply, self.server_state.default_headers, owed.keep_alive))

    def finish(self, owed: _Owed, response: bytes | None = None) -> None:
        """Answer what is owed; without a response, that the heartbeat was heard."""
        if not owed.disconnected:
            if response is None and owed.keep_alive:
                response = self.hot.beaten(owed.tenant, self.server_state.default_headers)
            elif response is None:
                response = self.hot.render(self.hot.heard(owed.tenant), self.server_state.default_headers, False)
            self.transport.write(response)
        owed.response_complete = True
        if owed.disconnected:
            return
        if not owed.keep_alive:
            self.transport.close()
        self._answered()


class _Owed:
    """A request under way, in the place where uvicorn looks for the one that it has not answered."""

    __slots__ = (
        *("disconnected", "keep_alive", "message_event", "more_body", "response_complete"),
        *("lane", "tenant"),
    )

    def __init__(self, lane: FastLane, tenant: Tenant) -> None:
        self.lane = lane
        self.tenant = tenant
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS


class _Beat(_Owed):
    """A heartbeat. It is told of the renewal by the batch in which it was."""

    __slots__ = ("row",)

    def __init__(self, lane: FastLane, tenant: Tenant, row: InstanceRow) -> None:
        super().__init__(lane, tenant)
        self.row = row

    def done(self) -> bool:
        return False

    def set_result(self, renewed: bool, /) -> None:
        if renewed or self.disconnected:
            self.lane.finish(self)
        else:
            self.lane.beat_slowly(self)

    def set_exception(self, exception: Exception, /) -> None:
        if self.disconnected:
            self.lane.finish(self)
        else:
            self.lane.beat_slowly(self)


class _Nobody:
    def set(self) -> None:
        """Nobody waits for more of a request that is complete."""


_NOBODY_WAITS: Final = _Nobody()


def fast_lane(hot: Hot) -> type[FastLane]:
    """The protocol class over one replica's hot answers."""
    members: dict[str, Any] = {"hot": hot}
    return type("BoundFastLane", (FastLane,), members)
