"""Told: an event as a value that people and programs read - when, who, about what, and what came of it.

It is made of the event and of what applying it came to, so the same log tells the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct, structs

from registry.domain.access_events import AccessEvent
from registry.domain.events import (
    EVENT_TYPES,
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
    ServiceRegistered,
)
from registry.domain.model import Microservice
from registry.domain.outcome import DELETE, Again, Change, Edit, Outcome
from registry.domain.position import Position
from registry.domain.recorded import Recorded
from registry.domain.view import InstanceRow
from registry.domain.write_times import Window, Writing

#: Changes that one event names; with a microservice may go any number of instances, and the others are counted.
CHANGES_MAX: Final = 100
#: Members of an instance that say when, and not what.
_MOMENTS: Final = frozenset({"timestamp", "modTimestamp"})


class FieldChange(Struct, frozen=True, omit_defaults=True):
    """`before` is absent where there was nothing, `after` where there is nothing any more."""

    field: str
    before: Any = msgspec.field(default=None, name="from")
    after: Any = msgspec.field(default=None, name="to")


class ServiceName(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a microservice is called."""

    env: str = ""
    app_id: str = ""
    service_name: str = ""
    version: str = ""


class Undone(Struct, frozen=True):
    """An event that was lost and is not put back; it was told at this position."""

    position: str
    kind: str


class ToldAgain(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What is so of a microservice, or of an instance of it. `after` is absent where it is gone."""

    service_id: str = ""
    instance_id: str = ""
    service: ServiceName | None = None
    undone: list[Undone] = []
    tags: Mapping[str, str] = {}
    after: Any = None


class Actor(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Who asked. `address` is `registry` where a replica acted by itself."""

    address: str = ""
    account: str = ""
    request_id: str = ""
    user_agent: str = ""


Effect = Literal["applied", "refused", "merged"]


class Told(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One event of the log.

    `at` is RFC 3339 by its writer's clock; `position` orders. `after` is the content now, absent where it is gone.
    """

    position: str
    at: str
    kind: str
    effect: Effect
    actor: Actor
    #: The one that wrote it.
    replica: str
    #: Of one that was refused: what the client was told.
    error_code: str = ""
    detail: str = ""
    #: Of a registration that ended up under another id, which was there before.
    merged_into: str = ""
    service_id: str = ""
    instance_id: str = ""
    service: ServiceName | None = None
    changes: list[FieldChange] = []
    #: Changes beyond those that are named.
    changes_left_out: int = 0
    after: Any = None
    evidence: dict[str, Any] = {}


encode_told = msgspec.json.Encoder().encode
_encode = msgspec.json.Encoder().encode

#: Every event's own name for itself.
KINDS: Final[Mapping[str, type[Recorded]]] = {str(type_.__struct_config__.tag): type_ for type_ in EVENT_TYPES}


def kind_of(event: Event) -> str:
    return str(type(event).__struct_config__.tag)


def tell(position: Position, event: Event, outcome: Outcome, service: Microservice | None) -> Told:
    """The event as a value.

    Args:
        service: the microservice that it is about, if the registry has or had it.
    """
    service_id, instance_id = subject(event)
    named, left_out = changes(outcome)
    error, merged_into = outcome.error, _merged_into(outcome, instance_id or service_id)
    return Told(
        position=position.text(),
        at=moment_text(event.at_ms),
        kind=kind_of(event),
        effect="refused" if error is not None else "merged" if merged_into else "applied",
        actor=actor_of(event),
        replica=event.replica,
        error_code=str(error.code) if error is not None else "",
        detail=error.detail if error is not None else "",
        merged_into=merged_into,
        service_id=service_id,
        instance_id=instance_id,
        service=_name(outcome.added or outcome.removed or service),
        changes=named,
        changes_left_out=left_out,
        after=_after(outcome, event),
        evidence=evidence(position, event),
    )


def subject(event: Event) -> tuple[str, str]:
    """The ids of the microservice and of the instance that the event names, "" for what it does not."""
    match event:
        case InstanceRegistered():
            return event.instance.service_id, event.instance.instance_id
        case InstanceUnregistered() | InstanceExpired() | InstanceStatusSet() | InstancePropertiesSet():
            return event.service_id, event.instance_id
        case ServiceRegistered():
            return event.service.service_id, ""
        case DependenciesAdded() | DependenciesReplaced():
            return event.consumer_id, ""
        case PolicySaved() | PolicyDeleted() | HistoryResumed() | AccessEvent():
            return "", ""
    return event.service_id, ""


def moment_text(at_ms: int) -> str:
    """A moment as RFC 3339 in UTC, to the millisecond; as a number where no calendar reaches it."""
    try:
        seconds, ms = divmod(at_ms, 1000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
    except (ValueError, OverflowError, OSError):
        return str(at_ms)


def evidence(position: Position, event: Event) -> dict[str, Any]:
    """What the event brings to prove itself: of a lapse the lease, of a mended history what it goes on from, from where
    on others were told something else, and up to where in its epoch things are put back and told again.
    """
    if isinstance(event, InstanceExpired):
        return {
            "registered": event.registered,
            "leaseMs": event.deadline_ms - event.last_beat_ms,
            "lastRenewal": moment_text(event.last_beat_ms),
            "deadline": moment_text(event.deadline_ms),
            "lateMs": max(event.at_ms - event.deadline_ms, 0),
            "pausedMs": event.paused_ms,
            **({"renewedThrough": event.renewed_through} if event.renewed_through else {}),
            **_writing(event),
        }
    if isinstance(event, HistoryResumed):
        mended = [Position(epoch, sequence).text() for epoch, sequence in sorted(event.mended.items())]
        numbers = {"putBack": event.put_back, "undone": event.undone}
        told = {"forkedAt": event.forked, "until": Position(position.epoch, event.until).text()}
        return {"goesOnFrom": event.after, "mended": mended, **(told | numbers if event.forked else {})}
    return {}


def could_not_write(event: InstanceExpired) -> dict[str, list[Window]]:
    """Of each replica that was known of, when it could not write between the last renewal and the removal."""
    return Writing(event.writers, event.outages).between(event.last_beat_ms, event.at_ms)


def _writing(event: InstanceExpired) -> dict[str, Any]:
    """Nothing where that was not recorded: an earlier version did not."""
    replicas = [
        {"replica": replica, "couldNotWrite": [_window(*window) for window in windows]}
        for replica, windows in could_not_write(event).items()
    ]
    return {"replicas": replicas} if replicas else {}


def _window(since_ms: int, until_ms: int) -> dict[str, str]:
    times = {"from": since_ms, "to": until_ms}
    return {name: moment_text(at_ms) for name, at_ms in times.items() if at_ms}


def actor_of(event: Event) -> Actor:
    """Who asked. Where there are accounts, the account stands in front of the address (`account@address`)."""
    account, _, address = event.actor.rpartition("@")
    return Actor(address, account, event.request_id, event.user_agent)


def _told_again(again: Again) -> ToldAgain:
    told, service = again.told, again.service
    undone = [Undone(*one) for one in told.undone]
    if not told.service_id:
        return ToldAgain(undone=undone)
    content: Any = None
    if told.instance_id and again.row is not None:
        content = Raw(again.row.body)
    elif not told.instance_id:
        content = service
    tags = {} if told.instance_id else again.tags
    return ToldAgain(told.service_id, told.instance_id, ServiceName(*told.service), undone, tags, content)


def _merged_into(outcome: Outcome, id: str) -> str:
    return outcome.id if id and outcome.id != id else ""


def _name(service: Microservice | None) -> ServiceName | None:
    if service is None:
        return None
    return ServiceName(service.environment, service.app_id, service.service_name, service.version)


# -- changes -----------------------------------------------------------------------------------------------------------


def changes(outcome: Outcome) -> tuple[list[FieldChange], int]:
    """What has changed, and how many changes are not named."""
    found: list[FieldChange] = []
    if outcome.added is not None:
        found.append(FieldChange("service", after=outcome.added.service_id))
    if outcome.removed is not None:
        found.append(FieldChange("service", before=outcome.removed.service_id))
    left_out = max(len(outcome.changes) - CHANGES_MAX, 0)
    for change in outcome.changes[:CHANGES_MAX]:
        found += instance_changes(change)
    if outcome.edit is not None:
        found += _edited(outcome.edit)
    return found[:CHANGES_MAX], left_out + max(len(found) - CHANGES_MAX, 0)


def instance_changes(change: Change) -> list[FieldChange]:
    if change.action == DELETE:
        return [FieldChange("instance", before=change.row.instance_id)]
    if change.before is None:
        return [FieldChange("instance", after=change.row.instance_id)]
    return row_changes(change.before, change.row)


def row_changes(before: InstanceRow, after: InstanceRow) -> list[FieldChange]:
    """What differs between two contents of an instance; when it changed is no difference."""
    if before.body == after.body:
        return []
    return differences(msgspec.json.decode(before.body), msgspec.json.decode(after.body), _MOMENTS)


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], without: frozenset[str] = frozenset()
) -> list[FieldChange]:
    """The members that differ, by name; those of members that are objects on both sides as `outer.inner`."""
    found: list[FieldChange] = []
    for name in sorted({*before, *after} - without):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict | None) and isinstance(new, dict | None):
            inner = differences(old or {}, new or {})
            found += [structs.replace(change, field=f"{name}.{change.field}") for change in inner]
        else:
            found.append(FieldChange(name, old, new))
    return found


def _edited(edit: Edit) -> list[FieldChange]:
    before, after = msgspec.to_builtins(edit.before), msgspec.to_builtins(edit.after)
    return [structs.replace(change, field=f"{edit.part}.{change.field}") for change in differences(before, after)]


def _after(outcome: Outcome, event: Event) -> Raw | None:
    """The content that the event leads to, where it is that of one thing; of a mended history what it tells again."""
    if outcome.retold:
        return Raw(_encode(list(map(_told_again, outcome.retold))))
    if outcome.added is not None:
        return Raw(_encode(outcome.added))
    if len(outcome.changes) == 1 and outcome.changes[0].action != DELETE:
        return Raw(outcome.changes[0].row.body)
    if outcome.edit is not None and outcome.edit.after and not isinstance(event, DependenciesAdded):
        return Raw(_encode(outcome.edit.after))
    return None
