"""What an expiry records of when replicas could write is never false, and lacks nothing that there is room for."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from registry.domain import write_times
from registry.domain.events import InstanceExpired, decode_event, encode_event
from registry.domain.write_times import (
    LATELY_MS,
    OUTAGES_MAX,
    OUTAGES_RECORDED_MAX,
    REPLICAS_RECORDED_MAX,
    Outage,
    Window,
    WriteTimes,
    Writing,
    around,
    record,
    windows,
)
from tests.support.builders import stamp

PART = "default/default"
#: Moments are this apart, so that what counts as lately is some of them.
STEP_MS = LATELY_MS // 3


class Life(NamedTuple):
    """When a replica began, and from when to when it could not write; the last outage lasts if `lost`. `other`: when it
    could not write to another part of the store.
    """

    began_ms: int
    outages: list[Window]
    lost: bool
    other: list[Window]

    def writes_at(self, at_ms: int) -> bool:
        closed, lasting = (self.outages[:-1], self.outages[-1:]) if self.lost else (self.outages, [])
        return (
            self.began_ms <= at_ms
            and not any(since_ms <= at_ms < until_ms for since_ms, until_ms in closed)
            and not any(since_ms <= at_ms for since_ms, _ in lasting)
        )

    @property
    def heard_until_ms(self) -> int:
        return self.outages[-1][0] if self.lost else 0

    def tells(self) -> WriteTimes:
        """What it says of itself before it is lost."""
        times = WriteTimes(self.began_ms)
        closed = [Outage(*window, PART) for window in (self.outages[:-1] if self.lost else self.outages)]
        for outage in sorted([*closed, *(Outage(*window, "other") for window in self.other)], key=lambda o: o.until_ms):
            times = times.with_outage(outage)
        return times


@st.composite
def lives(draw: st.DrawFn) -> Life:
    moments = [STEP_MS * moment for moment in sorted(draw(st.sets(st.integers(1, 60), min_size=1, max_size=45)))]
    outages = list(pairwise(moments[1:]))[::2]
    others = [(since_ms, since_ms + STEP_MS) for since_ms in draw(st.lists(st.sampled_from(moments), max_size=3))]
    return Life(moments[0], outages, bool(outages) and draw(st.booleans()), others)


def status(told: list[Window], at_ms: int) -> str:
    """What is told of a moment."""
    for since_ms, until_ms in told:
        if (since_ms == 0 and at_ms < until_ms) or (until_ms == 0 and at_ms >= since_ms):
            return "unknown"
        if since_ms <= at_ms < until_ms:
            return "could not"
    return "could"


SPANS = st.tuples(st.integers(1, 60), st.integers(1, 20)).map(lambda s: (s[0] * STEP_MS, (s[0] + s[1]) * STEP_MS))
REPLICAS = st.dictionaries(st.sampled_from("abcdefghijklmnopqrstuvw"), lives(), max_size=20)


@given(REPLICAS, SPANS, st.data())
def test_what_is_recorded_is_true_and_whole(
    replicas: dict[str, Life], span: tuple[int, int], data: st.DataObject
) -> None:
    """A person who is told that a replica could write looks for another reason; that it could not, nowhere else."""
    since_ms, until_ms = span
    known = {name: windows(life.tells(), PART, life.heard_until_ms) for name, life in replicas.items()}
    whole = around(known, since_ms, until_ms)
    writing = record(whole)
    event = InstanceExpired(service_id="s", instance_id="i", registered="1-1", **writing._asdict(), **stamp()._asdict())
    back = decode_event(encode_event(event))
    assert isinstance(back, InstanceExpired)
    inner_ms = data.draw(st.integers(since_ms, until_ms - 1))
    found = Writing(back.writers, back.outages).between(inner_ms, until_ms)
    for name, told in found.items():
        life = replicas[name]
        for at_ms in range(inner_ms, until_ms, STEP_MS // 4):
            said = status(told, at_ms)
            assert said == "unknown" or (said == "could") == life.writes_at(at_ms), (name, at_ms)
            if len(life.outages) + len(life.other) < OUTAGES_RECORDED_MAX and life.began_ms <= at_ms:
                assert said != "unknown" or (life.lost and at_ms >= life.heard_until_ms)
    for name, life in replicas.items():
        if name not in found and life.began_ms < until_ms and len(life.outages) + len(life.other) <= OUTAGES_MAX:
            dead = life.lost and life.heard_until_ms < inner_ms - LATELY_MS
            assert dead or len(whole) > REPLICAS_RECORDED_MAX, name


@given(st.lists(lives(), max_size=40))
def test_what_is_recorded_is_bounded(lives: list[Life]) -> None:
    """Also where many replicas come and go all the time; those that could not write come first."""
    known = {f"{number:012x}": windows(life.tells(), PART, life.heard_until_ms) for number, life in enumerate(lives)}
    writing = record(known)
    could = writing.writers.split()
    assert len(could) + len(writing.outages) == min(len(known), REPLICAS_RECORDED_MAX)
    assert all(len(told) <= OUTAGES_RECORDED_MAX for told in writing.outages.values())
    assert not could or len(writing.outages) == sum(map(bool, known.values()))
    event = InstanceExpired(service_id="s", instance_id="i", registered="1-1", **stamp()._asdict())
    bare = len(encode_event(event))
    full = InstanceExpired(service_id="s", instance_id="i", registered="1-1", **writing._asdict(), **stamp()._asdict())
    assert len(encode_event(full)) - bare <= REPLICAS_RECORDED_MAX * (14 + 19 * OUTAGES_RECORDED_MAX) + 40


def test_what_a_replica_tells_is_bounded() -> None:
    """Also in a cluster of which very many parts are away at once: then it is said of any part."""
    times = WriteTimes(1)
    for number in range(1, 1000):
        times = times.with_outage(Outage(10 * number, 10 * number + 5, PART))
    assert len(times.outages) == OUTAGES_MAX
    assert times.since_ms == 10 * (999 - OUTAGES_MAX) + 5, "nothing is said of what was forgotten"
    lasting = [Outage(20_000 + number, 0, f"tenant-{number}") for number in range(OUTAGES_MAX + 1)]
    assert times.with_present(lasting[1:]).outages[OUTAGES_MAX:] == tuple(lasting[1:])
    assert times.with_present(lasting).outages[OUTAGES_MAX:] == (Outage(20_000),)
    assert windows(times.with_present(lasting), "somebody's")[-1] == (20_000, 0)


def test_a_part_of_the_store_says_nothing_of_another() -> None:
    times = WriteTimes(1, (Outage(5, 9, "one"), Outage(20, 0, "two")))
    assert windows(times, "one") == [(0, 1), (5, 9)]
    assert windows(times, "two") == [(0, 1), (20, 0)]
    assert write_times.around({"r": windows(times, "three")}, 2, 30) == {"r": []}


def test_of_what_is_left_out_nothing_is_known() -> None:
    outages = [(10 * number, 10 * number + 5) for number in range(1, 7)]
    writing = record({"r": outages})
    assert writing.outages == {"r": [(0, 35), *outages[3:]]}
    assert len(writing.outages["r"]) == OUTAGES_RECORDED_MAX


def test_those_that_could_not_write_are_recorded_first() -> None:
    """In a registry of very many replicas too, those that could not write are what is asked about."""
    known: dict[str, list[Window]] = {f"r{number:02}": [] for number in range(30)}
    known["r29"] = [(5, 9)]
    writing = record(known)
    assert writing.outages == {"r29": [(5, 9)]}
    assert writing.writers.split() == [f"r{number:02}" for number in range(REPLICAS_RECORDED_MAX - 1)]
