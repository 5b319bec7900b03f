"""Snapshot: a view as bytes, and back.

A snapshot is a row of chunks, each a MessagePack list of tagged sections: one `Beginning`, then per service a
`ServiceSection` and its instances, then what belongs to no service, the `RestSection` last. Indexes are not written:
the loader builds them again, in the order in which the fold would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from registry.domain import weight
from registry.domain.accounts import AccessView
from registry.domain.drawing import Drawing, draw
from registry.domain.errors import InvalidParams
from registry.domain.fold import include, move
from registry.domain.model import encode_microservice
from registry.domain.position import Position, parse_position
from registry.domain.sections import (
    SECTION_ROWS_MAX,
    AccessSection,
    Beginning,
    InstancesSection,
    RestSection,
    Section,
    ServiceSection,
    decode_sections,
    encode_sections,
    rest_sections,
    service_sections,
)
from registry.domain.tenant import Tenant
from registry.domain.version import parse_version
from registry.domain.view import InstanceRow, RegistryView, ServiceGroup, ServiceRow, one_number

#: What this version writes. It reads no other, because there has been no other.
FORMAT: Final = 1

_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_beginning = msgspec.msgpack.Decoder(Beginning).decode


class SnapshotUnreadable(Exception):
    """These bytes are no snapshot, or one of a format that this version does not read."""


# -- taking ------------------------------------------------------------------------------------------------------------


def take(view: RegistryView, last: bytes, resumed: Position | None = None, at_ms: int = 0) -> Iterator[bytes]:
    """The chunks of a snapshot of the view as it is at this call, however it changes while they are drawn.

    The call copies nothing but the list of services: what changes before it is drawn is kept as it was.

    Args:
        last: the event at the view's position, as it was written.
        resumed: the view is to stand at this position, the first of a new epoch that goes on from it,
        at_ms: and the event there tells this moment.
    """
    lineage, moment_ms = dict(view.lineage), view.moment_ms
    if resumed is not None:
        include(lineage, view.position)
        moment_ms = max(moment_ms, at_ms)
    beginning = Beginning(
        FORMAT,
        view.tenant.domain,
        view.tenant.project,
        (resumed or view.position).text(),
        view.rest_changed.text(),
        last,
        lineage,
        moment_ms,
    )
    return _chunks(beginning, draw(view), rest_sections(view))


def _chunks(beginning: Beginning, services: Drawing, rest: Sequence[Section]) -> Iterator[bytes]:
    chunk: list[Section] = [beginning]
    rows = 0
    for service in services:
        for section in service_sections(service, list(service.instances.values())):
            chunk.append(section)
            rows += len(section.rows) if isinstance(section, InstancesSection) else len(section.schemas) + 1
            if rows >= SECTION_ROWS_MAX:
                yield encode_sections(chunk)
                chunk, rows = [], 0
    yield encode_sections([*chunk, *rest])


# -- loading -----------------------------------------------------------------------------------------------------------


class Loader:
    """Builds a view from the chunks of one snapshot, given in order."""

    def __init__(self) -> None:
        self._view: RegistryView | None = None
        self._complete = False
        #: The event at the view's position.
        self.last = b""

    def add(self, chunk: bytes) -> None:
        """Raises SnapshotUnreadable."""
        try:
            sections: Sequence[Section] = decode_sections(chunk)
            for section in sections:
                self._add(section)
        except (msgspec.MsgspecError, KeyError, ValueError, InvalidParams, RecursionError) as exc:
            raise SnapshotUnreadable(f"a chunk cannot be read: {exc}") from exc

    def view(self) -> RegistryView:
        """The whole view. Raises SnapshotUnreadable when chunks are missing."""
        if self._view is None or not self._complete:
            raise SnapshotUnreadable("it ends too early")
        return self._view

    def _add(self, section: Section) -> None:
        if isinstance(section, Beginning):
            self._begin(section)
            return
        if self._view is None or self._complete:
            raise SnapshotUnreadable("it goes on after its end" if self._complete else "it has no beginning")
        match section:
            case ServiceSection():
                _add_service(self._view, section)
            case InstancesSection():
                add_instances(self._view, section)
            case AccessSection():
                self._view.access = _access(section)
            case RestSection():
                _add_rest(self._view, section)
                self._complete = True

    def _begin(self, section: Beginning) -> None:
        if self._view is not None:
            raise SnapshotUnreadable("it begins twice")
        if section.format != FORMAT:
            raise SnapshotUnreadable(f"it has format {section.format}, this version reads format {FORMAT}")
        self._view = RegistryView(Tenant(section.domain, section.project))
        self._view.lineage.update(section.lineage)
        self._view.rest_changed = parse_position(section.rest_changed)
        move(self._view, parse_position(section.position))
        self._view.moment_ms = section.moment_ms
        self.last = section.last


def beginning_of(chunk: bytes) -> Beginning:
    """How a snapshot begins that has this first chunk. Raises SnapshotUnreadable."""
    try:
        return _decode_beginning(_decode_raw(chunk)[0])
    except (msgspec.MsgspecError, IndexError, UnicodeDecodeError, RecursionError) as exc:
        raise SnapshotUnreadable(f"its beginning cannot be read: {exc}") from exc


def _add_service(view: RegistryView, section: ServiceSection) -> None:
    service = section.service
    if service.service_id in view.services:
        raise SnapshotUnreadable(f"service {service.service_id} comes twice")
    key = (service.environment, service.app_id, service.service_name, service.version)
    group = view.groups.setdefault(key[:3], ServiceGroup(*key[:3]))
    row = ServiceRow(service, encode_microservice(service), parse_version(service.version), group)
    row.tags = dict(section.tags)
    row.schemas = {schema.schema_id: schema for schema in section.schemas}
    row.schema_bytes = sum(map(weight.of_schema, row.schemas.values()))
    view.held_bytes += weight.of_service(row)
    row.changed = parse_position(section.changed)
    row.by_endpoints.update((endpoints, tuple(ids)) for endpoints, ids in section.shared_endpoints)
    row.shared_endpoints.update(row.by_endpoints)
    view.services[service.service_id] = group.services[service.service_id] = row
    view.ids[key] = service.service_id
    if service.alias:
        alias_key = (service.environment, service.app_id, service.alias, service.version)
        view.alias_ids[alias_key] = service.service_id
        view.aliases.setdefault(alias_key[:3], {})[service.service_id] = None


def add_instances(view: RegistryView, section: InstancesSection) -> None:
    """Raises KeyError where the view has no such microservice, SnapshotUnreadable."""
    row = view.services[section.service_id]
    service_id, instances, by_endpoints = row.service_id, row.instances, row.by_endpoints
    before = len(instances)
    for saved in section.rows:
        instances[saved.instance_id] = InstanceRow(
            service_id,
            saved.instance_id,
            saved.body,
            saved.digest,
            one_number(saved.ttl_ms),
            saved.registered,
            saved.endpoints_key,
        )
        if saved.endpoints_key and saved.endpoints_key not in by_endpoints:
            by_endpoints[saved.endpoints_key] = (saved.instance_id,)
    if len(instances) != before + len(section.rows):
        raise SnapshotUnreadable(f"an instance of service {service_id} comes twice")
    view.instance_count += len(section.rows)
    view.held_bytes += sum(len(saved.body) for saved in section.rows)


def _access(section: AccessSection) -> AccessView:
    return AccessView(
        {account.name: account for account in section.accounts},
        {role.name: role for role in section.roles},
        {machine.name: machine for machine in section.machines},
        section.keys,
    )


def _add_rest(view: RegistryView, section: RestSection) -> None:
    for consumer, keys in section.providers:
        view.providers[consumer] = dict.fromkeys(keys)
        view.held_bytes += weight.of_dependencies(keys)
    for key, ids in section.consumers:
        view.consumers[key] = dict.fromkeys(ids)
    for policy in section.policies:
        view.policies[policy.id] = policy
    view.policy_bytes = sum(map(weight.of_policy, view.policies.values()))
    view.held_bytes += view.policy_bytes
