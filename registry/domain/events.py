"""Event: the facts of which a tenant's log consists.

A tagged union of frozen structs, written as MessagePack maps. Evolution is additive only: a new field has a default,
a field is never renamed, retyped or reused, and a new event type reaches every reader before any writer: it names the
format since which it exists (decisions/0011). An unknown tag is an error, never a skip: a replica that cannot
understand a tenant's log sets the tenant aside (decisions/0010) rather than answer from half of it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from registry.domain.fold_access import AccessFact
from registry.domain.model import Instance, Microservice, Policy, Schema
from registry.domain.recorded import Recorded
from registry.domain.retold import Retold
from registry.domain.write_times import Outages


class ServiceRegistered(Recorded, frozen=True, tag="service-registered"):
    """`chosen`: the client named the service id itself."""

    service: Microservice
    chosen: bool = False


class ServiceUnregistered(Recorded, frozen=True, tag="service-unregistered"):
    """`force`: also with instances."""

    service_id: str
    force: bool = False


class ServicePropertiesSet(Recorded, frozen=True, tag="service-properties-set"):
    service_id: str
    properties: dict[str, str] = {}


class InstanceRegistered(Recorded, frozen=True, tag="instance-registered"):
    """`instance` without version and timestamps. `chosen`: the client named the instance id itself.

    `keeps_status`: the client named no status, so an instance that is registered keeps its own and a new one is UP.
    """

    instance: Instance
    chosen: bool = False
    keeps_status: bool = False


class InstanceUnregistered(Recorded, frozen=True, tag="instance-unregistered"):
    service_id: str
    instance_id: str


class InstanceStatusSet(Recorded, frozen=True, tag="instance-status-set"):
    service_id: str
    instance_id: str
    status: str


class InstancePropertiesSet(Recorded, frozen=True, tag="instance-properties-set"):
    service_id: str
    instance_id: str
    properties: dict[str, str] = {}


class InstanceExpired(Recorded, frozen=True, tag="instance-expired"):
    """The lease lapsed. It concerns only the registration made at `registered` (`epoch-sequence`).

    Evidence, by the deciding replica's clock (Unix ms): the last renewal and the deadline that passed. `paused_ms`: for
    how long it was kept, because too many had lapsed at once. `renewed_through`: the replica that brought the last
    renewal; "" when that was no heartbeat, or none that is kept, or many lapsed at once. `writers`: the replicas
    that could write all the time since the eldest last renewal of those that went together, with spaces between;
    `outages`: of the others that were known of, when they could not (`write_times`).
    """

    service_id: str
    instance_id: str
    registered: str
    last_beat_ms: int = 0
    deadline_ms: int = 0
    paused_ms: int = 0
    renewed_through: str = ""
    writers: str = ""
    outages: Outages = {}


class TagsReplaced(Recorded, frozen=True, tag="tags-replaced"):
    service_id: str
    tags: dict[str, str] = {}


class TagSet(Recorded, frozen=True, tag="tag-set"):
    """A new value for a tag that the service has."""

    service_id: str
    key: str
    value: str


class TagsDeleted(Recorded, frozen=True, tag="tags-deleted"):
    """All of the keys, or none when one is missing."""

    service_id: str
    keys: list[str]


class SchemaPut(Recorded, frozen=True, tag="schema-put"):
    service_id: str
    schema_id: str
    schema: str
    summary: str = ""


class SchemasReplaced(Recorded, frozen=True, tag="schemas-replaced"):
    service_id: str
    schemas: list[Schema] = []


class SchemaDeleted(Recorded, frozen=True, tag="schema-deleted"):
    """Its content goes; the id stays among those the service declares."""

    service_id: str
    schema_id: str


class DependenciesAdded(Recorded, frozen=True, tag="dependencies-added"):
    """The consumer has found these providers: (environment, app id, service name or `*`)."""

    consumer_id: str
    providers: list[tuple[str, str, str]]


class DependenciesReplaced(Recorded, frozen=True, tag="dependencies-replaced"):
    consumer_id: str
    providers: list[tuple[str, str, str]] = []


class PolicySaved(Recorded, frozen=True, tag="policy-saved"):
    """A traffic policy, new or changed."""

    policy: Policy


class PolicyDeleted(Recorded, frozen=True, tag="policy-deleted"):
    policy_id: str


class HistoryResumed(Recorded, frozen=True, tag="history-resumed"):
    """The first event of a new epoch, which goes on where another one was broken off.

    `after` (`epoch-sequence`) names the state in which it begins: the event directly before it in the log, or, where
    the log begins with it, the position at which the snapshot was taken that stands in for everything before. Empty
    where that snapshot was made of two histories, so that nobody stands there.
    `mended`: lost histories that are part of this one from now on, epoch -> the sequence up to which they are.
    `forked`: who was told what stood behind this place may hold what is not so, and is told enough to hold what is:
    by the events of this epoch up to the sequence `until`. Empty where that is not known.
    `put_back`: how many events behind this one had been lost. `undone`: how many were lost and are not put back.

    The last events up to `until` are of this type too: what is to be told again, in pages.
    """

    after: str
    mended: dict[int, int] = {}
    forked: str = ""
    until: int = 0
    put_back: int = 0
    undone: int = 0
    retold: list[Retold] = []


Event = (
    ServiceRegistered
    | ServiceUnregistered
    | ServicePropertiesSet
    | InstanceRegistered
    | InstanceUnregistered
    | InstanceStatusSet
    | InstancePropertiesSet
    | InstanceExpired
    | TagsReplaced
    | TagSet
    | TagsDeleted
    | SchemaPut
    | SchemasReplaced
    | SchemaDeleted
    | DependenciesAdded
    | DependenciesReplaced
    | PolicySaved
    | PolicyDeleted
    | HistoryResumed
    | AccessFact
)

EVENT_TYPES: Final = Event.__args__
#: The newest format of events that this version reads.
EVENT_FORMAT: Final = max(type.since for type in EVENT_TYPES)

encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(Event).decode


def unknown_type(payload: bytes) -> str:
    """The type that an event names and this version does not know; "" for everything else."""
    try:
        fields = msgspec.msgpack.decode(payload)
    except Exception:  # these bytes may be anything
        return ""
    tag = fields.get("type") if isinstance(fields, dict) else None
    known = {type.__struct_config__.tag for type in EVENT_TYPES}
    return tag if isinstance(tag, str) and tag not in known else ""
