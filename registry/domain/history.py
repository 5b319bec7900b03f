"""History: what of the events that a log has lost is to be put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import structs

from registry.domain.access_events import (
    AccountChanged,
    AccountCreated,
    AccountDeleted,
    MachineTokenGiven,
    MachineTokenRevoked,
    PasswordSet,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    SigningKeyAdded,
)
from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
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
from registry.domain.fold_instances import endpoints_key
from registry.domain.recent import EventId, Remembered, event_id
from registry.domain.view import RegistryView

#: What an event decides, from the whole to the part: ("service", id, "instance", id, "status").
Subject = tuple[str, ...]


# -- putting back ------------------------------------------------------------------------------------------------------


class PutBack(NamedTuple):
    """What is to be appended: the lost events, and after them what they would undo."""

    lost: list[Event]
    #: Events of the log that decided a part of what a lost one decides as a whole.
    again: list[Event]

    def of(self, lost: Iterable[Remembered]) -> list[Remembered]:
        """Those of the lost events that are to be appended, as they were."""
        names = {event_id(event) for event in self.lost}
        return [remembered for remembered in lost if event_id(remembered.event) in names]

    def undone(self, lost: Iterable[Remembered]) -> list[Remembered]:
        """Those of the lost events that are not to be appended, or not as they were."""
        kept = {event_id(event): event for event in self.lost}
        return [remembered for remembered in lost if kept.get(event_id(remembered.event)) != remembered.event]


def put_back(lost: Iterable[Remembered], since: Sequence[Remembered], log: RegistryView) -> PutBack:
    """The lost events that are to be appended again.

    What the log tells since the loss stands, by its place in the log and not by anybody's clock: clients that came to
    it wrote last. A lost event is left out where it is overwritten. Expiries count on neither side: who lives is told
    by the leases, which start anew. A service does not leave again under what was written to it since.
    """
    told = [event for _, event in since if not isinstance(event, InstanceExpired)]
    decided = {subject for event in told for subject in subjects(event)}
    touched = {subject[:length] for subject in decided for length in range(1, len(subject))}
    taken = {_place(event) for event in told if isinstance(event, InstanceRegistered) and event.instance.endpoints}
    kept: list[Event] = []
    undone: set[Subject] = set()
    for event in _without_lapses([event for _, event in lost], log):
        if isinstance(event, ServiceUnregistered) and _root(event) in touched:
            continue
        if isinstance(event, InstanceRegistered) and not event.chosen and _place(event) in taken:
            continue  # its client has registered anew, and was given another id
        left = _without(event, decided)
        if left is not None:
            kept.append(left)
            undone.update(subject for subject in subjects(left) if subject in touched)
    again: list[Event] = [event for event in told if any(_within(subject, undone) for subject in subjects(event))]
    return PutBack(kept, again)


def _without_lapses(lost: Sequence[Event], log: RegistryView) -> Iterator[Event]:
    """The events without the expiries. Whose endpoints were taken by another afterwards has left all the same."""
    endpoints: dict[tuple[str, str], bytes] = {}
    lapsed: dict[tuple[str, bytes], InstanceExpired] = {}
    left: set[EventId] = set()
    for event in lost:
        if isinstance(event, InstanceExpired):
            row = log.instance(event.service_id, event.instance_id)
            key = endpoints.get((event.service_id, event.instance_id)) or (row.endpoints_key if row else b"")
            lapsed[event.service_id, key] = event
        elif isinstance(event, InstanceRegistered):
            instance = event.instance
            key = endpoints[instance.service_id, instance.instance_id] = _place(event)[1]
            gone = lapsed.pop((instance.service_id, key), None) if key else None
            if gone is not None and gone.instance_id != instance.instance_id:
                left.add(event_id(gone))
    for event in lost:
        if not isinstance(event, InstanceExpired):
            yield event
        elif event_id(event) in left:
            told = {name: getattr(event, name) for name in InstanceUnregistered.__struct_fields__}
            yield InstanceUnregistered(**told)


def _place(event: InstanceRegistered) -> tuple[str, bytes]:
    return event.instance.service_id, endpoints_key(event.instance.endpoints)


def _root(event: ServiceUnregistered) -> Subject:
    return "service", event.service_id


def _within(subject: Subject, wholes: set[Subject]) -> bool:
    """Whether it is one of these, or a part of one."""
    return any(subject[:length] in wholes for length in range(1, len(subject) + 1))


def _without(event: Event, decided: set[Subject]) -> Event | None:
    """The event without what has been decided since; None when nothing is left of it."""
    left = [not _within(subject, decided) for subject in subjects(event)]
    if all(left):
        return event
    if isinstance(event, TagsDeleted) and any(left):
        return structs.replace(event, keys=[key for key, stays in zip(event.keys, left, strict=True) if stays])
    if isinstance(event, DependenciesAdded) and any(left):
        some = [provider for provider, stays in zip(event.providers, left, strict=True) if stays]
        return structs.replace(event, providers=some)
    return None


def subjects(event: Event) -> list[Subject]:
    """What an event decides; nothing of one that only says that a history goes on."""
    return list(_subjects_of(event))


def _subjects_of(event: Event) -> Iterator[Subject]:
    match event:
        case InstanceRegistered():
            yield "service", event.instance.service_id, "instance", event.instance.instance_id
        case InstanceUnregistered() | InstanceExpired():
            yield "service", event.service_id, "instance", event.instance_id
        case InstanceStatusSet():
            yield "service", event.service_id, "instance", event.instance_id, "status"
        case InstancePropertiesSet():
            yield "service", event.service_id, "instance", event.instance_id, "properties"
        case ServiceRegistered():
            yield "service", event.service.service_id, "registration"
        case ServiceUnregistered():
            yield "service", event.service_id
        case ServicePropertiesSet():
            yield "service", event.service_id, "properties"
        case TagsReplaced():
            yield "service", event.service_id, "tags"
        case TagSet():
            yield "service", event.service_id, "tags", event.key
        case TagsDeleted():
            for key in event.keys or [""]:
                yield "service", event.service_id, "tags", key
        case SchemaPut() | SchemaDeleted():
            yield "service", event.service_id, "schemas", event.schema_id
        case SchemasReplaced():
            yield "service", event.service_id, "schemas"
        case DependenciesAdded():
            for provider in event.providers or [("", "", "")]:
                yield "service", event.consumer_id, "dependencies", *provider
        case DependenciesReplaced():
            yield "service", event.consumer_id, "dependencies"
        case PolicySaved():
            yield "policy", event.policy.id
        case PolicyDeleted():
            yield "policy", event.policy_id
        case AccountCreated() | AccountDeleted():
            yield "account", event.name
        case AccountChanged():
            yield "account", event.name, "roles"
        case PasswordSet():
            yield "account", event.name, "password"
        case RoleCreated() | RoleDeleted():
            yield "role", event.name
        case RoleChanged():
            yield "role", event.name, "permissions"
        case MachineTokenGiven() | MachineTokenRevoked():
            yield "machine", event.name
        case SigningKeyAdded():
            yield "key", event.kid
        case HistoryResumed():
            pass
