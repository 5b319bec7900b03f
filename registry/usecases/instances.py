"""Instances: register, unregister, set status and properties."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from registry.domain import decide
from registry.domain.decide import Known
from registry.domain.errors import Forbidden, InstanceNotExists, StoreUnavailable
from registry.domain.events import InstanceRegistered
from registry.domain.model import decode_instance
from registry.domain.outcome import CREATE, Outcome
from registry.domain.request_bodies import InstanceBody
from registry.domain.tenant import Tenant
from registry.domain.view import Covers
from registry.store.lease import Lease, LeaseName
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.writes import Writes

#: A registration that equals what is there becomes a heartbeat; if the instance goes at that moment, decide again.
REGISTER_TRIES_MAX: Final = 3
#: Instances that one bulk request looks at, and changes, before others get a turn: some milliseconds.
STATUSES_AT_ONCE: Final = 64


class Instances:
    """Writes about instances. Each method returns when the change is visible in this replica's view."""

    def __init__(self, writes: Writes, heartbeats: Heartbeats, new_id: Callable[[], str]) -> None:
        self._writes = writes
        self._heartbeats = heartbeats
        self._new_id = new_id
        #: Registrations by what came of them: another instance; other content of one that is there; its lease was
        #: renewed; and it became part of one that another client had registered meanwhile.
        self.registered = {"new": 0, "changed": 0, "renewed": 0, "merged": 0}

    async def register(self, tenant: Tenant, service_id: str, body: InstanceBody | None, actor: str) -> str:
        """Register an instance or renew what is registered (D1, D2). Returns its id.

        Raises:
            InvalidParams, ServiceNotExists, StoreUnavailable.
        """
        for _ in range(REGISTER_TRIES_MAX):
            decision = await self._decide_registration(tenant, service_id, body, actor)
            if not isinstance(decision, Known):
                return await self._commit_registration(tenant, decision)
            with contextlib.suppress(InstanceNotExists):
                await self._heartbeats.beat(tenant, service_id, decision.id, actor)
                self.registered["renewed"] += 1
                return decision.id
        raise StoreUnavailable(f"service {service_id} changes faster than an instance of it can be registered")

    def _decide_registration(
        self, tenant: Tenant, service_id: str, body: InstanceBody | None, actor: str
    ) -> Awaitable[InstanceRegistered | Known]:
        new_id = self._new_id()
        return self._writes.decide(
            tenant,
            lambda view: decide.register_instance(
                view, service_id, body, new_id, self._writes.quotas, self._writes.stamp(actor)
            ),
        )

    async def _commit_registration(self, tenant: Tenant, event: InstanceRegistered) -> str:
        instance = event.instance
        ttl_ms = instance.health_check.ttl_ms()
        granted = Lease(instance.service_id, instance.instance_id, ttl_ms)
        outcome = await self._writes.commit(tenant, event, grants=(granted,))
        self.registered[_kind(outcome, instance.instance_id)] += 1
        if outcome.id != instance.instance_id:
            # The fold merged it into another instance: that one's lease is renewed, the unused one dropped.
            unused = LeaseName(instance.service_id, instance.instance_id)
            await self._writes.change_leases(tenant, (Lease(instance.service_id, outcome.id, ttl_ms),), (unused,))
        return outcome.id

    async def unregister(self, tenant: Tenant, service_id: str, instance_id: str, actor: str) -> None:
        name = LeaseName(service_id, instance_id)
        await self._writes.change(tenant, actor, lambda v, s: decide.unregister_instance(v, *name, s), drops=(name,))

    async def set_status(self, tenant: Tenant, service_id: str, instance_id: str, status: str, actor: str) -> None:
        await self._writes.change(
            tenant, actor, lambda v, s: decide.set_instance_status(v, service_id, instance_id, status, s)
        )

    async def set_properties(
        self, tenant: Tenant, service_id: str, instance_id: str, properties: dict[str, str | None] | None, actor: str
    ) -> None:
        quotas = self._writes.quotas
        await self._writes.change(
            tenant,
            actor,
            lambda v, s: decide.set_instance_properties(v, service_id, instance_id, properties, quotas, s),
        )

    async def set_statuses(
        self, tenant: Tenant, properties: dict[str, str], status: str, actor: str, covers: Covers | None = None
    ) -> int:
        """Set the status of every instance whose properties hold all of these pairs. Returns how many there are.

        The replicas of the registry are not among them, no matter their properties, nor what is not covered.
        """
        rows = self._writes.rows(tenant, covers)
        number = 0
        for start in range(0, len(rows), STATUSES_AT_ONCE):
            names = [
                LeaseName(row.service_id, row.instance_id)
                for row in rows[start : start + STATUSES_AT_ONCE]
                if properties.items() <= decode_instance(row.body).properties.items()
            ]
            number += len(names)
            results = await asyncio.gather(
                *(self.set_status(tenant, *name, status, actor) for name in names), return_exceptions=True
            )
            for result in results:
                # One that left meanwhile has no status any more; a replica of the registry has its own.
                if isinstance(result, BaseException) and not isinstance(result, InstanceNotExists | Forbidden):
                    raise result
            await asyncio.sleep(0)  # also where nobody matches
        return number


def _kind(outcome: Outcome, instance_id: str) -> str:
    if outcome.id != instance_id:
        return "merged"
    return "new" if outcome.changes and outcome.changes[0].action == CREATE else "changed"
