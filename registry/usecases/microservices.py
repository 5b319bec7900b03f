"""Microservices: register, unregister, set properties."""

from __future__ import annotations

from registry.domain import decide
from registry.domain.request_bodies import MicroserviceBody
from registry.domain.tenant import Tenant
from registry.usecases.writes import Writes


class Microservices:
    """Writes about microservices. Each method returns when the change is visible in this replica's view."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def register(self, tenant: Tenant, body: MicroserviceBody | None, actor: str) -> str:
        """Register a microservice, or find it registered. Returns its id."""
        quotas = self._writes.quotas
        return await self._writes.change(tenant, actor, lambda v, s: decide.register_service(v, body, quotas, s))

    async def unregister(self, tenant: Tenant, service_id: str, force: bool, actor: str) -> None:
        await self._writes.change(tenant, actor, lambda v, s: decide.unregister_service(v, service_id, force, s))

    async def set_properties(
        self, tenant: Tenant, service_id: str, properties: dict[str, str | None] | None, actor: str
    ) -> None:
        quotas = self._writes.quotas
        await self._writes.change(
            tenant, actor, lambda v, s: decide.set_service_properties(v, service_id, properties, quotas, s)
        )
