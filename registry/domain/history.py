"""History: what a log has lost, told from what a replica remembers of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

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
from registry.domain.position import Position
from registry.domain.view import RegistryView

#: Events of one tenant that a replica remembers. A store that loses more of its tail is seeded from memory instead.
RECENT_MAX: Final = 20_000

EventId = tuple[str, int]


class Remembered(NamedTuple):
    position: Position
    event: Event


def event_id(event: Event) -> EventId:
    """An event's name for ever: the replica that wrote it, and its count there."""
    return event.replica, event.number


class Recent:
    """The newest events that a replica has applied of one tenant's log, in order."""

    def __init__(self) -> None:
        self._events: deque[Remembered] = deque(maxlen=RECENT_MAX)

    def add(self, position: Position, event: Event) -> None:
        self._events.append(Remembered(position, event))

    def newest(self) -> Remembered | None:
        return self._events[-1] if self._events else None

    def reset(self, events: Iterable[Remembered]) -> None:
        """The log was replayed: these are its newest events."""
        self._events = deque(events, maxlen=RECENT_MAX)

    def lost(self, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """What this replica has applied and a log does not hold.

        Args:
            log: the view to which the log was replayed.
            tail: the log's newest events. What is older is told by its position alone.
        """
        held = {event_id(remembered.event) for remembered in tail}
        begins = tail[0].position if tail else log.position.next()
        return [
            remembered
            for remembered in self._events
            if event_id(remembered.event) not in held
            and not (remembered.position < begins and log.includes(remembered.position))
            and not isinstance(remembered.event, HistoryResumed)
        ]

    def reach(self, log: RegistryView) -> bool:
        """Whether everything that the log may have lost is remembered: it holds what was before the eldest event."""
        if not self._events:
            return False
        eldest = self._events[0].position
        return eldest.sequence == 1 or log.includes(Position(eldest.epoch, eldest.sequence - 1))


def put_back(lost: Sequence[Remembered], log: Sequence[Remembered]) -> list[Event]:
    """The lost events that are to be appended again: all but those that a later one in the log speaks against.

    Clients that came to the log after it had lost its tail may have written the same things anew; what they wrote
    later stands.
    """
    ids = {event_id(remembered.event) for remembered in lost}
    later: dict[tuple[str, ...], int] = {}
    for _, event in log:
        if event_id(event) not in ids:
            for subject in _subjects(event):
                later[subject] = max(later.get(subject, 0), event.at_ms)
    return [
        event for _, event in lost if not any(later.get(subject, -1) >= event.at_ms for subject in _subjects(event)[:1])
    ]


def _subjects(event: Event) -> list[tuple[str, ...]]:
    """What an event decides: first its own subject, then whatever else it overwrites."""
    match event:
        case InstanceRegistered():
            name = event.instance.service_id, event.instance.instance_id
            return [("instance", *name), ("status", *name), ("properties", *name)]
        case InstanceUnregistered() | InstanceExpired():
            name = event.service_id, event.instance_id
            return [("instance", *name), ("status", *name), ("properties", *name)]
        case InstanceStatusSet():
            return [("status", event.service_id, event.instance_id)]
        case InstancePropertiesSet():
            return [("properties", event.service_id, event.instance_id)]
        case ServiceRegistered():
            return [("service", event.service.service_id)]
        case ServiceUnregistered():
            return [("service", event.service_id)]
        case ServicePropertiesSet():
            return [("service-properties", event.service_id)]
        case TagsReplaced() | TagSet() | TagsDeleted():
            return [("tags", event.service_id)]
        case SchemaPut() | SchemaDeleted():
            return [("schema", event.service_id, event.schema_id)]
        case SchemasReplaced():
            return [("schemas", event.service_id), *(("schema", event.service_id, s.schema_id) for s in event.schemas)]
        case DependenciesAdded() | DependenciesReplaced():
            return [("dependencies", event.consumer_id)]
        case PolicySaved():
            return [("policy", event.policy.id)]
        case PolicyDeleted():
            return [("policy", event.policy_id)]
        case HistoryResumed():
            return []
