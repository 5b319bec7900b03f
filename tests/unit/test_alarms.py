"""usecases.alarms: raised by answers, cleared by the store's next word or by hand (api-rules.md 3.15)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from registry.domain.errors import InstanceNotExists, PositionNotReached, RegistryError, StoreUnavailable
from registry.usecases.alarms import ACTIVATED, BACKEND_REFUSED, CLEARED, DETAIL_MAX, INTERNAL_ERROR, Alarms
from tests.support.clock import ManualClock


@dataclass
class Store:
    """When the store last answered, and the alarms that look at it."""

    clock: ManualClock
    heard_ms: int

    def silent_s(self) -> float:
        return (self.clock() - self.heard_ms) / 1000

    def answer(self) -> None:
        self.heard_ms = self.clock()


@pytest.fixture
def store() -> Store:
    clock = ManualClock()
    return Store(clock, clock() - 300)


@pytest.fixture
def alarms(store: Store) -> Alarms:
    return Alarms(store.silent_s, store.clock)


def statuses(alarms: Alarms) -> dict[str, str]:
    return {alarm.id: alarm.status for alarm in alarms.current()}


def test_a_clients_mistake_is_no_alarm(alarms: Alarms) -> None:
    alarms.observe(InstanceNotExists("i"))
    assert alarms.current() == []


def test_a_failure_of_ours_is_an_internal_error(alarms: Alarms) -> None:
    """Every 5xx answer raises it, with what the client was told."""
    alarms.observe(RegistryError("its log says why"))
    (alarm,) = alarms.current()
    assert (alarm.status, alarm.id, alarm.fields) == (ACTIVATED, INTERNAL_ERROR, {"detail": "its log says why"})
    assert alarms.refused() is None


def test_a_silent_store_is_both(alarms: Alarms) -> None:
    alarms.observe(StoreUnavailable("timed out"))
    assert statuses(alarms) == {INTERNAL_ERROR: ACTIVATED, BACKEND_REFUSED: ACTIVATED}
    refused = alarms.refused()
    assert refused is not None
    assert refused.fields == {"detail": "timed out"}


def test_it_stays_while_the_store_is_silent(alarms: Alarms, store: Store) -> None:
    alarms.observe(StoreUnavailable("timed out"))
    store.clock.advance(60_000)
    assert alarms.refused() is not None


def test_the_stores_answer_clears_it(alarms: Alarms, store: Store) -> None:
    """The alarm stays in the list, marked as over; the internal error waits for somebody to look."""
    alarms.observe(StoreUnavailable("timed out"))
    store.clock.advance(10)
    store.answer()
    assert alarms.refused() is None
    assert statuses(alarms) == {INTERNAL_ERROR: ACTIVATED, BACKEND_REFUSED: CLEARED}


def test_an_answer_from_before_clears_nothing(alarms: Alarms, store: Store) -> None:
    """The store may have answered a moment ago and refuse now."""
    store.answer()
    alarms.observe(StoreUnavailable("refused"))
    assert alarms.refused() is not None


def test_a_cleared_alarm_can_be_raised_again(alarms: Alarms, store: Store) -> None:
    alarms.observe(StoreUnavailable("first"))
    store.clock.advance(10)
    store.answer()
    assert alarms.refused() is None
    store.clock.advance(10)
    alarms.observe(StoreUnavailable("second"))
    refused = alarms.refused()
    assert refused is not None
    assert refused.fields == {"detail": "second"}


def test_a_replica_that_is_behind_is_no_fault_of_the_store(alarms: Alarms) -> None:
    """Nor the registry's: else one client with a position from nowhere could make the replica look unhealthy."""
    alarms.observe(PositionNotReached("9-9"))
    assert statuses(alarms) == {}


def test_clear_forgets_all(alarms: Alarms) -> None:
    alarms.observe(StoreUnavailable("timed out"))
    alarms.clear()
    assert alarms.current() == []
    assert alarms.refused() is None


def test_alarms_stay_small(alarms: Alarms) -> None:
    """One of each kind, the latest, and a detail of limited length."""
    for number in range(100):
        alarms.observe(StoreUnavailable(f"{number} " + "x" * 10_000))
    assert len(alarms.current()) == 2
    assert all(alarm.fields["detail"].startswith("99 ") for alarm in alarms.current())
    assert all(len(alarm.fields["detail"]) == DETAIL_MAX for alarm in alarms.current())
