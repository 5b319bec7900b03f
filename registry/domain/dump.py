"""dump: everything in the registry, under the keys at which the reference keeps it in etcd.

`scctl` prints microservices and instances from it (api-rules.md 3.15, clients.md 1.L). Nothing here is stored so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Raw, Struct

from registry.domain.model import ServiceKey
from registry.domain.position import parse_position
from registry.domain.view import GroupKey, RegistryView, ServiceRow

#: The only cluster there is.
CLUSTER: Final = "default"
#: The version under which a dependency on a microservice name is kept: all of them (api-rules.md 3.12).
ANY_VERSION: Final = "0.0.0+"


class Dependencies(Struct, frozen=True, rename="pascal"):
    """The reference writes this one member with a capital."""

    dependency: list[ServiceKey]


class Entry(Struct, frozen=True):
    """`rev`: the sequence of the registration for an instance, else that of the view."""

    key: str
    rev: int
    cluster: str
    value: Raw | str | dict[str, str] | Dependencies


class Cache(Struct, frozen=True, omit_defaults=True, rename="camel"):
    services: list[Entry] = []
    service_indexes: list[Entry] = []
    service_aliases: list[Entry] = []
    service_tags: list[Entry] = []
    dependency_rules: list[Entry] = []
    summaries: list[Entry] = []
    instances: list[Entry] = []


def dump(views: Iterable[RegistryView]) -> Cache:
    """All tenants, one after the other: the tenant stands in each key."""
    cache = Cache()
    for view in views:
        for row in view.services.values():
            _add_service(cache, view, row)
            _add_instances(cache, view, row)
        _add_dependencies(cache, view)
    return cache


def _add_service(cache: Cache, view: RegistryView, row: ServiceRow) -> None:
    service, rev = row.service, view.position.sequence

    def entry(kind: str, path: str, value: Raw | str | dict[str, str]) -> Entry:
        return Entry(f"/cse-sr/ms/{kind}/{view.tenant}/{path}", rev, CLUSTER, value)

    named = f"{service.environment}/{service.app_id}/{{}}/{service.version}"
    cache.services.append(entry("files", row.service_id, Raw(row.body)))
    cache.service_indexes.append(entry("indexes", named.format(service.service_name), row.service_id))
    if service.alias:
        cache.service_aliases.append(entry("alias", named.format(service.alias), row.service_id))
    if row.tags:
        cache.service_tags.append(entry("tags", row.service_id, row.tags))
    for schema in row.schemas.values():
        if schema.summary:
            path = f"{row.service_id}/{schema.schema_id}"
            cache.summaries.append(entry("schema-sum", path, schema.summary))


def _add_instances(cache: Cache, view: RegistryView, row: ServiceRow) -> None:
    for instance in row.instances.values():
        key = f"/cse-sr/inst/files/{view.tenant}/{row.service_id}/{instance.instance_id}"
        cache.instances.append(Entry(key, parse_position(instance.registered).sequence, CLUSTER, Raw(instance.body)))


def _add_dependencies(cache: Cache, view: RegistryView) -> None:
    """Each rule twice, as in the reference: below `c` a consumer's providers, below `p` a provider's consumers."""
    for consumer_id, found in view.providers.items():
        _add_rule(cache, view, "c", _consumer(view, consumer_id), [_provider(view, key) for key in found])
    for key, consumer_ids in view.consumers.items():
        _add_rule(cache, view, "p", _provider(view, key), [_consumer(view, id) for id in consumer_ids])


def _add_rule(cache: Cache, view: RegistryView, side: str, one: ServiceKey, others: list[ServiceKey]) -> None:
    path = f"{one.environment}/{one.app_id}/{one.service_name}/{one.version}"
    key = f"/cse-sr/ms/dep-rules/{view.tenant}/{side}/{path}"
    cache.dependency_rules.append(Entry(key, view.position.sequence, CLUSTER, Dependencies(others)))


def _consumer(view: RegistryView, service_id: str) -> ServiceKey:
    service = view.services[service_id].service
    return ServiceKey(
        str(view.tenant), service.environment, service.app_id, service.service_name, version=service.version
    )


def _provider(view: RegistryView, key: GroupKey) -> ServiceKey:
    environment, app_id, name = key
    return ServiceKey(str(view.tenant), environment, app_id, name, version=ANY_VERSION)
