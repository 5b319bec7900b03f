"""Finds: finds on the hot way. A find whose answer has changed waits until the log has been asked."""

from __future__ import annotations

from msgspec import structs

from registry.domain.errors import RegistryError
from registry.domain.find import FindQuery
from registry.domain.view import Answer, Standing
from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.shared_parts import Parts
from registry.serving import responses
from registry.serving.counted import Counted
from registry.serving.hot import HotConnection, Owed
from registry.serving.kept import Kept, Said
from registry.serving.known import KnownFind
from registry.serving.recognise import SAID_MAX_BYTES, Find
from registry.serving.request import AskDoor, Request
from registry.serving.responses import FindResponses, around, body_size, named
from registry.usecases.discovery import Asker


class Finds:
    def __init__(self, api: Api, ask_door: AskDoor) -> None:
        self._api = api
        self._ask_door = ask_door
        self._responses = FindResponses()
        self._counted = Counted(api, operations.FIND)
        self._count_again = api.observer.tally(operations.FIND.name).add_instant
        api.caches["responses"] = lambda: self._responses.size

    def say_again(self, known: KnownFind, request_id: str, connection: HotConnection) -> bool:
        """Send the response to a known request once more; False: something has changed."""
        discovery, asked, kept, said = self._api.discovery, known.asked, known.kept, known.said
        changes = discovery.changes
        if kept.changes != changes and not kept.holds(discovery, asked.hot.tenant, asked.head.consumer_id):
            return False
        if said.changes != changes or said.lines is not connection.lines:
            assert isinstance(asked.hot, Find)
            self._renew(asked.hot, said, connection.lines)
        connection.write(named(said.response, request_id) if request_id else said.response)
        # Which takes no time, and is said nowhere.
        self._count_again(asked.hot.tenant, said.status, said.sent)
        return True

    def answer(self, find: Find, request: Request, connection: HotConnection) -> Kept | bool:
        """Answer now or owe it; False: the door has to. What may be said again to the same request is returned."""
        discovery, tenant = self._api.discovery, find.tenant
        asker = discovery.asker(tenant, request.head.consumer_id)
        if asker is None:
            return False
        said = find.said.get(asker.kind)
        if said is None or not (kept := Kept(asker.kind, (said,), discovery.changes)).holds_for(asker):
            return self._find(find, asker, request, connection)
        self._renew(find, said, connection.lines)
        self._send(said, request, connection)
        return kept

    def _find(self, find: Find, asker: Asker, request: Request, connection: HotConnection) -> Kept | bool:
        discovery, tenant, query = self._api.discovery, find.tenant, _on_behalf(find, asker.consumer_id)
        answer = discovery.find_here(tenant, query)
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
        if self._is_to_be_compressed(find, answer):
            return False
        said = self._say(find, asker, answer, connection.lines)
        self._send(said, request, connection)
        # What was not recorded for a quota is counted with each find.
        if len(said.response) > 1 or discovery.left_out != left_out:
            return True
        return Kept(asker.kind, (said,), discovery.changes)

    def _send(self, said: Said, request: Request, connection: HotConnection) -> None:
        connection.write(request.named(said.response))
        self._counted.add(request, connection.client_address, said.status, said.sent)

    def _say(self, find: Find, asker: Asker, answer: Answer, lines: bytes) -> Said:
        """The response, kept where it is small and it shows when it is no longer true."""
        discovery, query = self._api.discovery, find.query
        status, response = self._response(find, answer, lines)
        size = sum(map(len, response))
        is_small = size <= SAID_MAX_BYTES
        position = discovery.position_text(find.tenant)
        whole = b"".join(response) if is_small else b""
        said = Said(
            answer.standing or Standing(False),
            None if discovery.is_shared(query) else (asker.environment, query.app_id, query.service_name),
            status,
            body_size(response),
            (whole,) if is_small else response,
            around(whole, lines, position),
            lines,
            position,
            discovery.changes,
        )
        if is_small and answer.standing is not None:
            find.said.pop(asker.kind, None)
            if size + sum(len(other.response[0]) for other in find.said.values()) > SAID_MAX_BYTES:
                find.said.clear()
            find.said[asker.kind] = said
        return said

    def _renew(self, find: Find, said: Said, lines: bytes) -> None:
        """Say the same with the time and the position that it is now."""
        discovery = self._api.discovery
        position = discovery.position_text(find.tenant)
        if said.position is not position or said.lines is not lines:
            said.renew(lines, position)
        said.changes = discovery.changes

    def _is_to_be_compressed(self, find: Find, answer: Answer) -> bool:
        """It takes long: the door does it beside the loop, and it is kept."""
        return find.gzip and find.query.rev != answer.rev and self._api.compressor.takes_long(answer.size, answer.rev)

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
            query = _on_behalf(find, owed.request.head.consumer_id)
            answer = self._api.discovery.find_here(find.tenant, query)
        except RegistryError:
            self._ask_door(owed, owed.request)
            return
        if self._is_to_be_compressed(find, answer):
            self._ask_door(owed, owed.request)
            return
        status, response = self._response(find, answer, owed.connection.lines)
        owed.connection.settle(owed, owed.request.named(response))
        self._counted.add(owed.request, owed.connection.client_address, status, body_size(response))


def _on_behalf(find: Find, consumer_id: str) -> FindQuery:
    return structs.replace(find.query, consumer_id=consumer_id) if consumer_id else find.query


class _ChangedFind(Owed, eq=False, gc=False):
    """A find of which the answer has changed. It waits for the log's tail."""

    finds: Finds
    request: Request
    find: Find

    def done(self) -> bool:
        return not self.is_awaited

    def set_result(self, result: None, /) -> None:
        self.finds.settle(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.finds.settle(self)
