"""Api: the use cases that the handlers call, and what is ready to be said of this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from registry.clock import Clock
from registry.domain.find import FindQuery
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.history.feeds import Feeds
from registry.history.historian import Historian
from registry.http_api import reply
from registry.http_api.access import Access
from registry.http_api.access_log import AccessLog
from registry.http_api.big_reads import BigReads
from registry.http_api.call import BODY_MAX_BYTES, Call
from registry.http_api.client_address import TrustedProxies
from registry.http_api.load import Load
from registry.http_api.networks import Networks
from registry.http_api.origins import Origins
from registry.http_api.queries import BatchQueries
from registry.http_api.reply import Compressor, Header, Reply
from registry.memo import Memo
from registry.metrics.family import Family
from registry.metrics.figure import Told
from registry.metrics.observer import Observer
from registry.projection.aside import Aside
from registry.settings import Settings
from registry.store.port import About
from registry.tracing import Spans
from registry.usecases.alarms import Alarms
from registry.usecases.discovery import Discovery
from registry.usecases.durable import Durable
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.metadata import Metadata
from registry.usecases.microservices import Microservices
from registry.usecases.roster import Roster
from registry.usecases.watching import Watching

#: Requests whose meaning is remembered, and their bytes; what they mean may take some ten times as much.
MEANT_MAX: Final = 20_000
MEANT_MAX_BYTES: Final = 16 * 1024 * 1024
#: Schemas that are read as documents at the same time.
SCHEMAS_READ_MAX: Final = 2


class PastAnswers(Protocol):
    """Answers calls that are about the past (`past_here`)."""

    async def answer(self, operation: Any, call: Any) -> Reply:
        """Answer an `Operation` for a `Call`. Raises RegistryError."""


class Workers(Protocol):
    """The replicas that share this one's port, itself included."""

    async def families(self) -> Mapping[str, Sequence[Family]]:
        """The figures of each, by its number; those that do not answer are told to be away."""


_Request = tuple[bytes, str]  # query string or body, consumer id


def _size(request: _Request, meant: object) -> int:
    return len(request[0]) + len(request[1])


@dataclass(slots=True)
class Api:
    """Everything behind the HTTP face of one replica."""

    discovery: Discovery
    heartbeats: Heartbeats
    instances: Instances
    microservices: Microservices
    metadata: Metadata
    watching: Watching
    alarms: Alarms
    durable: Durable
    #: "" when this replica may be sent requests, else the reason why not.
    not_ready: Callable[[], str]
    #: "" when the store answers and takes writes, else the reason why this cannot be relied on.
    unhealthy: Callable[[], str]
    #: Tenants that are answered from memory alone.
    aside: Aside
    roster: Roster
    about_store: Callable[[], Awaitable[About]]
    #: Bytes of the largest body of a request, and of the largest answer.
    body_max_bytes: int = BODY_MAX_BYTES
    answer_max_bytes: int = 16 * 1024 * 1024
    #: From where the operations below /admin may be asked for.
    admin_from: Networks = field(default_factory=Networks)
    #: Who answers about the past; set where the parts are put together.
    past: PastAnswers | None = None
    historian: Historian | None = None
    feeds: Feeds | None = None
    #: The wall clock, Unix ms.
    now_ms: Callable[[], int] = Clock().wall_ms
    #: Where there are accounts.
    access: Access | None = None
    origins: Origins = field(default_factory=Origins)
    #: Who may say for whom they ask.
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    load: Load = field(default_factory=Load)
    #: Where requests are said one by one; None: nowhere.
    access_log: AccessLog | None = None
    #: Where requests are traced; None: nowhere.
    spans: Spans | None = None
    #: Makes the ids of requests that have none.
    request_ids: Callable[[], str] = str
    settings: Settings = field(default_factory=Settings)
    observer: Observer = field(default_factory=Observer)
    #: The schemas that are read at once, which takes a thread each.
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SCHEMAS_READ_MAX))
    compressor: Compressor = field(default_factory=Compressor)
    #: What a request's bytes and consumer meant: clients repeat their polls byte for byte.
    finds: Memo[_Request, FindQuery] = field(default_factory=lambda: Memo(MEANT_MAX, MEANT_MAX_BYTES, _size))
    batches: Memo[_Request, BatchQueries] = field(default_factory=lambda: Memo(MEANT_MAX, MEANT_MAX_BYTES, _size))
    #: What /metrics says, beside what this counts itself; set where the parts are put together.
    figures: list[Callable[[], Iterable[Told]]] = field(default_factory=list)
    workers: Workers | None = None
    #: How many bytes each cache of the HTTP side holds (registry/docs/caches.md).
    caches: dict[str, Callable[[], int]] = field(init=False)
    #: Answers that take long to make.
    big_reads: BigReads = field(init=False)

    def __post_init__(self) -> None:
        self.big_reads = BigReads(self.answer_max_bytes)
        self.caches = {
            "finds": lambda: self.finds.size,
            "batches": lambda: self.batches.size,
            "compressed": lambda: self.compressor.size,
        }

    async def ask_past(self, operation: Any, call: Call) -> Reply:
        """Answer an `Operation` about the past. Raises RegistryError."""
        assert self.past is not None
        call.applied = self.discovery.position_of(call.tenant), self.discovery.position_of(DEFAULT_TENANT)
        return await self.past.answer(operation, call)

    def position(self, tenant: Tenant) -> Header:
        """The header that says at which position of the tenant's log an answer is made."""
        return reply.position(self.discovery.position_text(tenant))
