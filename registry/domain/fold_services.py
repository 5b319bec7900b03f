"""What events about microservices, their tags and their schemas change. Called by `domain.fold` only."""

from __future__ import annotations

from msgspec import structs

from registry.domain import weight
from registry.domain.errors import (
    DeployedInstance,
    InvalidParams,
    SchemaNotExists,
    ServiceAlreadyExists,
    ServiceNotExists,
    TagNotExists,
)
from registry.domain.events import (
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
from registry.domain.fold_dependencies import forget_consumer, forget_provider
from registry.domain.model import Microservice, Schema, encode_microservice, seconds
from registry.domain.outcome import DELETE, Change, Edit, Outcome
from registry.domain.version import parse_version
from registry.domain.view import RegistryView, ServiceGroup, ServiceRow


def register_service(view: RegistryView, event: ServiceRegistered) -> Outcome:
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
        # No request lets it through; but the fold answers for every log, and a replica must not stop for ever.
        return Outcome(error=error)
    now = seconds(event.at_ms)
    service = structs.replace(service, timestamp=now, mod_timestamp=now)
    group = view.groups.setdefault(key[:3], ServiceGroup(*key[:3]))
    row = ServiceRow(service, encode_microservice(service), version, group)
    view.held_bytes += weight.of_service(row)
    view.services[service.service_id] = row
    view.ids[key] = service.service_id
    group.services[service.service_id] = row
    if service.alias:
        view.alias_ids[alias_key] = service.service_id
        view.aliases.setdefault(alias_key[:3], {})[service.service_id] = None
    row.drop_answers()
    return Outcome(service.service_id, added=service)


def unregister_service(view: RegistryView, event: ServiceUnregistered) -> Outcome:
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
        forget_provider(view, group.key)
    forget_consumer(view, service.service_id)
    view.instance_count -= len(row.instances)
    view.held_bytes -= weight.of_service(row) + weight.of_instances(row)
    row.drop_answers()
    gone = tuple(Change(DELETE, service, instance) for instance in row.instances.values())
    return Outcome(service.service_id, gone, released, removed=service)


def set_service_properties(view: RegistryView, event: ServicePropertiesSet) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    before, weighed = row.service.properties, weight.of_service(row)
    row.service = structs.replace(row.service, properties=event.properties, mod_timestamp=seconds(event.at_ms))
    row.body = encode_microservice(row.service)
    view.held_bytes += weight.of_service(row) - weighed
    # allowCrossApp decides who may see the instances.
    row.drop_answers()
    return Outcome(event.service_id, edit=Edit("properties", before, event.properties))


def change_tags(view: RegistryView, event: TagsReplaced | TagSet | TagsDeleted) -> Outcome:
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
    view.held_bytes += weight.of_tags(after) - weight.of_tags(row.tags)
    before, row.tags = row.tags, after
    row.drop_answers()
    return Outcome(event.service_id, edit=Edit("tags", before, after))


def change_schemas(view: RegistryView, event: SchemaPut | SchemasReplaced | SchemaDeleted) -> Outcome:
    row = view.services.get(event.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {event.service_id}"))
    declared, before, weighed = row.service.schemas, _summaries(row), weight.of_service(row)
    match event:
        case SchemaPut():
            old, new = row.schemas.get(event.schema_id), Schema(event.schema_id, event.summary, event.schema)
            row.schemas[event.schema_id] = new
            row.schema_bytes += weight.of_schema(new) - (weight.of_schema(old) if old is not None else 0)
            if event.schema_id not in declared:
                declared = [*declared, event.schema_id]
        case SchemasReplaced():
            row.schemas = {schema.schema_id: schema for schema in event.schemas}
            row.schema_bytes = sum(map(weight.of_schema, row.schemas.values()))
            declared = [schema.schema_id for schema in event.schemas]
        case SchemaDeleted():
            old = row.schemas.pop(event.schema_id, None)
            if old is None:
                return Outcome(error=SchemaNotExists(f"schema {event.schema_id} of service {event.service_id}"))
            row.schema_bytes -= weight.of_schema(old)
    if declared != row.service.schemas:
        # The service's modTimestamp is not touched by schemas (api-rules.md 3.4).
        row.service = structs.replace(row.service, schemas=declared)
        row.body = encode_microservice(row.service)
    view.held_bytes += weight.of_service(row) - weighed
    return Outcome(event.service_id, edit=Edit("schemas", before, _summaries(row)))


def _summaries(row: ServiceRow) -> dict[str, str]:
    return {id: schema.summary for id, schema in row.schemas.items()}


def _named(service: Microservice) -> str:
    environment = service.environment or "no environment"
    return f"{service.app_id}/{service.service_name}/{service.version} ({environment})"
