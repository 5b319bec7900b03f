"""metadata: decisions about what describes microservices - tags, schemas, dependencies - and traffic policies.

Pure, as `domain.decide`; refusals are made again after catching up.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from registry.domain import weight
from registry.domain.commands import DependencyBody, PolicyBody, ProviderBody, SchemaBody, to_properties
from registry.domain.decide import Known, Stamp, service_or_refuse, service_to_write
from registry.domain.errors import InvalidParams, PolicyNotExists, SchemaNotExists, ServiceNotExists, TagNotExists
from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    TagsDeleted,
    TagSet,
    TagsReplaced,
)
from registry.domain.model import Microservice, Policy, Schema
from registry.domain.quotas import Quotas
from registry.domain.version import parse_rule
from registry.domain.view import GroupKey, RegistryView

# -- tags --------------------------------------------------------------------------------------------------------------


def replace_tags(
    view: RegistryView, service_id: str, tags: dict[str, str], quotas: Quotas, stamp: Stamp
) -> TagsReplaced | Known:
    row = service_to_write(view, service_id, stamp.actor)
    if row.tags == tags:
        return Known(service_id)
    quotas.check_record(view, row, row.service, tags)
    return TagsReplaced(service_id=service_id, tags=tags, **stamp._asdict())


def set_tag(view: RegistryView, service_id: str, key: str, value: str, quotas: Quotas, stamp: Stamp) -> TagSet:
    row = service_to_write(view, service_id, stamp.actor)
    if key not in row.tags:
        raise TagNotExists(f"service {service_id} has no tag {key}")
    quotas.check_record(view, row, row.service, row.tags | {key: value})
    return TagSet(service_id=service_id, key=key, value=value, **stamp._asdict())


def delete_tags(view: RegistryView, service_id: str, keys: Sequence[str], stamp: Stamp) -> TagsDeleted:
    row = service_to_write(view, service_id, stamp.actor)
    missing = [key for key in keys if key not in row.tags]
    if missing:
        raise TagNotExists(f"service {service_id} has no tag {', '.join(missing)}")
    return TagsDeleted(service_id=service_id, keys=list(keys), **stamp._asdict())


# -- schemas -----------------------------------------------------------------------------------------------------------


def put_schema(
    view: RegistryView, service_id: str, schema_id: str, body: SchemaBody, quotas: Quotas, stamp: Stamp
) -> SchemaPut | Known:
    """Create or overwrite one schema, in any environment (D18); without a summary the old one goes."""
    if not body.schema:
        raise InvalidParams("schema is missing - at `$.schema`")
    row = service_to_write(view, service_id, stamp.actor)
    schema = Schema(schema_id, body.summary or "", body.schema)
    before = row.schemas.get(schema_id)
    if before == schema and schema_id in row.service.schemas:
        return Known(service_id)
    growth = weight.of_schema(schema) - (weight.of_schema(before) if before is not None else 0)
    quotas.check_schema(view, row, schema_id, growth)
    return SchemaPut(
        service_id=service_id, schema_id=schema_id, schema=schema.schema, summary=schema.summary, **stamp._asdict()
    )


def replace_schemas(
    view: RegistryView, service_id: str, bodies: Sequence[SchemaBody] | None, quotas: Quotas, stamp: Stamp
) -> SchemasReplaced:
    """Make the service's schemas exactly these, in this order."""
    if not bodies:
        raise InvalidParams("schemas must hold at least one element - at `$.schemas`")
    schemas = [_complete(body, index) for index, body in enumerate(bodies)]
    if len({schema.schema_id for schema in schemas}) < len(schemas):
        raise InvalidParams("a schemaId is given twice - at `$.schemas`")
    row = service_to_write(view, service_id, stamp.actor)
    quotas.check_schemas(view, row, len(schemas), sum(map(weight.of_schema, schemas)))
    return SchemasReplaced(service_id=service_id, schemas=schemas, **stamp._asdict())


def _complete(body: SchemaBody, index: int) -> Schema:
    if not (body.schema_id and body.schema and body.summary):
        raise InvalidParams(f"schemaId, schema and summary are needed - at `$.schemas[{index}]`")
    return Schema(body.schema_id, body.summary, body.schema)


def delete_schema(view: RegistryView, service_id: str, schema_id: str, stamp: Stamp) -> SchemaDeleted:
    service_to_write(view, service_id, stamp.actor)
    schema_or_refuse(view, service_id, schema_id)
    return SchemaDeleted(service_id=service_id, schema_id=schema_id, **stamp._asdict())


def schema_or_refuse(view: RegistryView, service_id: str, schema_id: str) -> Schema:
    """The schema's content; one that is only declared does not exist (api-rules.md 3.4)."""
    schema = service_or_refuse(view, service_id).schemas.get(schema_id)
    if schema is None:
        raise SchemaNotExists(f"schema {schema_id} of service {service_id}")
    return schema


def list_schemas(view: RegistryView, service_id: str, with_schema: bool) -> list[Schema]:
    """Declared ids in their order, then ids that have only content; content only when asked for."""
    row = service_or_refuse(view, service_id)
    found = []
    for schema_id in dict.fromkeys((*row.service.schemas, *row.schemas)):
        schema = row.schemas.get(schema_id, Schema(schema_id))
        found.append(schema if with_schema else Schema(schema.schema_id, schema.summary))
    return found


# -- dependencies ------------------------------------------------------------------------------------------------------


def add_found(
    view: RegistryView, consumer_id: str, found: Sequence[GroupKey], quotas: Quotas, stamp: Stamp
) -> DependenciesAdded | Known:
    """Record what a consumer has found, unless it is recorded, as far as the quotas let it be."""
    service_to_write(view, consumer_id, stamp.actor)
    new = quotas.recordable(view, consumer_id, found)
    return DependenciesAdded(consumer_id=consumer_id, providers=new, **stamp._asdict()) if new else Known(consumer_id)


def change_dependencies(
    view: RegistryView, body: DependencyBody, index: int, replace: bool, stamp: Stamp
) -> DependenciesAdded | DependenciesReplaced:
    """One entry of the deprecated dependency writes (api-rules.md 3.12)."""
    where = f"$.dependencies[{index}]"
    consumer = body.consumer
    if consumer is None or not (consumer.app_id and consumer.service_name and consumer.version):
        raise InvalidParams(f"appId, serviceName and version are needed - at `{where}.consumer`")
    if not body.providers and not replace:
        raise InvalidParams(f"providers must hold at least one element - at `{where}.providers`")
    providers = [_provider(item, consumer.app_id, f"{where}.providers") for item in body.providers or []]
    if len(set(providers)) < len(providers):
        raise InvalidParams(f"a provider is given twice - at `{where}.providers`")
    key = (consumer.environment or "", consumer.app_id, consumer.service_name, consumer.version)
    consumer_id = view.ids.get(key)
    if consumer_id is None:
        raise ServiceNotExists(f"consumer {'/'.join(key)}")
    service_to_write(view, consumer_id, stamp.actor)
    if replace:
        return DependenciesReplaced(consumer_id=consumer_id, providers=providers, **stamp._asdict())
    return DependenciesAdded(consumer_id=consumer_id, providers=providers, **stamp._asdict())


def _provider(body: ProviderBody, consumer_app_id: str, where: str) -> GroupKey:
    if not body.service_name:
        raise InvalidParams(f"serviceName is missing - at `{where}`")
    parse_rule(body.version or "")
    return body.environment or "", body.app_id or consumer_app_id, body.service_name


def providers_of(view: RegistryView, service_id: str, no_self: bool) -> list[Microservice]:
    """Every existing version of what this service has found."""
    service_or_refuse(view, service_id)
    ids: dict[str, None] = {}
    for key in view.providers.get(service_id, ()):
        for group in _groups(view, key):
            ids.update(dict.fromkeys(group))
    return [view.services[id].service for id in ids if not (no_self and id == service_id)]


def consumers_of(view: RegistryView, service_id: str, no_self: bool) -> list[Microservice]:
    """The services that have found this one, in whatever version."""
    row = service_or_refuse(view, service_id)
    return [view.services[id].service for id in watching(view, row.group.key) if not (no_self and id == service_id)]


def watching(view: RegistryView, provider: GroupKey) -> list[str]:
    """Ids of the consumers that depend on this microservice name, also by `*`."""
    environment, app_id, _ = provider
    ids: dict[str, None] = {}
    for key in (provider, (environment, app_id, "*"), (environment, "", "*")):
        ids.update(view.consumers.get(key, {}))
    return list(ids)


def _groups(view: RegistryView, provider: GroupKey) -> list[list[str]]:
    environment, app_id, name = provider
    if name != "*":
        group = view.groups.get(provider)
        return [list(group.services)] if group is not None else []
    return [
        list(group.services)
        for key, group in sorted(view.groups.items(), key=itemgetter(0))
        if key[0] == environment and app_id in ("", key[1])
    ]


# -- traffic policies --------------------------------------------------------------------------------------------------

#: kind -> members that its spec must have (api-rules.md 3.14).
POLICY_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "match-group": ("matches", "alias"),
    "retry": ("maxAttempts",),
    "rate-limiting": ("rate",),
    "loadbalance": ("rule",),
    "circuit-breaker": ("minimumNumberOfCalls",),
    "instance-isolation": ("minimumNumberOfCalls",),
    "fault-injection": ("percentage",),
    "bulkhead": ("maxConcurrentCalls",),
}
MATCH_GROUP: Final = "match-group"
MATCH_METHODS: Final = ("GET", "POST", "DELETE", "PUT", "PATCH")
#: Members that are counts.
_COUNTS: Final = ("minimumNumberOfCalls", "percentage", "maxConcurrentCalls", "maxAttempts")


def save_policy(
    view: RegistryView, kind: str, policy_id: str, body: PolicyBody, new_id: str, quotas: Quotas, stamp: Stamp
) -> PolicySaved:
    """Save a new policy (`policy_id` "") or change one."""
    spec = body.spec or {}
    _check_spec(kind, spec)
    now = stamp.at_ms // 1000
    before = policy_or_refuse(view, kind, policy_id) if policy_id else None
    # As in the reference a match group that is given no name gets one of its own; drawn from the new id.
    default_name = f"scene-{new_id[:4]}" if kind == MATCH_GROUP else ""
    policy = Policy(
        name=body.name or (before.name if before else default_name),
        id=policy_id or new_id,
        status=body.status or (before.status if before else "enabled"),
        creat_time=before.creat_time if before else now,
        update_time=now,
        selector=before.selector if before and body.selector is None else to_properties(body.selector),
        kind=kind,
        spec=spec,
    )
    quotas.check_policy(view, before, policy)
    return PolicySaved(policy=policy, **stamp._asdict())


def _check_spec(kind: str, spec: dict[str, Any]) -> None:
    try:
        msgspec.msgpack.encode(spec)
    except OverflowError as exc:
        raise InvalidParams("a number is beyond 64 bits - at `$.spec`") from exc
    if kind not in POLICY_KINDS:
        raise InvalidParams(f"kind {kind[:64]!r}: one of {', '.join(POLICY_KINDS)} - at the path")
    for member in POLICY_KINDS[kind]:
        if spec.get(member) in (None, "", []):
            raise InvalidParams(f"a policy of kind {kind} needs {member} - at `$.spec.{member}`")
        if member in _COUNTS and not _is_count(spec[member]):
            raise InvalidParams(f"{member} is a number of at least 0 - at `$.spec.{member}`")
    matches = spec.get("matches")
    if kind == MATCH_GROUP and not (isinstance(matches, list) and all(isinstance(m, dict) for m in matches)):
        raise InvalidParams("matches is a list of objects - at `$.spec.matches`")
    for index, match in enumerate(matches or [] if kind == MATCH_GROUP else []):
        if not match.get("name"):
            raise InvalidParams(f"a match needs a name - at `$.spec.matches[{index}].name`")
        methods = match.get("method") or []
        if not isinstance(methods, list) or any(method not in MATCH_METHODS for method in methods):
            raise InvalidParams(f"a list of {', '.join(MATCH_METHODS)} - at `$.spec.matches[{index}].method`")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def policy_or_refuse(view: RegistryView, kind: str, policy_id: str) -> Policy:
    policy = view.policies.get(policy_id)
    if policy is None or policy.kind != kind:
        raise PolicyNotExists(f"policy {policy_id[:64]} of kind {kind[:64]} does not exist")
    return policy


def policies_to_delete(view: RegistryView, kind: str, policy_id: str) -> list[str]:
    """The ids that go when this policy is deleted: with a match group go all policies of its name."""
    policy = policy_or_refuse(view, kind, policy_id)
    ids = [policy_id]
    if kind == MATCH_GROUP:
        ids += [other.id for other in view.policies.values() if other.name == policy.name and other.id != policy_id]
    return ids


def list_policies(view: RegistryView, kind: str, app: str, environment: str) -> list[Policy]:
    """Policies of a kind ("" for all), those selected for an application and environment (`all` or "": any)."""
    return [
        policy
        for policy in view.policies.values()
        if kind in ("", policy.kind)
        and (app in ("", policy.selector.get("app", "")))
        and (environment in ("", "all", policy.selector.get("environment", "")))
    ]
