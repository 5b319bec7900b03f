"""Protection and the sweep in virtual time: who is removed at once, who is kept for a while, and when a pause ends.

Two replicas over one store; leases of five seconds; expiry pauses for ten or more that lapse within thirty seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from msgspec import structs

from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, InstanceExpired, InstanceUnregistered, decode_event
from registry.domain.model import HealthCheck
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.lease import LeaseName
from registry.store.memory_server import MemoryServer
from registry.store.port import Pulse
from registry.upkeep import expiry
from registry.upkeep.protection import WINDOW_MS, MassLapse, Pause
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, elapse, restamped, virtual_ms

T = DEFAULT_TENANT
LEASE_S = 5.0
TICK_S = 0.1
HOLD_S = 4.0
RULE = MassLapse(0.5, 10, int(HOLD_S * 1000))
SHORT = HealthCheck(interval=5, times=0)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


def lane(server: MemoryServer, name: str, rule: MassLapse = RULE) -> MemoryReplica:
    return MemoryReplica(server, name, lapse=rule)


async def come(server: MemoryServer, names: Iterable[str], tenant: Tenant = T) -> None:
    """Instances with a short lease from now."""
    events: list[Event] = [
        instance_registered(structs.replace(instance("cart", name), health_check=SHORT), chosen=True) for name in names
    ]
    if not server.of(tenant).events:
        events.insert(0, service_registered(microservice("cart"), chosen=True))
    by = f"w{len(server.of(tenant).events)}"
    await append(server, *restamped(events, by, virtual_ms(), 0), tenant=tenant)


def many(number: int) -> list[str]:
    return [f"i{n}" for n in range(number)]


async def tick(*lanes: MemoryReplica) -> None:
    """What each replica does ten times a second."""
    for one in lanes:
        await one.follow()
        await one.pulses.pulse()
        await one.expiry.sweep()


async def go_on(seconds: float, *lanes: MemoryReplica) -> None:
    end = virtual_ms() + seconds * 1000
    while virtual_ms() < end:
        await tick(*lanes)
        await elapse(TICK_S)


async def pulse_only(seconds: float, one: MemoryReplica) -> None:
    """A replica that can write, so that nobody takes the time for an outage, and judges nobody."""
    for _ in range(round(seconds / TICK_S)):
        await one.pulses.pulse()
        await elapse(TICK_S)


async def until(condition: Callable[[], bool], *lanes: MemoryReplica) -> None:
    for _ in range(1000):
        if condition():
            return
        await tick(*lanes)
        await elapse(TICK_S)
    raise AssertionError("it never came")


def there(one: MemoryReplica) -> set[str]:
    return set(one.view.services["cart"].instances)


def removed(server: MemoryServer) -> list[str]:
    events = [decode_event(payload) for _, payload in server.of(T).events]
    return [event.instance_id for event in events if isinstance(event, InstanceExpired)]


def paused(one: MemoryReplica) -> bool:
    return T in one.protection.held()


def said(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.__dict__.get("action") == action]


# -- who lapses together -----------------------------------------------------------------------------------------------


async def test_those_of_whom_is_heard_one_by_one_lapse_together(server: MemoryServer) -> None:
    """The store tells of some a little before the sweep would look: the first nine must not go for it."""
    one = lane(server, "a")
    await come(server, many(20))
    await go_on(LEASE_S - 0.05, one)
    await elapse(0.06)
    for name in many(9):
        one.expiry.prompt(T, LeaseName("cart", name))
    await one.pulses.pulse()
    await one.expiry.sweep()
    assert removed(server) == []
    assert one.protection.held() == {T: 20}


async def test_who_was_kept_is_told_with_the_true_end_of_the_lease(server: MemoryServer) -> None:
    """Asked about again and again meanwhile, an instance would seem to have lapsed when it was asked about last."""
    one = lane(server, "a")
    began = virtual_ms()
    await come(server, many(20))
    await until(lambda: len(removed(server)) == 20, one)
    for _, payload in server.of(T).events:
        event = decode_event(payload)
        if isinstance(event, InstanceExpired):
            assert abs(event.deadline_ms - (began + LEASE_S * 1000)) < 500
            assert abs(event.paused_ms - HOLD_S * 1000) < 1500
            assert event.at_ms - event.deadline_ms - event.paused_ms < 1000


async def test_who_beat_again_while_expiry_paused_is_told_of_the_next_lapse(server: MemoryServer) -> None:
    one = lane(server, "a")
    await come(server, many(20))
    await until(lambda: paused(one), one)
    await one.heartbeats.beat(T, "cart", "i0")
    beaten = virtual_ms()
    await until(lambda: "i0" in removed(server), one)
    (event,) = (
        event
        for event in (decode_event(payload) for _, payload in server.of(T).events)
        if isinstance(event, InstanceExpired) and event.instance_id == "i0"
    )
    assert abs(event.deadline_ms - (beaten + LEASE_S * 1000)) < 500
    assert event.paused_ms == 0


@pytest.mark.parametrize("early_ms", range(0, 100, 7))
async def test_a_slot_that_ends_between_them_does_not_part_them(server: MemoryServer, early_ms: int) -> None:
    """A replica knows each deadline up to the time an answer took; half of them fall into the slot before."""
    one = lane(server, "a")
    await come(server, many(20))
    await one.follow()
    await one.pulses.pulse()
    now = virtual_ms()
    schedule = one.expiry._schedules[T]
    for n, name in enumerate(many(20)):
        schedule.add(now, now + int(LEASE_S * 1000) - (early_ms if n < 9 else 0), ("cart", name))
    await go_on(LEASE_S + 1, one)
    assert removed(server) == []


async def test_more_than_are_asked_about_at_once_are_judged_as_a_whole(server: MemoryServer) -> None:
    """Five thousand at once are not two thousand that are no half of them, and then the rest."""
    one = lane(server, "a", MassLapse(0.5, 1000, 60_000))
    await come(server, many(5000))
    await go_on(LEASE_S + 1, one)
    assert removed(server) == []
    assert one.protection.held() == {T: 5000}


async def test_few_go_at_once(server: MemoryServer) -> None:
    """Below the least number nobody waits; and who is due a moment later is not taken with them."""
    one = lane(server, "a")
    await come(server, many(8))
    await elapse(0.25)
    await come(server, ["later"])
    await until(lambda: len(removed(server)) == 8, one)
    assert there(one) == {"later"}
    assert not paused(one)


async def test_the_numbers_that_decide_are_the_numbers_that_are_said(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Eight go at once, for they are fewer than ten; with six more they are half of all. Those six of nineteen alone
    would be no reason."""
    one = lane(server, "a")
    await come(server, many(8))
    await go_on(1, one)
    await come(server, [f"later{n}" for n in range(6)])
    await until(lambda: len(removed(server)) == 8, one)
    await come(server, [f"new{n}" for n in range(13)])
    await until(lambda: paused(one), one)
    (begun,) = said(caplog, "expiry_paused")
    assert begun.startswith("expiry of default/default pauses: 14 of 27 instances lapsed within 30 s, and 6 stay")
    assert one.protection.pauses_now() == {T: Pause(lapsed=14, of=27, held=6)}


async def test_a_replayed_log_of_old_lapses_pauses_nothing(server: MemoryServer) -> None:
    """A replica that starts reads of everybody who has ever gone; the next one that dies must go at once."""
    old = lane(server, "a")
    for round_ in range(4):
        await come(server, [f"{round_}-{n}" for n in range(9)])
        await go_on(LEASE_S + 1 + WINDOW_MS / 1000, old)
    assert len(removed(server)) == 36
    await come(server, ["i"])
    await pulse_only(LEASE_S - 1, old)
    fresh = lane(server, "b")
    await go_on(2.5, fresh)
    assert removed(server)[-1] == "i"
    assert fresh.protection.pauses == 0


async def test_a_replayed_log_of_lapses_of_this_moment_counts(server: MemoryServer) -> None:
    """A replica that is restarted in the midst of it must not begin to count anew."""
    old = lane(server, "a")
    await come(server, many(9))
    await go_on(LEASE_S + 1, old)
    assert len(removed(server)) == 9
    await come(server, ["x", "y"])
    await pulse_only(LEASE_S + 0.1, old)
    fresh = lane(server, "b")
    await go_on(1, old, fresh)
    assert (len(removed(server)), fresh.protection.pauses) == (9, 1)


# -- how a pause ends --------------------------------------------------------------------------------------------------


async def held_on_two(server: MemoryServer) -> tuple[MemoryReplica, MemoryReplica]:
    """Twenty of twenty have lapsed; the second replica has stood still meanwhile and pauses later."""
    first, second = lane(server, "a"), lane(server, "b")
    await come(server, many(20))
    await go_on(LEASE_S - 0.5, first, second)
    await go_on(1.5, first)
    assert paused(first)
    await tick(second)
    assert paused(second)
    return first, second


async def test_a_pause_ends_where_another_replica_has_removed_them(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Else this replica tells of it for ever, and keeps nobody when it comes to the next one."""
    first, second = await held_on_two(server)
    await until(lambda: there(first) == set(), first)
    assert paused(second)
    await tick(second)
    assert not paused(second)
    assert said(caplog, "expiry_resumed")[1:] == [
        "expiry of default/default goes on (another replica has removed the last of them; 0 instances had not beaten)"
        " after 3.6 s; counted once"
    ]


async def test_after_such_an_end_the_next_one_to_lapse_goes_at_once(server: MemoryServer) -> None:
    """The twenty that have gone are not the beginning of another pause, on either replica, even much later."""
    first, second = await held_on_two(server)
    await until(lambda: there(first) == set(), first, second)
    for wait_s in (0, WINDOW_MS / 1000 - LEASE_S + 0.5):
        await go_on(wait_s, first, second)
        await come(server, ["next"])
        await go_on(LEASE_S + 0.5, second)
        assert there(second) == set()
    assert (first.protection.pauses, second.protection.pauses) == (1, 1)


async def test_a_pause_ends_when_the_last_one_held_unregisters(server: MemoryServer) -> None:
    """An instance that says goodbye is not waited for."""
    one = lane(server, "a")
    await come(server, many(20))
    await go_on(LEASE_S + 1, one)
    assert one.protection.held() == {T: 20}
    await one.instances.unregister(T, "cart", "i0", "c")
    assert one.protection.held() == {T: 19}
    for name in many(20)[1:]:
        await one.instances.unregister(T, "cart", name, "c")
    assert not paused(one)
    assert removed(server) == []


async def test_who_leaves_while_the_store_is_asked_is_not_held(server: MemoryServer) -> None:
    """It is in no schedule any more, so nothing would ever end the pause."""
    one = lane(server, "a")
    await come(server, many(20))
    await go_on(LEASE_S - 0.1, one)

    async def leave(name: str) -> None:
        if name == "remaining":
            one.store.come_back()
            for instance_id in many(15):
                await one.instances.unregister(T, "cart", instance_id, "c")

    one.store.after = leave
    await go_on(0.5, one)
    assert there(one) == set()
    assert (one.protection.held(), one.protection.pauses) == ({}, 0)


async def test_a_pause_ends_when_they_register_again(server: MemoryServer) -> None:
    """A new lease is as good as a heartbeat."""
    one = lane(server, "a")
    await come(server, many(20))
    await go_on(LEASE_S + 1, one)
    await come(server, many(20))
    await one.follow()
    assert not paused(one)
    assert (removed(server), len(there(one))) == ([], 20)


async def test_those_that_a_replayed_log_does_not_hold_are_not_held(server: MemoryServer) -> None:
    """Their removal may stand in a part of the log that this replica has never read event by event."""
    first, second = await held_on_two(server)
    events = [
        InstanceUnregistered(service_id="cart", instance_id=name, at_ms=virtual_ms(), replica="w", number=n)
        for n, name in enumerate(many(15), 1000)
    ]
    await append(server, *events)
    await second.projector.rebuild(T, "a test")
    assert second.protection.held() == {T: 5}
    await first.follow()
    assert first.protection.held() == {T: 5}


async def test_the_rest_goes_when_the_time_is_over(server: MemoryServer, caplog: pytest.LogCaptureFixture) -> None:
    """Those that beat again stay, the others go in one go."""
    one = lane(server, "a")
    await come(server, many(20))
    await go_on(LEASE_S + 0.5, one)
    back = many(5)
    for name in back:
        await one.heartbeats.beat(T, "cart", name)
    await go_on(HOLD_S - 1, one)
    assert removed(server) == []
    for name in back:
        await one.heartbeats.beat(T, "cart", name)
    await go_on(1.5, one)
    assert there(one) == set(back)
    assert len(said(caplog, "expiry_resumed")) == 1


# -- a part of the store that is away ----------------------------------------------------------------------------------


async def test_a_shard_that_is_away_holds_up_no_other_tenants(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cluster one shard fails over while the others work: their dead must go in time."""
    server.part = lambda tenant: tenant
    one = lane(server, "a")
    others = [Tenant(f"t{n:02}", "default") for n in range(40)]
    for tenant in others:
        await come(server, ["i"], tenant)
    await one.follow()
    await one.pulses.pulse()
    away = set(others[::2])
    pulse = one.store.pulse

    async def refuse(tenant: Tenant, outage_after_ms: int, resume: bool) -> Pulse:
        if tenant in away:
            raise StoreUnavailable("CLUSTERDOWN")
        return await pulse(tenant, outage_after_ms, resume)

    monkeypatch.setattr(one.store, "pulse", refuse)
    await go_on(LEASE_S + 0.5, one)
    for tenant in others:
        assert (one.projector.view(tenant).instance_count == 0) == (tenant not in away), tenant
    away.clear()
    await go_on(LEASE_S + 1.5, one)
    assert all(one.projector.view(tenant).instance_count == 0 for tenant in others)


async def test_all_that_lapse_at_once_are_judged_together_however_many(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are asked about in one tick: the first of them must not be given away before the pause begins."""
    monkeypatch.setattr(expiry, "ASK_PER_TICK_MAX", 4)
    one = lane(server, "a", MassLapse(0.9, 10, int(HOLD_S * 1000)))
    await come(server, many(40))
    await one.follow()
    await until(lambda: paused(one), one)
    assert len(there(one)) == 40


async def slowly(name: str) -> None:
    if name == "remaining":
        await elapse(0.05)


async def test_the_dead_among_very_many_go_however_long_a_sweep_takes(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a start every instance is asked about. Those that lapsed are found at once, and all who may have lapsed
    with them are asked about in the same sweep: seconds, in which the replica must not take itself for having been
    away."""
    monkeypatch.setattr(expiry, "ASK_MAX", 10)
    one = lane(server, "a", MassLapse(1, 1000, 0))
    await come(server, many(1000))
    await one.follow()
    leases = server.of(T).leases
    lively = {name: virtual_ms() + 3_600_000 for name in list(leases)[30:]}
    leases.clear()
    leases.update(lively)
    one.expiry._schedule_anew(T)
    one.store.before = slowly
    running = [asyncio.create_task(one.expiry.run()), asyncio.create_task(one.pulses.run())]
    await elapse(10.0)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await one.follow()
    assert len(there(one)) == 970
    assert one.pulses.rearmed == 0
    assert one.expiry.stats.asked <= 1030, "each once, and those who lapsed perhaps once more"


async def test_whose_own_pulse_is_late_judges_nobody(server: MemoryServer) -> None:
    """Others have written meanwhile, so that the store suspects nothing; yet what kept this replica from pulsing may
    have kept its clients from beating. That is for the pulse to find out, and no reason for an alarm."""
    one, other = lane(server, "a"), lane(server, "b")
    await come(server, many(20))
    await tick(one, other)
    end = virtual_ms() + LEASE_S * 1000 + 500
    while virtual_ms() < end:
        await other.pulses.pulse()
        await elapse(TICK_S)
    await one.expiry.sweep()
    assert not paused(one)
    await one.pulses.pulse()
    await one.expiry.sweep()
    assert paused(one)


async def test_what_was_found_alive_is_not_asked_about_again_because_the_rest_failed(server: MemoryServer) -> None:
    """Else everybody is due together for ever after."""
    one = lane(server, "a")
    await come(server, many(20))
    await one.follow()
    server.of(T).leases.pop(LeaseName("cart", "i3"))
    one.expiry._schedule_anew(T)
    await elapse(2 * TICK_S)
    one.store.fail_call(1)
    await one.expiry.sweep()
    assert one.expiry.stats.asked == 20
    one.store.come_back()
    await elapse(1.0)
    await one.pulses.pulse()
    await one.expiry.sweep()
    assert one.expiry.stats.asked == 21
    await one.follow()
    assert there(one) == set(many(20)) - {"i3"}


async def test_a_sweep_over_a_slow_store_ends_in_time(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tenants wait for it."""
    monkeypatch.setattr(expiry, "ASK_MAX", 10)
    one = lane(server, "a", MassLapse(1, 1000, 0))
    await come(server, many(200))
    await one.follow()
    one.expiry._schedule_anew(T)
    one.store.before = slowly
    sweeps = 0
    while one.expiry.stats.asked < 200:
        began = virtual_ms()
        await one.expiry.sweep()
        assert virtual_ms() - began <= expiry.SWEEP_MAX_MS + 50
        sweeps += 1
        await elapse(TICK_S)
    assert one.expiry.stats.asked == 200, "each once"
    assert sweeps > 1
    assert there(one) == set(many(200))


async def test_very_many_tenants_whose_dead_lapse_at_once_lose_them_in_time(server: MemoryServer) -> None:
    """Each is an append of its own. Some of them are under way together, or the last would wait for all others; and not
    all of them, or a burst would hold up everything else."""
    tenants = [Tenant(f"t{number:03}", "default") for number in range(320)]
    one = lane(server, "a")
    for tenant in tenants:
        await come(server, ["i"], tenant)
    await one.follow()
    await one.pulses.pulse()
    await pulse_only(LEASE_S + TICK_S, one)
    under_way, most = 0, 0

    async def begin(name: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await elapse(0.01)

    async def end(name: str) -> None:
        nonlocal under_way
        under_way -= 1

    one.store.before, one.store.after = begin, end
    began = virtual_ms()
    await one.expiry.sweep()
    assert one.expiry.stats.expired == len(tenants)
    assert most == expiry.TENANTS_AT_ONCE
    questions = 2 * len(tenants) + expiry.EVIDENCE_MAX
    assert virtual_ms() - began <= 1.5 * 10 * questions / expiry.TENANTS_AT_ONCE


async def test_a_tenant_with_very_many_dead_holds_up_no_other(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are judged meanwhile, one after the other."""
    monkeypatch.setattr(expiry, "TENANTS_AT_ONCE", 2)
    monkeypatch.setattr(expiry, "ASK_MAX", 10)
    one = lane(server, "a", MassLapse(1, 1000, 0))
    others = [Tenant(f"t{number:02}", "default") for number in range(20)]
    await come(server, many(400))
    for tenant in others:
        await come(server, ["i"], tenant)
    await one.follow()
    await one.pulses.pulse()
    await pulse_only(LEASE_S + TICK_S, one)
    order: list[Tenant] = []
    one.projector.listen(lambda tenant, position, event, outcome: order.append(tenant))

    async def slow(name: str) -> None:
        await elapse(0.01)

    one.store.before = slow
    await one.expiry.sweep()
    assert order.index(T) > max(map(order.index, others))


async def test_of_few_that_lapse_it_is_told_who_heard_them_last_and_of_many_it_is_not(server: MemoryServer) -> None:
    """However many tenants they are of: it is a question for each."""
    one = lane(server, "a", MassLapse(1, 1000, 0))
    tenants = [Tenant(f"t{number:02}", "default") for number in range(expiry.EVIDENCE_MAX + 1)]
    for tenant in tenants:
        await come(server, ["i"], tenant)
    await one.follow()
    await one.pulses.pulse()
    for tenant in tenants:
        await one.heartbeats.beat(tenant, "cart", "i")
    await elapse(2 * TICK_S)
    await tick(one)
    await pulse_only(LEASE_S, one)
    await one.expiry.sweep()
    events = [decode_event(payload) for tenant in tenants for _, payload in server.of(tenant).events]
    through = [event.renewed_through for event in events if isinstance(event, InstanceExpired)]
    assert sorted(through) == ["", *["a"] * expiry.EVIDENCE_MAX]


async def test_leases_that_a_store_lost_start_anew_for_those_that_lived_through_it(server: MemoryServer) -> None:
    """A replica that has just been started may be the first to notice that the store is another process; it cannot
    tell what was lost, and must not keep the others from making up for it."""
    one = lane(server, "a")
    await come(server, many(3))
    await tick(one)
    server.run += 1
    leases = server.of(T).leases
    leases.update(dict.fromkeys(leases, virtual_ms() + 600))  # renewals of the last seconds are gone
    late = lane(server, "late")
    await tick(late)
    await go_on(2.0, one, late)
    assert there(one) == set(many(3))
