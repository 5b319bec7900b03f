"""decide: from a view and a command to the event that is to be appended, or to the answer that needs none.

Pure. Time, ids and identity come in as arguments. What is refused here is refused from this replica's view: a caller
that contradicts a client catches up with the log first and decides again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import NamedTuple

from msgspec import structs

from registry.domain.commands import (
    InstanceBody,
    MicroserviceBody,
    to_properties,
)
from registry.domain.errors import (
    DependedOnConsumer,
    DeployedInstance,
    InstanceNotExists,
    InvalidParams,
    NotEnoughQuota,
    ServiceAlreadyExists,
    ServiceNotExists,
)
from registry.domain.events import (
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    ServicePropertiesSet,
    ServiceRegistered,
    ServiceUnregistered,
)
from registry.domain.fold_instances import endpoints_key
from registry.domain.model import STATUSES, Instance, decode_instance
from registry.domain.view import InstanceRow, RegistryView, ServiceRow, Tenant


class Stamp(NamedTuple):
    """Who records an event, and when: the fields of `events.Recorded`."""

    at_ms: int
    replica: str
    number: int
    actor: str


@dataclass(frozen=True, slots=True)
class Known:
    """Nothing is to be appended: the client is answered with what is there."""

    id: str


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many tenants there may be, and how much a tenant may hold, and a service. A setting, so it is checked before appending and never in the fold."""

    tenants: int = 10_000
    services: int = 50_000
    instances: int = 150_000
    schemas: int = 100
    tags: int = 100


def quota_or_refuse(what: str, used: int, limit: int, variable: str) -> None:
    """Refuse one more; say which quota, how much of it is used, and what helps (D11: never for what exists)."""
    if used >= limit:
        raise NotEnoughQuota(
            f"{what} quota: {used} of {limit} in use; unregister what is not needed, or raise {variable}"
        )


def service_or_refuse(view: RegistryView, service_id: str) -> ServiceRow:
    row = view.services.get(service_id)
    if row is None:
        raise ServiceNotExists(f"service {service_id}")
    return row


def instance_or_refuse(view: RegistryView, service_id: str, instance_id: str) -> InstanceRow:
    """The row, or 400017 - also when it is the service that is unknown (clients.md 0.3)."""
    row = view.instance(service_id, instance_id)
    if row is None:
        raise InstanceNotExists(f"instance {instance_id} of service {service_id}")
    return row


def generated_service_id(tenant: Tenant, environment: str, app_id: str, name: str, version: str) -> str:
    """The id of a microservice whose client names none: the same on every replica, and the reference's own (D19)."""
    key = f"/cse-sr/ms/indexes/{tenant.domain}/{tenant.project}/{environment}/{app_id}/{name}/{version}"
    return sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def register_service(
    view: RegistryView, body: MicroserviceBody | None, quotas: Quotas, stamp: Stamp
) -> ServiceRegistered | Known:
    """Register a microservice, or answer with the id under which its key is known (servicecomb-v4.md 3.2)."""
    if body is None:
        raise InvalidParams("service is missing - at `$.service`")
    service = body.to_microservice()
    chosen = bool(service.service_id)
    key = (service.environment, service.app_id, service.service_name, service.version)
    holder = view.holder(service)
    if holder is not None:
        if chosen and holder != service.service_id:
            raise ServiceAlreadyExists(f"{'/'.join(key)} is registered as {holder}")
        return Known(holder)
    if not chosen:
        service = structs.replace(service, service_id=generated_service_id(view.tenant, *key))
    elif service.service_id in view.services:
        raise ServiceAlreadyExists(f"service id {service.service_id} belongs to another microservice")
    quota_or_refuse("service", len(view.services), quotas.services, "QUOTA_SERVICE")
    declared = len(service.schemas)
    if declared > quotas.schemas:
        limit = f"a service has at most {quotas.schemas} (QUOTA_SCHEMA)"
        raise InvalidParams(f"{declared} schemas; {limit} - at `$.service.schemas`")
    return ServiceRegistered(service=service, chosen=chosen, **stamp._asdict())


def unregister_service(
    view: RegistryView, service_id: str, force: bool, own_service_id: str, stamp: Stamp
) -> ServiceUnregistered:
    """Unregister a microservice; without `force` only when no other consumes it and it has no instance."""
    if service_id == own_service_id:
        raise InvalidParams("the registry's own service cannot be deleted")
    row = service_or_refuse(view, service_id)
    consumers = [id for id in view.consumers.get(row.group.key, ()) if id != service_id]
    if not force and consumers:
        raise DependedOnConsumer(f"service {service_id} is consumed by {', '.join(consumers[:5])}")
    if not force and row.instances:
        raise DeployedInstance(f"service {service_id} has {len(row.instances)} instance(s); force=1 deletes them too")
    return ServiceUnregistered(service_id=service_id, force=force, **stamp._asdict())


def set_service_properties(
    view: RegistryView, service_id: str, properties: dict[str, str | None] | None, stamp: Stamp
) -> ServicePropertiesSet | Known:
    row = service_or_refuse(view, service_id)
    canonical = to_properties(properties)
    if row.service.properties == canonical:
        return Known(service_id)
    return ServicePropertiesSet(service_id=service_id, properties=canonical, **stamp._asdict())


def register_instance(
    view: RegistryView, service_id: str, body: InstanceBody | None, new_id: str, quotas: Quotas, stamp: Stamp
) -> InstanceRegistered | Known:
    """Register an instance (D1, D2).

    The id is the client's; else that of a live instance of the service with the same endpoints; else `new_id`. When
    the content is what is registered already, only the lease is to be renewed: `Known`.
    """
    if body is None:
        raise InvalidParams("instance is missing - at `$.instance`")
    row = service_or_refuse(view, service_id)
    content = body.to_instance()
    chosen = bool(body.instance_id)
    instance_id = body.instance_id or row.by_endpoints.get(endpoints_key(content.endpoints), ("",))[0]
    before = row.instances.get(instance_id)
    content = structs.replace(content, instance_id=instance_id or new_id, service_id=service_id)
    if before is not None and _same_content(decode_instance(before.body), content):
        return Known(instance_id)
    if before is None:
        quota_or_refuse("instance", view.instance_count, quotas.instances, "QUOTA_INSTANCE")
    return InstanceRegistered(instance=content, chosen=chosen, **stamp._asdict())


def _same_content(registered: Instance, content: Instance) -> bool:
    return content == structs.replace(registered, version="", timestamp="", mod_timestamp="")


def unregister_instance(view: RegistryView, service_id: str, instance_id: str, stamp: Stamp) -> InstanceUnregistered:
    instance_or_refuse(view, service_id, instance_id)
    return InstanceUnregistered(service_id=service_id, instance_id=instance_id, **stamp._asdict())


def set_instance_status(
    view: RegistryView, service_id: str, instance_id: str, status: str, stamp: Stamp
) -> InstanceStatusSet | Known:
    """Set the status; a status that it has already changes nothing, so consumers are not sent the list again."""
    if status not in STATUSES:
        raise InvalidParams(f"value {status[:32]!r}: one of {', '.join(STATUSES)} - at query parameter `value`")
    row = instance_or_refuse(view, service_id, instance_id)
    if decode_instance(row.body).status == status:
        return Known(instance_id)
    return InstanceStatusSet(service_id=service_id, instance_id=instance_id, status=status, **stamp._asdict())


def set_instance_properties(
    view: RegistryView, service_id: str, instance_id: str, properties: dict[str, str | None] | None, stamp: Stamp
) -> InstancePropertiesSet | Known:
    row = instance_or_refuse(view, service_id, instance_id)
    canonical = to_properties(properties)
    if decode_instance(row.body).properties == canonical:
        return Known(instance_id)
    return InstancePropertiesSet(
        service_id=service_id, instance_id=instance_id, properties=canonical, **stamp._asdict()
    )
