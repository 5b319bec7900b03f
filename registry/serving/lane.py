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

from registry.domain.errors import RegistryError
from registry.domain.tenant import Tenant
from registry.http_api import operations
from registry.http_api.api import Api
from registry.http_api.door import Door
from registry.memo import Memo
from registry.serving import responses
from registry.serving.batch_finds import BatchFinds
from registry.serving.beats import Beats
from registry.serving.finds import Finds
from registry.serving.heads import Heads
from registry.serving.hot import INCOMPLETE, NOT_HOT, HotConnection, Owed
from registry.serving.recognise import BatchFind, Beat, Find, Hot, Recogniser, Registration, Said
from registry.serving.request import Request, call_of, id_in, operation_of
from registry.usecases.principals import Grant

logger = logging.getLogger(__name__)

#: Whole requests that are known by their bytes, and the bytes of them and of their responses.
REQUESTS_MAX: Final = 20_000
REQUESTS_MAX_BYTES: Final = 16 * 1024 * 1024
#: A request's line, of printable ASCII.
_LINE: Final = re.compile(rb"(GET|PUT|POST) (/v4/[!-~]+) HTTP/1\.1\r\n")


class Known(Struct, frozen=True, gc=False):
    """A request that was answered, what was said to it, and the grant that let it."""

    tenant: Tenant
    said: Said
    grant: Grant | None


class Lane:
    """The hot way of one replica."""

    def __init__(self, api: Api, door: Door) -> None:
        self._api = api
        self._door = door
        #: Whole requests that were finds with an answer that is kept.
        self.requests: Memo[bytes, Known] = Memo(REQUESTS_MAX, REQUESTS_MAX_BYTES, _size)
        #: Whether a whole request may be answered as it was before; not if each is to be said in the log.
        self._repeats = api.access_log is None or not api.access_log.says_all
        #: Tenants that are set aside; nearly always there are none.
        self._aside = api.aside.tenants
        #: Who may ask, where that is a question.
        self._principals = api.access.guards(operations.FIND.access) if api.access is not None else None
        self.heads = Heads()
        self.recogniser = Recogniser()
        api.caches |= {
            "requests": lambda: self.requests.size,
            "heads": lambda: self.heads.size,
            "meanings": lambda: self.recogniser.size,
        }
        self.finds = Finds(api, self._ask_door)
        self._batch_finds = BatchFinds(api, self._ask_door)
        self._beats = Beats(api, self._ask_door)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        """See `hot.HotWay`."""
        if at == 0 and self._repeats and data.startswith(b"GET"):
            known = self.requests.get(data)
            if (
                known is not None
                and self._counts(known.grant)
                and self.finds.say_again(known.said, known.tenant, connection)
            ):
                return len(data)
        began = perf_counter()
        line = _LINE.match(data, at)
        if line is None:
            return NOT_HOT
        block_at = line.end()
        block_end = data.find(b"\r\n\r\n", block_at)
        if block_end < 0:
            return NOT_HOT
        block = data[block_at:block_end]
        head = self.heads.read(block)
        if head is None:
            return NOT_HOT
        method, target = line.groups()
        hot = self.recogniser.recognise(method, target, head)
        if hot is None:
            return NOT_HOT
        end = block_end + 4 + head.length
        if end > len(data):
            return INCOMPLETE
        grant = self._principals.known(head.credentials) if self._principals is not None else None
        named = "" if head.constant else id_in(block)
        request = Request(hot, target, head, data[block_end + 4 : end], began, block, named)
        said = self._answer(request, grant, connection)
        if said is not None and end - at == len(data) and head.constant:
            self.requests.put(data, Known(hot.tenant, said, grant))
        return end

    def _counts(self, grant: Grant | None) -> bool:
        """Whether a grant with which a request was answered still counts."""
        return self._principals is None or (grant is not None and self._principals.counts(grant))

    def _may(self, hot: Hot, grant: Grant | None) -> bool:
        """Whether the request may be answered here: the caller has the right to it, for all microservices.

        What else may be, and why it may not be, the door says.
        """
        return self._principals is None or (grant is not None and grant.reach(operation_of(hot).access).everywhere)

    def _answer(self, request: Request, grant: Grant | None, connection: HotConnection) -> Said | None:
        """Answer, or have the door do it; what may be said again to the same request is returned."""
        done: Said | bool = False
        try:
            if self._may(request.hot, grant):
                done = self._answered(request, connection)
        except RegistryError:
            pass  # the door says it
        except Exception:
            fields = {"operation": operation_of(request.hot).name, "tenant": str(request.hot.tenant)}
            logger.exception("a hot request failed", extra={"action": "request_failed", **fields})
        if done is False:
            owed = Owed(connection)
            connection.owe(owed)
            self._ask_door(owed, request)
        return done if isinstance(done, Said) else None

    def _answered(self, request: Request, connection: HotConnection) -> Said | bool:
        """Answer now or owe it; False: the door has to."""
        hot = request.hot
        if self._aside and hot.tenant in self._aside:
            return False  # its answers say more
        match hot:
            case Find():
                return self.finds.answer(hot, request, connection)
            case Beat():
                return self._beats.answer(hot, request, connection)
            case BatchFind():
                return self._batch_finds.answer(hot, request, connection)
            case Registration():
                return False

    # -- what the door has to answer -----------------------------------------------------------------------------------

    def _ask_door(self, owed: Owed, request: Request) -> None:
        if not owed.disconnected:
            owed.connection.run(self._answer_by_door(owed, request))

    async def _answer_by_door(self, owed: Owed, request: Request) -> None:
        operation, call = call_of(request, owed.connection.client_address, self._api.body_max_bytes)
        answer = await self._door.answer(operation, call)
        owed.settle(responses.render(answer, owed.connection.lines))


def _size(request: bytes, known: Known) -> int:
    return len(request) + sum(map(len, known.said.response))
