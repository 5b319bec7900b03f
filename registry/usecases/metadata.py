"""Metadata: writes about tags, schemas, dependencies and traffic policies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from registry.domain.dependencies import add_found, change_dependencies
from registry.domain.errors import PolicyNotExists, RegistryError, StoreUnavailable
from registry.domain.events import DependenciesAdded, DependenciesReplaced, PolicyDeleted
from registry.domain.policies import policies_to_delete, save_policy
from registry.domain.request_bodies import DependencyBody, PolicyBody, SchemaBody
from registry.domain.schemas import delete_schema, put_schema, replace_schemas
from registry.domain.tags import delete_tags, replace_tags, set_tag
from registry.domain.tenant import Tenant
from registry.domain.view import GroupKey, RegistryView
from registry.episode import Actions, Episode
from registry.usecases.writes import Writes

logger = logging.getLogger(__name__)


class Metadata:
    """Each method returns when the change is visible in this replica's view."""

    def __init__(self, writes: Writes, new_id: Callable[[], str]) -> None:
        self._writes = writes
        self._new_id = new_id
        self._unrecorded = Episode(logger, Actions("dependency_not_recorded", "dependency_recorded"), writes.refusing)

    async def replace_tags(self, tenant: Tenant, service_id: str, tags: dict[str, str], actor: str) -> None:
        quotas = self._writes.quotas
        await self._writes.change(tenant, actor, lambda v, s: replace_tags(v, service_id, tags, quotas, s))

    async def set_tag(self, tenant: Tenant, service_id: str, key: str, value: str, actor: str) -> None:
        quotas = self._writes.quotas
        await self._writes.change(tenant, actor, lambda v, s: set_tag(v, service_id, key, value, quotas, s))

    async def delete_tags(self, tenant: Tenant, service_id: str, keys: Sequence[str], actor: str) -> None:
        await self._writes.change(tenant, actor, lambda v, s: delete_tags(v, service_id, keys, s))

    async def put_schema(self, tenant: Tenant, service_id: str, schema_id: str, body: SchemaBody, actor: str) -> None:
        quotas = self._writes.quotas
        await self._writes.change(tenant, actor, lambda v, s: put_schema(v, service_id, schema_id, body, quotas, s))

    async def replace_schemas(
        self, tenant: Tenant, service_id: str, bodies: Sequence[SchemaBody] | None, actor: str
    ) -> None:
        quotas = self._writes.quotas
        await self._writes.change(tenant, actor, lambda v, s: replace_schemas(v, service_id, bodies, quotas, s))

    async def delete_schema(self, tenant: Tenant, service_id: str, schema_id: str, actor: str) -> None:
        await self._writes.change(tenant, actor, lambda v, s: delete_schema(v, service_id, schema_id, s))

    async def add_found(self, tenant: Tenant, consumer_id: str, found: Sequence[GroupKey], actor: str) -> bool:
        """Record what a consumer has found, before it is answered: its watchers then miss no change.

        A find is not refused because this cannot be recorded; the next one will try again. False: the store was away.
        """
        quotas = self._writes.quotas
        try:
            await self._writes.change(tenant, actor, lambda v, s: add_found(v, consumer_id, found, quotas, s))
        except RegistryError as error:
            self._unrecorded.occurs("dependency not recorded: %s", error.detail)
            return not isinstance(error, StoreUnavailable)
        self._unrecorded.ends("dependencies are recorded again")
        return True

    async def change_dependencies(
        self, tenant: Tenant, bodies: Sequence[DependencyBody], replace: bool, actor: str
    ) -> None:
        """All entries are checked before the first is written."""

        def decide_all(view: RegistryView) -> list[DependenciesAdded | DependenciesReplaced]:
            changes = [
                change_dependencies(view, body, index, replace, self._writes.stamp(actor))
                for index, body in enumerate(bodies)
            ]
            self._writes.quotas.check_dependencies(view, changes)
            return changes

        events = await self._writes.decide(tenant, decide_all)
        await asyncio.gather(*(self._writes.commit(tenant, event) for event in events))

    async def save_policy(self, tenant: Tenant, kind: str, policy_id: str, body: PolicyBody, actor: str) -> str:
        """Save a new policy (`policy_id` "") or change one. Returns its id."""
        new_id, quotas = self._new_id(), self._writes.quotas
        return await self._writes.change(
            tenant, actor, lambda v, s: save_policy(v, kind, policy_id, body, new_id, quotas, s)
        )

    async def delete_policy(self, tenant: Tenant, kind: str, policy_id: str, actor: str) -> None:
        ids = await self._writes.decide(tenant, lambda view: policies_to_delete(view, kind, policy_id))
        for id in ids:
            with contextlib.suppress(PolicyNotExists):  # another request deleted it meanwhile: as well
                await self._writes.commit(tenant, PolicyDeleted(policy_id=id, **self._writes.stamp(actor)._asdict()))
