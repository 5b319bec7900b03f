"""decide: from a view and a request body to the event that is to be appended, or to the answer that needs none.

Pure. Time, ids and identity come in as arguments. What is refused here is refused from this replica's view: a caller
that contradicts a client catches up with the log first and decides again.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

from msgspec import structs

from registry.domain.errors import (
    DependedOnConsumer,
    DeployedInstance,
    InstanceNotExists,
    InvalidParams,
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
from registry.domain.model import STATUSES, decode_instance
from registry.domain.own import ACTOR, forbidden, is_own, is_own_place, refuse_clients
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import (
    InstanceBody,
    MicroserviceBody,
    to_properties,
)
from registry.domain.tenant import Tenant
from registry.domain.view import InstanceRow, RegistryView, ServiceRow


class Stamp(NamedTuple):
    """Who records an event, and when: the fields of `events.Recorded`."""

    at_ms: int
    replica: str
    number: int
    actor: str
    request_id: str = ""
    user_agent: str = ""


class Known(NamedTuple):
    """Nothing is to be appended: the client is answered with what is there."""

    id: str


def service_or_refuse(view: RegistryView, service_id: str) -> ServiceRow:
    row = view.services.get(service_id)
    if row is None:
        raise ServiceNotExists(f"service {service_id}")
    return row


def service_to_write(view: RegistryView, service_id: str, actor: str) -> ServiceRow:
    """The row that a write is about."""
    row = service_or_refuse(view, service_id)
    refuse_clients(view, service_id, actor)
    return row


def instance_to_write(view: RegistryView, service_id: str, instance_id: str, actor: str = "") -> InstanceRow:
    """The same of an instance."""
    row = instance_or_refuse(view, service_id, instance_id)
    refuse_clients(view, service_id, actor)
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
    """Register a microservice, or answer with the id under which its key is known (api-rules.md 3.2)."""
    if body is None:
        raise InvalidParams("service is missing - at `$.service`")
    service = body.to_microservice()
    if stamp.actor != ACTOR and is_own_place(view.tenant, service):
        raise forbidden()
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
    quotas.check_new_service(view, service)
    return ServiceRegistered(service=service, chosen=chosen, **stamp._asdict())


def unregister_service(view: RegistryView, service_id: str, force: bool, stamp: Stamp) -> ServiceUnregistered:
    """Unregister a microservice; without `force` only when no other consumes it and it has no instance."""
    if is_own(view, service_id):
        raise InvalidParams("the registry's own service cannot be deleted")
    row = service_or_refuse(view, service_id)
    consumers = [id for id in view.consumers.get(row.group.key, ()) if id != service_id]
    if not force and consumers:
        raise DependedOnConsumer(f"service {service_id} is consumed by {', '.join(consumers[:5])}")
    if not force and row.instances:
        raise DeployedInstance(f"service {service_id} has {len(row.instances)} instance(s); force=1 deletes them too")
    return ServiceUnregistered(service_id=service_id, force=force, **stamp._asdict())


def set_service_properties(
    view: RegistryView, service_id: str, properties: dict[str, str | None] | None, quotas: Quotas, stamp: Stamp
) -> ServicePropertiesSet | Known:
    row = service_to_write(view, service_id, stamp.actor)
    canonical = to_properties(properties)
    if row.service.properties == canonical:
        return Known(service_id)
    quotas.check_record(view, row, structs.replace(row.service, properties=canonical), row.tags)
    return ServicePropertiesSet(service_id=service_id, properties=canonical, **stamp._asdict())


def register_instance(
    view: RegistryView, service_id: str, body: InstanceBody | None, new_id: str, quotas: Quotas, stamp: Stamp
) -> InstanceRegistered | Known:
    """Register an instance (D1, D2).

    The id is the client's; else that of a live instance of the service with the same endpoints; else `new_id`. When
    the content is what is registered already, only the lease is to be renewed: `Known`. A body that names no status
    keeps the present one: what an operator has set outlives the client's next registration.
    """
    if body is None:
        raise InvalidParams("instance is missing - at `$.instance`")
    row = service_to_write(view, service_id, stamp.actor)
    chosen = bool(body.instance_id)
    instance_id = body.instance_id or row.by_endpoints.get(endpoints_key(body.endpoints or []), ("",))[0]
    held = row.instances.get(instance_id)
    before = decode_instance(held.body) if held is not None else None
    content = body.to_instance(instance_id or new_id, service_id, before.status if before is not None else "")
    if before is not None and content == structs.replace(before, version="", timestamp="", mod_timestamp=""):
        return Known(instance_id)
    quotas.check_instance(view, row, before, content)
    return InstanceRegistered(instance=content, chosen=chosen, keeps_status=not body.status, **stamp._asdict())


def unregister_instance(view: RegistryView, service_id: str, instance_id: str, stamp: Stamp) -> InstanceUnregistered:
    instance_to_write(view, service_id, instance_id, stamp.actor)
    return InstanceUnregistered(service_id=service_id, instance_id=instance_id, **stamp._asdict())


def set_instance_status(
    view: RegistryView, service_id: str, instance_id: str, status: str, stamp: Stamp
) -> InstanceStatusSet | Known:
    """Set the status; a status that it has already changes nothing, so consumers are not sent the list again."""
    if status not in STATUSES:
        raise InvalidParams(f"value {status[:32]!r}: one of {', '.join(STATUSES)} - at query parameter `value`")
    row = instance_to_write(view, service_id, instance_id, stamp.actor)
    if decode_instance(row.body).status == status:
        return Known(instance_id)
    return InstanceStatusSet(service_id=service_id, instance_id=instance_id, status=status, **stamp._asdict())


def set_instance_properties(
    view: RegistryView,
    service_id: str,
    instance_id: str,
    properties: dict[str, str | None] | None,
    quotas: Quotas,
    stamp: Stamp,
) -> InstancePropertiesSet | Known:
    row = instance_to_write(view, service_id, instance_id, stamp.actor)
    canonical, before = to_properties(properties), decode_instance(row.body)
    if before.properties == canonical:
        return Known(instance_id)
    after = structs.replace(before, properties=canonical)
    quotas.check_instance(view, view.services[service_id], before, after)
    return InstancePropertiesSet(
        service_id=service_id, instance_id=instance_id, properties=canonical, **stamp._asdict()
    )
