"""RegistryView: one tenant's registry at one position, indexed for the reads.

Rows are frozen and replaced; only `domain.fold` changes the indexes. What is derived from them for an answer (bytes,
revs) is kept beside them and dropped by the fold when a member changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol
from weakref import ref

from msgspec import Struct

from registry.domain.accounts import AccessView
from registry.domain.large import Large
from registry.domain.model import Microservice, Policy, Schema
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.domain.version import Version

GroupKey = tuple[str, str, str]  # environment, app id, service name or alias
#: Whether a microservice (environment, application, name) is within the caller's reach.
Covers = Callable[[str, str, str], bool]
VersionKey = tuple[str, str, str, str]  # the same and a version


#: The registry's own microservice, which stands in the default tenant.
OWN_GROUP: Final[GroupKey] = ("production", "default", "SERVICECENTER")


_BEGIN: Final = b'{"instances":['
_END: Final = b"]}"
_NONE: Final = b"{}"


class Standing(Struct, gc=False):
    """Whether what was prepared for a service group is still true. To hold this is to hold nothing else."""

    holds: bool = True


class Answer(Struct, gc=False):
    """Instances as a client is sent them. Its size is known before it is put together, which happens when it is read.

    Args:
        parts: each instance as JSON.
        standing: of a prepared answer of a group; None says nothing about how long the answer is true.
    """

    rev: str
    parts: Sequence[bytes]
    standing: Standing | None = None
    count: int = 0
    #: Bytes of the body.
    size: int = 0
    _body: bytes = b""

    def __post_init__(self) -> None:
        self.count = len(self.parts)
        commas = max(self.count - 1, 0)
        self.size = sum(map(len, self.parts)) + commas + len(_BEGIN + _END if self.count else _NONE)

    @property
    def body(self) -> bytes:
        """`{"instances":[…]}`, or `{}` when there are none."""
        if not self._body:
            self._body = b"".join((_BEGIN, b",".join(self.parts), _END)) if self.count else _NONE
            self.parts = ()
        return self._body

    def members(self) -> bytes | memoryview:
        """The same without the opening brace, to go on with another member's; a view of the body, not a copy."""
        return memoryview(self.body)[1:]

    def array(self) -> bytes:
        """The JSON list alone; empty when there are no instances."""
        return self.body[len(_BEGIN) - 1 : -1] if self.count else b""


@lru_cache(maxsize=1024)
def one_number(number: int) -> int:
    """The same object for equal numbers: most leases have the same length."""
    return number


class InstanceRow(Struct, frozen=True, gc=False):
    """One instance. `body` is its wire form, `digest` that of its content.

    There may be a million, so nothing in a row is a container: the garbage collector has nothing to look at.
    """

    service_id: str
    instance_id: str
    body: bytes
    digest: bytes
    ttl_ms: int
    #: Where it was (last) registered, `epoch-sequence`; an `InstanceExpired` about another registration is void.
    registered: str
    #: The endpoints as a set, or b"" when there are none.
    endpoints_key: bytes


@dataclass(slots=True, eq=False)
class ServiceRow:
    """One microservice (a version) with its instances."""

    service: Microservice
    body: bytes
    version: Version
    group: ServiceGroup
    instances: dict[str, InstanceRow] = field(default_factory=dict)
    #: endpoints_key -> ids of the instances that have these endpoints, eldest first.
    by_endpoints: dict[bytes, tuple[str, ...]] = field(default_factory=Large)
    #: Those of its keys that have several ids. They are few, and asked for while everybody waits.
    shared_endpoints: set[bytes] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    #: Schemas that have content; those only declared stand in `service.schemas`.
    schemas: dict[str, Schema] = field(default_factory=dict)
    #: Bytes of these, as `weight` counts them.
    schema_bytes: int = 0
    #: The prepared list answer; None after a change.
    answer: Answer | None = None
    #: Where it last changed. Replicas that agree on this agree on everything in the row.
    changed: Position = ORIGIN

    @property
    def service_id(self) -> str:
        return self.service.service_id

    def drop_answers(self) -> None:
        """A member changed: what was prepared for it is no longer true."""
        self.answer = None
        self.group.drop_answers()

    def named_version(self) -> tuple[str, Version]:
        return self.service.version, self.version


@dataclass(slots=True, eq=False)
class ServiceGroup:
    """All versions of one microservice name: what a consumer finds."""

    environment: str
    app_id: str
    service_name: str
    services: dict[str, ServiceRow] = field(default_factory=dict)
    #: Prepared answers by what was asked of this group; emptied on every change of a member.
    answers: dict[tuple[str, tuple[str, ...], bool], Answer] = field(default_factory=dict)
    #: Of the answers that are prepared now.
    standing: Standing = field(default_factory=Standing)

    def drop_answers(self) -> None:
        if self.answers:
            self.answers.clear()
            self.standing.holds = False
            self.standing = Standing()

    @property
    def key(self) -> GroupKey:
        return self.environment, self.app_id, self.service_name


class Drawing(Protocol):
    """What is told of a service before it changes."""

    def keep(self, service_id: str) -> None: ...


@dataclass(slots=True, eq=False)
class RegistryView:
    """One tenant's registry, as of `position`."""

    tenant: Tenant
    position: Position = ORIGIN
    #: `position` as text, ready for a header.
    position_text: bytes = ORIGIN.text().encode()
    #: The moment (Unix ms) that the log has reached: the latest that any of its events tells, for an event happened no
    #: earlier than those before it, no matter what its writer's clock said (decisions/0014).
    moment_ms: int = 0
    services: dict[str, ServiceRow] = field(default_factory=dict)
    groups: dict[GroupKey, ServiceGroup] = field(default_factory=dict)
    #: Name key -> service id, and the same by alias.
    ids: dict[VersionKey, str] = field(default_factory=dict)
    alias_ids: dict[VersionKey, str] = field(default_factory=dict)
    #: environment, app, alias -> ids of the services that have the alias.
    aliases: dict[GroupKey, dict[str, None]] = field(default_factory=dict)
    #: consumer id -> what it has found, and the same the other way round. A provider's name may be `*`.
    providers: dict[str, dict[GroupKey, None]] = field(default_factory=dict)
    consumers: dict[GroupKey, dict[str, None]] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    #: Accounts and roles, in the view of `ACCOUNTS`.
    access: AccessView | None = None
    #: Where the last change was that concerns no single service's row: dependencies, policies, a service that left.
    rest_changed: Position = ORIGIN
    #: Earlier histories that led here: epoch -> the sequence up to which its events are part of this one.
    lineage: dict[int, int] = field(default_factory=dict)
    instance_count: int = 0
    #: Bytes of everything in the view, and of the policies in it, as `weight` counts them.
    held_bytes: int = 0
    policy_bytes: int = 0
    #: Snapshots of this view that are being drawn.
    drawings: list[ref[Drawing]] = field(default_factory=list)
    #: Stands for this view in what is remembered of it, which must not keep a replaced one alive.
    token: object = field(default_factory=object)

    def holder(self, service: Microservice) -> str | None:
        """The id under which this microservice's name, or else its alias, is registered in its version."""
        where = service.environment, service.app_id
        holder = self.ids.get((*where, service.service_name, service.version))
        if holder is None and service.alias:
            holder = self.alias_ids.get((*where, service.alias, service.version))
        return holder

    def includes(self, position: Position) -> bool:
        """Whether the event that stood at `position`, in this history or one that led to it, is part of this view."""
        epoch, own = position.epoch, self.position
        return position.sequence <= (own.sequence if epoch == own.epoch else self.lineage.get(epoch, 0))

    def instance(self, service_id: str, instance_id: str) -> InstanceRow | None:
        """The instance, if this service has it."""
        row = self.services.get(service_id)
        return row.instances.get(instance_id) if row is not None else None
