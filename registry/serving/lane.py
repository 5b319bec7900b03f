"""Lane: the hot way. Heartbeats, finds, batch finds and registrations, answered from their bytes.

What an answer is follows from the same functions as on the other way. Where it must wait, or is a refusal, the door is
handed what has been understood: no request is read twice.
"""

from __future__ import annotations

import logging
import re
from time import perf_counter
from typing import Final

from msgspec import Struct
from starlette.types import Message

from registry.domain.errors import RegistryError
from registry.domain.view import DEFAULT_TENANT, Answer, Tenant
from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.discovery import batch_asked, batch_here
from registry.http_api.door import Door
from registry.http_api.memo import Memo
from registry.http_api.operation import Operation
from registry.http_api.queries import BatchBody, BatchQueries
from registry.serving import responses
from registry.serving.heads import Head, Heads
from registry.serving.hot import INCOMPLETE, NOT_HOT, HotConnection, Owed
from registry.serving.recognise import KEPT_MAX_BYTES, BatchFind, Beat, Find, Hot, Kept, Recogniser, Registration
from registry.serving.responses import FindResponses, Parts
from registry.usecases.discovery import Discovery

logger = logging.getLogger(__name__)

#: Whole requests that are known by their bytes, and the bytes of them.
REQUESTS_MAX: Final = 20_000
REQUESTS_MAX_BYTES: Final = 8 * 1024 * 1024
#: A request's line, of printable ASCII.
_LINE: Final = re.compile(rb"(GET|PUT|POST) (/v4/[!-~]+) HTTP/1\.1\r\n")


class Lane:
    """The hot way of one replica."""

    def __init__(self, api: Api, door: Door) -> None:
        self._api = api
        self._door = door
        #: Whole requests that were finds with an answer that is kept.
        self.requests: Memo[bytes, Find] = Memo(REQUESTS_MAX, REQUESTS_MAX_BYTES, _size)
        #: Tenants that are set aside; nearly always there are none.
        self._aside = api.aside.tenants
        self.heads = Heads()
        self.recogniser = Recogniser()
        self._finds = FindResponses()
        api.caches += [
            lambda: self.requests.size,
            lambda: self.heads.size,
            lambda: self.recogniser.size,
            lambda: self._finds.size,
        ]
        self._find_tally = api.observer.tally(operations.FIND.name)
        self._batch_tally = api.observer.tally(operations.BATCH_FIND.name)
        self._beat_tally = api.observer.tally(operations.HEARTBEAT.name)
        #: What a heartbeat was last answered: at which position, with which lines.
        self._heard: tuple[bytes, bytes, Parts] = (b"", b"", ())

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        """See `hot.HotWay`."""
        if at == 0:
            known = self.requests.get(data)
            if known is not None and self._say_again(known, connection):
                return len(data)
        began = perf_counter()
        line = _LINE.match(data, at)
        if line is None:
            return NOT_HOT
        block_at = line.end()
        block_end = data.find(b"\r\n\r\n", block_at)
        if block_end < 0:
            return NOT_HOT
        head = self.heads.read(data[block_at:block_end])
        if head is None:
            return NOT_HOT
        method, target = line.groups()
        hot = self.recogniser.recognise(method, target, head)
        if hot is None:
            return NOT_HOT
        end = block_end + 4 + head.length
        if end > len(data):
            return INCOMPLETE
        self._answer(Request(hot, target, head, data[block_end + 4 : end], began), connection)
        if isinstance(hot, Find) and hot.kept is not None and end - at == len(data) and head.constant:
            self.requests.put(data, hot)
        return end

    def _answer(self, request: Request, connection: HotConnection) -> None:
        try:
            done = self._answered(request, connection)
        except RegistryError:
            done = False
        except Exception:
            logger.exception("a hot request failed", extra={"action": "request_failed"})
            done = False
        if not done:
            owed = Owed(connection)
            connection.owe(owed)
            self._ask_door(owed, request)

    def _answered(self, request: Request, connection: HotConnection) -> bool:
        """Answer now or owe it; False: the door has to."""
        hot = request.hot
        if self._aside and hot.tenant in self._aside:
            return False  # its answers say more
        match hot:
            case Find():
                return self._say_again(hot, connection) or self._find(hot, request, connection)
            case Beat():
                return self._beat(hot, request, connection)
            case BatchFind():
                return self._batch(hot, request, connection)
            case Registration():
                return False

    # -- finds ---------------------------------------------------------------------------------------------------------

    def _say_again(self, find: Find, connection: HotConnection) -> bool:
        """Send the response that is kept, if it is still the one that would be made."""
        kept = find.kept
        if kept is None or kept.lines is not connection.lines:
            return False
        discovery = self._api.discovery
        changes = discovery.changes
        if kept.changes != changes:
            if kept.position is not discovery.position_text(find.tenant):
                return False
            if kept.shared_position is not discovery.position_text(DEFAULT_TENANT):
                return False
            kept.changes = changes  # of other tenants
        connection.write(kept.response)
        self._find_tally.add_instant(kept.status)
        return True

    def _find(self, find: Find, request: Request, connection: HotConnection) -> bool:
        discovery, tenant, query = self._api.discovery, find.tenant, find.query
        find.kept = None
        answer = discovery.find_here(tenant, query)
        if len(answer.body) > self._api.answer_max_bytes:
            return False
        if query.consumer_id and discovery.unrecorded(tenant, (query,)):
            return False
        if query.rev and query.rev != answer.rev:
            # "Changed" contradicts the client, perhaps by what is out of date: the log is asked first.
            owner = discovery.owner(tenant, query)
            return _owe_changed(connection, discovery, owner, _ChangedFind(connection, self, request, find))
        lines = connection.lines
        status, response = self._find_response(find, answer, lines)
        if sum(map(len, response)) <= KEPT_MAX_BYTES:
            response = (b"".join(response),)
            position, shared = discovery.position_text(tenant), discovery.position_text(DEFAULT_TENANT)
            find.kept = Kept(discovery.changes, position, shared, lines, status, response)
        connection.write(response)
        self._find_tally.add(status, perf_counter() - request.began)
        return True

    def _find_response(self, find: Find, answer: Answer, lines: bytes) -> tuple[int, Parts]:
        position = self._api.discovery.position_text(find.tenant)
        if find.query.rev and find.query.rev == answer.rev:
            return 304, self._finds.not_modified(answer, position, lines)
        if find.gzip and len(answer.body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(answer.body, reply.revision(answer.rev), reply.position(position))
            return 200, responses.render(self._api.compressor.compress(whole, answer.rev), lines)
        return 200, self._finds.whole(answer, position, lines)

    def find_changed(self, owed: _ChangedFind) -> None:
        """The log has been asked, or does not answer: then the view says what it holds."""
        find = owed.find
        try:
            answer = self._api.discovery.find_here(find.tenant, find.query)
        except RegistryError:
            self._ask_door(owed, owed.request)
            return
        status, response = self._find_response(find, answer, owed.connection.lines)
        owed.settle(response)
        self._find_tally.add(status, perf_counter() - owed.request.began)

    # -- batch finds ---------------------------------------------------------------------------------------------------

    def _batch(self, batch: BatchFind, request: Request, connection: HotConnection) -> bool:
        discovery, tenant = self._api.discovery, batch.tenant
        asked = batch_asked(self._api, request.body, batch.consumer_id)
        answer = batch_here(self._api, tenant, asked)
        if answer is None:
            return False
        if answer.contradicts:
            place = discovery.place(tenant)
            changed = _ChangedBatch(connection, self, request, batch, asked, answer, place)
            return _owe_changed(connection, discovery, tenant, changed)
        connection.write(self._batch_response(batch, answer, connection.lines))
        self._batch_tally.add(200, perf_counter() - request.began)
        return True

    def _batch_response(self, batch: BatchFind, answer: BatchBody, lines: bytes) -> Parts:
        position = self._api.discovery.position_text(batch.tenant)
        if batch.gzip and len(answer.body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(answer.body, reply.position(position))
            return responses.render(self._api.compressor.compress(whole), lines)
        return responses.json(answer.body, position, lines)

    def batch_changed(self, owed: _ChangedBatch) -> None:
        """As `find_changed`. What was computed before stands if nothing has happened since."""
        batch, answer = owed.batch, owed.answer
        if self._api.discovery.place(batch.tenant) != owed.place:
            again = batch_here(self._api, batch.tenant, owed.asked)
            if again is None:
                self._ask_door(owed, owed.request)
                return
            answer = again
        owed.settle(self._batch_response(batch, answer, owed.connection.lines))
        self._batch_tally.add(200, perf_counter() - owed.request.began)

    # -- heartbeats ----------------------------------------------------------------------------------------------------

    def _beat(self, beat: Beat, request: Request, connection: HotConnection) -> bool:
        row = self._api.discovery.beating_row(beat.tenant, beat.service_id, beat.instance_id)
        if row is None:
            return False
        owed = _Heartbeat(connection, self, request, beat.tenant)
        self._api.heartbeats.renew_for(beat.tenant, row, owed)
        connection.owe(owed)
        return True

    def heard(self, owed: _Heartbeat) -> None:
        """The lease has been renewed. All heartbeats of a batch are answered with the same bytes."""
        position, lines = self._api.discovery.position_text(owed.tenant), owed.connection.lines
        made_at, made_with, response = self._heard
        if made_at is not position or made_with is not lines:
            response = responses.render(reply.empty(reply.position(position)), lines)
            self._heard = (position, lines, response)
        owed.settle(response)
        self._beat_tally.add(200, perf_counter() - owed.request.began)

    def not_heard(self, owed: _Heartbeat) -> None:
        """Lapsed, or the store is away: the whole use case, which may wait, decides what is true."""
        self._ask_door(owed, owed.request)

    # -- what the door has to answer -----------------------------------------------------------------------------------

    def _ask_door(self, owed: Owed, request: Request) -> None:
        if not owed.disconnected:
            owed.connection.run(self._answer_by_door(owed, request))

    async def _answer_by_door(self, owed: Owed, request: Request) -> None:
        operation, call = _call(request, owed.connection.client_address, self._api.body_max_bytes)
        answer = await self._door.answer(operation, call)
        owed.settle(responses.render(answer, owed.connection.lines))


def _owe_changed(
    connection: HotConnection, discovery: Discovery, tenant: Tenant, owed: _ChangedFind | _ChangedBatch
) -> bool:
    if not discovery.when_current(tenant, owed):
        return False
    connection.owe(owed)
    return True


def _call(request: Request, client_address: str, body_max: int) -> tuple[Operation, Call]:
    """What the door is to answer, with all that has been understood."""
    hot, head = request.hot, request.head
    path: dict[str, str] = {}
    match hot:
        case Find():
            operation = operations.FIND
        case BatchFind():
            operation = operations.BATCH_FIND
        case Registration():
            operation = operations.REGISTER_INSTANCE
            path = {"service_id": hot.service_id}
        case Beat():
            operation = operations.HEARTBEAT
            path = {"service_id": hot.service_id, "instance_id": hot.instance_id}
    headers = {b"x-consumerid": head.consumer, b"accept-encoding": b"gzip" if head.gzip else b""}

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    query = request.target.partition(b"?")[2]
    return operation, Call(path, query, headers, client_address, receive, hot.tenant, body_max)


def _size(request: bytes, find: Find) -> int:
    return len(request)


class Request(Struct, frozen=True, gc=False):
    """One hot request as it was understood. `began`: when it came (`perf_counter` seconds)."""

    hot: Hot
    target: bytes
    head: Head
    body: bytes
    began: float


class _ChangedFind(Owed):
    """A find of which the answer has changed. It waits for the log's tail."""

    __slots__ = ("find", "lane", "request")

    def __init__(self, connection: HotConnection, lane: Lane, request: Request, find: Find) -> None:
        super().__init__(connection)
        self.lane = lane
        self.request = request
        self.find = find

    def done(self) -> bool:
        return self.disconnected

    def set_result(self, result: None, /) -> None:
        self.lane.find_changed(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.lane.find_changed(self)


class _ChangedBatch(Owed):
    """A batch find that holds a change. It waits for the log's tail."""

    __slots__ = ("answer", "asked", "batch", "lane", "place", "request")

    def __init__(
        self,
        connection: HotConnection,
        lane: Lane,
        request: Request,
        batch: BatchFind,
        asked: BatchQueries,
        answer: BatchBody,
        place: object,
    ) -> None:
        super().__init__(connection)
        self.lane = lane
        self.request = request
        self.batch = batch
        self.asked = asked
        self.answer = answer
        #: Where the logs stood when it was computed.
        self.place = place

    def done(self) -> bool:
        return self.disconnected

    def set_result(self, result: None, /) -> None:
        self.lane.batch_changed(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.lane.batch_changed(self)


class _Heartbeat(Owed):
    """A heartbeat. The batch in which its renewal is tells it."""

    __slots__ = ("lane", "request", "tenant")

    def __init__(self, connection: HotConnection, lane: Lane, request: Request, tenant: Tenant) -> None:
        super().__init__(connection)
        self.lane = lane
        self.request = request
        self.tenant = tenant

    def done(self) -> bool:
        return False  # its lease is to be renewed also when the client has gone

    def set_result(self, renewed: bool, /) -> None:
        if renewed or self.disconnected:
            self.lane.heard(self)
        else:
            self.lane.not_heard(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.lane.not_heard(self)
