"""What a log has lost is told exactly, and what is put back contradicts nobody who wrote later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceUnregistered,
    TagsDeleted,
    TagSet,
    TagsReplaced,
    encode_event,
)
from registry.domain.fold import LINEAGE_MAX, apply
from registry.domain.history import put_back
from registry.domain.model import Policy, Schema
from registry.domain.position import ORIGIN, Position
from registry.domain.recent import RECENT_MAX, Recent, Remembered, event_id
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.strategies import events, histories, stamps

Placed = tuple[Position, Event]


def fold(placed: Sequence[Placed]) -> RegistryView:
    view = RegistryView(DEFAULT_TENANT)
    for position, event in placed:
        apply(view, position, event)
    return view


def named(placed: Sequence[Placed], replica: str) -> list[Placed]:
    """The same with names of their own, as every event has that a replica writes."""
    return [(at, structs.replace(event, replica=replica, number=n)) for n, (at, event) in enumerate(placed, 1)]


def behind(position: Position, some: Sequence[Event]) -> list[Placed]:
    return [(Position(position.epoch, position.sequence + n), event) for n, event in enumerate(some, 1)]


class Loss(NamedTuple):
    """What a replica has applied, and what the log holds since it has lost some of that."""

    applied: list[Placed]
    log: list[Placed]
    #: Events at the log's beginning that are in a snapshot only, none of which was written after the loss.
    trimmed: int

    def recent(self, most: int = RECENT_MAX) -> Recent:
        recent = Recent(most)
        for position, event in self.applied:
            recent.add(position, encode_event(event))
        return recent

    def tail(self) -> list[Remembered]:
        return [Remembered(*placed) for placed in self.log[self.trimmed :]]


@st.composite
def losses(draw: st.DrawFn) -> Loss:
    """A log that lost its tail, or everything, and perhaps went on: in its epoch, or in a later one."""
    applied = named(draw(histories()), "before")
    kept = draw(st.integers(0, len(applied)))
    head = applied[kept - 1][0] if kept else Position(applied[0][0].epoch, 0)
    again = applied[kept:]
    new = list(draw(st.lists(events.filter(lambda event: not isinstance(event, HistoryResumed)), max_size=4)))
    how = draw(st.sampled_from(["went on", "resumed", "began anew"]))
    since: list[Placed] = []
    if how == "resumed":
        resumed = HistoryResumed(after=head.text(), at_ms=1, replica="mender", number=0)
        put = (
            [event for _, event in draw(st.lists(st.sampled_from(again), unique_by=lambda placed: placed[0]))]
            if again
            else []
        )
        epoch = applied[-1][0].epoch + 1
        own = [event for _, event in named(behind(ORIGIN, new), "since")]
        since = behind(Position(epoch, 0), [resumed, *put, *own])
    elif how == "began anew":
        kept = 0
        since = named(behind(Position(applied[-1][0].epoch + 1, 0), new), "since")
    elif kept or new:
        since = named(behind(head, new), "since")
    return Loss(applied, applied[:kept] + since, draw(st.integers(0, kept)))


def naively_lost(loss: Loss, most: int = RECENT_MAX) -> list[Placed]:
    ids = [(event.replica, event.number) for _, event in loss.log]
    remembered = loss.applied[-most:] if most else []
    return [
        (at, event)
        for at, event in remembered
        if (event.replica, event.number) not in ids and not isinstance(event, HistoryResumed)
    ]


# -- lost --------------------------------------------------------------------------------------------------------------


@given(losses(), st.sampled_from([1, 3, RECENT_MAX]))
def test_lost_is_exactly_what_was_applied_and_is_not_in_the_log(loss: Loss, most: int) -> None:
    """One too few is a registration that was acknowledged and is gone; one too many would happen twice."""
    found = loss.recent(most).lost(fold(loss.log), loss.tail())
    assert [tuple(remembered) for remembered in found] == naively_lost(loss, most)


@given(histories(), st.data())
def test_a_log_that_is_merely_ahead_or_trimmed_has_lost_nothing(placed: list[Placed], data: st.DataObject) -> None:
    """A replica that lags, or reads a log whose beginning is a snapshot, must not put back what is there."""
    placed = named(placed, "r1")
    applied = data.draw(st.integers(0, len(placed)))
    trimmed = data.draw(st.integers(0, len(placed)))
    loss = Loss(placed[:applied], placed, trimmed)
    assert loss.recent().lost(fold(placed), loss.tail()) == []


# -- reach -------------------------------------------------------------------------------------------------------------


def test_who_remembers_nothing_reaches_no_log() -> None:
    """It cannot tell what is missing."""
    assert not Recent().reach(RegistryView(DEFAULT_TENANT), [])


@pytest.mark.parametrize(("eldest", "log", "reached"), [(1, 0, True), (5, 4, True), (5, 9, True), (5, 3, False)])
def test_memory_reaches_a_log_that_holds_everything_before_it(eldest: int, log: int, reached: bool) -> None:
    """Between the log's end and the eldest event remembered nothing may be missing."""
    events = named([(Position(7, n), service_registered(microservice("s1"))) for n in range(1, 12)], "r")
    recent = Recent()
    for position, event in events[eldest - 1 :]:
        recent.add(position, encode_event(event))
    held = events[:log]
    tail = [Remembered(*placed) for placed in held]
    assert recent.reach(fold(held), tail) == recent.reach(fold(held), tail[-1:]) == reached


@pytest.mark.parametrize(("cut", "reached"), [(3, False), (4, True), (6, True)])
def test_memory_does_not_reach_a_log_that_went_on_from_further_back(cut: int, reached: bool) -> None:
    """It is as long as it was, but what stands there is another's; what was before is not remembered."""
    events = named([(Position(7, n), service_registered(microservice("s1"))) for n in range(1, 12)], "r")
    recent = Recent(7)
    for position, event in events:
        recent.add(position, encode_event(event))
    log = events[:cut] + named(behind(Position(7, cut), [event for _, event in events[:8]]), "other")
    assert recent.reach(fold(log), [Remembered(*placed) for placed in log]) == reached


def test_memory_that_begins_with_a_resumed_epoch_reaches_only_what_that_goes_on_from() -> None:
    """The first event of an epoch is not the first of all: what stood before the epoch is not remembered."""
    event = service_registered(microservice("s1"))
    before = named([(Position(7, n), event) for n in range(1, 6)], "r")
    resumed: Placed = (Position(8, 1), HistoryResumed(after="7-5", **stamp()._asdict()))
    recent = Recent()
    recent.add(resumed[0], encode_event(resumed[1]))
    recent.add(Position(8, 2), encode_event(event))

    def reached(log: list[Placed]) -> bool:
        return recent.reach(fold(log), [Remembered(*placed) for placed in log])

    assert reached(before)
    assert reached([*before, resumed])
    assert not reached(before[:3])
    assert not reached([])


@given(losses())
def test_since_is_exactly_what_the_log_tells_and_was_not_applied(loss: Loss) -> None:
    """One too few would be overwritten by what is put back; one too many would keep something from coming back."""
    found = loss.recent().since(fold(loss.applied), loss.tail())
    ids = {event_id(event) for _, event in loss.applied}
    assert [tuple(remembered) for remembered in found] == [
        (at, event)
        for at, event in loss.log[loss.trimmed :]
        if event_id(event) not in ids and not isinstance(event, HistoryResumed)
    ]


# -- put back ----------------------------------------------------------------------------------------------------------


NOBODY = RegistryView(DEFAULT_TENANT)

#: Each way to speak of one thing: the later word, the lost one, and whether that is left out.
WORDS: dict[str, tuple[Event, Event, bool]] = {}


def word(name: str, later: Event, lost: Event, left_out: bool) -> None:
    WORDS[name] = later, lost, left_out


BY = stamp()._asdict()
word(
    "schema left out",
    SchemasReplaced(service_id="s1", **BY),
    SchemaPut(service_id="s1", schema_id="x", schema="{}", **BY),
    True,
)
word(
    "another schema",
    SchemaPut(service_id="s1", schema_id="y", schema="{}", **BY),
    SchemaDeleted(service_id="s1", schema_id="x", **BY),
    False,
)
word(
    "all schemas",
    SchemaPut(service_id="s1", schema_id="y", schema="{}", **BY),
    SchemasReplaced(service_id="s1", **BY),
    False,
)
word(
    "status since",
    InstanceStatusSet(service_id="s1", instance_id="i1", status="DOWN", **BY),
    instance_registered(instance("s1", "i1")),
    False,
)
word(
    "came since",
    instance_registered(instance("s1", "i1")),
    InstanceStatusSet(service_id="s1", instance_id="i1", status="UP", **BY),
    True,
)
word(
    "came back",
    instance_registered(instance("s1", "i1")),
    InstanceUnregistered(service_id="s1", instance_id="i1", **BY),
    True,
)
word(
    "left since",
    InstanceUnregistered(service_id="s1", instance_id="i1", **BY),
    instance_registered(instance("s1", "i1")),
    True,
)
word(
    "lapsed since",
    InstanceExpired(service_id="s1", instance_id="i1", registered="", **BY),
    instance_registered(instance("s1", "i1")),
    False,
)
word(
    "lapse lost",
    instance_registered(instance("s1", "i2")),
    InstanceExpired(service_id="s1", instance_id="i1", registered="", **BY),
    True,
)
word(
    "properties",
    InstancePropertiesSet(service_id="s1", instance_id="i1", **BY),
    InstanceStatusSet(service_id="s1", instance_id="i1", status="UP", **BY),
    False,
)
word(
    "service left since",
    ServiceUnregistered(service_id="s1", **BY),
    TagSet(service_id="s1", key="a", value="b", **BY),
    True,
)
word(
    "service in use",
    TagSet(service_id="s1", key="a", value="b", **BY),
    ServiceUnregistered(service_id="s1", force=True, **BY),
    True,
)
word(
    "service unused",
    TagSet(service_id="s2", key="a", value="b", **BY),
    ServiceUnregistered(service_id="s1", force=True, **BY),
    False,
)
word("service anew", service_registered(microservice("s1")), instance_registered(instance("s1", "i1")), False)
word("tags", TagsReplaced(service_id="s1", **BY), TagsDeleted(service_id="s1", keys=["a", "b"], **BY), True)
word("service properties", TagsReplaced(service_id="s1", **BY), ServicePropertiesSet(service_id="s1", **BY), False)
word("policy", PolicyDeleted(policy_id="p", **BY), PolicySaved(policy=Policy(name="p", id="p"), **BY), True)
word(
    "providers",
    DependenciesReplaced(consumer_id="s1", **BY),
    DependenciesAdded(consumer_id="s1", providers=[("", "a", "b")], **BY),
    True,
)


@pytest.mark.parametrize("name", WORDS)
def test_what_the_log_tells_since_the_loss_stands(name: str) -> None:
    """By its place in the log, whatever anybody's clock says: who wrote to it wrote last."""
    later, lost, left_out = WORDS[name]
    for ahead_ms in (-5_000, 0, 5_000):
        told = structs.replace(later, replica="since", number=1, at_ms=later.at_ms + ahead_ms)
        put = put_back([Remembered(Position(7, 5), lost)], [Remembered(Position(7, 5), told)], NOBODY)
        assert put.lost == ([] if left_out else [lost])


def test_who_took_the_place_of_one_that_lapsed_keeps_its_id() -> None:
    """Nobody may be registered twice, and an id that was acknowledged is to stay: the one before it has left."""
    lapse = InstanceExpired(service_id="s1", instance_id="i1", registered="7-2", **BY)
    first, again = (
        instance_registered(instance("s1", name, endpoints=["rest://h:1"]), chosen=False) for name in ("i1", "i2")
    )
    began = behind(Position(7, 0), [service_registered(microservice("s1")), first])
    put = put_back([Remembered(Position(7, 3), lapse), Remembered(Position(7, 4), again)], [], fold(began))
    after = fold([*began, *behind(Position(8, 0), put.lost)])
    assert list(after.services["s1"].instances) == ["i2"]
    assert [event_id(event) for event in put.lost] == [event_id(lapse), event_id(again)]


def test_who_has_registered_anew_under_another_id_is_not_there_twice() -> None:
    """Its first registration was lost; put back, it would be merged into the new one and undo what it says."""
    lost, anew = (
        instance_registered(instance("s1", name, endpoints=["rest://h:1"], properties={"n": name}), chosen=False)
        for name in ("i1", "i2")
    )
    assert put_back([Remembered(Position(7, 3), lost)], [Remembered(Position(7, 3), anew)], NOBODY).lost == []


def test_of_several_things_those_come_back_that_nobody_decided() -> None:
    """One key that was written since must not cost the others."""
    told = TagSet(service_id="s1", key="a", value="2", **BY)
    put = put_back(
        [Remembered(Position(7, 5), TagsDeleted(service_id="s1", keys=["a", "b"], **BY))],
        [Remembered(Position(7, 5), told)],
        NOBODY,
    )
    assert put.lost == [TagsDeleted(service_id="s1", keys=["b"], **BY)]
    x, y = ("", "a", "x"), ("", "a", "y")
    found = [DependenciesAdded(consumer_id="s1", providers=some, **BY) for some in ([x], [x, y], [y])]
    assert put_back([Remembered(Position(7, 5), found[1])], [Remembered(Position(7, 5), found[0])], NOBODY).lost == [
        found[2]
    ]


#: Few names, so that what was lost and what came since are often about the same.
alike = st.lists(events.filter(lambda event: not isinstance(event, HistoryResumed)), max_size=10)


@given(alike, alike)
def test_what_is_put_back_keeps_its_order_and_undoes_nothing(some: list[Event], others: list[Event]) -> None:
    """What was written since, and what is said again after what comes back, reads the same as before it came."""
    lost = [Remembered(*one) for one in named(behind(Position(7, 5), some), "before")]
    since = [Remembered(*one) for one in named(behind(Position(7, 5), others), "since")]
    put = put_back(lost, since, NOBODY)
    order = [event_id(event) for _, event in lost]
    assert [order.index(event_id(event)) for event in put.lost] == sorted(order.index(event_id(e)) for e in put.lost)
    assert all(event in [told for _, told in since] for event in put.again)
    if not others:
        lapsed = {event_id(event) for _, event in lost if isinstance(event, InstanceExpired)}
        assert [one for one in put.lost if event_id(one) not in lapsed] == [
            one for _, one in lost if not isinstance(one, InstanceExpired)
        ]
        assert put.again == []


@given(losses())
def test_what_was_put_back_is_not_put_back_again(loss: Loss) -> None:
    """The second replica that notices the loss finds nothing left to do, and so does the first after a restart."""
    recent, own = loss.recent(), fold(loss.applied)
    put = put_back(recent.lost(fold(loss.log), loss.tail()), recent.since(own, loss.tail()), fold(loss.log))
    epoch = max(position.epoch for position, _ in [*loss.applied, *loss.log, (ORIGIN, None)]) + 1
    resumed = HistoryResumed(
        after="?",
        mended={**own.lineage, own.position.epoch: own.position.sequence},
        at_ms=1,
        replica="mender",
        number=0,
    )
    again = [structs.replace(event, replica="mender", number=-n) for n, event in enumerate(put.again, 1)]
    mended = Loss(loss.applied, loss.log + behind(Position(epoch, 0), [resumed, *put.lost, *again]), loss.trimmed)
    view = fold(mended.log)
    assert view.includes(own.position)
    lost = mended.recent().lost(view, mended.tail())
    assert put_back(lost, mended.recent().since(own, mended.tail()), view).lost == []
    assert not {event_id(event) for event in put.lost} & {event_id(event) for _, event in lost}
    # And when a snapshot stands in for all of it.
    assert mended.recent().lost(view, []) == []


@pytest.mark.parametrize("case", ["schema put since", "status set since", "properties set since", "tag set since"])
def test_a_part_that_was_written_later_is_said_again(case: str) -> None:
    """The whole comes back, without undoing what was written since."""
    all_schemas = SchemasReplaced(service_id="s1", schemas=[Schema("y", "", "{}")], **BY)
    again = instance_registered(instance("s1", "i1", properties={"new": "1"}), chosen=True)
    cases: dict[str, tuple[Event, Event]] = {
        "schema put since": (all_schemas, SchemaPut(service_id="s1", schema_id="x", schema="{}", **BY)),
        "status set since": (again, InstanceStatusSet(service_id="s1", instance_id="i1", status="DOWN", **BY)),
        "properties set since": (
            again,
            InstancePropertiesSet(service_id="s1", instance_id="i1", properties={"a": "b"}, **BY),
        ),
        "tag set since": (
            TagsReplaced(service_id="s1", tags={"a": "1", "b": "1"}, **BY),
            TagSet(service_id="s1", key="a", value="2", **BY),
        ),
    }
    lost, later = cases[case]
    began: list[Event] = [
        service_registered(microservice("s1")),
        instance_registered(instance("s1", "i1"), chosen=True),
        TagsReplaced(service_id="s1", tags={"a": "0"}, **BY),
    ]
    log = behind(Position(7, 0), [*began, later])
    put = put_back([Remembered(Position(7, 4), lost)], [Remembered(*log[-1])], fold(log))
    assert put == ([lost], [later])
    after = fold(log + behind(Position(8, 0), [*put.lost, *put.again]))
    straight = fold(behind(Position(7, 0), [*began, lost, later]))
    row, expected = after.services["s1"], straight.services["s1"]
    assert [one.body for one in row.instances.values()] == [one.body for one in expected.instances.values()]
    assert (row.tags, row.schemas) == (expected.tags, expected.schemas)


# -- lineage -----------------------------------------------------------------------------------------------------------


@given(histories(max_size=24) | histories(only_ordinary=False), st.integers(0, 30), st.integers(0, 30))
def test_a_view_includes_what_was_applied_and_all_before_it_in_that_epoch(
    placed: list[Placed], epochs_on: int, sequence: int
) -> None:
    """By this a replica tells whether it stands on the log that it reads, in whatever epoch it stopped."""
    view = RegistryView(DEFAULT_TENANT)
    for count, (position, event) in enumerate(placed, 1):
        apply(view, position, event)
        so_far = [at for at, _ in placed[:count]]
        for asked in {at for at, _ in placed} | {Position(7 + epochs_on, sequence + 1), position.next()}:
            assert view.includes(asked) == any(
                at.epoch == asked.epoch and at.sequence >= asked.sequence for at in so_far
            )
        assert view.includes(ORIGIN)


@given(st.builds(HistoryResumed, after=st.just("?"), **stamps))
def test_the_newest_epochs_are_remembered_up_to_a_limit(event: HistoryResumed) -> None:
    """Each stands for a store that lost something; a store that does so every day must not fill the memory."""
    view = RegistryView(DEFAULT_TENANT)
    for epoch in range(1, LINEAGE_MAX + 10):
        apply(view, Position(epoch, 1), event)
        apply(view, Position(epoch, 2), event)
    newest = LINEAGE_MAX + 9
    assert view.lineage == dict.fromkeys(range(newest - LINEAGE_MAX, newest), 2)
    assert view.includes(Position(newest - LINEAGE_MAX, 2))
    assert not view.includes(Position(newest - LINEAGE_MAX, 3))
    assert not view.includes(Position(newest - LINEAGE_MAX - 1, 1))
