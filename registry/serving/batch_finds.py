"""BatchFinds: batch finds on the hot way. One that holds a change waits until the log has been asked."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.shared_parts import Part, Parts
from registry.serving import responses
from registry.serving.counted import Counted
from registry.serving.hot import HotConnection, Owed
from registry.serving.known import KnownBatch
from registry.serving.polls import Poll, Polls, Told, nothing_new
from registry.serving.recognise import BatchFind
from registry.serving.request import AskDoor, Request
from registry.serving.responses import body_size, named


class BatchFinds:
    def __init__(self, api: Api, ask_door: AskDoor, forget: Callable[[], None]) -> None:
        """`forget`: no poll may be held on to any more."""
        self._api = api
        self._ask_door = ask_door
        self._polls = Polls(api.discovery, forget)
        self._counted = Counted(api, operations.BATCH_FIND)
        self._count_again = api.observer.tally(operations.BATCH_FIND.name).add_instant
        self._last = _NothingNew(b"", b"", 0, False, (b"",), 0)
        self._polled = api.observer.polled
        elements = self._polls.elements
        api.caches |= {"elements": lambda: elements.size, "updates": lambda: elements.updates_size}

    def say_again(self, known: KnownBatch, request_id: str, connection: HotConnection) -> bool:
        """Answer a known request that has nothing new; False: something has changed."""
        batch, poll = known.batch, known.poll
        if poll.changes != self._api.discovery.changes and not self._polls.renew(batch.tenant, poll, known.consumer_id):
            return False
        if not poll.is_same:
            return False
        services = len(poll.elements)
        said = self._nothing_new(batch, services, connection.lines)
        connection.write(named(said.response, request_id) if request_id else said.response)
        self._count_again(batch.tenant, 200, said.sent, known.received)
        self._polled["304"] += services
        return True

    def _nothing_new(self, batch: BatchFind, services: int, lines: bytes) -> _NothingNew:
        """What is said to a client that has everything as it is."""
        position, last = self._api.discovery.position_text(batch.tenant), self._last
        if last.position is position and last.lines is lines and last.services == services and last.gzip == batch.gzip:
            return last
        response = self._response(batch, nothing_new(services), lines)
        sent = body_size(response)
        last = self._last = _NothingNew(position, lines, services, batch.gzip, (b"".join(response),), sent)
        return last

    def answer(self, batch: BatchFind, request: Request, connection: HotConnection) -> Poll | bool:
        """Answer now or owe it; False: the door has to. What may be answered again without being read is returned."""
        discovery, tenant, poll = self._api.discovery, batch.tenant, request.poll
        told = self._polls.answer(tenant, request.body, request.head.consumer_id, poll)
        if told is None or (told.more and batch.gzip):
            return False  # the door refuses it, or compresses it beside the loop
        if told.contradicts:
            changed = _ChangedBatch(connection, self, request, batch, told)
            if not discovery.when_current(tenant, changed):
                return False
            connection.owe(changed)
        else:
            if told.updated:
                response = self._response(batch, told.body, connection.lines, told.more)
                sent = body_size(response)
            else:
                said = self._nothing_new(batch, told.unmodified, connection.lines)
                response, sent = said.response, said.sent
            connection.write(request.named(response))
            self._count(told, request, connection, sent)
        return told.poll if told.poll is poll or told.poll.lasts else True

    def _count(self, told: Told, request: Request, connection: HotConnection, sent: int) -> None:
        self._counted.add(request, connection.client_address, 200, sent)
        self._polled["200"] += told.updated
        self._polled["304"] += told.unmodified

    def _response(self, batch: BatchFind, body: bytes, lines: bytes, more: tuple[Part, ...] = ()) -> Parts:
        position = self._api.discovery.position_text(batch.tenant)
        if batch.gzip and len(body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(body, reply.position(position))
            return responses.render(self._api.compressor.compress(whole), lines)
        return responses.json(body, position, lines, more)

    def settle(self, owed: _ChangedBatch) -> None:
        """As `Finds.settle`. What was told before stands if nothing has happened since."""
        batch, told, request = owed.batch, owed.told, owed.request
        if told.changes != self._api.discovery.changes:
            again = self._polls.answer(batch.tenant, request.body, request.head.consumer_id, told.poll)
            if again is None or (again.more and batch.gzip):
                self._ask_door(owed, request)
                return
            told = again
        response = self._response(batch, told.body, owed.connection.lines, told.more)
        owed.connection.settle(owed, request.named(response))
        self._count(told, request, owed.connection, body_size(response))


class _NothingNew(Struct, frozen=True, gc=False):
    """The last response that had nothing new: at which position, with which lines, for what. `sent`: of its body."""

    position: bytes
    lines: bytes
    services: int
    gzip: bool
    response: tuple[bytes]
    sent: int


class _ChangedBatch(Owed, eq=False, gc=False):
    """A batch find that holds a change. It waits for the log's tail."""

    batch_finds: BatchFinds
    request: Request
    batch: BatchFind
    told: Told

    def done(self) -> bool:
        return not self.is_awaited

    def set_result(self, result: None, /) -> None:
        self.batch_finds.settle(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.batch_finds.settle(self)
