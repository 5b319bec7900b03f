"""Microservices: register, unregister, set properties."""

from __future__ import annotations

from registry.domain import decide
from registry.domain.commands import MicroserviceBody
from registry.domain.decide import Known
from registry.domain.tenant import Tenant
from registry.usecases.writes import Writes


class Microservices:
    """Writes about microservices. Each method returns when the change is visible in this replica's view."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def register(self, tenant: Tenant, body: MicroserviceBody | None, actor: str) -> str:
        """Register a microservice, or find it registered. Returns its id."""
        decision = await self._writes.decide(
            tenant, lambda view: decide.register_service(view, body, self._writes.quotas, self._writes.stamp(actor))
        )
        if isinstance(decision, Known):
            return decision.id
        return (await self._writes.commit(tenant, decision)).id

    async def unregister(self, tenant: Tenant, service_id: str, force: bool, actor: str) -> None:
        event = await self._writes.decide(
            tenant,
            lambda view: decide.unregister_service(view, service_id, force, self._writes.stamp(actor)),
        )
        await self._writes.commit(tenant, event)

    async def set_properties(
        self, tenant: Tenant, service_id: str, properties: dict[str, str | None] | None, actor: str
    ) -> None:
        event = await self._writes.decide(
            tenant,
            lambda view: decide.set_service_properties(
                view, service_id, properties, self._writes.quotas, self._writes.stamp(actor)
            ),
        )
        if not isinstance(event, Known):
            await self._writes.commit(tenant, event)
