"""fold: how an event changes a view. Every state change there is stands here.

`apply` is a function of (view, position, event): no clock, no randomness, no settings. It is idempotent by position,
and refuses an event only for structural reasons: then the view is left as it was, and the outcome holds what the
losing client of the race is told. So replaying a log gives every replica the same view and the same refusals.
"""

from __future__ import annotations

from typing import assert_never

from msgspec import structs

from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
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
from registry.domain.fold_instances import edit_instance, expire_instance, register_instance, remove_instance
from registry.domain.fold_services import (
    change_dependencies,
    change_schemas,
    change_tags,
    delete_policy,
    register_service,
    set_service_properties,
    unregister_service,
)
from registry.domain.outcome import NOTHING, Outcome
from registry.domain.position import Position
from registry.domain.view import RegistryView


def apply(view: RegistryView, position: Position, event: Event) -> Outcome:
    """Apply one event to the view.

    An event at or before the view's position has been applied already: nothing happens.
    """
    if position <= view.position:
        return NOTHING
    view.position = position
    view.position_text = position.text().encode()
    outcome = _change(view, position, event)
    if outcome.error is None:
        view.changes += 1
    return outcome


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
            view.policies[event.policy.id] = event.policy
            return Outcome(event.policy.id)
        case PolicyDeleted():
            return delete_policy(view, event)
    assert_never(event)
