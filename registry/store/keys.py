"""Keys: the names under which the store's data stands in Redis.

All keys of a tenant carry the hash tag `{domain/project}`, so that one script touches one slot of a Redis Cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import KeyName
from registry.store.lease import LeaseName

#: Tenants whose tags are remembered: more than there are by default, since quiet ones are read in turn, all of them.
TAGS_MAX: Final = 16_384


class Keys:
    """The key names below one prefix, so that several registries can share one Redis."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        #: What all keys of a tenant begin with.
        self.tag = lru_cache(TAGS_MAX)(self._tag)
        self.tenants = f"{prefix}{{tenants}}"
        self.tenants_stream = f"{prefix}{{tenants}}:log"

    def _tag(self, tenant: Tenant) -> str:
        return f"{self.prefix}{{{encode_name(tenant.domain)}/{encode_name(tenant.project)}}}"

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        """A key by its name; of the list of tenants when there is no tenant."""
        if tenant is None:
            return self.tenants if name == "tenants" else self.tenants_stream
        return f"{self.tag(tenant)}:{name}"

    def events(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:events"

    def head(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:head"

    def beats(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:beats"

    def pulse(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:pulse"

    def rearming(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:rearming"

    def snapshots(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:snapshots"

    def chunk(self, tenant: Tenant, position: Position, index: int) -> str:
        return f"{self.tag(tenant)}:snapshot:{position.text()}:{index}"

    def marker(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:marker"

    def holder(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:holder"

    def states(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:states"

    def note(self, tenant: Tenant, name: str) -> str:
        return f"{self.tag(tenant)}:note:{encode_name(name)}"

    def notes(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:notes"

    def all(self, tenant: Tenant, snapshots: Iterable[Mark]) -> list[str]:
        """Every key of a tenant that does not go by itself, the head and the log first."""
        beside = (
            self.beats,
            self.pulse,
            self.rearming,
            self.snapshots,
            self.marker,
            self.holder,
            self.states,
            self.notes,
        )
        chunks = [self.chunk(tenant, mark.position, index) for mark in snapshots for index in range(mark.chunks)]
        return [self.head(tenant), self.events(tenant), *(name(tenant) for name in beside), *chunks]

    def lease_prefix(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:lease:"

    def lapse_prefix(self, tenant: Tenant) -> str:
        return f"{self.tag(tenant)}:lapse:"

    def parse_lease(self, key: str) -> tuple[Tenant, LeaseName] | None:
        """The tenant and instance of a lease key; None for any other key."""
        tag, lease, name = key.partition("}:lease:")
        service_id, slash, instance_id = name.rpartition("/")
        tenant = self.parse_tag(tag)
        if tenant is None or not (lease and slash):
            return None
        return tenant, LeaseName(service_id, instance_id)

    def parse_tag(self, key: str) -> Tenant | None:
        """The tenant of a key, which may be cut off behind the tenant; None when it has none."""
        tag, slash, project = key.partition("}")[0].partition("/")
        if not (tag.startswith(self.prefix + "{") and slash):
            return None
        return Tenant(decode_name(tag.removeprefix(self.prefix + "{")), decode_name(project))


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """Those of a tenant's keys that are needed all the time."""

    events: str
    head: str
    beats: str
    pulse: str
    leases: str
    lapses: str
    rearming: str

    @staticmethod
    def of(keys: Keys, tenant: Tenant) -> TenantKeys:
        return TenantKeys(
            keys.events(tenant),
            keys.head(tenant),
            keys.beats(tenant),
            keys.pulse(tenant),
            keys.lease_prefix(tenant),
            keys.lapse_prefix(tenant),
            keys.rearming(tenant),
        )


def lease_name(service_id: str, instance_id: str) -> str:
    """The part of a lease's key behind its prefix; an instance id holds no slash."""
    return f"{service_id}/{instance_id}"


def encode_name(name: str) -> str:
    """A domain or project as part of a key: percent-encoded, so that no brace or slash of it is read as ours."""
    return quote(name, safe="")


def decode_name(name: str) -> str:
    return unquote(name)
