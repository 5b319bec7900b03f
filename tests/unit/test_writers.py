"""An expiry records when each replica could write: what replicas note of their pulses, and tell each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec import structs

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, InstanceExpired, ServiceUnregistered, decode_event
from registry.domain.model import HealthCheck, Instance
from registry.domain.outcome import NOTHING
from registry.domain.position import Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.write_times import Outage, Outages, Window, WriteTimes, Writing, windows
from registry.history.explain import LEAVING, NOT_WRITING_MAX, Happened
from registry.history.told import evidence, tell
from registry.store.leases import SILENCE_MAX_MS
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.upkeep.expiry import ASK_MAX
from registry.upkeep.pulses import PULSE_MS
from registry.usecases.roster import TELL_EVERY_S, Presence, Roster
from registry.usecases.writers import REMEMBERED_MAX, UNHEARD_MS, Writers
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.memory_replica import (
    VIRTUAL,
    MemoryReplica,
    append,
    elapse,
    elapse_until,
    log_of,
    restamped,
    virtual_ms,
)

pytestmark = pytest.mark.anyio

PART = str(DEFAULT_TENANT)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


def leased(instance_id: str) -> Instance:
    return structs.replace(instance("cart", instance_id), health_check=HealthCheck("push", interval=10, times=1))


class Telling(MemoryReplica):
    """A replica that reads, pulses and tells how it is; it sweeps when the test says so."""

    def __init__(self, server: MemoryServer, name: str) -> None:
        super().__init__(server, name)
        self.roster = Roster(self.store, self.projector, self.presence, self.writers)
        self._running: list[asyncio.Task[None]] = []

    def presence(self) -> Presence:
        writing = self.pulses.write_times()
        return Presence(self.name, "", "1", virtual_ms(), 1, "0-0", "", 0, 0, 0, 0, 0, 0, writing=writing)

    async def start(self) -> None:
        await self.follow()
        await self.pulses.pulse()
        self.wake()

    def wake(self) -> None:
        loops = (self.projector.reading.run(), self.pulses.run(), self.roster.run())
        self._running = [asyncio.create_task(loop) for loop in loops]

    async def sleep(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)


@asynccontextmanager
async def running(*names: str) -> AsyncIterator[tuple[MemoryServer, list[Telling]]]:
    """Replicas that have heard of each other, and one instance in their log, whose lease of 20 s begins now."""
    server = MemoryServer(virtual_ms)
    await append(server, service_registered(microservice("cart")))
    replicas = [Telling(server, name) for name in names]
    for replica in replicas:
        await replica.start()
    await elapse(2 * TELL_EVERY_S)
    await append(server, *restamped([instance_registered(leased("i"))], "w", virtual_ms()))
    try:
        yield server, replicas
    finally:
        for replica in replicas:
            await replica.sleep()


async def expired(server: MemoryServer, by: Telling) -> InstanceExpired:
    """What is written by a replica of the instance, whose lease has ended."""
    await by.expiry.sweep()
    event = log_of(server)[-1][1]
    assert isinstance(event, InstanceExpired)
    return event


#: In the place of a moment: nothing is known before, or after.
UNKNOWN = -1.0


def in_halves(found: Sequence[Window], began_ms: int) -> list[tuple[float, float]]:
    """From when to when, in seconds since then, as exactly as pulses are."""

    def seconds(ms: int) -> float:
        return (ms - began_ms + PULSE_MS // 2) // PULSE_MS * PULSE_MS / 1000 if ms else UNKNOWN

    return [(max(seconds(since_ms), 0.0) if since_ms else UNKNOWN, seconds(until_ms)) for since_ms, until_ms in found]


async def test_replicas_that_could_write_all_the_time_are_named() -> None:
    async with running("a", "b") as (server, (one, _)):
        await elapse(21)
        event = await expired(server, one)
        assert (event.writers, event.outages) == ("a b", {})


async def test_who_could_not_write_for_a_while_says_so_itself() -> None:
    async with running("a", "b") as (server, (one, other)):
        await elapse(4)
        began_ms = virtual_ms()
        other.store.go_away()
        await elapse(5)
        other.store.come_back()
        await elapse(12)
        event = await expired(server, one)
        assert event.writers == "a"
        assert in_halves(event.outages["b"], began_ms) == [(0.0, 5.0)]


async def test_who_cannot_write_yet_was_last_heard_of() -> None:
    async with running("a", "b") as (server, (one, other)):
        await elapse(4)
        began_ms = virtual_ms()
        other.store.go_away()
        await elapse(17)
        event = await expired(server, one)
        ((since_ms, until_ms),) = event.outages["b"]
        assert began_ms - 1000 * TELL_EVERY_S <= since_ms <= began_ms
        assert until_ms == 0
        assert event.writers == "a"


async def test_a_replica_tells_of_itself_too() -> None:
    async with running("a", "b") as (server, (one, _)):
        await elapse(4)
        began_ms = virtual_ms()
        one.store.go_away()
        await elapse(5)
        one.store.come_back()
        await elapse(12)
        event = await expired(server, one)
        assert event.writers == "b"
        assert in_halves(event.outages["a"], began_ms) == [(0.0, 5.0)]


async def test_who_has_slept_could_not_write() -> None:
    """A process that is stopped, or a machine that is put to sleep, has no pulse that fails."""
    async with running("a", "b") as (_, (one, other)):
        await elapse(4)
        began_ms = virtual_ms()
        await other.sleep()
        await elapse(5)
        other.wake()
        await elapse(2)
        assert in_halves(windows(other.pulses.write_times(), PART)[1:], began_ms) == [(0.0, 5.0)]
        assert windows(one.pulses.write_times(), PART)[1:] == []


async def test_whose_pulse_hung_could_not_write() -> None:
    """It was taken in the end: none has failed."""
    async with running("a", "b") as (_, (_, other)):
        await elapse(4)
        began_ms = virtual_ms()

        async def hang(name: str) -> None:
            if name == "pulse" and virtual_ms() < began_ms + 5000:
                await elapse((began_ms + 5000 - virtual_ms()) / 1000)

        other.store.before = hang
        await elapse(7)
        assert in_halves(windows(other.pulses.write_times(), PART)[1:], began_ms) == [(0.0, 5.0)]


async def test_a_short_break_is_none() -> None:
    """No lease is that short, and nobody's pulse is that regular."""
    async with running("a", "b") as (_, (_, other)):
        other.store.go_away()
        await elapse((SILENCE_MAX_MS - 2 * PULSE_MS) / 1000)
        other.store.come_back()
        await elapse(2)
        assert other.pulses.write_times().outages == ()


async def test_what_was_before_a_replica_began_is_not_claimed() -> None:
    async with running("a") as (server, (one,)):
        await elapse(8)
        late = Telling(server, "late")
        await late.start()
        began_ms = virtual_ms()
        await elapse(13)
        event = await expired(server, one)
        await late.sleep()
        assert event.writers == "a"
        assert in_halves(event.outages["late"], began_ms) == [(UNKNOWN, 0.0)]


async def test_all_that_lapse_together_share_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many may: each event is whole all the same, and nothing is worked out for each of them."""
    records: list[Writing] = []
    since = Writers.since

    def noted(self: Writers, *arguments: Any) -> Writing:
        records.append(since(self, *arguments))
        return records[-1]

    monkeypatch.setattr(Writers, "since", noted)
    async with running("a", "b") as (server, (one, other)):
        more: list[Event] = [instance_registered(leased(f"i{number}")) for number in range(300)]
        await append(server, *restamped(more, "w2", virtual_ms()))
        await elapse(4)
        other.store.go_away()
        await elapse(17)
        await one.expiry.sweep()
    events = [event for _, event in log_of(server) if isinstance(event, InstanceExpired)]
    assert len(events) == 301
    assert {event.writers for event in events} == {"a"}
    assert all(event.outages.keys() == {"b"} for event in events)
    assert len(records) == -(-301 // ASK_MAX)


class Earlier(Telling):
    """It tells how it is, and not when it could write."""

    def presence(self) -> Presence:
        return structs.replace(super().presence(), writing=None)


async def test_replicas_of_an_earlier_version_are_not_spoken_of() -> None:
    async with running("a") as (server, (one,)):
        earlier = Earlier(server, "b")
        await earlier.start()
        await elapse(21)
        assert [presence.name for presence in await one.roster.present()] == ["a", "b"]
        assert (await expired(server, one)).writers == "a"
        await earlier.sleep()


def test_an_event_of_an_earlier_version_says_nothing_of_it() -> None:
    of_all = {"type": "instance-expired", "at_ms": 1, "replica": "r", "number": 1}
    payload = msgspec.msgpack.encode(of_all | {"service_id": "s", "instance_id": "i", "registered": "1-1"})
    event = decode_event(payload)
    assert isinstance(event, InstanceExpired)
    assert (event.writers, event.outages) == ("", {})


async def test_the_memory_of_replicas_is_bounded() -> None:
    """Replicas that crash and are started anew have a new name each time."""
    clock = Clock(virtual_ms, virtual_ms)
    writers, now = Writers("a", clock), virtual_ms()
    for number in range(2 * REMEMBERED_MAX):
        writers.hear(f"r{number:03}", WriteTimes(now - 9, (Outage(now - 5, now - 1),)), now)
    assert writers.remembered == REMEMBERED_MAX
    found = writers.since(now - 8, WriteTimes(now - 9), DEFAULT_TENANT)
    assert min(found.outages) == f"r{REMEMBERED_MAX:03}", "the newest stay"


async def test_a_replica_that_is_cut_off_stays_known_beside_a_hundred_others() -> None:
    """They are heard all the time, and it is not: without it the record would say that all could write."""
    writers, since_ms = Writers("a", Clock(virtual_ms, virtual_ms)), virtual_ms()
    for round_ in range(5):
        for number in range(0 if round_ == 0 else 1, 101):
            writers.hear(f"r{number:03}", WriteTimes(since_ms - 10), virtual_ms())
        await elapse(2)
    found = writers.since(since_ms - 5, WriteTimes(since_ms - 10), DEFAULT_TENANT)
    assert found.outages == {"r000": [(since_ms, 0)]}


async def test_an_old_word_is_not_new_for_being_read_again() -> None:
    """What a replica said stays to be read for ten seconds after its end."""
    writers, said_ms = Writers("a", Clock(virtual_ms, virtual_ms)), virtual_ms()
    while virtual_ms() - said_ms <= UNHEARD_MS:
        writers.hear("b", WriteTimes(said_ms - 1000), said_ms)
        await elapse(1)
    found = writers.since(said_ms - 10, WriteTimes(said_ms - 1000), DEFAULT_TENANT)
    assert found.outages["b"] == [(said_ms, 0)]


async def test_a_part_that_left_the_store_was_not_away_meanwhile() -> None:
    """In a cluster each tenant is a part: one may be forgotten, and be made again an hour later."""
    server = MemoryServer(virtual_ms)
    server.part = lambda tenant: tenant
    one, other = Telling(server, "a"), Tenant("d", "p")
    await append(server, service_registered(microservice("cart")))
    gone = ServiceUnregistered(service_id="cart", **stamp()._asdict())
    await append(server, service_registered(microservice("cart")), gone, tenant=other)
    await one.start()
    assert one.projector.knows(other)
    await MemoryStore(server).forget_tenant(other, await one.store.head(other))
    await elapse_until(lambda: not one.projector.knows(other), "the tenant to be forgotten")
    await elapse(60)
    await MemoryStore(server).add_tenant(other)
    await elapse_until(lambda: one.projector.knows(other), "the tenant to be back")
    await elapse(2)
    await one.sleep()
    assert one.pulses.write_times().outages == ()


async def test_a_part_of_a_cluster_that_is_away_is_told_while_it_is() -> None:
    """The replica itself is heard of all the time."""
    server = MemoryServer(virtual_ms)
    server.part = lambda tenant: tenant
    one, other = Telling(server, "a"), Tenant("d", "p")
    await append(server, service_registered(microservice("cart")))
    await append(server, service_registered(microservice("cart")), tenant=other)
    await one.start()
    await elapse(2)
    began_ms, pulse = virtual_ms(), one.store.pulse

    async def refuse(tenant: Tenant, *arguments: Any, **named: Any) -> Any:
        if tenant == other:
            raise StoreUnavailable("this shard is away")
        return await pulse(tenant, *arguments, **named)

    one.store.pulse = refuse  # type: ignore[method-assign]
    await elapse(5)
    times = one.pulses.write_times()
    assert in_halves(windows(times, str(other))[1:], began_ms) == [(0.0, UNKNOWN)]
    assert windows(times, PART)[1:] == []
    one.store.pulse = pulse  # type: ignore[method-assign]
    await elapse(5)
    await one.sleep()
    assert in_halves(windows(one.pulses.write_times(), str(other))[1:], began_ms) == [(0.0, 5.0)]


# -- how it is told ----------------------------------------------------------------------------------------------------


def told(event: InstanceExpired) -> str:
    """What the sentence says behind the removal."""
    row = tell(Position(7, 9), event, NOTHING, None)
    return LEAVING[InstanceExpired](Happened(row, event, NOTHING, None, False)).partition(" ms later")[2]


def lapse(writers: str = "", outages: Outages | None = None) -> InstanceExpired:
    """It was renewed at second 100, and removed at second 120."""
    event = InstanceExpired(service_id="cart", instance_id="i", registered="7-2", **stamp()._asdict())
    moments = {"last_beat_ms": 100_000, "deadline_ms": 119_900, "at_ms": 120_000}
    return structs.replace(event, writers=writers, outages=outages or {}, **moments)


def test_the_sentence_says_who_could_write_and_who_could_not() -> None:
    assert told(lapse()) == "", "an earlier version did not record it"
    assert told(lapse("a")) == "; 1 replica could write all that time"
    assert told(lapse("a b", {"c": [(101_000, 103_000), (110_000, 0)]})) == (
        "; replica c could not write from 1970-01-01T00:01:41.000Z to 1970-01-01T00:01:43.000Z "
        "and was last heard of at 1970-01-01T00:01:50.000Z; 2 others could write all that time"
    )
    assert told(lapse("", {"c": [(0, 105_000)]})) == "; replica c is known of only since 1970-01-01T00:01:45.000Z"


def test_the_sentence_names_no_more_than_a_few() -> None:
    said = told(lapse("", {f"r{number}": [(101_000, 103_000)] for number in range(5)}))
    assert said.count("could not write from") == NOT_WRITING_MAX
    assert said.endswith("; 2 more could not write all that time either")


def test_what_was_before_the_last_renewal_is_recorded_for_others_and_not_told() -> None:
    """One record is made for all that go together, of whom some were renewed earlier."""
    event = lapse("a", {"b": [(90_000, 99_000)], "c": [(99_000, 101_000)], "dead": [(30_000, 0)]})
    assert evidence(Position(7, 9), event)["replicas"] == [
        {"replica": "a", "couldNotWrite": []},
        {"replica": "b", "couldNotWrite": []},
        {"replica": "c", "couldNotWrite": [{"from": "1970-01-01T00:01:39.000Z", "to": "1970-01-01T00:01:41.000Z"}]},
    ]
