"""A lapse is about one registration: what was registered since stays."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given

from registry.domain.events import Event, InstanceExpired, InstanceRegistered, InstanceUnregistered
from registry.domain.fold import apply
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from tests.support.builders import EPOCH
from tests.support.catching import counterexample
from tests.support.strategies import comings_and_goings, logs

Fold = Callable[[RegistryView, Position, Event], Outcome]


def lapses_concern_one_registration(log: list[Event], fold: Fold) -> bool:
    """Whether each `InstanceExpired` removes its instance exactly when it names the newest registration of it."""
    view = RegistryView(DEFAULT_TENANT)
    newest: dict[tuple[str, str], str] = {}
    for sequence, event in enumerate(log, 1):
        position = Position(EPOCH, sequence)
        if isinstance(event, InstanceExpired):
            name = event.service_id, event.instance_id
            was_there = view.instance(*name) is not None
            fold(view, position, event)
            is_there = view.instance(*name) is not None
            if is_there != (was_there and newest[name] != event.registered):
                return False
            continue
        outcome = fold(view, position, event)
        if isinstance(event, InstanceRegistered) and outcome.error is None:
            newest[event.instance.service_id, outcome.id] = position.text()
    return True


def fold_without_guard(view: RegistryView, position: Position, event: Event) -> Outcome:
    """The fold as it would be if it took every lapse at its word."""
    if isinstance(event, InstanceExpired):
        event = InstanceUnregistered(
            service_id=event.service_id,
            instance_id=event.instance_id,
            at_ms=event.at_ms,
            replica=event.replica,
            number=event.number,
        )
    return apply(view, position, event)


def fold_that_never_expires(view: RegistryView, position: Position, event: Event) -> Outcome:
    """The opposite mistake: a guard that lets no lapse through."""
    if isinstance(event, InstanceExpired):
        return Outcome()
    return apply(view, position, event)


def caught(fold: Fold) -> bool:
    return counterexample(comings_and_goings, lambda log: lapses_concern_one_registration(log, fold)) is not None


@given(comings_and_goings | logs())
def test_a_stale_lapse_never_removes_a_newer_registration(log: list[Event]) -> None:
    """A provider that came back within a second would vanish for good, while its heartbeats go on succeeding."""
    assert lapses_concern_one_registration(log, apply)


def test_a_fold_without_the_guard_would_be_caught() -> None:
    """The property above must be able to see, or it protects nobody."""
    assert caught(fold_without_guard)


def test_a_fold_that_never_expires_would_be_caught() -> None:
    """A dead provider would be called for ever."""
    assert caught(fold_that_never_expires)
