"""Sections: the parts of which a snapshot is made. What replicas compare to know that they agree is made of the same.

Per service there is a `ServiceSection` and its instances; the `RestSection` holds what belongs to no service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Final

import msgspec
from msgspec import Struct

from registry.domain.accounts import AccessView, Account, MachineToken, Role, SigningKey
from registry.domain.model import Microservice, Policy, Schema
from registry.domain.view import GroupKey, InstanceRow, RegistryView, ServiceRow

#: Instances in one section; a chunk is closed when its sections hold as many. It takes about a millisecond to make.
SECTION_ROWS_MAX: Final = 500
#: Bytes of a part's digest: enough to notice a difference, short enough to be exchanged all the time.
DIGEST_BYTES: Final = 8
#: The part of a view that belongs to no service: dependencies and policies, accounts and roles.
REST: Final = ""


class SavedRow(Struct, frozen=True, array_like=True, gc=False):
    """An `InstanceRow` without its service's id."""

    instance_id: str
    body: bytes
    digest: bytes
    ttl_ms: int
    registered: str
    endpoints_key: bytes


class Beginning(Struct, frozen=True, tag="beginning"):
    """`last`: the event that stands at `position`, as it was written; by it a reader proves its place in the log.

    `moment_ms`: the moment that the log had reached; 0 where an earlier version wrote it.
    """

    format: int
    domain: str
    project: str
    position: str
    rest_changed: str
    last: bytes
    lineage: dict[int, int] = {}
    moment_ms: int = 0


class ServiceSection(Struct, frozen=True, tag="service"):
    """`shared_endpoints`: ids of the instances that have the same endpoints, eldest first, where there are several."""

    service: Microservice
    changed: str
    tags: dict[str, str] = {}
    schemas: list[Schema] = []
    shared_endpoints: list[tuple[bytes, list[str]]] = []


class InstancesSection(Struct, frozen=True, tag="instances"):
    service_id: str
    rows: list[SavedRow]


class RestSection(Struct, frozen=True, tag="rest"):
    providers: list[tuple[str, list[GroupKey]]]
    consumers: list[tuple[GroupKey, list[str]]]
    policies: list[Policy]


class AccessSection(Struct, frozen=True, tag="access"):
    """Accounts and roles, before the rest. A version that does not know it cannot read the snapshot, and must not."""

    accounts: list[Account]
    roles: list[Role]
    machines: list[MachineToken]
    keys: list[SigningKey]


Section = Beginning | ServiceSection | InstancesSection | AccessSection | RestSection

encode_sections = msgspec.msgpack.Encoder().encode
#: Raises what msgspec raises.
decode_sections = msgspec.msgpack.Decoder(list[Section]).decode


def service_sections(
    row: ServiceRow, instances: Iterable[InstanceRow] | None = None
) -> Iterator[ServiceSection | InstancesSection]:
    """All that the row holds when the first of them is drawn, if its instances do not change before the last one is.

    Args:
        instances: they may: these are the row's instances now. To copy a hundred thousand takes some milliseconds.
    """
    shared = [(key, list(row.by_endpoints[key])) for key in row.shared_endpoints]
    left = iter(row.instances.values() if instances is None else instances)
    yield ServiceSection(row.service, row.changed.text(), row.tags, list(row.schemas.values()), sorted(shared))
    while saved := [_saved(instance) for instance in islice(left, SECTION_ROWS_MAX)]:
        yield InstancesSection(row.service_id, saved)


def rest_sections(view: RegistryView) -> list[AccessSection | RestSection]:
    """All that belongs to no service."""
    access = [] if view.access is None else [_access_section(view.access)]
    return [*access, _rest_section(view)]


def _access_section(access: AccessView) -> AccessSection:
    return AccessSection(
        list(access.accounts.values()), list(access.roles.values()), list(access.machines.values()), list(access.keys)
    )


def _rest_section(view: RegistryView) -> RestSection:
    return RestSection(
        [(consumer, list(keys)) for consumer, keys in view.providers.items()],
        [(key, list(ids)) for key, ids in view.consumers.items()],
        list(view.policies.values()),
    )


def _saved(row: InstanceRow) -> SavedRow:
    return SavedRow(row.instance_id, row.body, row.digest, row.ttl_ms, row.registered, row.endpoints_key)


class PartDigest:
    """The digest of one part of a view, over its sections in order."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=DIGEST_BYTES)

    def add(self, section: Section) -> None:
        self._hash.update(encode_sections(section))

    def digest(self) -> bytes:
        return self._hash.digest()
