"""Writes: from a decision on the view to its outcome in the log.

A write is decided on the view, appended together with everything else that waits, applied in log order, and answered
with what applying it came to. A decision that would contradict the client is made again after catching up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

from registry.clock import Clock
from registry.domain.decide import Known, Stamp
from registry.domain.errors import RegistryError, StoreUnavailable
from registry.domain.events import Event, encode_event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.quotas import Quotas
from registry.domain.recorded import Asker
from registry.domain.tenant import ACCOUNTS, DEFAULT_TENANT, Tenant
from registry.domain.view import Covers, InstanceRow, RegistryView
from registry.histogram import ITEMS, Histogram
from registry.projection.projector import Projector
from registry.store.lease import Lease, LeaseName, Write
from registry.store.port import HistoryChanged, Store
from registry.tracing import Spans
from registry.usecases.formats import Formats
from registry.usecases.grouping import Budget, Group
from registry.usecases.patience import Patience

logger = logging.getLogger(__name__)

D = TypeVar("D")

#: Seconds an appended event may take to be applied here before the client is told that we cannot say.
OUTCOME_TIMEOUT_S: Final = 4.0
#: Seconds that a decision waits for the log's tail, and that an event waits to be appended. Together with the outcome's
#: they stay below the ten after which a write must have failed.
DECIDE_TIMEOUT_S: Final = 2.5
APPEND_TIMEOUT_S: Final = 3.0
BATCH_MAX: Final = 256
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
FLIGHTS_MAX: Final = 2
WAITING_MAX: Final = 50_000
#: Bytes of all tenants' events that may wait to be appended.
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024


class _Pending(NamedTuple):
    """`place`: the request in whose trace it is, if any."""

    event: Event | None
    write: Write
    place: object | None = None


class Writes:
    """The one way in which this replica appends to the logs."""

    def __init__(
        self,
        store: Store,
        projector: Projector,
        clock: Clock,
        quotas: Quotas | None = None,
        formats: Formats | None = None,
        waiting_max_bytes: int = WAITING_BYTES_MAX,
    ) -> None:
        self.quotas = quotas or Quotas()
        self._formats = formats or Formats(store, projector.replica, clock)
        self._store = store
        self._projector = projector
        self._clock = clock
        #: That nothing can be written.
        self.refusing = projector.refusing
        self._numbers = count(1)
        self._groups: dict[Tenant, Group[_Pending, Position | None]] = {}
        self._waiting = Budget(waiting_max_bytes)
        self._deciding = Patience(DECIDE_TIMEOUT_S, f"the log has not answered for {DECIDE_TIMEOUT_S} seconds")
        self._appending = Patience(
            APPEND_TIMEOUT_S, f"the store has not taken the write for {APPEND_TIMEOUT_S} seconds"
        )
        #: Where appends are told as parts of requests; None: nowhere.
        self.spans: Spans | None = None
        #: Of what was appended: writes in a batch, and seconds until the store had it.
        self.batches = Histogram(ITEMS)
        self.seconds = Histogram()
        projector.listen_for_leaves(self._leave)

    def stamp(self, actor: str) -> Stamp:
        """Who and when, for one new event."""
        now_ms, replica, number = self._clock.wall_ms(), self._projector.replica, next(self._numbers)
        if isinstance(actor, Asker):
            return Stamp(now_ms, replica, number, str(actor), actor.request_id, actor.user_agent)
        return Stamp(now_ms, replica, number, actor)

    @property
    def waiting(self) -> int:
        """Writes that wait to be appended, of all tenants."""
        return sum(map(len, self._groups.values()))

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the events that wait or are on their way to the store."""
        return self._waiting.used

    def rows(self, tenant: Tenant, covers: Covers | None = None) -> list[InstanceRow]:
        """All instances of the tenant that are covered, as this replica holds them now."""
        services = self._projector.view(tenant).services.values()
        covered = [service for service in services if covers is None or covers(*service.group.key)]
        return [row for service in covered for row in service.instances.values()]

    async def decide(self, tenant: Tenant, decision: Callable[[RegistryView], D]) -> D:
        """Decide on the current view; before it contradicts the client or does nothing, catch up and decide again.

        Raises:
            StoreUnavailable: the log could not be read, so neither can be said.
        """
        view = self._projector.view(tenant)
        at = view.position
        refused: RegistryError | None = None
        try:
            decided = decision(view)
        except RegistryError as refusal:
            if refusal.is_final:
                raise
            refused = refusal
        else:
            if not isinstance(decided, Known):
                return decided
        # Refusing the client, and telling it that nothing is to be done, both speak of the present.
        try:
            await self._deciding.watch(self._projector.caught_up(tenant))
            if self._projector.view(tenant) is not view or view.position != at:
                return decision(self._projector.view(tenant))
            if refused is not None:
                raise refused
            return decided
        finally:
            refused = None  # it holds this frame, and all that has led here

    async def change(
        self,
        tenant: Tenant,
        actor: str,
        decision: Callable[[RegistryView, Stamp], Event | Known],
        drops: tuple[LeaseName, ...] = (),
    ) -> str:
        """Decide, and commit the event unless nothing is to be done. Returns the id of what was changed, or is there.

        Raises:
            RegistryError: as `decide` and `commit`.
        """
        decided = await self.decide(tenant, lambda view: decision(view, self.stamp(actor)))
        if isinstance(decided, Known):
            return decided.id
        return (await self.commit(tenant, decided, drops=drops)).id

    async def commit(
        self,
        tenant: Tenant,
        event: Event,
        grants: tuple[Lease, ...] = (),
        drops: tuple[LeaseName, ...] = (),
    ) -> Outcome:
        """Append the event with its leases; return what applying it came to.

        Raises:
            RegistryError: the fold refused the event: another write won.
            StoreUnavailable: it is not known to be appended.
            NotReadByAll: it is of a newer format than a replica that lives can read. Nothing was appended.
        """
        self._formats.check(event)
        applied = self._projector.outcomes.expect(event.number)
        try:
            await self._put(tenant, _Pending(event, Write(encode_event(event), grants, drops)))
            # Done already, unless another replica's events came between.
            if not applied.done():
                await asyncio.wait((applied,), timeout=OUTCOME_TIMEOUT_S)
            if not applied.done():
                raise StoreUnavailable("the event was appended, but this replica has not read it back in time")
            outcome = applied.result()
        finally:
            self._projector.outcomes.forget(event.number)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def change_leases(self, tenant: Tenant, grants: tuple[Lease, ...], drops: tuple[LeaseName, ...] = ()) -> None:
        """Grant and drop leases without an event."""
        await self._put(tenant, _Pending(None, Write(None, grants, drops)))

    async def _put(self, tenant: Tenant, pending: _Pending) -> None:
        if self.spans is None:
            await self._taken(tenant, pending)
            return
        with self.spans.part("append"):
            await self._taken(tenant, pending._replace(place=self.spans.here()))

    def _taken(self, tenant: Tenant, pending: _Pending) -> asyncio.Future[Position | None]:
        """Where it is appended, once it is. What is given up may be appended yet: then it is in the log."""
        self._projector.aside.check(tenant)
        return self._appending.watch(self._group(tenant).put(pending, _bytes_of(pending)))

    def _group(self, tenant: Tenant) -> Group[_Pending, Position | None]:
        group = self._groups.get(tenant)
        if group is None:

            async def flush(batch: Sequence[_Pending]) -> Sequence[Position | None]:
                if self.spans is None:
                    return await self._append(tenant, batch)
                # One round trip for many requests is part of the first one that is traced.
                with self.spans.at(next((one.place for one in batch if one.place is not None), None)):
                    return await self._append(tenant, batch)

            limits = (BATCH_MAX, FLIGHTS_MAX, WAITING_MAX, BATCH_BYTES_MAX, self._waiting)
            group = self._groups[tenant] = Group(flush, *limits, lambda: self._forget_unknown(tenant))
        return group

    def _leave(self, tenant: Tenant) -> None:
        group = self._groups.get(tenant)
        if group is not None and group.is_idle:
            del self._groups[tenant]

    def _forget_unknown(self, tenant: Tenant) -> None:
        """A tenant that did not come to be leaves nothing behind: anybody can make up as many as there are names."""
        if not self._projector.knows(tenant):
            self._groups.pop(tenant, None)

    async def _append(self, tenant: Tenant, batch: Sequence[_Pending]) -> Sequence[Position | None]:
        began = perf_counter()
        if not self._projector.knows(tenant):
            await self._begin(tenant)
        writes = [pending.write for pending in batch]
        try:
            positions = await self._store.commit(tenant, *self._followed(tenant, writes))
        except HistoryChanged:
            # Nothing was done. This replica has not seen the newest history yet; with it, once more.
            await self._projector.catch_up(tenant)
            positions = await self._store.commit(tenant, *self._followed(tenant, writes))
        self.batches.add(len(batch))
        self.seconds.add(perf_counter() - began)
        appended = [
            (position, pending.event, pending.write.payload or b"")
            for position, pending in zip(positions, batch, strict=True)
            if position is not None and pending.event is not None
        ]
        if logger.isEnabledFor(logging.DEBUG):
            _say_appended(tenant, appended)
        if not self._projector.knows(tenant):
            await self._begin(tenant)  # it was forgotten meanwhile, as one that is empty
        self._projector.offer(tenant, appended)
        return positions

    async def _begin(self, tenant: Tenant) -> None:
        """Make the tenant known to every replica. Raises NotEnoughQuota; never for the registry's own."""
        await self._projector.catch_up(tenant)
        if self._projector.knows(tenant):
            return  # it has a log, of which this replica had not been told
        own = tenant in (DEFAULT_TENANT, ACCOUNTS)
        most = 0 if own else self.quotas.tenants + self._projector.knows(ACCOUNTS)
        self._projector.aside.check_list()
        if not await self._store.add_tenant(tenant, most):
            self.quotas.refuse_tenant()
        self._projector.follow(tenant)

    def _followed(self, tenant: Tenant, writes: Sequence[Write]) -> tuple[int, Sequence[Write], int]:
        """The arguments of `commit`: the history that this replica has applied, around the writes."""
        position = self._projector.view(tenant).position
        return position.epoch, writes, position.sequence


def _say_appended(tenant: Tenant, appended: Sequence[tuple[Position, Event, bytes]]) -> None:
    for position, event, written in appended:
        fields = {
            "tenant": str(tenant),
            "position": position.text(),
            "request_id": event.request_id,
            "bytes": len(written),
        }
        logger.debug("appended at %s", position.text(), extra={"action": "event_appended", **fields})


def _bytes_of(pending: _Pending) -> int:
    return len(pending.write.payload or b"")
