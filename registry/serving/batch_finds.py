"""BatchFinds: batch finds on the hot way. One that holds a change waits until the log has been asked."""

from __future__ import annotations

from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.shared_parts import Parts
from registry.serving import responses
from registry.serving.counted import Counted
from registry.serving.hot import HotConnection, Owed
from registry.serving.polls import Polls, Told
from registry.serving.recognise import BatchFind
from registry.serving.request import AskDoor, Request
from registry.serving.responses import body_size


class BatchFinds:
    def __init__(self, api: Api, ask_door: AskDoor) -> None:
        self._api = api
        self._ask_door = ask_door
        self._polls = Polls(api.discovery)
        self._counted = Counted(api, operations.BATCH_FIND)
        self._polled = api.observer.polled
        api.caches["providers"] = lambda: self._polls.size

    def answer(self, batch: BatchFind, request: Request, connection: HotConnection) -> bool:
        """Answer now or owe it; False: the door has to."""
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
        response = self._response(batch, answer, connection.lines)
        connection.write(request.named(response))
        self._count(answer, request, connection, response)
        return True

    def _count(self, answer: Told, request: Request, connection: HotConnection, response: Parts) -> None:
        self._counted.add(request, connection.client_address, 200, body_size(response))
        self._polled["200"] += answer.updated
        self._polled["304"] += answer.unmodified

    def _response(self, batch: BatchFind, answer: Told, lines: bytes) -> Parts:
        position = self._api.discovery.position_text(batch.tenant)
        if batch.gzip and len(answer.body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(answer.body, reply.position(position))
            return responses.render(self._api.compressor.compress(whole), lines)
        return responses.json(answer.body, position, lines, answer.more)

    def settle(self, owed: _ChangedBatch) -> None:
        """As `Finds.settle`. What was computed before stands if nothing has happened since."""
        batch, answer = owed.batch, owed.answer
        if self._api.discovery.place(batch.tenant) != owed.place:
            again = self._polls.answer(batch.tenant, owed.request.body, owed.request.head.consumer_id)
            if again is None or (again.more and batch.gzip):
                self._ask_door(owed, owed.request)
                return
            answer = again
        response = self._response(batch, answer, owed.connection.lines)
        owed.settle(owed.request.named(response))
        self._count(answer, owed.request, owed.connection, response)


class _ChangedBatch(Owed):
    """A batch find that holds a change. It waits for the log's tail."""

    __slots__ = ("answer", "batch", "batch_finds", "place", "request")

    def __init__(
        self,
        connection: HotConnection,
        batch_finds: BatchFinds,
        request: Request,
        batch: BatchFind,
        answer: Told,
        place: object,
    ) -> None:
        super().__init__(connection)
        self.batch_finds = batch_finds
        self.request = request
        self.batch = batch
        self.answer = answer
        #: Where the logs stood when it was computed.
        self.place = place

    def done(self) -> bool:
        return self.disconnected

    def set_result(self, result: None, /) -> None:
        self.batch_finds.settle(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.batch_finds.settle(self)
