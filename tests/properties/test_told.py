"""What is told of events, of two states and of instances is what a naive reader of the whole state finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.events import (
    EVENT_TYPES,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstanceRegistered,
    InstanceUnregistered,
)
from registry.domain.fold import apply
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.version import ALL_VERSIONS
from registry.domain.view import RegistryView
from registry.history.choice import Choice, service_of
from registry.history.churn import Churn
from registry.history.difference import difference, hold
from registry.history.explain import LEAVING, STAYING, Life, explain
from registry.history.explain_find import Left, explain_find
from registry.history.told import KINDS, FieldChange, Told, encode_told, kind_of, tell
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.strategies import INSTANCE_IDS, SERVICE_IDS, histories

TENANT = Tenant("default", "default")
History = list[tuple[Position, Event]]
Ids = tuple[str, str]
MOMENTS = {"timestamp", "modTimestamp"}


def contents(view: RegistryView) -> dict[Ids, dict[str, Any]]:
    """Every instance, as a client reads it."""
    return {
        (service_id, instance_id): msgspec.json.decode(row.body)
        for service_id, service in view.services.items()
        for instance_id, row in service.instances.items()
    }


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """All leaves by their dotted names."""
    if isinstance(value, dict):
        return {k: v for inner in value for k, v in flat(value[inner], f"{name}.{inner}" if name else inner).items()}
    return {name: value}


def without_moments(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in MOMENTS}


def done(before: dict[str, Any], changes: Sequence[FieldChange]) -> dict[str, Any]:
    """The leaves after these changes."""
    after = flat(before)
    for change in changes:
        assert (
            flat(after).get(change.field) == change.before or change.before is None or isinstance(change.before, dict)
        )
        after.pop(change.field, None)
        after = {name: v for name, v in after.items() if not name.startswith(change.field + ".")}
        if change.after is not None:
            after |= flat(change.after, change.field)
    return after


@given(histories(max_size=20))
def test_the_changes_that_are_told_lead_from_the_state_before_to_the_state_after(history: History) -> None:
    """A reader of the log alone could not trust it otherwise."""
    view = RegistryView(TENANT)
    for position, event in history:
        before, services = contents(view), set(view.services)
        outcome = apply(view, position, event)
        after = contents(view)
        told = tell(position, event, outcome, service_of(view, event, outcome))
        came = {id for _, id in after.keys() - before.keys()} | (view.services.keys() - services)
        left = {id for _, id in before.keys() - after.keys()} | (services - view.services.keys())
        whole = [c for c in told.changes if c.field in ("instance", "service")]
        assert {c.after for c in whole if c.after} == came
        assert {c.before for c in whole if c.before} == left
        changed = [ids for ids in before.keys() & after.keys() if before[ids] != after[ids]]
        assert len(changed) <= 1
        for ids in changed:
            assert done(without_moments(before[ids]), told.changes) == flat(without_moments(after[ids]))
            assert told.after is not None
            assert msgspec.json.decode(told.after) == after[ids]
        assert (told.effect == "refused") == (outcome.error is not None)
        if told.effect == "refused":
            assert told.error_code == str(outcome.error.code if outcome.error else "")
            assert not told.changes
        if told.effect == "merged":
            assert told.merged_into not in (told.instance_id or told.service_id)
        assert msgspec.json.decode(encode_told(told), type=Told).position == position.text()
        assert told.kind == kind_of(event)
        assert told.kind in KINDS


@given(histories(max_size=20), st.data())
def test_a_difference_is_what_a_comparison_of_both_states_finds(history: History, data: st.DataObject) -> None:
    middle = data.draw(st.integers(0, len(history)))
    choice = Choice(service_id=data.draw(st.sampled_from(["", "s1"])))
    view = RegistryView(TENANT)
    for position, event in history[:middle]:
        apply(view, position, event)
    held, before, services = hold(view, choice), contents(view), set(view.services)
    for position, event in history[middle:]:
        apply(view, position, event)
    after = contents(view)
    found = difference(held, hold(view, choice))

    def asked(ids: set[Ids]) -> set[Ids]:
        return {ids for ids in ids if choice.service_id in ("", ids[0])}

    assert {(d.service_id, d.instance_id) for d in found.instances.added} == asked(after.keys() - before.keys())
    assert {(d.service_id, d.instance_id) for d in found.instances.removed} == asked(before.keys() - after.keys())
    same = {ids for ids in before.keys() & after.keys() if without_moments(before[ids]) != without_moments(after[ids])}
    assert {(d.service_id, d.instance_id) for d in found.instances.changed} == asked(same)
    for changed in found.instances.changed:
        ids = changed.service_id, changed.instance_id
        assert done(without_moments(before[ids]), changed.changes) == flat(without_moments(after[ids]))
    assert {d.service_id for d in found.services.added} == {
        id for id in view.services.keys() - services if choice.service_id in ("", id)
    }
    assert {d.service_id for d in found.services.removed} == {
        id for id in services - view.services.keys() if choice.service_id in ("", id)
    }


# -- explain -----------------------------------------------------------------------------------------------------------


class NaiveLife:
    """Where one instance is, by looking at the whole state before and after each event."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.state = "never seen"
        self.position = ""

    def see(self, before: bool, after: bool, position: Position, event: Event, outcome: Outcome) -> None:
        if after:
            self.state = "present"
        elif before:
            self.state = "expired" if isinstance(event, InstanceExpired) else "left"
            self.position = position.text()
        elif isinstance(event, InstanceRegistered) and self.state in ("never seen", "replaced"):
            named = event.instance.service_id, event.instance.instance_id
            if named == self.ids and outcome.error is None:
                self.state = "replaced"


@given(histories(max_size=20))
def test_an_instance_is_explained_as_it_came_to_be_where_it_is(history: History) -> None:
    """At each position, for each instance, with the newest stretch of the log beginning anywhere."""
    everyone = [(s, i) for s in SERVICE_IDS for i in INSTANCE_IDS]
    view = RegistryView(TENANT)
    naive = {ids: NaiveLife(ids) for ids in everyone}
    lives = {ids: Life(*ids) for ids in everyone}
    for life in lives.values():
        life.begin(False)
    for position, event in history:
        before = contents(view)
        outcome = apply(view, position, event)
        after = contents(view)
        assert type(event) in LEAVING or before.keys() <= after.keys(), "an instance left by what is not explained"
        for ids in everyone:
            naive[ids].see(ids in before, ids in after, position, event, outcome)
            lives[ids].add(position, event, outcome, service_of(view, event, outcome))
            found = explain(lives[ids], view, [], "1970-01-01T00:00:00.000Z", True, None)
            assert found.state == naive[ids].state
            assert found.sentence.startswith(f"Instance {ids[1]} of ")
            assert found.sentence.endswith(".")
            assert (found.removal is not None) == (found.state in ("left", "expired"))
            if found.state in ("left", "expired"):
                assert found.removal is not None
                assert found.removal.position == naive[ids].position


def test_who_has_come_back_has_not_left() -> None:
    """How it left before is part of its life, and no removal of what is there."""
    view, life = RegistryView(TENANT), Life("s1", "i1")
    life.begin(False)
    log: list[Event] = [
        service_registered(microservice("s1")),
        instance_registered(instance("s1", "i1")),
        InstanceUnregistered(service_id="s1", instance_id="i1", **stamp()._asdict()),
        instance_registered(instance("s1", "i1")),
    ]
    for number, event in enumerate(log, 1):
        position = Position(1, number)
        outcome = apply(view, position, event)
        life.add(position, event, outcome, service_of(view, event, outcome))
    assert life.removal is None
    found = explain(life, view, [], "", True, None)
    assert (found.state, found.removal, found.evidence) == ("present", None, {})
    assert [told.kind for told in found.events] == [
        "instance-registered",
        "instance-unregistered",
        "instance-registered",
    ]


def test_every_type_of_event_is_explained() -> None:
    """A new one says here whether an instance can leave by it, and how that is told."""
    assert LEAVING.keys() | STAYING == set(EVENT_TYPES)
    assert not LEAVING.keys() & STAYING
    assert HistoryResumed in LEAVING


@given(histories(max_size=20))
def test_a_find_is_explained_by_who_is_there_and_who_left(history: History) -> None:
    key = ("", "shop", "cart")
    view, left = RegistryView(TENANT), Left(key)
    gone: Counter[str] = Counter()
    for position, event in history:
        before = (
            {id: dict(row.instances) for id, row in view.groups[key].services.items()} if key in view.groups else {}
        )
        versions = {id: view.services[id].service.version for id in before}
        outcome = apply(view, position, event)
        left.add(view, position, event, outcome)
        for id, rows in before.items():
            now = view.services[id].instances if id in view.services else {}
            gone[versions[id]] += len(rows.keys() - now.keys())
    found = explain_find(view, key, ALL_VERSIONS, left)
    found_rows = {row.service.version: row for row in view.groups[key].services.values()} if key in view.groups else {}
    assert {v.version for v in found.versions if v.chosen} == set(found_rows)
    for version in found.versions:
        assert version.left_count == gone[version.version]
        if version.chosen:
            assert version.count == len(found_rows[version.version].instances)
            assert [t.instance_id for t in version.instances] == sorted(found_rows[version.version].instances)


# -- churn -------------------------------------------------------------------------------------------------------------


@given(histories(max_size=20), st.sampled_from([100, 500, 1000]), st.booleans())
def test_churn_counts_each_event_that_changed_something_once(history: History, step: int, by_service: bool) -> None:
    view, churn = RegistryView(TENANT), Churn(1000, 3000, step, by_service)
    kinds: Counter[tuple[int, str]] = Counter()
    refused = 0
    for position, event in history:
        outcome = apply(view, position, event)
        churn.add(view.moment_ms, event, outcome)
        if 1000 <= view.moment_ms < 3000:
            if outcome.error is None:
                kinds[(view.moment_ms - 1000) // step, kind_of(event)] += 1
            else:
                refused += 1
    timeline = churn.timeline()
    assert sum(s.refused for s in timeline.steps) == refused
    assert Counter(c for s in timeline.steps for c in s.kinds.values()) == Counter(kinds.values())
    assert sum(sum(s.services.values()) for s in timeline.steps) <= sum(kinds.values()) * by_service


@given(histories(max_size=20))
def test_the_moment_of_a_log_never_goes_back(history: History) -> None:
    """Writers' clocks disagree; what was at a moment must not change by what is written later."""
    view, latest = RegistryView(TENANT), 0
    for position, event in history:
        apply(view, position, event)
        latest = max(latest, event.at_ms)
        assert view.moment_ms == latest


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_a_type_of_event(kind: str) -> None:
    assert KINDS[kind] in EVENT_TYPES
