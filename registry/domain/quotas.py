"""Quotas: what a tenant may hold, and what is said when it is enough.

They are settings, so they are checked before an event is appended and never in the fold. Only what is both beyond a
quota and more than before is refused: a quota that is full, or was lowered, never costs anybody what is registered. The
registry's own microservice and its instances do not count, and are never refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from registry.domain import weight
from registry.domain.errors import LimitExceeded, NotEnoughQuota
from registry.domain.events import DependenciesAdded, DependenciesReplaced
from registry.domain.model import Instance, Microservice, Policy
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import OWN_GROUP, GroupKey, RegistryView, ServiceRow

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much there may be. Bytes are those that `weight` counts."""

    #: Of the deployment; the default tenant is never refused.
    tenants: int = 10_000
    #: Of one tenant.
    services: int = 50_000
    instances: int = 150_000
    policies: int = 10_000
    policy_bytes: int = 8 * MIB
    tenant_bytes: int = 1024 * MIB
    #: Of one service; its schemas count apart from the rest of it.
    service_bytes: int = 256 * KIB
    tags: int = 100
    schemas: int = 100
    schema_bytes: int = 8 * MIB
    #: Of one consumer: the names that it has found.
    dependencies: int = 10_000
    #: Of one instance. The reference takes 5,120 bytes; instances of Dubbo applications have dozens of URLs.
    endpoints: int = 1_000
    instance_bytes: int = 64 * KIB

    def refuse_tenant(self) -> None:
        """The store holds as many tenants as there may be. Raises NotEnoughQuota."""
        _refuse_beyond("tenant", self.tenants, self.tenants + 1, self.tenants, "QUOTA_TENANT")

    # -- microservices -------------------------------------------------------------------------------------------------

    def check_new_service(self, view: RegistryView, service: Microservice) -> None:
        if _is_own(view.tenant, (service.environment, service.app_id, service.service_name)):
            return
        used = len(view.services) - len(_own(view))
        _refuse_beyond("service", used, used + 1, self.services, "QUOTA_SERVICE")
        self._check_schema_number(len(service.schemas), 0, "$.service.schemas")
        self._check_record(view, service.service_id, 0, weight.of_record(service, {}))

    def check_record(self, view: RegistryView, row: ServiceRow, service: Microservice, tags: Mapping[str, str]) -> None:
        """What a service is to be, and its tags, instead of what they are."""
        if len(tags) > self.tags and len(tags) > len(row.tags):
            raise LimitExceeded(f"{len(tags)} tags; a service has at most {self.tags} (QUOTA_TAG) - at `$.tags`")
        used = weight.of_record(row.service, row.tags)
        self._check_record(view, row.service_id, used, weight.of_record(service, tags))

    def _check_record(self, view: RegistryView, name: str, used: int, wanted: int) -> None:
        _refuse_beyond(f"bytes of service {name}", used, wanted, self.service_bytes, "QUOTA_SERVICE_BYTES")
        self._check_tenant(view, wanted - used)

    def check_schema(self, view: RegistryView, row: ServiceRow, schema_id: str, growth: int) -> None:
        """One schema, of which the content grows by `growth` bytes."""
        if schema_id not in row.service.schemas:
            used = len(row.service.schemas)
            _refuse_beyond(f"schema of service {row.service_id}", used, used + 1, self.schemas, "QUOTA_SCHEMA")
        self._check_schema_bytes(view, row, row.schema_bytes + growth)

    def check_schemas(self, view: RegistryView, row: ServiceRow, number: int, size: int) -> None:
        """All schemas of a service, instead of those that it has."""
        self._check_schema_number(number, len(row.service.schemas), "$.schemas")
        self._check_schema_bytes(view, row, size)

    def _check_schema_number(self, number: int, before: int, where: str) -> None:
        if number > self.schemas and number > before:
            raise LimitExceeded(f"{number} schemas; a service has at most {self.schemas} (QUOTA_SCHEMA) - at `{where}`")

    def _check_schema_bytes(self, view: RegistryView, row: ServiceRow, wanted: int) -> None:
        what = f"schema bytes of service {row.service_id}"
        _refuse_beyond(what, row.schema_bytes, wanted, self.schema_bytes, "QUOTA_SCHEMA_BYTES")
        self._check_tenant(view, wanted - row.schema_bytes)

    # -- instances -----------------------------------------------------------------------------------------------------

    def check_instance(self, view: RegistryView, row: ServiceRow, before: Instance | None, after: Instance) -> None:
        """An instance of the service `row`, new or changed."""
        wanted = weight.of_instance(after)
        if (
            view.instance_count < self.instances
            and len(after.endpoints) <= self.endpoints
            and wanted <= self.instance_bytes
            and view.held_bytes + wanted <= self.tenant_bytes
        ):
            return  # as nearly always, and at little cost: registrations are many
        if _is_own(view.tenant, row.group.key):
            return
        if before is None:
            used = view.instance_count - sum(len(own.instances) for own in _own(view))
            _refuse_beyond("instance", used, used + 1, self.instances, "QUOTA_INSTANCE")
        endpoints = len(before.endpoints) if before is not None else 0
        _refuse_beyond("endpoint", endpoints, len(after.endpoints), self.endpoints, "QUOTA_ENDPOINT")
        used = weight.of_instance(before) if before is not None else 0
        if wanted > self.instance_bytes and wanted > used:
            helps = "register less, or raise REGISTRY_INSTANCE_MAX_BYTES"
            raise LimitExceeded(
                f"the instance has {wanted} bytes as JSON, at most {self.instance_bytes} are stored; {helps}"
                " - at `$.instance`"
            )
        self._check_tenant(view, wanted - used)

    # -- dependencies --------------------------------------------------------------------------------------------------

    def check_dependencies(
        self, view: RegistryView, changes: Sequence[DependenciesAdded | DependenciesReplaced]
    ) -> None:
        """What consumers are to depend on when all of these are made."""
        growth = 0
        for consumer_id, after in _after(view, changes).items():
            before = view.providers.get(consumer_id, {})
            what = f"dependency of consumer {consumer_id}"
            _refuse_beyond(what, len(before), len(after), self.dependencies, "QUOTA_DEPENDENCY")
            growth += weight.of_dependencies(after) - weight.of_dependencies(before)
        self._check_tenant(view, growth)

    def recordable(self, view: RegistryView, consumer_id: str, found: Iterable[GroupKey]) -> list[GroupKey]:
        """What of it is not among the consumer's dependencies yet, as far as the quotas let it be."""
        known = view.providers.get(consumer_id, {})
        new = [key for key in dict.fromkeys(found) if key not in known][: max(0, self.dependencies - len(known))]
        room, kept = self.tenant_bytes - _held_bytes(view), 0
        for key in new:
            room -= weight.of_dependencies((key,))
            kept += room >= 0
        return new[:kept]

    # -- policies ------------------------------------------------------------------------------------------------------

    def check_policy(self, view: RegistryView, before: Policy | None, after: Policy) -> None:
        if before is None:
            used = len(view.policies)
            _refuse_beyond("policy", used, used + 1, self.policies, "QUOTA_POLICY")
        growth = weight.of_policy(after) - (weight.of_policy(before) if before is not None else 0)
        used = view.policy_bytes
        _refuse_beyond("policy bytes", used, used + growth, self.policy_bytes, "QUOTA_POLICY_BYTES")
        self._check_tenant(view, growth)

    # -- everything ----------------------------------------------------------------------------------------------------

    def _check_tenant(self, view: RegistryView, growth: int) -> None:
        used = _held_bytes(view)
        _refuse_beyond("tenant bytes", used, used + growth, self.tenant_bytes, "QUOTA_TENANT_BYTES")


def _refuse_beyond(what: str, used: int, wanted: int, limit: int, setting: str) -> None:
    if wanted > limit and wanted > used:
        raise NotEnoughQuota(
            f"{what} quota: {used} of {limit} in use, {wanted - used} more wanted; "
            f"remove what is not needed, or raise {setting}"
        )


def _is_own(tenant: Tenant, group: GroupKey) -> bool:
    return group == OWN_GROUP and tenant == DEFAULT_TENANT


def _own(view: RegistryView) -> Sequence[ServiceRow]:
    """The registry's own microservice in its versions; its instances are the replicas, so there are few."""
    group = view.groups.get(OWN_GROUP) if view.tenant == DEFAULT_TENANT else None
    return tuple(group.services.values()) if group is not None else ()


def _held_bytes(view: RegistryView) -> int:
    return view.held_bytes - sum(weight.of_service(own) + weight.of_instances(own) for own in _own(view))


def _after(
    view: RegistryView, changes: Sequence[DependenciesAdded | DependenciesReplaced]
) -> dict[str, dict[GroupKey, None]]:
    after: dict[str, dict[GroupKey, None]] = {}
    for change in changes:
        if isinstance(change, DependenciesReplaced):
            after[change.consumer_id] = {}
        elif change.consumer_id not in after:
            after[change.consumer_id] = dict(view.providers.get(change.consumer_id, {}))
        after[change.consumer_id].update(dict.fromkeys(change.providers))
    return after
