"""The way of a provider into a registry: every outcome of every step, and two days with a registry that fails."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.client.backoff import FIRST_S, beat_again_s
from registry.client.registration import AT_ONCE_MAX, REFUSED_PAUSE_S, Done, Failed, Registration, Step

INTERVAL_S = 30.0
LEASE_S = 120.0
DAY_S = 86_400.0

outcomes = st.one_of(
    st.builds(Done, st.just("s")),
    st.builds(Failed, st.sampled_from([0, 400001, 400010, 400012, 400017, 400100, 403205])),
)


@given(st.lists(st.tuples(outcomes, st.floats(0, 0.999)), max_size=40))
def test_no_outcome_leads_astray(history: list[tuple[Done | Failed, float]]) -> None:
    """It goes on at some time, not too late, not in a hot circle; only what is done moves it forward."""
    registration, now = Registration(INTERVAL_S, LEASE_S), 0.0
    forgotten = 0
    for outcome, draw in history:
        after = registration.after(outcome, now, draw)
        assert now <= after.due_at <= now + max(INTERVAL_S, REFUSED_PAUSE_S)
        if isinstance(outcome, Done):
            assert after.step is following(registration.step)
            forgotten = 0 if after.is_registered else forgotten
        else:
            assert after.step in (registration.step, Step.SERVICE, Step.INSTANCE)
            assert list(Step).index(after.step) <= list(Step).index(registration.step)
            assert after.due_at > now or after.step is not registration.step, "tried again at once"
            forgotten += after.step is not registration.step
            assert after.due_at > now or forgotten <= AT_ONCE_MAX, "in a circle without a pause"
        assert after.is_registered == (after.step is Step.BEAT)
        registration, now = after, after.due_at


def following(step: Step) -> Step:
    return {Step.SERVICE: Step.SCHEMAS, Step.SCHEMAS: Step.INSTANCE}.get(step, Step.BEAT)


BEATING = Registration(INTERVAL_S, LEASE_S, Step.BEAT, "s", renewed_at=0.0)


@pytest.mark.parametrize(
    ("step", "code", "back"),
    [
        (Step.BEAT, 400017, Step.INSTANCE),
        (Step.BEAT, 400012, Step.SERVICE),
        (Step.INSTANCE, 400012, Step.SERVICE),
        (Step.SCHEMAS, 400012, Step.SERVICE),
    ],
)
def test_what_a_registry_has_forgotten_is_done_again_at_once(step: Step, code: int, back: Step) -> None:
    after = replace(BEATING, step=step).after(Failed(code), 5.0, 0.5)
    assert (after.step, after.due_at) == (back, 5.0)


def test_a_registry_that_goes_on_forgetting_is_not_asked_in_a_circle() -> None:
    """It registers services, and knows them no more when their instances come."""
    registration, now = BEATING, 0.0
    for _ in range(20):
        registration = registration.after(Failed(400012), now, 0.5)
        now = registration.due_at
        registration = registration.after(Done("s"), now, 0.5).after(Done(), now, 0.5)
    assert now > 100.0


def test_first_heartbeats_are_spread_and_never_later_than_the_interval() -> None:
    at_instance = Registration(INTERVAL_S, LEASE_S, Step.INSTANCE)
    dues = {at_instance.after(Done(), 0.0, draw / 10).due_at for draw in range(10)}
    assert len(dues) == 10
    assert max(dues) <= INTERVAL_S


@given(st.integers(1, 120), st.integers(0, 5))
def test_a_heartbeat_that_is_in_time_finds_its_lease(interval: int, times: int) -> None:
    """Also where none may be missed."""
    lease_s = float(interval * (times + 1))
    beating = Registration(float(interval), lease_s, Step.BEAT, "s").after(Done(), 0.0, 0.5)
    assert beating.due_at <= min(interval, lease_s * 0.7)


@given(st.integers(10, 60), st.integers(1, 4), st.floats(0, 0.999), st.randoms(use_true_random=False))
def test_a_lease_is_not_lost_for_want_of_attempts(
    interval: int, times: int, first: float, draws: random.Random
) -> None:
    """A registry that is away comes back at any moment, and is asked soon after; but not in a hot circle."""
    lease_s = float(interval * (times + 1))
    due = interval * (1 - first / 2)
    registration = Registration(float(interval), lease_s, Step.BEAT, "s", due_at=due, renewed_at=0.0)
    attempts = []
    while registration.due_at < lease_s:
        attempts.append(registration.due_at)
        registration = registration.after(Failed(), registration.due_at, draws.random())
    assert attempts[-1] >= lease_s - 2 * FIRST_S, "it gave up before the end"
    assert 3 <= len(attempts) <= 60


def test_heartbeats_after_an_outage_come_apart_over_a_good_part_of_the_lease() -> None:
    """All of a fleet fail in one moment, and must not come back in one."""
    again = sorted(BEATING.after(Failed(), INTERVAL_S, draw / 1000).due_at for draw in range(1000))
    assert again[-1] - again[0] > LEASE_S / 5
    busiest = max(sum(second <= at < second + 1 for at in again) for second in range(int(LEASE_S)))
    assert busiest <= 2 * len(again) / (LEASE_S / 5)


@given(st.floats(2.1, LEASE_S), st.floats(2.1, LEASE_S), st.floats(0, 0.999))
def test_a_lease_that_ends_sooner_is_looked_after_sooner(one: float, other: float, draw: float) -> None:
    soon, late = sorted((one, other))
    pauses = [beat_again_s(1, left, INTERVAL_S, draw) for left in (soon, late)]
    assert pauses == sorted(pauses)


def test_a_refused_heartbeat_is_tried_again_within_the_interval() -> None:
    """A role that was taken away and given back must not cost the lease."""
    after = BEATING
    for _ in range(20):
        after = after.after(Failed(403205), 0.0, 0.99)
        assert after.due_at <= INTERVAL_S


class FailingRegistry:
    """A registry in virtual time: it has outages, forgets everything at times, and ends leases."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.service = False
        self.lease_ends = -1.0
        self.next_event = 0.0
        self.away = False
        self.back_at = 0.0

    def until(self, now: float) -> None:
        while self.next_event <= now:
            if self.away:
                self.back_at = self.next_event
            self.away = not self.away and self.random.random() < 0.5
            if self.random.random() < 0.1:
                self.service, self.lease_ends = False, -1.0
                self.back_at = self.next_event
            self.next_event += self.random.choice([1.0, 20.0, 300.0, 3000.0])

    def has_it(self, now: float) -> bool:
        return self.service and self.lease_ends > now

    def do(self, step: Step, now: float) -> Done | Failed:
        if self.away:
            return Failed()
        match step:
            case Step.SERVICE:
                self.service = True
                return Done("s")
            case Step.SCHEMAS | Step.INSTANCE if not self.service:
                return Failed(400012)
            case Step.SCHEMAS:
                return Done()
            case Step.INSTANCE:
                self.lease_ends = now + LEASE_S
                return Done()
            case Step.BEAT:
                if not self.has_it(now):
                    return Failed(400017)
                self.lease_ends = now + LEASE_S
                return Done()


@pytest.mark.parametrize("seed", range(4))
def test_two_days_with_a_failing_registry(seed: int) -> None:
    """Whenever the registry has been there for an interval, the instance is in it; and it is not asked too often."""
    registry, draw = FailingRegistry(seed), random.Random(seed)
    registration, now, asked = Registration(INTERVAL_S, LEASE_S), 0.0, 0
    while now < 2 * DAY_S:
        registry.until(now)
        registration = registration.after(registry.do(registration.step, now), now, draw.random())
        asked += 1
        if not registry.away and now - registry.back_at > 2 * INTERVAL_S:
            assert registry.has_it(now), f"not registered at {now}, the registry is back since {registry.back_at}"
        now = max(now, registration.due_at)
    assert asked < 2 * DAY_S / INTERVAL_S * 3
