"""The sweep's schedule: nobody waits for somebody else's deadline, and nothing is kept for ever."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from registry.upkeep.schedule import HORIZON_MS, SAME_MOMENT_MS, SLOT_MS, Entry, Schedule

A, B = ("s", "a"), ("s", "b")
DAY_MS = 86_400_000
MANY = 1000


def names(found: list[Entry]) -> list[str]:
    return [entry.instance_id for entry in found]


def test_a_short_lease_does_not_wait_for_a_long_one_registered_before() -> None:
    """Else a dead instance stays until the eldest lease of its tenant ends."""
    schedule = Schedule()
    schedule.add(0, DAY_MS, A)
    assert schedule.due(0, MANY) == []
    schedule.add(1000, 6000, B)
    assert schedule.due(5900, MANY) == []
    assert names(schedule.due(6000 + SLOT_MS, MANY)) == ["b"]


def test_who_registers_again_and_again_stands_there_once() -> None:
    """A client that registers instead of beating must not grow the replica with each request."""
    schedule = Schedule()
    for now in range(0, 50_000, 50):
        schedule.add(now, now + 90_000, A)
    assert sum(map(len, schedule.slots.values())) == 1
    assert names(schedule.due(90_000 + SLOT_MS, MANY)) == ["a"]
    schedule.add(90_000, 139_950, A)
    assert names(schedule.due(139_950 + SLOT_MS, MANY)) == ["a"]


def test_the_newest_deadline_is_the_evidence() -> None:
    """A sweep that was held up looks when both have passed: what it tells must be of the last registration."""
    schedule = Schedule()
    schedule.add(0, 30_000, A)
    schedule.add(20_000, 50_000, A)
    assert [entry.due_ms for entry in schedule.ahead(30_000)] == [50_000]
    assert [entry.due_ms for entry in schedule.due(60_000, MANY)] == [50_000]


def test_an_earlier_deadline_replaces_a_later_one() -> None:
    """Registered anew with a shorter lease, it is looked at when that ends, and once."""
    schedule = Schedule()
    schedule.add(0, 90_000, A)
    schedule.add(10, 5_000, A)
    assert names(schedule.due(5_000 + SLOT_MS, MANY)) == ["a"]
    assert schedule.due(100_000, MANY) == []


def test_what_was_removed_is_not_asked_about() -> None:
    schedule = Schedule()
    schedule.add(0, 100, A)
    schedule.remove(A)
    assert schedule.due(10_000, MANY) == []


def test_a_long_lease_is_looked_at_in_between() -> None:
    """So leftovers of replaced registrations go after the horizon, not after years."""
    schedule = Schedule()
    schedule.add(0, 100 * DAY_MS, A)
    assert names(schedule.due(HORIZON_MS + 2 * SLOT_MS, MANY)) == ["a"]
    assert not schedule.slots


def test_long_leases_that_were_looked_at_together_part() -> None:
    """A registry with a million of them would be busy with nothing else every so often."""
    schedule = Schedule()
    for number in range(MANY):
        schedule.add(0, DAY_MS, ("s", f"i{number}"))
    assert schedule.due(HORIZON_MS // 2 - SLOT_MS, MANY) == []
    found = [len(schedule.due(now, MANY)) for now in range(HORIZON_MS // 2, HORIZON_MS + 2 * SLOT_MS, HORIZON_MS // 20)]
    assert sum(found) == MANY
    assert max(found) < MANY / 5


def test_who_has_gone_is_not_held_until_the_lease_would_have_ended() -> None:
    """Instances that come and go a thousand times a second would be half a million, ten minutes long."""
    schedule = Schedule()
    for number in range(5000):
        schedule.add(number, number + DAY_MS, ("s", f"i{number}"))
        if number >= 100:
            schedule.remove(("s", f"i{number - 100}"))
        held = sum(map(len, schedule.slots.values()))
        assert held <= 2 * len(schedule.current["s"])
    for number in range(4900, 5000):
        schedule.remove(("s", f"i{number}"))
    assert not schedule.slots
    assert not schedule.leftovers


def test_leftovers_do_not_end_a_look() -> None:
    """Many registered anew leave as many entries that are passed over: behind them somebody may be due."""
    schedule = Schedule()
    for number in range(10):
        schedule.add(0, 9000, ("s", str(number)))
    for number in range(1, 10):
        schedule.add(0, 50, ("s", str(number)))
    assert len(schedule.due(1000, MANY)) == 9
    assert names(schedule.due(10_000, 1)) == ["0"]


def test_a_tick_takes_no_more_than_it_may() -> None:
    schedule = Schedule()
    for number in range(10):
        schedule.add(0, 50, ("s", str(number)))
    first = schedule.due(1000, 4)
    assert len(first) == 4
    assert sorted(names(first) + names(schedule.due(1000, MANY))) == [str(number) for number in range(10)]


def test_those_that_are_due_in_a_moment_can_be_looked_at_where_they_are() -> None:
    """Each is told once, nobody who has moved on is, and nobody is due any later for it."""
    schedule = Schedule()
    schedule.add(0, 1000, A)
    schedule.add(0, 1000 + SAME_MOMENT_MS - SLOT_MS, B)
    schedule.add(0, 1000 + 2 * SAME_MOMENT_MS, ("s", "later"))
    schedule.add(0, 1000, ("s", "moved"))
    schedule.add(0, 50, ("s", "moved"))
    schedule.add(0, 1000, ("s", "removed"))
    schedule.remove(("s", "removed"))
    assert names(schedule.due(999, MANY)) == ["moved"]
    for _ in range(2):
        assert names(list(schedule.ahead(1000))) == ["a", "b"]
    assert names(schedule.due(1000 + SLOT_MS, MANY)) == ["a"]
    assert names(schedule.due(1000 + SAME_MOMENT_MS, MANY)) == ["b"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20_000), st.integers(0, 2_000), st.booleans()), max_size=40)
)
def test_every_deadline_is_seen_within_two_slots(steps: list[tuple[int, int, int, bool]]) -> None:
    """Whatever was registered when, and whatever left. What is looked at sooner is scheduled again, as by the sweep."""
    schedule, now = Schedule(), 0
    renewing: Iterator[object] = iter(())
    deadlines: dict[tuple[str, str], int] = {}
    for number, ahead, passed, leaves in steps:
        name = ("s", str(number))
        if leaves:
            deadlines.pop(name, None)
            schedule.remove(name)
        else:
            deadlines[name] = now + ahead
            schedule.add(now, now + ahead, name)
        now += passed
        for _ in range(passed % 4):
            if next(renewing, None) is None:
                renewing = schedule.renew()
        for entry in schedule.due(now, MANY):
            name = (entry.service_id, entry.instance_id)
            assert name in deadlines, "it is looked at twice"
            if deadlines[name] > now:
                schedule.add(now, deadlines[name], name)
            else:
                del deadlines[name]
        assert all(deadline > now - 2 * SLOT_MS for deadline in deadlines.values())


def test_a_schedule_made_anew_is_not_searched_from_the_beginning_of_time() -> None:
    """A log that was replayed while the store was asked leaves a new schedule: the sweep must not hang in it."""
    schedule, now = Schedule(), 365 * DAY_MS
    schedule.add(now, now, A)
    visited: list[int] = []

    class Slots(dict[int, list[Entry]]):
        def get(self, slot: int, *default: object) -> object:  # type: ignore[override]
            visited.append(slot)
            assert len(visited) < 1000, "it looks at every slot there ever was"
            return super().get(slot, *default)

    schedule.slots = Slots(schedule.slots)
    assert names(list(schedule.ahead(now))) == ["a"]
    assert names(list(Schedule().ahead(now))) == []
