"""fold: how an event changes a view. Every state change there is stands here.

`apply` is a function of (view, position, event): no clock, no randomness, no settings. It is idempotent by position,
and refuses an event only for structural reasons: then the view is left as it was, and the outcome holds what the
losing client of the race is told. So replaying a log gives every replica the same view and the same refusals.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec import structs

from registry.domain.access_events import AccessEvent
from registry.domain.accounts import AccessView
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
from registry.domain.fold_access import apply_access
from registry.domain.fold_dependencies import change_dependencies
from registry.domain.fold_instances import edit_instance, expire_instance, register_instance, remove_instance
from registry.domain.fold_policies import delete_policy, save_policy
from registry.domain.fold_services import (
    change_schemas,
    change_tags,
    register_service,
    set_service_properties,
    unregister_service,
)
from registry.domain.outcome import NOTHING, Outcome
from registry.domain.position import Position
from registry.domain.retelling import again
from registry.domain.view import RegistryView

#: Earlier epochs remembered. Each stands for a store that lost something; older ones cannot come back.
LINEAGE_MAX: Final = 64


def apply(view: RegistryView, position: Position, event: Event) -> Outcome:
    """Apply one event to the view.

    An event at or before the view's position has been applied already: nothing happens.
    """
    if position <= view.position:
        return NOTHING
    move(view, position)
    view.moment_ms = max(view.moment_ms, event.at_ms)
    for known in view.drawings:
        drawing = known()
        if drawing is not None:
            drawing.keep(_service_of(view, event))
    outcome = _change(view, position, event)
    if outcome.error is None:
        _mark_changed(view, position, event, outcome)
    return outcome


def _service_of(view: RegistryView, event: Event) -> str:
    """The id of the service whose row the event may change, "" when there is none."""
    match event:
        case InstanceRegistered():
            return event.instance.service_id
        case ServiceRegistered():
            return view.holder(event.service) or ""
        case DependenciesAdded() | DependenciesReplaced() | PolicySaved() | PolicyDeleted() | HistoryResumed():
            return ""
        case AccessEvent():
            return ""
        case InstanceUnregistered() | InstanceExpired() | InstanceStatusSet() | InstancePropertiesSet():
            return event.service_id
        case ServicePropertiesSet() | TagsReplaced() | TagSet() | TagsDeleted():
            return event.service_id
        case SchemaPut() | SchemasReplaced() | SchemaDeleted() | ServiceUnregistered():
            return event.service_id
    assert_never(event)


def pass_over(view: RegistryView, position: Position, moment_ms: int) -> None:
    """The events up to there, of the view's own epoch, concern nothing that was read into the view.

    Args:
        moment_ms: the moment that the log has reached with them.
    """
    move(view, position)
    view.moment_ms = moment_ms


def move(view: RegistryView, position: Position) -> None:
    """The view now stands at `position`, perhaps in a new epoch."""
    if position.epoch != view.position.epoch:
        include(view.lineage, view.position)
    view.position = position
    view.position_text = position.text().encode()


def include(lineage: dict[int, int], position: Position) -> None:
    """The history up to `position`, of an earlier epoch, is part of the one that has this lineage."""
    if position.epoch:
        lineage[position.epoch] = max(position.sequence, lineage.get(position.epoch, 0))
        if len(lineage) > LINEAGE_MAX:
            del lineage[min(lineage)]


def _mark_changed(view: RegistryView, position: Position, event: Event, outcome: Outcome) -> None:
    match event:
        case InstanceRegistered():
            view.services[event.instance.service_id].changed = position
        case DependenciesAdded() | DependenciesReplaced() | PolicySaved() | PolicyDeleted() | ServiceUnregistered():
            view.rest_changed = position
        case AccessEvent():
            view.rest_changed = position
        case HistoryResumed():
            pass
        case ServiceRegistered():
            view.services[outcome.id].changed = position
        case InstanceUnregistered() | InstanceExpired() | InstanceStatusSet() | InstancePropertiesSet():
            view.services[event.service_id].changed = position
        case ServicePropertiesSet() | TagsReplaced() | TagSet() | TagsDeleted():
            view.services[event.service_id].changed = position
        case SchemaPut() | SchemasReplaced() | SchemaDeleted():
            view.services[event.service_id].changed = position
        case _:
            assert_never(event)


def _change(view: RegistryView, position: Position, event: Event) -> Outcome:
    match event:
        case InstanceRegistered():
            return register_instance(view, position, event)
        case InstanceUnregistered():
            return remove_instance(view, event.service_id, event.instance_id)
        case InstanceExpired():
            return expire_instance(view, event)
        case InstanceStatusSet():
            return edit_instance(view, event, lambda instance: structs.replace(instance, status=event.status))
        case InstancePropertiesSet():
            return edit_instance(view, event, lambda instance: structs.replace(instance, properties=event.properties))
        case ServiceRegistered():
            return register_service(view, event)
        case ServiceUnregistered():
            return unregister_service(view, event)
        case ServicePropertiesSet():
            return set_service_properties(view, event)
        case TagsReplaced() | TagSet() | TagsDeleted():
            return change_tags(view, event)
        case SchemaPut() | SchemasReplaced() | SchemaDeleted():
            return change_schemas(view, event)
        case DependenciesAdded() | DependenciesReplaced():
            return change_dependencies(view, event)
        case PolicySaved():
            return save_policy(view, event)
        case PolicyDeleted():
            return delete_policy(view, event)
        case HistoryResumed():
            for epoch, sequence in event.mended.items():
                include(view.lineage, Position(epoch, sequence))
            return Outcome(retold=again(view, event)) if event.retold else NOTHING
        case AccessEvent():
            view.access = view.access or AccessView()
            return apply_access(view.access, event)
    assert_never(event)
