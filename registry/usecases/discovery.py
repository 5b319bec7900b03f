"""Discovery: finds around `domain.find`, with the rule that a replica catches up before it contradicts a client.

Agreeing ("not modified", or a first list) needs nothing but the view. "Changed" and "does not exist" contradict what
the client holds, perhaps from a replica that is ahead: then the log's tail is read first, and the answer made again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct, structs

from registry.domain import find as domain_find
from registry.domain import service_reads
from registry.domain.access_errors import NoPermission
from registry.domain.batch_find import BatchResult, batch_find
from registry.domain.decide import service_or_refuse
from registry.domain.errors import AnswerTooLarge, PositionNotReached, RegistryError, StoreUnavailable
from registry.domain.find import FindQuery
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.model import Schema
from registry.domain.own import OWN_APP_ID, OWN_ENVIRONMENT, OWN_SERVICE_NAME, is_own
from registry.domain.position import Position
from registry.domain.quotas import Quotas
from registry.domain.schemas import list_schemas, schema_or_refuse
from registry.domain.steps import Steps
from registry.domain.tenant import ACCOUNTS, DEFAULT_TENANT, Tenant
from registry.domain.version import VersionRule
from registry.domain.view import Answer, Covers, GroupKey, InstanceRow, RegistryView
from registry.projection.projector import Projector
from registry.usecases.grouping import Group, Waiter

#: Seconds a request waits for the position that it asks for.
POSITION_TIMEOUT_S: Final = 5.0
#: Seconds that a read waits for the log's tail.
CATCH_UP_TIMEOUT_S: Final = 1.0
#: A store that has been silent for longer (seconds) is away: reads do not ask it.
AWAY_AFTER_S: Final = 3.0
#: The largest answer, in bytes.
ANSWER_MAX_BYTES: Final = 16 * 1024 * 1024
#: Requests that wait for the log's tail at once.
WAITING_MAX: Final = 50_000

NOTHING_FOUND: Final[Mapping[GroupKey, None]] = {}

A = TypeVar("A")


class Asker(Struct, frozen=True, gc=False):
    """A consumer, or somebody who does not say which. All of one `kind` find the same, in the same views."""

    kind: tuple[object, ...]
    consumer_id: str
    environment: str
    #: What it has found before; None: nothing is recorded of it.
    found: Mapping[GroupKey, None] | None


class Discovery:
    """Reads. The methods ending in `_now` never wait: None means that the caller has to catch up first."""

    def __init__(
        self,
        projector: Projector,
        shared: frozenset[str] = frozenset({OWN_SERVICE_NAME}),
        quotas: Quotas | None = None,
        answer_max_bytes: int = ANSWER_MAX_BYTES,
    ) -> None:
        self._projector = projector
        self.answer_max_bytes = answer_max_bytes
        self._quotas = quotas or Quotas()
        #: Dependencies that finds did not record because a quota was full.
        self.left_out = 0
        #: Names in app `default` of the default tenant that consumers of every tenant and environment find.
        self.shared = shared
        #: Who waits for the views of tenants to be current.
        self._current: dict[Tenant, Group[None, None]] = {}
        projector.listen_for_leaves(self._leave)

    # -- one microservice name -----------------------------------------------------------------------------------------

    def find_here(self, tenant: Tenant, query: FindQuery) -> Answer:
        """The answer as the view has it now. Raises what `domain.find.find` raises, and AnswerTooLarge."""
        return self._sendable(domain_find.find(*self._target(tenant, query)), query.rev)

    def _sendable(self, answer: Answer, rev: str) -> Answer:
        """What the client is sent of an answer is not too large: nothing, where it holds that already."""
        if answer.size > self.answer_max_bytes and rev != answer.rev:
            raise AnswerTooLarge(answer.size, self.answer_max_bytes)
        return answer

    def owner(self, tenant: Tenant, query: FindQuery) -> Tenant:
        """In whose view the answer is found."""
        return DEFAULT_TENANT if self.is_shared(query) else tenant

    def find_now(self, tenant: Tenant, query: FindQuery) -> Answer | None:
        try:
            answer = self.find_here(tenant, query)
        except RegistryError as refusal:
            if refusal.is_final:
                raise
            return None
        return None if query.rev and query.rev != answer.rev else answer

    async def find(self, tenant: Tenant, query: FindQuery) -> Answer:
        answer = self.find_now(tenant, query)
        if answer is None:
            answer = await self._again(self.owner(tenant, query), lambda: self.find_here(tenant, query))
        return answer

    def _target(self, tenant: Tenant, query: FindQuery) -> tuple[RegistryView, FindQuery]:
        """Shared microservices stand in the default tenant, in the registry's environment, for everyone to see."""
        if self.is_shared(query):
            shared = structs.replace(query, environment=OWN_ENVIRONMENT, consumer_id="")
            return self._projector.view(DEFAULT_TENANT), shared
        return self._projector.view(tenant), query

    def unrecorded(self, tenant: Tenant, queries: Sequence[FindQuery]) -> list[GroupKey]:
        """What these finds of one consumer's have answered and its dependencies do not hold yet, but can.

        What is over a quota is left out here, so that the next find does not try to record it again.
        """
        if not queries or not queries[0].consumer_id:
            return []
        view = self._projector.view(tenant)
        consumer_id = queries[0].consumer_id
        if consumer_id not in view.services or is_own(view, consumer_id):
            return []
        keys = [key for query in queries if not self.is_shared(query) for key in domain_find.unrecorded(view, query)]
        if not keys:
            return []
        found = self._quotas.recordable(view, consumer_id, keys)
        self.left_out += len(set(keys)) - len(found)
        return found

    def asker(self, tenant: Tenant, consumer_id: str) -> Asker | None:
        """Who asks, as far as that decides what is found. None: nobody that is known, or the registry itself."""
        view, shared = self._projector.view_if_known(tenant), self._projector.view_if_known(DEFAULT_TENANT)
        if view is None or shared is None:
            return None
        if not consumer_id:
            return Asker((view.token, shared.token), "", "", None)
        row = view.services.get(consumer_id)
        if row is None or is_own(view, consumer_id):
            return None
        environment, app_id = row.service.environment, row.service.app_id
        kind = (view.token, shared.token, environment, app_id)
        return Asker(kind, consumer_id, environment, view.providers.get(consumer_id, NOTHING_FOUND))

    def is_shared(self, query: FindQuery | InstanceQuery) -> bool:
        """Whether everybody finds it in the default tenant."""
        return isinstance(query, FindQuery) and query.app_id == OWN_APP_ID and query.service_name in self.shared

    # -- many at once --------------------------------------------------------------------------------------------------

    def batch_now(
        self, tenant: Tenant, *lists: Sequence[FindQuery | InstanceQuery], covers: Covers | None = None
    ) -> list[BatchResult] | None:
        """As `batch`, or None when the answer would contradict the client."""
        results = self.batch_here(tenant, *lists, covers=covers)
        for queries, result in zip(lists, results, strict=True):
            if result.failed or any(queries[index].rev for index, _ in result.updated):
                return None
        return results

    async def batch(
        self, tenant: Tenant, *lists: Sequence[FindQuery | InstanceQuery], covers: Covers | None = None
    ) -> list[BatchResult]:
        """Answer lists of queries, all at one position. What is not covered is failed."""
        results = self.batch_now(tenant, *lists, covers=covers)
        if results is not None:
            return results
        try:
            await self._catch_up_soon(tenant)
            if tenant != DEFAULT_TENANT and any(self.is_shared(query) for queries in lists for query in queries):
                await self._catch_up_soon(DEFAULT_TENANT)
        except StoreUnavailable:
            results = self.batch_here(tenant, *lists, covers=covers)
            if any(result.failed for result in results):
                raise
            return results
        return self.batch_here(tenant, *lists, covers=covers)

    def batch_here(
        self, tenant: Tenant, *lists: Sequence[FindQuery | InstanceQuery], covers: Covers | None = None
    ) -> list[BatchResult]:
        """The answers to lists of queries as the view has them now. Raises AnswerTooLarge."""
        view = self._projector.view(tenant)

        def answer(query: FindQuery | InstanceQuery) -> Answer:
            if covers is not None and not self.is_covered(tenant, query, covers):
                raise NoPermission
            if isinstance(query, FindQuery):
                return domain_find.find(*self._target(tenant, query))
            return get_instance(view, query)

        results: list[BatchResult] = []
        for queries in lists:
            size = sum(result.size for result in results)
            results.append(batch_find(queries, answer, self.answer_max_bytes, size))
        return results

    # -- what may be seen ----------------------------------------------------------------------------------------------

    def is_covered(self, tenant: Tenant, query: FindQuery | InstanceQuery, covers: Covers) -> bool:
        """Whether all that the query means is covered, as the view has it now. What is shared is for everyone."""
        view = self._projector.view(tenant)
        if isinstance(query, InstanceQuery):
            row = view.services.get(query.service_id)
            return row is None or covers(*row.group.key)
        if self.is_shared(query):
            return True
        consumer = view.services.get(query.consumer_id)
        environment = consumer.service.environment if consumer is not None else query.environment
        return all(covers(*key) for key in self.named(tenant, environment, query.app_id, query.service_name))

    async def key(self, tenant: Tenant, service_id: str) -> GroupKey:
        """Environment, application and name of a microservice."""
        return await self.read(tenant, lambda view: service_or_refuse(view, service_id).group.key)

    def named(self, tenant: Tenant, environment: str, app_id: str, name: str) -> list[GroupKey]:
        """The microservices that a name, or alias, means; itself, where it means none."""
        view, key = self._projector.view(tenant), (environment, app_id, name)
        ids = () if key in view.groups else view.aliases.get(key, ())
        return [view.services[id].group.key for id in ids] or [key]

    # -- by service id -------------------------------------------------------------------------------------------------

    def instances_now(self, tenant: Tenant, query: InstanceQuery) -> Answer | None:
        """One instance, or all of a service when the query names none."""
        try:
            answer = self._instances(tenant, query)
        except RegistryError:
            return None
        return None if query.rev and query.rev != answer.rev else answer

    async def instances(self, tenant: Tenant, query: InstanceQuery) -> Answer:
        answer = self.instances_now(tenant, query)
        if answer is None:
            answer = await self._again(tenant, lambda: self._instances(tenant, query))
        return answer

    def _instances(self, tenant: Tenant, query: InstanceQuery) -> Answer:
        view = self._projector.view(tenant)
        answer = get_instance(view, query) if query.instance_id else list_instances(view, query)
        return self._sendable(answer, query.rev)

    # -- microservices -------------------------------------------------------------------------------------------------

    async def service(self, tenant: Tenant, service_id: str) -> bytes:
        """The microservice as JSON."""
        return await self.read(tenant, lambda view: service_reads.service(view, service_id))

    async def services(self, tenant: Tenant, with_shared: bool, covers: Covers | None = None) -> Steps:
        """All microservices as JSON. The shared ones stand in the default tenant and are hidden unless asked for."""
        if not self._projector.knows(tenant):
            await self.catch_up(tenant)
        return service_reads.list_services(self._projector.view(tenant), self.hidden(tenant, with_shared), covers)

    def hidden(self, tenant: Tenant, with_shared: bool) -> frozenset[str]:
        """The names that lists of this tenant's microservices leave out."""
        return self.shared if tenant == DEFAULT_TENANT and not with_shared else frozenset()

    async def tags(self, tenant: Tenant, service_id: str) -> dict[str, str]:
        return await self.read(tenant, lambda view: service_or_refuse(view, service_id).tags)

    async def schema(self, tenant: Tenant, service_id: str, schema_id: str) -> Schema:
        return await self.read(tenant, lambda view: schema_or_refuse(view, service_id, schema_id))

    async def schemas(self, tenant: Tenant, service_id: str, with_schema: bool) -> list[Schema]:
        return await self.read(tenant, lambda view: list_schemas(view, service_id, with_schema))

    async def exists(self, tenant: Tenant, environment: str, app_id: str, service_name: str, rule: VersionRule) -> str:
        return await self.read(tenant, lambda view: service_reads.exists(view, environment, app_id, service_name, rule))

    async def read(self, tenant: Tenant, question: Callable[[RegistryView], A]) -> A:
        """Answer from the view; before refusing, catch up and answer again."""
        try:
            return question(self._projector.view(tenant))
        except RegistryError as refusal:
            if refusal.is_final:
                raise
            return await self._again(tenant, lambda: question(self._projector.view(tenant)))

    # -- the registry itself -------------------------------------------------------------------------------------------

    def views(self) -> list[RegistryView]:
        """The views of all tenants."""
        return [self._projector.view(tenant) for tenant in self._projector.tenants if tenant != ACCOUNTS]

    async def own_instances(self) -> Answer:
        """The replicas, as instances of `SERVICECENTER`."""
        return await self.find(DEFAULT_TENANT, FindQuery(OWN_APP_ID, OWN_SERVICE_NAME))

    def beating_row(self, tenant: Tenant, service_id: str, instance_id: str) -> InstanceRow | None:
        """The instance as this replica holds it now, if a client may send heartbeats for it."""
        view = self._projector.view(tenant)
        service = view.services.get(service_id)
        return None if service is None or is_own(view, service_id) else service.instances.get(instance_id)

    # -- positions -----------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> int:
        """Moves with every change to any view. While it stands still, every answer is what it was."""
        return self._projector.changes

    def position_of(self, tenant: Tenant) -> Position:
        return self._projector.view(tenant).position

    def position_text(self, tenant: Tenant) -> bytes:
        """The position that answers are made at, for the position header."""
        return self._projector.view(tenant).position_text

    def _leave(self, tenant: Tenant) -> None:
        group = self._current.get(tenant)
        if group is not None and group.is_idle:
            del self._current[tenant]

    async def await_position(self, tenant: Tenant, position: Position) -> None:
        """Wait until this replica has applied what the client has seen elsewhere.

        Raises:
            PositionNotReached: that took too long; the client may try another replica.
        """
        if self._projector.view(tenant).position >= position:
            return
        self._projector.aside.check(tenant)
        if not self._projector.knows(tenant):
            await self.catch_up(tenant)
        if not await self._projector.wait_for(tenant, position, POSITION_TIMEOUT_S):
            raise PositionNotReached(f"this replica has not reached position {position.text()}")

    # -- catching up ---------------------------------------------------------------------------------------------------

    async def catch_up(self, tenant: Tenant) -> None:
        """Bring the view to the log's tail, if the store answers."""
        with contextlib.suppress(StoreUnavailable):
            await self._catch_up_soon(tenant)

    def when_current(self, tenant: Tenant, waiter: Waiter[None]) -> bool:
        """Tell the waiter once the view holds what the log holds now, or that the store does not say (an exception).

        False: it will not be told, because nobody knows the tenant yet or too many wait.
        """
        if not self._projector.knows(tenant):
            return False
        group = self._current.get(tenant)
        if group is None:

            async def flush(waiting: Sequence[None]) -> Sequence[None]:
                await self._catch_up_soon(tenant)
                return waiting

            group = self._current[tenant] = Group(flush, WAITING_MAX, 2, WAITING_MAX)
        try:
            group.put_for(None, waiter)
        except StoreUnavailable:
            return False
        return True

    async def _again(self, tenant: Tenant, answer: Callable[[], A]) -> A:
        """Answer once more, after catching up. Without the log the view may still say what it holds, but not refuse:
        that it does not hold something says nothing.
        """
        try:
            await self._catch_up_soon(tenant)
        except StoreUnavailable as away:
            try:
                return answer()
            except RegistryError as refusal:
                if refusal.is_final:
                    raise
                raise away from None
        return answer()

    async def _catch_up_soon(self, tenant: Tenant) -> None:
        """Catch up, but do not make a reader wait for a store that is away."""
        if self._projector.reading.silent_s > AWAY_AFTER_S:
            raise StoreUnavailable(f"the store has not answered for {self._projector.reading.silent_s:.0f} seconds")
        try:
            async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
                await self._projector.catch_up(tenant)
        except TimeoutError:
            raise StoreUnavailable(f"the store has not answered for {CATCH_UP_TIMEOUT_S:.0f} second(s)") from None
