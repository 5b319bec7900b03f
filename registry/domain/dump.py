"""dump: everything in the registry, under the keys at which the reference keeps it in etcd.

`scctl` prints microservices and instances from it (api-rules.md 3.15, clients.md 1.L). Nothing here is stored so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import msgspec
from msgspec import Raw, Struct

from registry.domain.drawing import draw
from registry.domain.model import ServiceKey
from registry.domain.position import parse_position
from registry.domain.steps import Steps, some_at_a_time
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


#: The lists of a dump, in order.
LISTS: Final = (
    *("services", "serviceIndexes", "serviceAliases", "serviceTags", "dependencyRules", "summaries", "instances"),
)
_encode = msgspec.json.Encoder().encode


def dump(views: Iterable[RegistryView]) -> Steps:
    """All tenants, one after the other: the tenant stands in each key.

    The services and instances of a tenant are those of one moment; dependencies may be some steps newer.
    """
    lists: dict[str, list[bytes]] = {name: [] for name in LISTS}
    for view in views:
        rev = view.position.sequence
        entries = chain(
            (entry for row in draw(view) for entry in chain(_service(view, row, rev), _instances(view, row))),
            _dependencies(view, rev),
        )
        for some in some_at_a_time(entries):
            size = 0
            for name, entry in some:
                lists[name].append(_encode(entry) + b",")
                size += len(lists[name][-1])
            yield size
    pieces = [b"{"]
    for name, found in lists.items():
        if found:
            pieces += (b"," if len(pieces) > 1 else b"", b'"%s":[' % name.encode(), *found[:-1], found[-1][:-1], b"]")
    return [*pieces, b"}"]


#: Which list it stands in, and the entry.
Listed = tuple[str, Entry]


def _service(view: RegistryView, row: ServiceRow, rev: int) -> Iterator[Listed]:
    service = row.service

    def entry(kind: str, path: str, value: Raw | str | dict[str, str]) -> Entry:
        return Entry(f"/cse-sr/ms/{kind}/{view.tenant}/{path}", rev, CLUSTER, value)

    named = f"{service.environment}/{service.app_id}/{{}}/{service.version}"
    yield "services", entry("files", row.service_id, Raw(row.body))
    yield "serviceIndexes", entry("indexes", named.format(service.service_name), row.service_id)
    if service.alias:
        yield "serviceAliases", entry("alias", named.format(service.alias), row.service_id)
    if row.tags:
        yield "serviceTags", entry("tags", row.service_id, row.tags)
    for schema in row.schemas.values():
        if schema.summary:
            path = f"{row.service_id}/{schema.schema_id}"
            yield "summaries", entry("schema-sum", path, schema.summary)


def _instances(view: RegistryView, row: ServiceRow) -> Iterator[Listed]:
    for instance in list(row.instances.values()):
        key = f"/cse-sr/inst/files/{view.tenant}/{row.service_id}/{instance.instance_id}"
        yield "instances", Entry(key, parse_position(instance.registered).sequence, CLUSTER, Raw(instance.body))


def _dependencies(view: RegistryView, rev: int) -> Iterator[Listed]:
    """Each rule twice, as in the reference: below `c` a consumer's providers, below `p` a provider's consumers."""
    for consumer_id, found in list(view.providers.items()):
        if consumer_id in view.services:
            yield _rule(view, rev, "c", _consumer(view, consumer_id), [_provider(view, key) for key in found])
    for key, consumer_ids in list(view.consumers.items()):
        consumers = [_consumer(view, id) for id in consumer_ids if id in view.services]
        if consumers:
            yield _rule(view, rev, "p", _provider(view, key), consumers)


def _rule(view: RegistryView, rev: int, side: str, one: ServiceKey, others: list[ServiceKey]) -> Listed:
    path = f"{one.environment}/{one.app_id}/{one.service_name}/{one.version}"
    key = f"/cse-sr/ms/dep-rules/{view.tenant}/{side}/{path}"
    return "dependencyRules", Entry(key, rev, CLUSTER, Dependencies(others))


def _consumer(view: RegistryView, service_id: str) -> ServiceKey:
    service = view.services[service_id].service
    return ServiceKey(
        str(view.tenant), service.environment, service.app_id, service.service_name, version=service.version
    )


def _provider(view: RegistryView, key: GroupKey) -> ServiceKey:
    environment, app_id, name = key
    return ServiceKey(str(view.tenant), environment, app_id, name, version=ANY_VERSION)
