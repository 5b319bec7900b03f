"""fold: how an event changes a view. Every state change there is stands here.

`apply` is a function of (view, position, event): no clock, no randomness, no settings. It is idempotent by position,
and refuses an event only for structural reasons: then the view is left as it was, and the outcome holds what the
losing client of the race is told. So replaying a log gives every replica the same view and the same refusals.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, assert_never

import msgspec
from msgspec import Struct, structs

from registry.domain.errors import (
    DeployedInstance,
    InstanceNotExists,
    InvalidParams,
    PolicyNotExists,
    RegistryError,
    SchemaNotExists,
    ServiceAlreadyExists,
    ServiceNotExists,
    TagNotExists,
)
from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceRegistered,
    ServiceUnregistered,
    TagsDeleted,
    TagSet,
    TagsReplaced,
)
from registry.domain.model import (
    Instance,
    Microservice,
    Schema,
    decode_instance,
    encode_instance,
    encode_microservice,
    seconds,
)
from registry.domain.position import Position
from registry.domain.rev import content_digest
from registry.domain.version import parse_version
from registry.domain.view import GroupKey, InstanceRow, RegistryView, ServiceGroup, ServiceRow

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"


class Change(Struct, frozen=True):
    """One instance changed. `row` is the new content, or on DELETE the last one."""

    action: str
    service: Microservice
    row: InstanceRow


class Outcome(Struct, frozen=True):
    """What applying an event came to.

    `id` is the service or instance that the event ended up concerning: another than the event names, when the fold
    merged it into what was there. `error` is set when the event was refused. `released` names the consumers whose
    dependency on the service ended with it, and who are still to be told of its last changes.
    """

    id: str = ""
    changes: tuple[Change, ...] = ()
    released: tuple[str, ...] = ()
    error: RegistryError | None = None


NOTHING: Final = Outcome()


def apply(view: RegistryView, position: Position, event: Event) -> Outcome:
    """Apply one event to the view.

    An event at or before the view's position has been applied already: nothing happens.
    """
    if position <= view.position:
        return NOTHING
    view.position = position
    view.position_text = position.text().encode()
    outcome = _change(view, position, event)
    if outcome.error is None:
        view.changes += 1
    return outcome


def _change(view: RegistryView, position: Position, event: Event) -> Outcome:
    match event:
        case InstanceRegistered():
            return _register_instance(view, position, event)
        case InstanceUnregistered():
            return _remove_instance(view, event.service_id, event.instance_id)
        case InstanceExpired():
            return _expire_instance(view, event)
        case InstanceStatusSet():
            return _edit_instance(view, event, lambda instance: structs.replace(instance, status=event.status))
        case InstancePropertiesSet():
            return _edit_instance(view, event, lambda instance: structs.replace(instance, properties=event.properties))
        case ServiceRegistered():
            return _register_service(view, event)
        case ServiceUnregistered():
            return _unregister_service(view, event)
        case ServicePropertiesSet():
            return _set_service_properties(view, event)
        case TagsReplaced() | TagSet() | TagsDeleted():
            return _change_tags(view, event)
        case SchemaPut() | SchemasReplaced() | SchemaDeleted():
            return _change_schemas(view, event)
        case DependenciesAdded() | DependenciesReplaced():
            return _change_dependencies(view, event)
        case PolicySaved():
            view.policies[event.policy.id] = event.policy
            return Outcome(event.policy.id)
        case PolicyDeleted():
            return _delete_policy(view, event)
    assert_never(event)


# -- instances ---------------------------------------------------------------------------------------------------------


def endpoints_key(endpoints: list[str]) -> bytes:
    """The endpoints as a set, in 16 bytes; b"" for none. Order and repetition do not matter (D2)."""
    if not endpoints:
        return b""
    return blake2b(msgspec.msgpack.encode(sorted(set(endpoints))), digest_size=16).digest()


def _register_instance(view: RegistryView, position: Position, event: InstanceRegistered) -> Outcome:
    instance = event.instance
    row = view.services.get(instance.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {instance.service_id} was unregistered meanwhile"))
    key = endpoints_key(instance.endpoints)
    instance_id = instance.instance_id
    if not event.chosen and instance_id not in row.instances and key in row.by_endpoints:
        # Another registration with the same endpoints won the race: the original id stays (D2).
        instance_id = row.by_endpoints[key][0]
    before = row.instances.get(instance_id)
    now = seconds(event.at_ms)
    content = structs.replace(
        instance,
        instance_id=instance_id,
        version=row.service.version,
        timestamp=decode_instance(before.body).timestamp if before else now,
        mod_timestamp=now,
    )
    after = _instance_row(content, key, position.text())
    _put_instance(view, row, after)
    return Outcome(instance_id, (Change(UPDATE if before else CREATE, row.service, after),))


def _edit_instance(
    view: RegistryView, event: InstanceStatusSet | InstancePropertiesSet, edit: Callable[[Instance], Instance]
) -> Outcome:
    row = view.services.get(event.service_id)
    before = row.instances.get(event.instance_id) if row is not None else None
    if row is None or before is None:
        return _no_instance(event.service_id, event.instance_id)
    content = structs.replace(edit(decode_instance(before.body)), mod_timestamp=seconds(event.at_ms))
    after = _instance_row(content, before.endpoints_key, before.registered)
    _put_instance(view, row, after)
    return Outcome(after.instance_id, (Change(UPDATE, row.service, after),))


def _expire_instance(view: RegistryView, event: InstanceExpired) -> Outcome:
    before = view.instance(event.service_id, event.instance_id)
    if before is None or before.registered != event.registered:
        # It was unregistered, expired by another replica, or registered anew: this lapse is of the past.
        return _no_instance(event.service_id, event.instance_id)
    return _remove_instance(view, event.service_id, event.instance_id)


def _remove_instance(view: RegistryView, service_id: str, instance_id: str) -> Outcome:
    row = view.services.get(service_id)
    before = row.instances.pop(instance_id, None) if row is not None else None
    if row is None or before is None:
        return _no_instance(service_id, instance_id)
    view.instance_count -= 1
    _forget_endpoints(row, before)
    _drop_answers(row)
    return Outcome(instance_id, (Change(DELETE, row.service, before),))


def _no_instance(service_id: str, instance_id: str) -> Outcome:
    return Outcome(error=InstanceNotExists(f"instance {instance_id} of service {service_id}"))


def _instance_row(content: Instance, key: bytes, registered: str) -> InstanceRow:
    body = encode_instance(content)
    return InstanceRow(
        content.service_id,
        content.instance_id,
        body,
        content_digest(body),
        content.health_check.ttl_ms(),
        registered,
        key,
    )


def _put_instance(view: RegistryView, row: ServiceRow, after: InstanceRow) -> None:
    before = row.instances.get(after.instance_id)
    row.instances[after.instance_id] = after
    if before is None:
        view.instance_count += 1
    if before is None or before.endpoints_key != after.endpoints_key:
        if before is not None:
            _forget_endpoints(row, before)
        if after.endpoints_key:
            row.by_endpoints[after.endpoints_key] = (*row.by_endpoints.get(after.endpoints_key, ()), after.instance_id)
    _drop_answers(row)


def _forget_endpoints(row: ServiceRow, before: InstanceRow) -> None:
    if not before.endpoints_key:
        return
    others = tuple(id for id in row.by_endpoints[before.endpoints_key] if id != before.instance_id)
    if others:
        row.by_endpoints[before.endpoints_key] = others
    else:
        del row.by_endpoints[before.endpoints_key]


def _drop_answers(row: ServiceRow) -> None:
    row.answer = None
    if row.group.answers:
        row.group.answers.clear()


# -- services ----------------------------------------------------------------------------------------------------------


def _register_service(view: RegistryView, event: ServiceRegistered) -> Outcome:
    service = event.service
    key = (service.environment, service.app_id, service.service_name, service.version)
    alias_key = (service.environment, service.app_id, service.alias, service.version)
    holder = view.holder(service)
    if holder is not None:
        # The key is taken: its holder is the answer, unless the client insists on another id.
        if event.chosen and holder != service.service_id:
            return Outcome(error=ServiceAlreadyExists(f"{_named(service)} is registered as {holder}"))
        return Outcome(holder)
    if service.service_id in view.services:
        other = view.services[service.service_id].service
        return Outcome(error=ServiceAlreadyExists(f"service id {service.service_id} belongs to {_named(other)}"))
    try:
        version = parse_version(service.version)
    except InvalidParams as error:
        # No command lets it through; but the fold answers for every log, and a replica must not stop for ever.
        return Outcome(error=error)
    now = seconds(event.at_ms)
    service = structs.replace(service, timestamp=now, mod_timestamp=now)
    group = view.groups.setdefault(key[:3], ServiceGroup(*key[:3]))
    row = ServiceRow(service, encode_microservice(service), version, group)
    view.services[service.service_id] = row
    view.ids[key] = service.service_id
    group.services[service.service_id] = row
    if service.alias:
        view.alias_ids[alias_key] = service.service_id
        view.aliases.setdefault(alias_key[:3], {})[service.service_id] = None
    _drop_answers(row)
    return Outcome(service.service_id)


def _unregister_service(view: RegistryView, event: ServiceUnregistered) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    if row.instances and not event.force:
        return Outcome(error=DeployedInstance(f"service {event.service_id} has {len(row.instances)} instance(s)"))
    service = row.service
    del view.services[service.service_id]
    del view.ids[service.environment, service.app_id, service.service_name, service.version]
    if service.alias:
        del view.alias_ids[service.environment, service.app_id, service.alias, service.version]
        alias_group = service.environment, service.app_id, service.alias
        del view.aliases[alias_group][service.service_id]
        if not view.aliases[alias_group]:
            del view.aliases[alias_group]
    group = row.group
    released: tuple[str, ...] = ()
    del group.services[service.service_id]
    if not group.services:
        del view.groups[group.key]
        released = tuple(view.consumers.get(group.key, ()))
        _forget_provider(view, group.key)
    _forget_consumer(view, service.service_id)
    view.instance_count -= len(row.instances)
    _drop_answers(row)
    gone = tuple(Change(DELETE, service, instance) for instance in row.instances.values())
    return Outcome(service.service_id, gone, released)


def _set_service_properties(view: RegistryView, event: ServicePropertiesSet) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    row.service = structs.replace(row.service, properties=event.properties, mod_timestamp=seconds(event.at_ms))
    row.body = encode_microservice(row.service)
    # allowCrossApp decides who may see the instances.
    _drop_answers(row)
    return Outcome(event.service_id)


def _change_tags(view: RegistryView, event: TagsReplaced | TagSet | TagsDeleted) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    match event:
        case TagsReplaced():
            needed, after = [], dict(event.tags)
        case TagSet():
            needed, after = [event.key], row.tags | {event.key: event.value}
        case TagsDeleted():
            needed, after = event.keys, {key: row.tags[key] for key in row.tags if key not in event.keys}
    missing = [key for key in needed if key not in row.tags]
    if missing:
        return Outcome(error=TagNotExists(f"service {event.service_id} has no tag {', '.join(missing)}"))
    row.tags = after
    _drop_answers(row)
    return Outcome(event.service_id)


def _change_schemas(view: RegistryView, event: SchemaPut | SchemasReplaced | SchemaDeleted) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    declared = row.service.schemas
    match event:
        case SchemaPut():
            row.schemas[event.schema_id] = Schema(event.schema_id, event.summary, event.schema)
            if event.schema_id not in declared:
                declared = [*declared, event.schema_id]
        case SchemasReplaced():
            row.schemas = {schema.schema_id: schema for schema in event.schemas}
            declared = [schema.schema_id for schema in event.schemas]
        case SchemaDeleted():
            if row.schemas.pop(event.schema_id, None) is None:
                return Outcome(error=SchemaNotExists(f"schema {event.schema_id} of service {event.service_id}"))
    if declared != row.service.schemas:
        # The service's modTimestamp is not touched by schemas (servicecomb-v4.md 3.4).
        row.service = structs.replace(row.service, schemas=declared)
        row.body = encode_microservice(row.service)
    return Outcome(event.service_id)


# -- dependencies and policies -----------------------------------------------------------------------------------------


def _change_dependencies(view: RegistryView, event: DependenciesAdded | DependenciesReplaced) -> Outcome:
    if event.consumer_id not in view.services:
        return Outcome(error=ServiceNotExists(f"consumer {event.consumer_id}"))
    if isinstance(event, DependenciesReplaced):
        _forget_consumer(view, event.consumer_id)
    for provider in event.providers:
        view.providers.setdefault(event.consumer_id, {})[provider] = None
        view.consumers.setdefault(provider, {})[event.consumer_id] = None
    return Outcome(event.consumer_id)


def _forget_consumer(view: RegistryView, consumer_id: str) -> None:
    for provider in view.providers.pop(consumer_id, {}):
        del view.consumers[provider][consumer_id]
        if not view.consumers[provider]:
            del view.consumers[provider]


def _forget_provider(view: RegistryView, provider: GroupKey) -> None:
    for consumer_id in view.consumers.pop(provider, {}):
        del view.providers[consumer_id][provider]
        if not view.providers[consumer_id]:
            del view.providers[consumer_id]


def _delete_policy(view: RegistryView, event: PolicyDeleted) -> Outcome:
    if view.policies.pop(event.policy_id, None) is None:
        return Outcome(error=PolicyNotExists(f"policy {event.policy_id} does not exist"))
    return Outcome(event.policy_id)


def _named(service: Microservice) -> str:
    environment = service.environment or "no environment"
    return f"{service.app_id}/{service.service_name}/{service.version} ({environment})"
