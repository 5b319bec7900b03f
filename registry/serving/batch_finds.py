"""BatchFinds: batch finds on the hot way. One that holds a change waits until the log has been asked."""

from __future__ import annotations

from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.shared_parts import Part, Parts
from registry.serving import responses
from registry.serving.counted import Counted
from registry.serving.hot import HotConnection, Owed
from registry.serving.kept import Kept
from registry.serving.known import KnownBatch
from registry.serving.polls import Polls, Told, nothing_new
from registry.serving.recognise import BatchFind
from registry.serving.request import AskDoor, Request
from registry.serving.responses import body_size, named


class BatchFinds:
    def __init__(self, api: Api, ask_door: AskDoor) -> None:
        self._api = api
        self._ask_door = ask_door
        self._polls = Polls(api.discovery)
        self._counted = Counted(api, operations.BATCH_FIND)
        self._count_again = api.observer.tally(operations.BATCH_FIND.name).add_instant
        #: The last response that had nothing new: at which position, with which lines, for what.
        self._last: tuple[bytes, bytes, tuple[int, bool], Parts] = (b"", b"", (0, False), (b"",))
        self._polled = api.observer.polled
        api.caches["providers"] = lambda: self._polls.size
        api.caches["facts"] = lambda: self._polls.facts_size

    def say_again(self, known: KnownBatch, kept: Kept, request_id: str, connection: HotConnection) -> bool:
        """Answer a known request with a known body, once more; False: something has changed."""
        batch, head, discovery = known.asked.hot, known.asked.head, self._api.discovery
        assert isinstance(batch, BatchFind)
        if kept.changes != discovery.changes and not kept.holds(discovery, batch.tenant, head.consumer_id):
            return False
        response = self._nothing_new(batch, len(kept.facts), connection.lines)
        connection.write(named(response, request_id) if request_id else response)
        self._count_again(batch.tenant, 200, body_size(response), head.length)
        self._polled["304"] += len(kept.facts)
        return True

    def _nothing_new(self, batch: BatchFind, services: int, lines: bytes) -> Parts:
        """The response to a client that has everything as it is."""
        position = self._api.discovery.position_text(batch.tenant)
        made_at, made_with, made_of, response = self._last
        if made_at is not position or made_with is not lines or made_of != (services, batch.gzip):
            response = self._response(batch, nothing_new(services), lines)
            self._last = (position, lines, (services, batch.gzip), response)
        return response

    def answer(self, batch: BatchFind, request: Request, connection: HotConnection) -> Kept | bool:
        """Answer now or owe it; False: the door has to. What may be said again to the same request is returned."""
        discovery, tenant = self._api.discovery, batch.tenant
        answer = self._polls.answer(tenant, request.body, request.head.consumer_id)
        if answer is None or (answer.more and batch.gzip):
            return False  # the door refuses it, or compresses it beside the loop
        if answer.contradicts:
            place = discovery.place(tenant)
            changed = _ChangedBatch(connection, self, request, batch, answer, place)
            if not discovery.when_current(tenant, changed):
                return False
            connection.owe(changed)
            return True
        response = self._response(batch, answer.body, connection.lines, answer.more)
        connection.write(request.named(response))
        self._count(answer, request, connection, response)
        return answer.kept or True

    def _count(self, answer: Told, request: Request, connection: HotConnection, response: Parts) -> None:
        self._counted.add(request, connection.client_address, 200, body_size(response))
        self._polled["200"] += answer.updated
        self._polled["304"] += answer.unmodified

    def _response(self, batch: BatchFind, body: bytes, lines: bytes, more: tuple[Part, ...] = ()) -> Parts:
        position = self._api.discovery.position_text(batch.tenant)
        if batch.gzip and len(body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(body, reply.position(position))
            return responses.render(self._api.compressor.compress(whole), lines)
        return responses.json(body, position, lines, more)

    def settle(self, owed: _ChangedBatch) -> None:
        """As `Finds.settle`. What was computed before stands if nothing has happened since."""
        batch, answer = owed.batch, owed.answer
        if self._api.discovery.place(batch.tenant) != owed.place:
            again = self._polls.answer(batch.tenant, owed.request.body, owed.request.head.consumer_id)
            if again is None or (again.more and batch.gzip):
                self._ask_door(owed, owed.request)
                return
            answer = again
        response = self._response(batch, answer.body, owed.connection.lines, answer.more)
        owed.connection.settle(owed, owed.request.named(response))
        self._count(answer, owed.request, owed.connection, response)


class _ChangedBatch(Owed, eq=False, gc=False):
    """A batch find that holds a change. It waits for the log's tail."""

    batch_finds: BatchFinds
    request: Request
    batch: BatchFind
    answer: Told
    #: Where the logs stood when it was computed.
    place: object

    def done(self) -> bool:
        return not self.is_awaited

    def set_result(self, result: None, /) -> None:
        self.batch_finds.settle(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.batch_finds.settle(self)
