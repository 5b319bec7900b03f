"""Finds: finds on the hot way. A find whose answer has changed waits until the log has been asked."""

from __future__ import annotations

from time import perf_counter

from registry.domain.errors import RegistryError
from registry.domain.view import DEFAULT_TENANT, Answer
from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.serving import responses
from registry.serving.hot import HotConnection, Owed
from registry.serving.recognise import KEPT_MAX_BYTES, Find, Kept
from registry.serving.request import AskDoor, Request
from registry.serving.responses import FindResponses, Parts


class Finds:
    def __init__(self, api: Api, ask_door: AskDoor) -> None:
        self._api = api
        self._ask_door = ask_door
        self._responses = FindResponses()
        self._tally = api.observer.tally(operations.FIND.name)
        api.caches.append(lambda: self._responses.size)

    def say_again(self, find: Find, connection: HotConnection) -> bool:
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
        self._tally.add_instant(kept.status)
        return True

    def answer(self, find: Find, request: Request, connection: HotConnection) -> bool:
        """Answer now or owe it; False: the door has to."""
        discovery, tenant, query = self._api.discovery, find.tenant, find.query
        find.kept = None
        answer = discovery.find_here(tenant, query)
        if len(answer.body) > self._api.answer_max_bytes:
            return False
        left_out = discovery.left_out
        if query.consumer_id and discovery.unrecorded(tenant, (query,)):
            return False
        if query.rev and query.rev != answer.rev:
            # "Changed" contradicts the client, perhaps by what is out of date: the log is asked first.
            changed = _ChangedFind(connection, self, request, find)
            if not discovery.when_current(discovery.owner(tenant, query), changed):
                return False
            connection.owe(changed)
            return True
        lines = connection.lines
        status, response = self._response(find, answer, lines)
        # What was not recorded for a quota is counted with each find.
        if sum(map(len, response)) <= KEPT_MAX_BYTES and discovery.left_out == left_out:
            response = (b"".join(response),)
            position, shared = discovery.position_text(tenant), discovery.position_text(DEFAULT_TENANT)
            find.kept = Kept(discovery.changes, position, shared, lines, status, response)
        connection.write(response)
        self._tally.add(status, perf_counter() - request.began)
        return True

    def _response(self, find: Find, answer: Answer, lines: bytes) -> tuple[int, Parts]:
        position = self._api.discovery.position_text(find.tenant)
        if find.query.rev and find.query.rev == answer.rev:
            return 304, self._responses.not_modified(answer, position, lines)
        if find.gzip and len(answer.body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(answer.body, reply.revision(answer.rev), reply.position(position))
            return 200, responses.render(self._api.compressor.compress(whole, answer.rev), lines)
        return 200, self._responses.whole(answer, position, lines)

    def settle(self, owed: _ChangedFind) -> None:
        """The log has been asked, or does not answer: then the view says what it holds."""
        find = owed.find
        try:
            answer = self._api.discovery.find_here(find.tenant, find.query)
        except RegistryError:
            self._ask_door(owed, owed.request)
            return
        status, response = self._response(find, answer, owed.connection.lines)
        owed.settle(response)
        self._tally.add(status, perf_counter() - owed.request.began)


class _ChangedFind(Owed):
    """A find of which the answer has changed. It waits for the log's tail."""

    __slots__ = ("find", "finds", "request")

    def __init__(self, connection: HotConnection, finds: Finds, request: Request, find: Find) -> None:
        super().__init__(connection)
        self.finds = finds
        self.request = request
        self.find = find

    def done(self) -> bool:
        return self.disconnected

    def set_result(self, result: None, /) -> None:
        self.finds.settle(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.finds.settle(self)
