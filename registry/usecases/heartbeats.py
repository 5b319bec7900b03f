"""Heartbeats: keep leases, group by group, and answer a late one truthfully.

A heartbeat changes no view and no rev. It is refused only when the log no longer holds the instance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from registry.domain.decide import instance_or_refuse
from registry.domain.errors import RegistryError
from registry.domain.view import InstanceRow, Tenant
from registry.projection.projector import Projector
from registry.store.port import Lease, LeaseName, Store
from registry.usecases.grouping import Group

BATCH_MAX: Final = 1000
#: Batches under way at once: with few connections the round trip is the limit, not Redis.
FLIGHTS_MAX: Final = 2
WAITING_MAX: Final = 200_000
#: A log that moves all the time must not keep a late heartbeat waiting for ever.
REVIVE_TRIES_MAX: Final = 20


class Heartbeats:
    """Renews leases for the instances that this replica's view holds."""

    def __init__(self, store: Store, projector: Projector) -> None:
        self._store = store
        self._projector = projector
        self._groups: dict[Tenant, Group[Lease, bool]] = {}

    async def beat(self, tenant: Tenant, service_id: str, instance_id: str) -> None:
        """Renew one instance's lease to its full length.

        Raises:
            InstanceNotExists: the log does not hold the instance (any more).
            StoreUnavailable: the store does not answer.
        """
        row = self._projector.view(tenant).instance(service_id, instance_id)
        if row is None:
            # When the log cannot be read, nobody can say that it does not hold the instance.
            await self._projector.catch_up(tenant)
            row = instance_or_refuse(self._projector.view(tenant), service_id, instance_id)
        if not await self.renew(tenant, row):
            await self._revive(tenant, LeaseName(service_id, instance_id))

    def renew(self, tenant: Tenant, row: InstanceRow) -> asyncio.Future[bool]:
        """Hand a renewal to the next batch; False when the lease has lapsed."""
        return self._group(tenant).put(Lease(row.service_id, row.instance_id, row.ttl_ms))

    async def beat_many(self, tenant: Tenant, names: Sequence[LeaseName]) -> dict[LeaseName, str]:
        """Renew each distinct instance; the value is the reason why not, "" when renewed."""
        distinct = list(dict.fromkeys(names))
        results = await asyncio.gather(
            *(self.beat(tenant, *name) for name in distinct),
            return_exceptions=True,
        )
        return {name: _reason(result) for name, result in zip(distinct, results, strict=True)}

    async def _revive(self, tenant: Tenant, name: LeaseName) -> None:
        """Restore a lapsed lease, if no event that this replica has not seen removed the instance."""
        for _ in range(REVIVE_TRIES_MAX):
            view = self._projector.view(tenant)
            lease = _lease(instance_or_refuse(view, *name))
            if await self._store.revive(tenant, view.position, (lease,)):
                return
            await self._projector.catch_up(tenant)
        # The view is as fresh as it gets. At worst a lease without an instance remains, which lapses by itself.
        lease = _lease(instance_or_refuse(self._projector.view(tenant), *name))
        await self._store.rearm(tenant, (lease,))

    def _group(self, tenant: Tenant) -> Group[Lease, bool]:
        group = self._groups.get(tenant)
        if group is None:

            async def flush(leases: Sequence[Lease]) -> Sequence[bool]:
                missing = await self._store.beat(tenant, leases, self._projector.replica)
                renewed = [True] * len(leases)
                for index in missing:
                    renewed[index] = False
                return renewed

            group = self._groups[tenant] = Group(flush, BATCH_MAX, FLIGHTS_MAX, WAITING_MAX)
        return group


def _lease(row: InstanceRow) -> Lease:
    return Lease(row.service_id, row.instance_id, row.ttl_ms)


def _reason(result: BaseException | None) -> str:
    match result:
        case None:
            return ""
        case RegistryError():
            return f"{result.message}({result.detail})"
    raise result
