"""The mirror's rules, against two registries that are models: leases end, sources fall silent, mirrors restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from registry.domain.model import HealthCheck, Instance, Microservice
from registry.remote.mirroring import (
    CONFIRMED,
    LEASE_DEFAULT_S,
    RENEWED_AFTER,
    Beat,
    BringService,
    Direction,
    Ids,
    Put,
    Remove,
    Seen,
    copies,
    done,
    hear,
    pause_s,
    plan,
    report,
)
from registry.remote.moving import MARK, Held, Key, instance_fields, marked

KEYS = [Key("", "shop", name, "1.0.0") for name in ("cart", "stock")]
IDS: list[Ids] = [(key, instance_id) for key in KEYS for instance_id in ("i", "j", "k")]
LEASE_S = 40.0
CHECK = HealthCheck("push", 0, 10, 3)
HELD = Held(Microservice())


class Model:
    """A registry: who is there, until when, and whose client beats."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.is_up = True
        self.services: set[Key] = set()
        self.instances: dict[Ids, Instance] = {}
        self.ends: dict[Ids, float] = {}
        self.down_at = -LEASE_S

    def seen(self) -> Seen | None:
        return self.all() if self.is_up else None

    def all(self) -> Seen:
        return Seen(dict.fromkeys(self.services, HELD), dict(self.instances))

    def register(self, ids: Ids, instance: Instance, now: float) -> None:
        assert ids[0] in self.services, "the service must be there"
        self.instances[ids] = instance
        self.ends[ids] = now + LEASE_S

    def remove(self, ids: Ids) -> None:
        self.instances.pop(ids, None)
        self.ends.pop(ids, None)

    def pass_to(self, now: float) -> None:
        if not self.is_up:
            self.down_at = now
        for ids, instance in list(self.instances.items()):
            if MARK not in instance.properties:
                self.ends[ids] = now + LEASE_S  # its client beats
            elif self.ends[ids] <= now:
                self.remove(ids)

    def own(self) -> dict[Ids, Instance]:
        return {ids: one for ids, one in self.instances.items() if MARK not in one.properties}


class Mirroring(RuleBasedStateMachine):
    """Both directions, in any order of what can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.old, self.new = Model("old"), Model("new")
        self.restarted()

    @rule()
    def restarted(self) -> None:
        self.directions = {"old": Direction("old", self.now), "new": Direction("new", self.now)}

    def _other(self, one: Model) -> Model:
        return self.new if one is self.old else self.old

    def tick(self) -> list[Any]:
        """One round of the mirror; the steps that it took."""
        taken: list[Any] = []
        looks = {one.place: one.seen() for one in (self.old, self.new)}
        for source in (self.old, self.new):
            target = self._other(source)
            direction = self.directions[source.place]
            here, there = looks[source.place], looks[target.place]
            if here is not None:
                direction = hear(direction, here, self.now)
            for step in plan(direction, there, self.now) if there is not None else ():
                match step:
                    case BringService(key):
                        target.services.add(key)
                    case Put(ids, copy, is_there):
                        assert is_there == (ids in target.instances)
                        assert not is_there or MARK in target.instances[ids].properties, "a client's own instance"
                        target.register(ids, copy, self.now)
                    case Remove(ids):
                        assert MARK in target.instances[ids].properties, "a client's own instance"
                        target.remove(ids)
                    case Beat(several):
                        for ids in several:
                            assert MARK in target.instances[ids].properties, "a client's own instance"
                            target.ends[ids] = self.now + LEASE_S
                direction = done(direction, step, self.now)
                taken.append(step)
            self.directions[source.place] = direction
        return taken

    @rule(seconds=st.sampled_from([1.0, 5.0]), rounds=st.integers(1, 20))
    def time_passes(self, seconds: float, rounds: int) -> None:
        """Copies outlive any silence of their source, as long as the mirror runs."""
        for _ in range(rounds):
            self.now += seconds
            before = {one.place: copies(one.all(), self._other(one).place) for one in (self.old, self.new)}
            for one in (self.old, self.new):
                one.pass_to(self.now)
            self.tick()
            for one in (self.old, self.new):
                source = self._other(one)
                # While it was down itself for longer than a lease nobody could beat there.
                if self.now - one.down_at > LEASE_S and not source.is_up:
                    assert before[one.place] <= copies(one.all(), source.place)

    @rule(at=st.booleans(), ids=st.sampled_from(IDS), status=st.sampled_from(["UP", "DOWN"]))
    def client_registers(self, at: bool, ids: Ids, status: str) -> None:
        one = self.old if at else self.new
        one.services.add(ids[0])
        one.register(ids, Instance(ids[1], status=status, health_check=CHECK), self.now)

    @rule(at=st.booleans(), ids=st.sampled_from(IDS))
    def client_leaves(self, at: bool, ids: Ids) -> None:
        one = self.old if at else self.new
        if ids in one.own():
            one.remove(ids)

    @rule(at=st.booleans())
    def goes_down_or_up(self, at: bool) -> None:
        one = self.old if at else self.new
        one.is_up = not one.is_up

    @invariant()
    def nothing_is_mirrored_back(self) -> None:
        for one in (self.old, self.new):
            assert copies(one.all(), one.place) == set()

    @rule()
    def settled_each_shows_what_the_other_has(self) -> None:
        self.old.is_up = self.new.is_up = True
        for _ in range(CONFIRMED + 1):
            self.tick()
        for here, there in ((self.old, self.new), (self.new, self.old)):
            assert there.instances.keys() == there.own().keys() | here.own().keys()
            for ids, original in here.own().items():
                if ids not in there.own():
                    assert not instance_fields(original, there.instances[ids])
                    assert there.instances[ids].properties[MARK] == here.place
            # A client that is at both, with another status at each, is no copy.
            told = report(here.all(), there.all(), here.place)
            assert {row.what for row in told} <= {"differs in status"}
        # Idempotent: nothing is left to do but to beat.
        assert not [step for step in self.tick() if not isinstance(step, Beat)]


Mirroring.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestMirroring = Mirroring.TestCase


# -- by example --------------------------------------------------------------------------------------------------------

ONE, TWO = IDS[0], IDS[1]
ORIGINAL = Instance("i", status="UP", health_check=CHECK)
COPY = marked(ORIGINAL, "old")


def seen(instances: dict[Ids, Instance] | None = None) -> Seen:
    return Seen(dict.fromkeys(KEYS, HELD), instances or {})


def test_a_source_that_has_lost_everything_is_believed_when_it_goes_on_saying_so() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL, TWO: replace(ORIGINAL, instance_id="j")}), 0.0)
    target = seen({ONE: COPY})
    for _ in range(CONFIRMED - 1):
        direction = hear(direction, seen(), 1.0)
        assert not [step for step in plan(direction, target, 1.0) if isinstance(step, Remove)]
    direction = hear(direction, seen(), 1.0)
    assert plan(direction, target, 1.0) == [Remove(ONE)]


def test_also_by_a_mirror_that_was_just_started() -> None:
    direction = Direction("old", 0.0)
    for _ in range(CONFIRMED - 1):
        direction = hear(direction, seen(), 1.0)
        assert plan(direction, seen({ONE: COPY}), 1.0) == []
    assert plan(hear(direction, seen(), 1.0), seen({ONE: COPY}), 1.0) == [Remove(ONE)]


def test_copies_are_renewed_as_often_as_their_clients_would() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 0.0)
    (put,) = plan(direction, seen(), 0.0)
    direction = done(direction, put, 0.0)
    assert plan(direction, seen({ONE: COPY}), 9.9) == []
    (beat,) = plan(direction, seen({ONE: COPY}), 10.0)
    assert beat == Beat((ONE,))
    assert plan(done(direction, beat, 10.0), seen({ONE: COPY}), 19.0) == []


def test_a_copy_whose_lease_is_one_interval_is_renewed_before_it_ends() -> None:
    original = replace(ORIGINAL, health_check=HealthCheck("push", 0, 6, 0))
    target = seen({ONE: marked(original, "old")})
    direction = hear(Direction("old", 0.0), seen({ONE: original}), 0.0)
    (put,) = plan(direction, seen(), 0.0)
    direction = done(direction, put, 0.0)
    assert plan(direction, target, 1.9) == []
    assert plan(direction, target, 2.0) == [Beat((ONE,))]


def test_a_mirror_that_has_never_heard_its_source_holds_what_is_there() -> None:
    assert plan(Direction("old", 0.0), seen({ONE: COPY, TWO: marked(ORIGINAL, "elsewhere")}), 0.0) == [Beat((ONE,))]


def test_a_silent_source_is_said_to_be_held_after_a_lease_and_can_be_let_go() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 5.0)
    assert not direction.is_held(5.0 + LEASE_S)
    assert direction.is_held(5.1 + LEASE_S)
    let_go = replace(direction, let_go=True)
    assert plan(let_go, seen({ONE: COPY}), 100.0) == []
    again = hear(let_go, seen({ONE: ORIGINAL}), 101.0)
    assert plan(again, seen({ONE: COPY}), 101.0) == [Beat((ONE,))]


def test_what_an_operator_changed_at_the_copy_stands_until_the_original_changes() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 0.0)
    (put,) = plan(direction, seen(), 0.0)
    direction = done(direction, put, 0.0)
    target = seen({ONE: replace(COPY, status="OUTOFSERVICE")})
    assert plan(direction, target, 1.0) == []
    changed = replace(ORIGINAL, status="DOWN")
    assert plan(hear(direction, seen({ONE: changed}), 2.0), target, 2.0) == [Put(ONE, marked(changed, "old"), True)]


def test_a_service_is_brought_before_its_first_instance_and_only_then() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 0.0)
    assert plan(direction, Seen(), 0.0) == [BringService(KEYS[0]), Put(ONE, COPY)]
    assert plan(hear(Direction("old", 0.0), seen(), 0.0), Seen(), 0.0) == []


@pytest.mark.parametrize(
    "changed",
    [{"status": "DOWN"}, {"properties": {"p": "r"}}, {"endpoints": ["rest://b:1"]}, {"host_name": "other"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_change_of_the_original_is_in_the_next_plan(changed: dict[str, Any]) -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 0.0)
    (put,) = plan(direction, seen(), 0.0)
    direction = done(direction, put, 0.0)
    after = replace(ORIGINAL, **changed)
    direction = hear(direction, seen({ONE: after}), 1.0)
    assert plan(direction, seen({ONE: COPY}), 1.0) == [Put(ONE, marked(after, "old"), True)]


def test_looks_are_never_so_far_apart_that_a_copy_ends_between_two_of_them() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL}), 0.0)
    assert pause_s(direction, seen(), 2.0) == 2.0
    # Also before the copy is seen at the target, and while that does not answer.
    assert pause_s(direction, seen(), 600.0) == pause_s(direction, None, 600.0) == LEASE_S * RENEWED_AFTER
    # A mirror that has not heard its source yet holds what it finds.
    assert pause_s(Direction("old", 0.0), seen({ONE: COPY}), 600.0) == LEASE_S * RENEWED_AFTER
    of_others = seen({ONE: marked(ORIGINAL, "elsewhere")})
    assert pause_s(Direction("old", 0.0), of_others, 600.0) == LEASE_DEFAULT_S * RENEWED_AFTER


def test_a_report_names_metadata_that_is_different() -> None:
    here = Seen({KEYS[0]: replace(HELD, tags={"colour": "blue"}), KEYS[1]: HELD})
    (row,) = report(here, Seen({KEYS[0]: HELD}), "old")
    assert (row.service, row.what) == (KEYS[0].text(), "tags: colour=blue")


def test_heartbeats_do_not_wait_for_what_is_new() -> None:
    direction = hear(Direction("old", 0.0), seen({ONE: ORIGINAL, TWO: replace(ORIGINAL, instance_id="j")}), 0.0)
    assert [type(step) for step in plan(direction, seen({ONE: COPY}), 0.0)] == [Beat, Put]
