"""Heartbeats: keep leases, group by group, and answer a late one truthfully.

A heartbeat changes no view and no rev. It is refused only when the log no longer holds the instance. While the store
does not answer, or the tenant is set aside, heartbeats of instances that the view holds are accepted, remembered, and
delivered when it is back: a client must not be driven into registering again by an outage of the registry.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from registry.domain.decide import instance_or_refuse
from registry.domain.errors import RegistryError, StoreUnavailable
from registry.domain.own import is_own, refuse_clients
from registry.domain.tenant import Tenant
from registry.domain.view import InstanceRow
from registry.episode import Actions, Episode
from registry.projection.projector import Projector
from registry.store.lease import Lease, LeaseName, Renewed
from registry.store.port import Store
from registry.usecases.grouping import Budget, Group, Waiter

logger = logging.getLogger(__name__)

BATCH_MAX: Final = 1000
#: Batches under way at once: with few connections the round trip is the limit, not Redis.
FLIGHTS_MAX: Final = 2
WAITING_MAX: Final = 200_000
#: Bytes of all tenants' heartbeats that may wait for a batch, or are in one; and what each counts, ids included.
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
BEAT_BYTES: Final = 512
#: A log that moves all the time must not keep a late heartbeat waiting for ever.
REVIVE_TRIES_MAX: Final = 20
#: Seconds that a heartbeat waits for the store before it is remembered. One that waited for its batch to leave waits
#: as long as the batch before, so that each is answered within twice this time at worst, and within it as a rule.
BEAT_TIMEOUT_S: Final = 0.45
#: Seconds between attempts to deliver what was remembered, and that one attempt may take.
DELIVER_EVERY_S: Final = 0.25
DELIVER_TIMEOUT_S: Final = 2.0


@dataclass(slots=True)
class HeartbeatStats:
    #: Leases renewed by the store; restored after they had lapsed; and those that nobody has any more.
    renewed: int = 0
    revived: int = 0
    unknown: int = 0
    #: Accepted without the store, and delivered to it later.
    remembered: int = 0
    delivered: int = 0


class Heartbeats:
    """Renews leases for the instances that this replica's view holds."""

    def __init__(self, store: Store, projector: Projector, waiting_max_bytes: int = WAITING_BYTES_MAX) -> None:
        self._store = store
        self._projector = projector
        self._budget = Budget(waiting_max_bytes)
        self._groups: dict[Tenant, Group[Lease, bool]] = {}
        #: Accepted while the store did not answer. While there are any, more are remembered at once.
        self._remembered: dict[Tenant, dict[LeaseName, Lease]] = defaultdict(dict)
        self._something = asyncio.Event()
        self.stats = HeartbeatStats()
        projector.listen_for_leaves(self._leave)
        self._remembering = Episode(logger, Actions("beats_remembered", "beats_delivered"))

    def _leave(self, tenant: Tenant) -> None:
        group = self._groups.get(tenant)
        if group is not None and group.is_idle:
            del self._groups[tenant]

    async def beat(self, tenant: Tenant, service_id: str, instance_id: str, actor: str = "") -> None:
        """Renew one instance's lease to its full length.

        Raises:
            InstanceNotExists: the log does not hold the instance (any more).
            Forbidden: it is a replica of the registry, and the actor is not.
            StoreUnavailable: the view does not hold it, and the store does not answer.
        """
        row = self._projector.view(tenant).instance(service_id, instance_id)
        if row is None:
            # When the log cannot be read, nobody can say that it does not hold the instance.
            await self._projector.catch_up(tenant)
            row = self._row(tenant, LeaseName(service_id, instance_id))
        refuse_clients(self._projector.view(tenant), service_id, actor)
        if not await self.renew(tenant, row):
            try:
                async with asyncio.timeout(BEAT_TIMEOUT_S):
                    await self._revive(tenant, LeaseName(service_id, instance_id))
            except (StoreUnavailable, TimeoutError):
                self._remember(tenant, (_lease(row),))

    def renew(self, tenant: Tenant, row: InstanceRow) -> asyncio.Future[bool]:
        """Hand a renewal to the next batch; False when the lease has lapsed."""
        future = self._group(tenant).waiter()
        self.renew_for(tenant, row, future)
        return future

    def renew_for(self, tenant: Tenant, row: InstanceRow, waiter: Waiter[bool]) -> None:
        """As `renew`, telling the waiter."""
        lease = _lease(row)
        try:
            self._group(tenant).put_for(lease, waiter, BEAT_BYTES)
        except StoreUnavailable:
            # Too many wait: the store is slower than they come. Of each instance one is remembered, however many come.
            self._remember(tenant, (lease,))
            asyncio.get_running_loop().call_soon(_accept, waiter)

    async def lease(self, tenant: Tenant, service_id: str, instance_id: str) -> tuple[int, Renewed]:
        """Milliseconds of an instance's whole lease, what is left of it, and who renewed it last.

        Raises:
            ServiceNotExists, InstanceNotExists: as the log has it.
            StoreUnavailable: the store does not answer.
        """
        if self._projector.view(tenant).instance(service_id, instance_id) is None:
            await self._projector.catch_up(tenant)
        row = instance_or_refuse(self._projector.view(tenant), service_id, instance_id)
        return row.ttl_ms, await self._store.renewed(tenant, _lease(row))

    async def beat_many(self, tenant: Tenant, names: Sequence[LeaseName]) -> dict[LeaseName, str]:
        """Renew each distinct instance; the value is the reason why not, "" when renewed."""
        reasons = dict.fromkeys(names, "")
        view = self._projector.view(tenant)
        held: list[LeaseName] = []
        leases: list[Lease] = []
        for name in reasons:
            row = view.instance(*name)
            if row is not None and not is_own(view, name.service_id):
                held.append(name)
                leases.append(_lease(row))
        # They are a batch already, and wait for no other.
        renewed: list[bool] = []
        for start in range(0, len(leases), BATCH_MAX):
            renewed += await self._flush(tenant, leases[start : start + BATCH_MAX])
        done = {name for name, is_renewed in zip(held, renewed, strict=True) if is_renewed}
        # What has lapsed or is not held is looked at one by one.
        others = [name for name in reasons if name not in done]
        results = await asyncio.gather(*(self.beat(tenant, *name) for name in others), return_exceptions=True)
        return reasons | {name: _reason(result) for name, result in zip(others, results, strict=True)}

    async def _revive(self, tenant: Tenant, name: LeaseName) -> None:
        """Restore a lapsed lease, if no event that this replica has not seen removed the instance."""
        for _ in range(REVIVE_TRIES_MAX):
            view = self._projector.view(tenant)
            if await self._store.revive(tenant, view.position, (_lease(self._row(tenant, name)),)):
                self.stats.revived += 1
                return
            await self._projector.catch_up(tenant)
        # The view is as fresh as it gets. At worst a lease without an instance remains, which lapses by itself.
        await self._store.rearm(tenant, (_lease(self._row(tenant, name)),))
        self.stats.revived += 1

    def _row(self, tenant: Tenant, name: LeaseName) -> InstanceRow:
        """The instance that beats. Raises InstanceNotExists."""
        try:
            return instance_or_refuse(self._projector.view(tenant), *name)
        except RegistryError:
            self.stats.unknown += 1
            raise

    def _group(self, tenant: Tenant) -> Group[Lease, bool]:
        group = self._groups.get(tenant)
        if group is None:

            async def flush(leases: Sequence[Lease]) -> Sequence[bool]:
                return await self._flush(tenant, leases)

            limits = (BATCH_MAX, FLIGHTS_MAX, WAITING_MAX, BATCH_MAX * BEAT_BYTES, self._budget)
            group = self._groups[tenant] = Group(flush, *limits)
        return group

    async def _flush(self, tenant: Tenant, leases: Sequence[Lease]) -> Sequence[bool]:
        renewed = [True] * len(leases)
        aside = tenant in self._projector.aside.tenants
        if self._remembered.get(tenant) and not aside:
            self._remember(tenant, leases)
            return renewed
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                missing = await self._store.beat(tenant, leases, self._projector.replica)
        except (StoreUnavailable, TimeoutError):
            self._remember(tenant, leases)
            return renewed
        self.stats.renewed += len(leases) - len(missing)
        if aside:
            # Its log cannot be asked whether it still holds them: they are revived when it can.
            self._remember(tenant, [leases[index] for index in missing])
            return renewed
        for index in missing:
            renewed[index] = False
        return renewed

    @property
    def gathering(self) -> int:
        """Renewals that wait for the next batch."""
        return sum(map(len, self._groups.values()))

    # -- while the store is away ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Heartbeats that are remembered and not delivered yet: one for each instance at most."""
        return sum(len(leases) for leases in self._remembered.values())

    def _remember(self, tenant: Tenant, leases: Sequence[Lease]) -> None:
        if not leases:
            return
        self._remembering.occurs("the store takes no heartbeats, they are remembered", times=len(leases))
        self._something.set()
        remembered = self._remembered[tenant]
        for lease in leases:
            remembered[LeaseName(lease.service_id, lease.instance_id)] = lease
        self.stats.remembered += len(leases)

    async def run(self) -> None:
        """Deliver what was remembered, until cancelled."""
        while True:
            await self._something.wait()
            await self.deliver()
            await asyncio.sleep(DELIVER_EVERY_S)

    async def deliver(self) -> None:
        """Try to bring every remembered heartbeat to the store; those that it does not take stay remembered."""
        for tenant in list(self._remembered):
            if tenant in self._projector.aside.tenants:
                continue
            remembered = self._remembered[tenant]
            while remembered:
                some = [remembered[name] for name in list(remembered)[:BATCH_MAX]]
                try:
                    async with asyncio.timeout(DELIVER_TIMEOUT_S):
                        await self._deliver(tenant, some)
                except (StoreUnavailable, TimeoutError):
                    break
                for lease in some:
                    name = LeaseName(lease.service_id, lease.instance_id)
                    if remembered.get(name) is lease:  # else another one has come meanwhile, and is to be delivered too
                        del remembered[name]
                self.stats.delivered += len(some)
            else:
                del self._remembered[tenant]
        if not self._remembered:
            self._something.clear()
            self._remembering.ends("the remembered heartbeats are delivered")

    async def _deliver(self, tenant: Tenant, leases: Sequence[Lease]) -> None:
        missing = await self._store.beat(tenant, leases, self._projector.replica)
        lapsed = [leases[index] for index in missing]
        while lapsed:
            view = self._projector.view(tenant)
            # One that was removed meanwhile hears so with its next heartbeat.
            lapsed = [lease for lease in lapsed if view.instance(lease.service_id, lease.instance_id) is not None]
            if await self._store.revive(tenant, view.position, lapsed):
                return
            await self._projector.catch_up(tenant)


def _accept(waiter: Waiter[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)


def _lease(row: InstanceRow) -> Lease:
    return Lease(row.service_id, row.instance_id, row.ttl_ms)


def _reason(result: BaseException | None) -> str:
    match result:
        case None:
            return ""
        case RegistryError():
            return f"{result.message}({result.detail})"
    raise result
