"""Agreement in virtual time: a difference is healed for good, and comparing never gets in anybody's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from registry.domain.events import Event
from registry.domain.retention import Retention
from registry.domain.sections import REST
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import InstanceRow
from registry.projection.restoring import restore
from registry.store.damage import Damaged
from registry.store.memory_server import MemoryServer
from registry.upkeep import agreement
from registry.upkeep.agreement import HEAL_FROM_MS
from registry.upkeep.snapshotting import HOLD_MS
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.memory_replica import VIRTUAL, FlakyStore, MemoryReplica, append, digests, elapse, empty, restamped
from tests.support.memory_replica import virtual_ms as now_ms

T = DEFAULT_TENANT

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer(now_ms)


async def come(server: MemoryServer, number: int, by: str = "w") -> None:
    events: list[Event] = [instance_registered(instance("cart", f"{by}{n}"), chosen=True) for n in range(number)]
    if not server.of(T).events:
        events.insert(0, service_registered(microservice("cart"), chosen=True))
    await append(server, *restamped(events, by, now_ms()))


def falsify(one: MemoryReplica) -> None:
    """A bit flips in this replica's memory."""
    row = one.view.services["cart"]
    row.instances["w0"] = structs.replace(row.instances["w0"], digest=b"flipped".ljust(20))


async def compare(*lanes: MemoryReplica) -> None:
    for one in lanes:
        await one.follow()
        await one.agreement.compare(T)


def pair(server: MemoryServer) -> tuple[MemoryReplica, MemoryReplica]:
    retention = Retention(1, 2)
    return MemoryReplica(server, "right", retention=retention), MemoryReplica(server, "wrong", retention=retention)


async def differing(server: MemoryServer) -> tuple[MemoryReplica, MemoryReplica]:
    """One of two replicas holds something wrong, and has written it into the newest snapshot."""
    right, wrong = pair(server)
    await come(server, 9)
    await wrong.follow()
    assert await wrong.snapshotting.write(T, 1)
    await elapse(2 * HEAL_FROM_MS / 1000)
    await come(server, 9, "x")
    await compare(right, wrong)
    falsify(wrong)
    assert await wrong.snapshotting.write(T, 1)
    return right, wrong


async def healed(server: MemoryServer) -> tuple[MemoryReplica, MemoryReplica]:
    right, wrong = await differing(server)
    assert digests(right.view) != digests(wrong.view)
    for _ in range(3):
        await compare(right, wrong)
    assert digests(right.view) == digests(wrong.view)
    assert right.snapshotting.distrusted == wrong.snapshotting.distrusted == set()
    return right, wrong


async def test_a_snapshot_with_the_difference_is_replaced(server: MemoryServer) -> None:
    """Else it comes back with the next replica that starts."""
    right, wrong = await healed(server)
    written = await wrong.snapshotting.write(T, 1_000_000)
    assert written is not None
    assert digests((await restore(FlakyStore(server), T, "new")).view) == digests(right.view)
    assert await wrong.snapshotting.write(T, 1_000_000) is None, "once"
    await elapse(HOLD_MS / 1000)
    assert await right.snapshotting.write(T, 1_000_000) is None, "by one of them"


async def test_a_snapshot_with_the_difference_is_forgotten(server: MemoryServer) -> None:
    """Where a later one replaces it: all replicas would be healed with the wrong one some day."""
    right, wrong = await healed(server)
    suspect = (await FlakyStore(server).snapshots.marks(T))[0]
    await come(server, 1, "y")
    await compare(right, wrong)
    written = await wrong.snapshotting.write(T, 1_000_000)
    assert written is not None
    marks = await FlakyStore(server).snapshots.marks(T)
    assert suspect not in marks
    assert [mark.position for mark in marks] == [written.position, marks[1].position]
    await elapse(2 * HEAL_FROM_MS / 1000)
    for before_ms in (now_ms(), written.at_ms):
        assert digests((await restore(FlakyStore(server), T, "new", before_ms)).view) == digests(right.view)


async def test_a_difference_over_a_damaged_log_ends_nobody(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Both replicas would stop at once, and neither could be started again."""
    right, wrong = await differing(server)
    log = server.of(T)
    log.snapshots.marks.clear()
    server.trim(T, log.head)
    with pytest.raises(Damaged):
        await restore(FlakyStore(server), T, "new")
    for _ in range(2):
        await compare(right, wrong)
    assert wrong.snapshotting.distrusted == {T}
    assert right.view.instance_count == 18
    assert [r for r in caplog.records if r.__dict__.get("action") == "heal_failed"]


async def test_comparing_does_not_overwrite_a_claim(server: MemoryServer) -> None:
    """What a replica holds and how far it is while a log is seeded are told in one place; the latter decides."""
    ahead, behind = pair(server)
    await come(server, 5)
    await behind.follow()
    await come(server, 5, "x")
    await ahead.follow()
    await empty(server)
    first = asyncio.create_task(behind.look())
    await elapse(0.5)
    second = asyncio.create_task(ahead.look())
    await elapse(0.3)
    for one in (ahead, behind):
        await one.agreement.compare(T)
    await asyncio.gather(first, second)
    assert (ahead.projector.mending.seeded, behind.projector.mending.seeded) == (1, 0)


async def test_many_small_services_hold_up_nobody(server: MemoryServer) -> None:
    """A million instances in services of twenty were digested in one go: every request waited for two seconds."""
    one, _ = pair(server)
    services = [service_registered(microservice(f"s{n}"), chosen=True) for n in range(50)]
    some = [instance_registered(instance(f"s{n}", f"i{m}"), chosen=True) for n in range(50) for m in range(100)]
    await append(server, *restamped([*services, *some], "s", now_ms()))
    await one.follow()
    began = now_ms()
    await one.agreement.compare(T)
    assert now_ms() - began >= 5000 / agreement.STEP_ROWS * agreement.STEP_PAUSE_S * 1000 * 0.9


class Counted(dict[str, InstanceRow]):
    """Counts the instances that are looked at."""

    looked_at = 0

    def values(self) -> Any:
        for row in super().values():
            self.looked_at += 1
            yield row


async def test_a_large_service_holds_up_nobody(server: MemoryServer) -> None:
    """To copy what a hundred thousand have in common, or their list alone, was a pause of 25 ms every few seconds."""
    one, _ = pair(server)
    await come(server, 4 * agreement.STEP_ROWS)
    await one.follow()
    row = one.view.services["cart"]
    row.instances = counted = Counted(row.instances)
    comparing = asyncio.create_task(one.agreement.compare(T))
    before, most = 0, 0
    while not comparing.done():
        await elapse(agreement.STEP_PAUSE_S / 2)
        most, before = max(most, counted.looked_at - before), counted.looked_at
    assert before == 4 * agreement.STEP_ROWS
    assert most <= agreement.STEP_ROWS


async def test_a_service_that_changes_while_it_is_compared_waits_for_the_next_round(server: MemoryServer) -> None:
    """What was looked at before belongs to another position than what would be looked at now."""
    one, other = pair(server)
    await come(server, 3 * agreement.STEP_ROWS)
    await one.follow()
    comparing = asyncio.create_task(one.agreement.compare(T))
    await elapse(agreement.STEP_PAUSE_S * 1.5)
    await come(server, 1, "x")
    await one.follow()
    await comparing
    said = await other.store.snapshots.exchange(T, "other", b"", 30_000)
    state = agreement.read_state(said["right"])
    assert state is not None
    assert list(state.parts) == [REST]
    await one.agreement.compare(T)
    said = await other.store.snapshots.exchange(T, "other", b"", 30_000)
    state = agreement.read_state(said["right"])
    assert state is not None
    assert sorted(state.parts) == [REST, "cart"]


async def hundred(server: MemoryServer) -> list[Tenant]:
    """That many tenants, each with a service."""
    tenants = [Tenant(f"t{number:03}", "default") for number in range(100)]
    for tenant in tenants:
        events = restamped([service_registered(microservice("s"), chosen=True)], "s", now_ms())
        await append(server, *events, tenant=tenant)
    return tenants


async def test_many_small_tenants_hold_up_nobody(server: MemoryServer) -> None:
    """Ten thousand tenants with news at once were compared in one go, while their instances were to expire."""
    one, _ = pair(server)
    tenants = await hundred(server)
    await one.follow()
    began = now_ms()
    await one.agreement._compare_some(tenants)
    assert one.store.calls.count("exchange") == len(tenants)
    assert now_ms() - began >= len(tenants) / agreement.STEP_TENANTS * agreement.STEP_PAUSE_S * 1000 * 0.9


async def test_tenants_with_news_are_told_until_the_last_of_them_is_compared(
    server: MemoryServer,
) -> None:
    """Somebody who waits for that would take the last round for calm."""
    one, _ = pair(server)
    tenants = await hundred(server)
    await one.follow()
    running = asyncio.create_task(one.agreement._rounds(one.agreement._compare_lively))
    while one.agreement.lively:
        await elapse(agreement.STEP_PAUSE_S)
    assert one.store.calls.count("exchange") == agreement.ROUNDS_AFTER_NEWS * len(tenants)
    running.cancel()
    await asyncio.wait([running])


async def test_a_difference_is_found_however_long_a_round_takes(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With millions of instances it takes a minute: what another replica said must count until then."""
    monkeypatch.setattr(agreement, "STEP_ROWS", 1)
    monkeypatch.setattr(agreement, "STEP_PAUSE_S", 0.05)
    right, wrong = pair(server)
    await come(server, 1)
    services = [service_registered(microservice(f"s{n}"), chosen=True) for n in range(1200)]
    await append(server, *restamped(services, "s", now_ms()))
    await right.follow()
    await wrong.follow()
    falsify(wrong)
    running = [asyncio.create_task(right.agreement.run())]
    await elapse(32)  # so that neither speaks shortly after the other
    running.append(asyncio.create_task(wrong.agreement.run()))
    await elapse(250)
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    assert right.agreement.stats.rounds < 5
    assert digests(right.view) == digests(wrong.view)
    assert wrong.agreement.stats.differences > 0
