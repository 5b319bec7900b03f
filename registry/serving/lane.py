"""Lane: the hot way. Heartbeats, finds, batch finds and registrations, answered from their bytes.

What an answer is follows from the same functions as on the other way. Where it must wait, or is a refusal, the door is
handed what has been understood: no request is read twice.
"""

from __future__ import annotations

import logging
import re
from time import perf_counter
from typing import Final

from registry.domain.errors import RegistryError
from registry.domain.tenant import Tenant
from registry.http_api import operations
from registry.http_api.api import Api
from registry.http_api.call import request_id_of
from registry.http_api.door import Door
from registry.serving import responses
from registry.serving.again import alike, same
from registry.serving.batch_finds import BatchFinds
from registry.serving.beats import Beats
from registry.serving.finds import Finds
from registry.serving.heads import Head, Heads, is_usual, varies, without_passed
from registry.serving.hot import INCOMPLETE, NOT_HOT, HotConnection, Owed
from registry.serving.kept import Kept, Said
from registry.serving.known import Asked, KnownBatch, KnownBatches, KnownFind, KnownFinds, key_of
from registry.serving.polls import Poll
from registry.serving.recognise import (
    BATCH_LINE,
    BEAT_LINE,
    BatchFind,
    Beat,
    Find,
    Hot,
    Recogniser,
    batch_of,
    beat_of,
)
from registry.serving.request import Request, call_of, id_in, operation_of
from registry.usecases.principals import Grant

logger = logging.getLogger(__name__)

#: The end of a request's headers.
_END: Final = b"\r\n\r\n"
#: A request's line, of printable ASCII.
_LINE: Final = re.compile(rb"(GET|POST) (/v4/[!-~]+) HTTP/1\.1\r\n")
#: Bytes within which a batch find tells what it is.
_BATCH_WITHIN: Final = 128
#: The largest batch find, with its body, that is looked for among those that are known: it may come in many pieces.
WHOLE_MAX_BYTES: Final = 32 * 1024


class Lane:
    """The hot way of one replica."""

    def __init__(self, api: Api, door: Door) -> None:
        self._api = api
        self._door = door
        self.known = KnownFinds()
        self._find_known = self.known.find
        self.known_batches = KnownBatches()
        self._find_batch = self.known_batches.find
        #: Whether a known request may be answered as it was before; not if each is to be said in the log.
        self._repeats = api.access_log is None or not api.access_log.says_all
        #: Tenants that are set aside; nearly always there are none.
        self._aside = api.aside.tenants
        #: Who may ask, where that is a question.
        self._principals = api.access.guards(operations.FIND.access) if api.access is not None else None
        self.heads = Heads()
        self.recogniser = Recogniser()
        api.caches |= {
            "requests": lambda: self.known.size,
            "bodies": lambda: self.known_batches.size,
            "heads": lambda: self.heads.size,
            "meanings": lambda: self.recogniser.size,
        }
        self.finds = Finds(api, self._ask_door)
        self._batch_finds = BatchFinds(api, self._ask_door, self.known_batches.forget)
        self._beats = Beats(api, self._ask_door)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        """See `hot.HotWay`."""
        known = looked_for = None
        if at == 0 and self._repeats and data.startswith(b"GET"):
            looked_for, id = data, b""
            known = self._find_known(data)
            if known is None and (again := connection.again) is not None:
                value = again.id_in(data)
                if value is not None:
                    known, id = self._find_known(again.key), value
            if known is not None and self._say_again(known, id, connection):
                return len(data)
        elif data.startswith(b"PUT", at):
            return self._receive_beat(data, at, connection)
        if data.startswith(b"POST", at) and data.find(b"/instances/action?", at, at + _BATCH_WITHIN) > 0:
            return self._receive_batch(data, at, connection)
        block_end = data.find(_END, at)
        if block_end < 0:
            return NOT_HOT
        body_at = block_end + len(_END)
        line_end = data.find(b"\r\n", at)
        block = data[line_end + 2 : block_end]
        head = self.heads.find(block)
        # All that is known has a query; a registration has none.
        if known is None and self._repeats and data.find(b"?", at, line_end) >= 0:
            text, id = data[at:body_at], b""
            if text is not looked_for:
                known = self._find_known(text)
            if known is None and head is None and is_usual(block):
                without, id = without_passed(text)
                known = self._find_known(without)
                if known is not None and text is data:
                    connection.keep(alike(connection.again, data, body_at, known.text, id))
            if known is not None and self._say_again(known, id, connection):
                return body_at
        began = perf_counter()
        asked = known.asked if known is not None else self._understand(data, at, block, head)
        if asked is None:
            return NOT_HOT
        end = body_at + asked.head.length
        if end > len(data):
            return INCOMPLETE
        grant = self._principals.known(asked.head.credentials) if self._principals is not None else None
        request = Request(asked.hot, asked.target, asked.head, data[body_at:end], began, block, id_in(block))
        kept = self._answer(request, grant, connection)
        if isinstance(kept, Kept) and not request.body:
            self._know(data[at:body_at], asked, grant, kept)
        return end

    def _receive_batch(self, data: bytes, at: int, connection: HotConnection) -> int:
        """As `receive`, of a request that can only be a batch find. It is looked for with its body, as a whole."""
        is_whole = at == 0 and self._repeats and len(data) <= WHOLE_MAX_BYTES
        key, known, id = self._find_again(data, connection) if is_whole else (b"", None, b"")
        if known is not None and self._say_batch_again(known, id, connection):
            return len(data)
        began = perf_counter()
        line = BATCH_LINE.match(data, at)
        if line is None:
            return NOT_HOT
        block_end = data.find(_END, line.end() - 2)
        if block_end < 0:
            return NOT_HOT
        body_at = block_end + len(_END)
        block = data[line.end() : block_end]
        head = self.heads.find(block)
        differs = head is None
        if head is None:
            if known is None and is_whole and is_usual(block):
                without, id = without_passed(data[:body_at])
                without_key = key_of(without + data[body_at:])
                known = self._find_batch(without_key)
                if known is not None:
                    connection.keep(alike(connection.again, data, body_at, without_key, id))
                    if self._say_batch_again(known, id, connection):
                        return len(data)
            head = self.heads.read(block)
        batch = batch_of(line, head) if head is not None else None
        if head is None or batch is None:
            return NOT_HOT
        end = body_at + head.length
        if end > len(data):
            return INCOMPLETE
        grant = self._principals.known(head.credentials) if self._principals is not None else None
        poll = known.poll if known is not None else None
        request_id = id_in(block) if differs or head.has_id else ""
        request = Request(batch, line[1], head, data[body_at:end], began, block, request_id, poll)
        told = self._answer(request, grant, connection)
        is_new = known is None or told is not known.poll or known.grant is not grant
        if isinstance(told, Poll) and is_new and is_whole and end == len(data):
            known = KnownBatch(batch, head.consumer_id, head.length, grant, told)
            if differs or request_id:
                self._know_batch(data, body_at, known)
            else:
                self.known_batches.put(key, known)
        return end

    def _find_again(self, data: bytes, connection: HotConnection) -> tuple[bytes, KnownBatch | None, bytes]:
        """The key of a whole batch find, what is known of it, and what the client calls it."""
        again = connection.again
        if again is not None and (id := again.id_in(data)) is not None:
            return again.key, self._find_batch(again.key), id
        key = key_of(data)
        known = self._find_batch(key)
        if known is not None:
            connection.keep(same(data, key))
        return key, known, b""

    def _receive_beat(self, data: bytes, at: int, connection: HotConnection) -> int:
        """As `receive`, of a request that can only be a heartbeat. Of these only the headers are remembered."""
        began = perf_counter()
        line = BEAT_LINE.match(data, at)
        if line is None:
            return NOT_HOT
        block_at = line.end()
        block_end = data.find(_END, block_at - 2)
        if block_end < 0:
            return NOT_HOT
        block = data[block_at:block_end]
        head = known_head = self.heads.find(block)
        if head is None:
            head = self.heads.read(block)
        if head is None or (beat := beat_of(line, head)) is None:
            return NOT_HOT
        body_at = block_end + len(_END)
        end = body_at + head.length
        if end > len(data):
            return INCOMPLETE
        grant = self._principals.known(head.credentials) if self._principals is not None else None
        id = "" if known_head is not None and not known_head.has_id else id_in(block)
        request = Request(beat, line[1], head, data[body_at:end], began, block, id)
        self._answer(request, grant, connection)
        return end

    def _understand(self, data: bytes, at: int, block: bytes, head: Head | None) -> Asked | None:
        """The request that begins at `at`, of which the headers are perhaps understood; None: it is not hot."""
        line = _LINE.match(data, at)
        head = head or self.heads.read(block)
        if line is None or head is None:
            return None
        method, target = line.groups()
        hot = self.recogniser.recognise(method, target, head)
        return Asked(target, hot, head) if hot is not None else None

    def _say_again(self, known: KnownFind, id: bytes, connection: HotConnection) -> bool:
        """Answer a find that is known; False: nothing has been done."""
        if not self._may_again(known.asked.hot.tenant, known.grant):
            return False
        return self.finds.say_again(known, request_id_of(id) if id else "", connection)

    def _say_batch_again(self, known: KnownBatch, id: bytes, connection: HotConnection) -> bool:
        """Answer a batch find that is known, and has nothing new; False: nothing has been done."""
        if not self._may_again(known.batch.tenant, known.grant):
            return False
        return self._batch_finds.say_again(known, request_id_of(id) if id else "", connection)

    def _may_again(self, tenant: Tenant, grant: Grant | None) -> bool:
        """Whether the one who had this grant may be answered as before."""
        if self._aside and tenant in self._aside:
            return False
        return self._principals is None or (grant is not None and self._principals.counts(grant))

    def _know(self, text: bytes, asked: Asked, grant: Grant | None, kept: Kept) -> None:
        """Remember what was answered to a find, for the next time that the same is asked."""
        without, id = without_passed(text)
        said = kept.facts[0]
        assert isinstance(said, Said)
        # What has an id is known without it only: the id is to be answered.
        self.known.put(without if id else text, KnownFind(without, asked, grant, kept, said))

    def _know_batch(self, data: bytes, body_at: int, known: KnownBatch) -> None:
        """The same of a batch find, whose headers were not seen before, or name it."""
        key, text = key_of(data), data[:body_at]
        without, id = without_passed(text)
        if not id:
            self.known_batches.put(key, known)
        if id or varies(text):
            self.known_batches.put(key_of(without + data[body_at:]), known)

    def _may(self, hot: Hot, grant: Grant | None) -> bool:
        """Whether the request may be answered here: the caller has the right to it, for all microservices.

        What else may be, and why it may not be, the door says.
        """
        return grant is not None and grant.reach(operation_of(hot).access).everywhere

    def _answer(self, request: Request, grant: Grant | None, connection: HotConnection) -> Kept | Poll | None:
        """Answer, or have the door do it; what may be said again to the same request is returned."""
        hot = request.hot
        done: Kept | Poll | bool = False
        try:
            if self._aside and hot.tenant in self._aside:
                pass  # its answers say more
            elif self._principals is not None and not self._may(hot, grant):
                pass
            elif isinstance(hot, Beat):
                done = self._beats.answer(hot, request, connection)
            elif isinstance(hot, Find):
                done = self.finds.answer(hot, request, connection)
            elif isinstance(hot, BatchFind):
                done = self._batch_finds.answer(hot, request, connection)
        except RegistryError:
            pass  # the door says it
        except Exception:
            fields = {"operation": operation_of(hot).name, "tenant": str(hot.tenant)}
            logger.exception("a hot request failed", extra={"action": "request_failed", **fields})
        if done is False:
            owed = Owed(connection)
            connection.owe(owed)
            self._ask_door(owed, request)
        return None if isinstance(done, bool) else done

    # -- what the door has to answer -----------------------------------------------------------------------------------

    def _ask_door(self, owed: Owed, request: Request) -> None:
        if owed.is_awaited:
            owed.connection.run(self._answer_by_door(owed, request))

    async def _answer_by_door(self, owed: Owed, request: Request) -> None:
        operation, call = call_of(request, owed.connection.client_address, self._api.body_max_bytes)
        answer = await self._door.answer(operation, call)
        owed.connection.settle(owed, responses.render(answer, owed.connection.lines))
