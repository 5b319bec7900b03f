"""Difference: what is not the same in two states of one registry - added, removed, changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from registry.domain.model import Microservice
from registry.domain.view import InstanceRow, RegistryView
from registry.history.choice import Choice
from registry.history.told import FieldChange, ServiceName, differences, row_changes

_SERVICE_MOMENTS = frozenset({"timestamp", "modTimestamp"})


class InstanceDifference(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`before` is absent of one that was added, `after` of one that was removed."""

    service_id: str
    instance_id: str
    service: ServiceName
    changes: list[FieldChange] = []
    before: Any = None
    after: Any = None


class ServiceDifference(Struct, frozen=True, omit_defaults=True, rename="camel"):
    service_id: str
    service: ServiceName
    changes: list[FieldChange] = []


class Services(Struct, frozen=True):
    added: list[ServiceDifference]
    removed: list[ServiceDifference]
    changed: list[ServiceDifference]


class Instances(Struct, frozen=True):
    added: list[InstanceDifference]
    removed: list[InstanceDifference]
    changed: list[InstanceDifference]


class Difference(Struct, frozen=True):
    services: Services
    instances: Instances


class Held(NamedTuple):
    """What a view holds of those that are asked about. Rows are never changed, so this stays as it is."""

    services: Mapping[str, tuple[Microservice, Mapping[str, str]]]
    instances: Mapping[tuple[str, str], tuple[Microservice, InstanceRow]]


def hold(view: RegistryView, choice: Choice) -> Held:
    rows = [row for row in view.services.values() if choice.takes_row(row)]
    services = {} if choice.instance_id else {row.service_id: (row.service, dict(row.tags)) for row in rows}
    instances = {
        (row.service_id, instance.instance_id): (row.service, instance)
        for row in rows
        for instance in row.instances.values()
        if choice.instance_id in ("", instance.instance_id)
    }
    return Held(services, instances)


def difference(before: Held, after: Held) -> Difference:
    """What has to be done to the one to get the other, in the order of ids."""
    return Difference(_services(before, after), _instances(before, after))


def _services(before: Held, after: Held) -> Services:
    old, new = before.services, after.services
    changed = []
    for service_id in sorted(old.keys() & new.keys()):
        changes = differences(_content(*old[service_id]), _content(*new[service_id]), _SERVICE_MOMENTS)
        if changes:
            changed.append(ServiceDifference(service_id, _name(new[service_id][0]), changes))
    return Services(
        [ServiceDifference(id, _name(new[id][0])) for id in sorted(new.keys() - old.keys())],
        [ServiceDifference(id, _name(old[id][0])) for id in sorted(old.keys() - new.keys())],
        changed,
    )


def _content(service: Microservice, tags: Mapping[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(service)
    return {**content, "tags": dict(tags)} if tags else content


def _instances(before: Held, after: Held) -> Instances:
    old, new = before.instances, after.instances
    changed = []
    for ids in sorted(old.keys() & new.keys()):
        (_, row), (service, now) = old[ids], new[ids]
        changes = row_changes(row, now)
        if changes:
            changed.append(InstanceDifference(*ids, _name(service), changes, Raw(row.body), Raw(now.body)))
    return Instances(
        [InstanceDifference(*ids, _name(new[ids][0]), after=Raw(new[ids][1].body)) for ids in sorted(new.keys() - old)],
        [
            InstanceDifference(*ids, _name(old[ids][0]), before=Raw(old[ids][1].body))
            for ids in sorted(old.keys() - new)
        ],
        changed,
    )


def _name(service: Microservice) -> ServiceName:
    return ServiceName(service.environment, service.app_id, service.service_name, service.version)
