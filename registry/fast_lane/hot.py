"""Hot: what a hot request asks, and its answer as the bytes that go to the client.

The answers come from the same functions as in the other lane; here is only the short way to them, and what of an
answer can be kept: the head of a prepared answer is rendered once. Nothing is kept that could go out of date, and no
answer is kept alive.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable
from typing import Any, Final

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from registry.domain.commands import RegisterInstance
from registry.domain.errors import RegistryError
from registry.domain.find import FindQuery
from registry.domain.view import InstanceRow, Tenant
from registry.fast_lane.heads import Head, Heads
from registry.fast_lane.repeats import Repeats
from registry.http_api import instances, queries, reply
from registry.http_api.api import Api
from registry.http_api.bodies import decode
from registry.http_api.call import consumer_of, service_id_of, tenant_of
from registry.http_api.discovery import batch_now, batch_reply
from registry.http_api.memo import Memo
from registry.http_api.reply import Reply
from registry.usecases.grouping import Waiter

logger = logging.getLogger(__name__)

#: Requests whose meaning is remembered, and their bytes, which may mean some twenty times as much; as many prepared
#: heads, and bytes of them.
KEPT_MAX: Final = 20_000
KEPT_MAX_BYTES: Final = 8 * 1024 * 1024
_URI_MAX_BYTES: Final = 2047
#: A segment of a path, with nothing in it that would have to be decoded or cleaned.
_SEGMENT: Final = r"((?!\.)[^/%#?]+)"
_HEARTBEAT: Final = re.compile(
    rf"/v4/{_SEGMENT}/registry/microservices/{_SEGMENT}/instances/{_SEGMENT}/heartbeat", re.ASCII
)


_Asked = tuple[bytes, bytes, bytes, bytes, bool]  # method, url, domain, consumer, whether compressed


class Taken(Struct, frozen=True, gc=False):
    """One request that the lane has taken.

    A heartbeat when `row` is set, a find when `query` is, a registration when `service_id` is, else a batch find.
    """

    tenant: Tenant
    query: FindQuery | None = None
    row: InstanceRow | None = None
    service_id: str = ""
    consumer_id: str = ""
    gzip: bool = False


class Hot:
    """The hot answers of one replica."""

    def __init__(self, api: Api) -> None:
        self._api = api
        #: Tenants whose answers say more than those of the lane; nearly always there are none.
        self.aside = api.aside.tenants
        self.heads = Heads()
        self.repeats = Repeats(api.discovery, self.aside)
        #: What a request asks, which follows from its bytes alone.
        self._taken: Memo[_Asked, Taken] = Memo(KEPT_MAX, KEPT_MAX_BYTES, _asked_size)
        #: What a heartbeat was last answered: to which headers of uvicorn's, at which position, with which bytes.
        self._beaten: tuple[Any, bytes, bytes] = (None, b"", b"")
        #: By rev, what is said before a body of that length, and in place of it.
        self._heads: Memo[str, tuple[int, bytes, bytes]] = Memo(KEPT_MAX, KEPT_MAX_BYTES, _heads_size)
        self._date: tuple[Any, bytes] = (None, b"")

    # -- taking --------------------------------------------------------------------------------------------------------

    def take(self, method: bytes, url: bytes, head: Head) -> Taken | None:
        """Understand a request's head, or leave it to the other lane."""
        if method == b"PUT":
            return self._heartbeat(url, head.domain)
        understand = _UNDERSTAND.get(method)
        if understand is None or (head.durable and url.endswith(b"/instances") and method == b"POST"):
            return None
        key = (method, url, head.domain, head.consumer, head.gzip)
        taken = self._taken.get(key)
        if taken is None:
            taken = understand(*key[1:])
            if taken is not None:
                self._taken.put(key, taken)
        return taken

    def _heartbeat(self, url: bytes, domain: bytes) -> Taken | None:
        try:
            path = _HEARTBEAT.fullmatch(url.decode())
            if path is None or len(url) > _URI_MAX_BYTES:
                return None
            project, service_id, instance_id = path.groups()
            tenant = tenant_of(domain, project)
            row = self._api.discovery.row(tenant, service_id, instance_id)
        except (RegistryError, UnicodeDecodeError):
            return None
        return Taken(tenant, row=row) if row is not None else None

    # -- answering -----------------------------------------------------------------------------------------------------

    def answer(self, taken: Taken, body: bytes, date: Any) -> bytes | None:
        """The whole response, or None when the other lane has to: the answer needs a wait, or is a refusal."""
        try:
            if taken.query is None:
                return self._answer_batch(taken, body, date)
            return self._answer_find(taken, taken.query, date)
        except RegistryError:
            return None

    def _answer_find(self, taken: Taken, query: FindQuery, date: Any) -> bytes | None:
        discovery, tenant = self._api.discovery, taken.tenant
        answer = discovery.find_now(tenant, query)
        if answer is None or (query.consumer_id and discovery.unrecorded(tenant, (query,))):
            return None
        position = discovery.position_text(tenant)
        unchanged = bool(query.rev) and query.rev == answer.rev
        if not unchanged and taken.gzip and len(answer.body) >= reply.GZIP_MIN_BYTES:
            whole = reply.json(answer.body, reply.revision(answer.rev), reply.position(position))
            return self.render(self._api.compressor.compress(whole, answer.rev), date)
        kept = self._heads.get(answer.rev)
        if kept is None or kept[0] != len(answer.body):
            revision = reply.revision(answer.rev)
            kept = (len(answer.body), _lines(reply.json(answer.body, revision)), _lines(reply.not_modified(revision)))
            self._heads.put(answer.rev, kept)
        dates = self._date_lines(date)
        if unchanged:
            return b"".join((_NOT_MODIFIED, dates, kept[2], b"X-Registry-Position: ", position, b"\r\n\r\n"))
        return b"".join((_OK, dates, kept[1], b"X-Registry-Position: ", position, b"\r\n\r\n", answer.body))

    def _answer_batch(self, taken: Taken, body: bytes, date: Any) -> bytes | None:
        key = (body, taken.consumer_id)
        asked = self._api.batches.get(key)
        if asked is None:
            asked = queries.batch_queries(*key)
            self._api.batches.put(key, asked)
        answer = batch_now(self._api, taken.tenant, asked)
        if answer is None:
            return None
        if taken.gzip and len(answer) >= reply.GZIP_MIN_BYTES:
            return self.render(self._api.compressor.compress(batch_reply(self._api, taken.tenant, answer)), date)
        length = b"Content-Length: %d\r\nX-Registry-Position: " % len(answer)
        position = self._api.discovery.position_text(taken.tenant)
        return b"".join((_OK, self._date_lines(date), _JSON_HEAD, length, position, b"\r\n\r\n", answer))

    def renew(self, tenant: Tenant, row: InstanceRow, waiter: Waiter[bool]) -> None:
        """Hand a renewal to the next batch, which tells the waiter. Raises StoreUnavailable."""
        self._api.heartbeats.renew_for(tenant, row, waiter)

    def beaten(self, tenant: Tenant, date: Any) -> bytes:
        """The response to a heartbeat that was heard. A batch of them has the same for all."""
        position = self._api.discovery.position_text(tenant)
        made_for, made_at, response = self._beaten
        if made_for is not date or made_at is not position:
            response = self.render(self.heard(tenant), date)
            self._beaten = (date, position, response)
        return response

    async def beat(self, tenant: Tenant, row: InstanceRow) -> Reply:
        """The heartbeat again, with all the waiting that it may need."""

        async def beat() -> Reply:
            await self._api.heartbeats.beat(tenant, row.service_id, row.instance_id)
            return self.heard(tenant)

        return await self._whatever_happens(tenant, beat())

    async def register(self, taken: Taken, body: bytes, actor: str) -> Reply:
        """A registration, as `http_api.instances.register` answers it."""
        api, tenant = self._api, taken.tenant

        async def register() -> Reply:
            durability = api.durable.wanted("")
            await api.durable.check(tenant, durability)
            command = decode(body, RegisterInstance)
            instance_id = await api.instances.register(tenant, taken.service_id, command.instance, actor)
            await api.durable.confirm(tenant, durability)
            return instances.registered(api, tenant, instance_id)

        return await self._whatever_happens(tenant, register())

    async def _whatever_happens(self, tenant: Tenant, answer: Awaitable[Reply]) -> Reply:
        """The answer, or the failure in the API's shape."""
        try:
            return await answer
        except RegistryError as error:
            self._api.alarms.observe(error)
            position = self._api.position(tenant)
            return reply.error(error, *((position,) if error.code // 1000 == 400 else ()))
        except Exception:
            logger.exception("a request failed", extra={"action": "request_failed"})
            return reply.error(RegistryError("the registry failed; its log says why"))

    def heard(self, tenant: Tenant) -> Reply:
        return reply.empty(self._api.position(tenant))

    # -- rendering -----------------------------------------------------------------------------------------------------

    def render(self, answer: Reply, date: Any, keep_alive: bool = True) -> bytes:
        """The reply as the other lane would write it."""
        close = b"" if keep_alive else b"Connection: close\r\n"
        return b"".join(
            (STATUS_LINE[answer.status], self._date_lines(date), _lines(answer), close, b"\r\n", answer.body)
        )

    def _date_lines(self, date: Any) -> bytes:
        """uvicorn's own headers; it makes a new list of them every second."""
        if self._date[0] is not date:
            self._date = (date, b"".join(b"%b: %b\r\n" % header for header in date))
        return self._date[1]


def _asked_size(asked: _Asked, taken: Taken) -> int:
    return len(asked[1]) + len(asked[2]) + len(asked[3])


def _heads_size(rev: str, heads: tuple[int, bytes, bytes]) -> int:
    return len(heads[1]) + len(heads[2])


_OK: Final = STATUS_LINE[200]
_NOT_MODIFIED: Final = STATUS_LINE[304]


def _lines(answer: Reply) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in answer.headers])


_JSON_HEAD: Final = _lines(Reply(200, reply.JSON_HEAD))


def _is_plain(path: bytes, parts: list[bytes], resource: bytes) -> bool:
    """`/v4/{project}/registry/{resource}/…` with nothing in it that would have to be decoded or cleaned."""
    return (
        path.startswith(b"/v4/")
        and parts[3] == b"registry"
        and parts[4] == resource
        and parts[-1] != b""
        and b"//" not in path
        and b"/." not in path
        and b"%" not in path
        and b"#" not in path
    )


def _find(url: bytes, domain: bytes, consumer: bytes, gzip: bool) -> Taken | None:
    path, question, query = url.partition(b"?")
    parts = path.split(b"/")
    if len(url) > _URI_MAX_BYTES or len(parts) != 5 or not question or not _is_plain(path, parts, b"instances"):
        return None
    if b"#" in query or b"//" in query or query.endswith((b";", b"&", b"?", b"@")):
        return None
    try:
        asked = queries.find_query(query, consumer_of(consumer))
        return Taken(tenant_of(domain, parts[2].decode()), asked, gzip=gzip)
    except (RegistryError, UnicodeDecodeError):
        return None


def _post(url: bytes, domain: bytes, consumer: bytes, gzip: bool) -> Taken | None:
    return (_register if url.endswith(b"/instances") else _batch)(url, domain, consumer, gzip)


def _register(url: bytes, domain: bytes, consumer: bytes, gzip: bool) -> Taken | None:
    parts = url.split(b"/")
    if len(url) > _URI_MAX_BYTES or len(parts) != 7 or b"?" in url or not _is_plain(url, parts, b"microservices"):
        return None
    try:
        return Taken(tenant_of(domain, parts[2].decode()), service_id=service_id_of(parts[5].decode()))
    except (RegistryError, UnicodeDecodeError):
        return None


def _batch(url: bytes, domain: bytes, consumer: bytes, gzip: bool) -> Taken | None:
    path, _, query = url.partition(b"?")
    parts = path.split(b"/")
    if b"#" in url or query not in (b"type=query", b"type=query&rev=0") or len(parts) != 6 or parts[5] != b"action":
        return None
    if not _is_plain(path, parts, b"instances"):
        return None
    try:
        return Taken(tenant_of(domain, parts[2].decode()), consumer_id=consumer_of(consumer), gzip=gzip)
    except (RegistryError, UnicodeDecodeError):
        return None


_UNDERSTAND: Final = {b"GET": _find, b"POST": _post}
