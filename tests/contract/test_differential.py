"""Memory and Redis give equal answers to every sequence of operations.

The clock of the memory store stands still and every lease is long, so that nothing here depends on how fast the test
runs: a lease is gone when it was dropped, a pulse is old when it was made so. Lapsing by time is test_leases' part.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import HistoryChanged, OutageSuspected, Store
from tests.contract.worlds import MemoryWorld, RedisWorld, World
from tests.support.redis_server import redis_server

T = TypeVar("T")

#: Redis forgets after a minute that leases were re-armed; nothing here takes that long.
OUTAGE_MS = 300_000
HOLD_MS = 600_000
TENANTS = [Tenant("default", "default"), Tenant("a}/{b", "ü *")]
NAMES = [LeaseName("s", "a"), LeaseName("s", "b"), LeaseName("t/{x}", "a")]

tenants = st.sampled_from(TENANTS)
names = st.sampled_from(NAMES)
leases = st.builds(Lease, st.just("s"), st.sampled_from(["a", "b"]), st.sampled_from([600_000, 900_000]))
writes = st.builds(
    Write,
    st.none() | st.binary(min_size=1, max_size=4),
    st.lists(leases, max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
)
proposals = st.builds(Proposal, names, st.sampled_from(["1-1", "1-2", ""]), st.binary(min_size=1, max_size=4))
#: Snapshots, by the numbers of their positions: they need not stand at an event.
places = st.sampled_from([Position(7, 3), Position(7, 20), Position(8, 1)])
marks = st.builds(
    lambda place, chunks, replica: Mark(FORMAT, place.epoch, place.sequence, chunks, 1, b"\xff", 1, replica),
    places,
    st.integers(0, 2),
    st.sampled_from(["r1", "r2"]),
)
notes = st.sampled_from([b"", b"\0one", b"two"])
replicas = st.sampled_from(["r1", "r2", "ü"])
events = st.binary(min_size=1, max_size=4)
#: What a caller may believe of the log: what is true, that there is none, or something of the past or future.
beliefs = st.sampled_from(["true", "true", "true", "none", "behind", "ahead"])


class Side:
    """One adapter with two connections, and its answers in words that both sides share."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stores: list[Store] = []
        #: Each tenant's epochs in the order of their beginning: they are the clock's, so each side has its own.
        self.epochs: dict[Tenant, list[int]] = {tenant: [0] for tenant in TENANTS}
        self.tenants_after = ""

    async def open(self) -> None:
        self.stores = [await self.world.connect(read_max=3), await self.world.connect(read_max=3)]

    def plain(self, tenant: Tenant, position: Position | None) -> tuple[int, int] | None:
        """The position with the number of its history in the place of the epoch."""
        if position is None:
            return None
        epochs = self.epochs[tenant]
        if position.epoch not in epochs:
            assert position.epoch > max(epochs), "a history must come after every earlier one"
            epochs.append(position.epoch)
        return epochs.index(position.epoch), position.sequence

    async def believed(self, tenant: Tenant, belief: str) -> Position:
        head = await self.stores[0].head(tenant)
        self.plain(tenant, head)
        return {
            "true": head,
            "none": ORIGIN,
            "behind": Position(max(head.epoch - 1, 0), head.sequence),
            "ahead": Position(head.epoch + 1, head.sequence + 1),
        }[belief]


async def outcome(call: Coroutine[Any, Any, T]) -> T | str:
    try:
        return await call
    except (HistoryChanged, OutageSuspected) as error:
        return type(error).__name__


class Differential(RuleBasedStateMachine):
    """Runs every operation on both sides and compares the answers."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        memory, redis = MemoryWorld(), RedisWorld(self.redis_url, f"{uuid.uuid4().hex[:12]}:")
        self._sides = [Side(memory), Side(redis)]
        self._read_to: dict[Tenant, tuple[int, int]] = {}
        self._pulsed: set[Tenant] = set()
        self._rearmed: set[Tenant] = set()
        for side in self._sides:
            self._runner.run(side.open())

    def teardown(self) -> None:
        for side in self._sides:
            self._runner.run(side.world.close())
        self._runner.close()

    def both(self, ask: Callable[[Side], Coroutine[Any, Any, T]]) -> T:
        memory, redis = (self._runner.run(ask(side)) for side in self._sides)
        assert memory == redis
        return memory

    def _part(self, tenant: Tenant) -> Tenant:
        return self._sides[0].world.part(tenant)

    @rule(tenant=tenants, belief=beliefs, by=st.integers(0, 1), writes=st.lists(writes, max_size=4))
    def commit(self, tenant: Tenant, belief: str, by: int, writes: Sequence[Write]) -> None:
        async def ask(side: Side) -> Any:
            epoch = (await side.believed(tenant, belief)).epoch
            positions = await outcome(side.stores[by].commit(tenant, epoch, writes))
            return positions if isinstance(positions, str) else [side.plain(tenant, position) for position in positions]

        self.both(ask)

    @rule(tenant=tenants, by=st.integers(0, 1), leases=st.lists(leases, max_size=4))
    def beat(self, tenant: Tenant, by: int, leases: Sequence[Lease]) -> None:
        self.both(lambda side: side.stores[by].beat(tenant, leases, "r"))

    @rule(tenant=tenants, belief=beliefs, by=st.integers(0, 1), leases=st.lists(leases, max_size=3))
    def revive(self, tenant: Tenant, belief: str, by: int, leases: Sequence[Lease]) -> None:
        async def ask(side: Side) -> bool:
            return await side.stores[by].revive(tenant, await side.believed(tenant, belief), leases)

        self.both(ask)

    @rule(tenant=tenants, by=st.integers(0, 1), leases=st.lists(leases, max_size=3))
    def rearm(self, tenant: Tenant, by: int, leases: Sequence[Lease]) -> None:
        self.both(lambda side: side.stores[by].rearm(tenant, leases))
        self._rearmed.add(self._part(tenant))

    @rule(tenant=tenants, by=st.integers(0, 1), leases=st.lists(leases, max_size=3))
    def go_on_rearming(self, tenant: Tenant, by: int, leases: Sequence[Lease]) -> None:
        if self.both(lambda side: side.stores[by].rearm(tenant, leases, OUTAGE_MS)):
            assert self._part(tenant) in self._rearmed

    @precondition(lambda self: self._rearmed)
    @rule(data=st.data(), ms=st.sampled_from([2 * OUTAGE_MS, -2 * OUTAGE_MS]))
    def stall_after_rearming(self, data: st.DataObject, ms: int) -> None:
        tenant = data.draw(st.sampled_from(sorted(self._rearmed, key=str)))
        self.both(lambda side: side.world.move_rearming(tenant, ms))

    @rule(
        tenant=tenants, belief=beliefs, by=st.integers(0, 1), payloads=st.lists(st.just(b"x"), min_size=1, max_size=3)
    )
    def resume_history(self, tenant: Tenant, belief: str, by: int, payloads: Sequence[bytes]) -> None:
        async def ask(side: Side) -> Any:
            head = await side.believed(tenant, belief)
            # So that it comes after every epoch that the store's clock has given, and before every one that it will.
            await side.world.pass_time(2)
            return await outcome(side.stores[by].resume_history(tenant, head, await side.world.now_ms() - 1, payloads))

        self.both(ask)

    @rule(tenant=tenants, by=st.integers(0, 1), belief=beliefs, proposals=st.lists(proposals, max_size=3))
    def expire(self, tenant: Tenant, by: int, belief: str, proposals: Sequence[Proposal]) -> None:
        async def ask(side: Side) -> Any:
            epoch = (await side.believed(tenant, belief)).epoch
            positions = await outcome(side.stores[by].expire(tenant, epoch, proposals, OUTAGE_MS))
            return positions if isinstance(positions, str) else [side.plain(tenant, position) for position in positions]

        self.both(ask)

    @rule(tenant=tenants, by=st.integers(0, 1), resume=st.booleans())
    def pulse(self, tenant: Tenant, by: int, resume: bool) -> None:
        async def ask(side: Side) -> Any:
            pulse = await side.stores[by].pulse(tenant, OUTAGE_MS, resume)
            return abs(pulse.silence_ms) > OUTAGE_MS, pulse.restarted

        self.both(ask)
        self._pulsed.add(self._part(tenant))

    @precondition(lambda self: self._pulsed)
    @rule(data=st.data(), ms=st.sampled_from([2 * OUTAGE_MS, -2 * OUTAGE_MS]))
    def be_silent(self, data: st.DataObject, ms: int) -> None:
        tenant = data.draw(st.sampled_from(sorted(self._pulsed, key=str)))
        self.both(lambda side: side.world.move_pulse(tenant, ms))

    @rule()
    def restart(self) -> None:
        self.both(lambda side: side.world.restart())

    @rule(tenant=tenants)
    def lose_log(self, tenant: Tenant) -> None:
        self.both(lambda side: side.world.lose_log(tenant))
        self._pulsed.discard(tenant)
        self._rearmed.discard(tenant)
        self._read_to.pop(tenant, None)

    # -- what is kept beside the log -----------------------------------------------------------------------------------

    @rule(tenant=tenants, place=places, index=st.integers(0, 2), stored=st.binary(max_size=3))
    def put_chunk(self, tenant: Tenant, place: Position, index: int, stored: bytes) -> None:
        self.both(lambda side: side.stores[0].snapshots.put_chunk(tenant, place, index, stored))

    @rule(tenant=tenants, mark=marks)
    def put_mark(self, tenant: Tenant, mark: Mark) -> None:
        self.both(lambda side: side.stores[1].snapshots.put_mark(tenant, mark))

    @rule(tenant=tenants, mark=marks)
    def drop(self, tenant: Tenant, mark: Mark) -> None:
        self.both(lambda side: side.stores[0].snapshots.drop(tenant, mark))

    @rule(tenant=tenants, place=places)
    def look_at_snapshots(self, tenant: Tenant, place: Position) -> None:
        async def ask(side: Side) -> Any:
            snapshots = side.stores[0].snapshots
            return await snapshots.marks(tenant), [await snapshots.chunk(tenant, place, index) for index in range(3)]

        self.both(ask)

    @rule(tenant=tenants, epochs_ago=st.integers(0, 1), sequence=st.integers(0, 9))
    def trim(self, tenant: Tenant, epochs_ago: int, sequence: int) -> None:
        async def ask(side: Side) -> int:
            await side.believed(tenant, "true")
            epochs = side.epochs[tenant]
            before = Position(epochs[max(len(epochs) - 1 - epochs_ago, 0)], sequence)
            return await side.stores[0].snapshots.trim(tenant, before)

        self.both(ask)

    @rule(tenant=tenants, position=st.tuples(st.integers(0, 1), st.integers(1, 6)))
    def entry(self, tenant: Tenant, position: tuple[int, int]) -> None:
        async def ask(side: Side) -> bytes | None:
            epochs_ago, sequence = position
            epochs = side.epochs[tenant]
            at = Position(epochs[max(len(epochs) - 1 - epochs_ago, 0)], sequence)
            return await side.stores[0].entry(tenant, at)

        self.both(ask)

    @rule(tenant=tenants, by=st.integers(0, 1), replica=replicas)
    def hold(self, tenant: Tenant, by: int, replica: str) -> None:
        self.both(lambda side: side.stores[by].snapshots.hold(tenant, replica, HOLD_MS))

    @rule(tenant=tenants, by=st.integers(0, 1), replica=replicas, state=st.binary(max_size=3))
    def exchange(self, tenant: Tenant, by: int, replica: str, state: bytes) -> None:
        self.both(lambda side: side.stores[by].snapshots.exchange(tenant, replica, state, HOLD_MS))

    @rule(tenant=tenants, by=st.integers(0, 1), name=st.sampled_from("ab"), seen=notes, note=notes)
    def note(self, tenant: Tenant, by: int, name: str, seen: bytes, note: bytes) -> None:
        self.both(lambda side: side.stores[by].notes.write(tenant, name, seen, note, HOLD_MS, 10))
        self.both(lambda side: side.stores[1 - by].notes.read(tenant, name))
        self.both(lambda side: side.stores[1 - by].notes.all(tenant))

    # -- reading -------------------------------------------------------------------------------------------------------

    @rule(tenant=tenants, by=st.integers(0, 1), most=st.integers(0, 2))
    def add_tenant(self, tenant: Tenant, by: int, most: int) -> None:
        self.both(lambda side: side.stores[by].add_tenant(tenant, most))

    @rule(by=st.integers(0, 1), only=st.sampled_from([TENANTS, TENANTS[:1], []]))
    def read_on(self, by: int, only: Sequence[Tenant]) -> None:
        async def ask(side: Side) -> Any:
            at = {
                tenant: Position(side.epochs[tenant][epoch], sequence)
                for tenant, (epoch, sequence) in ((t, self._read_to.get(t, (0, 0))) for t in only)
            }
            tail = await side.stores[by].read(at, side.tenants_after, 0)
            side.tenants_after = tail.tenants_after
            events = {
                tenant: [(side.plain(tenant, position), payload) for position, payload in found]
                for tenant, found in tail.events.items()
            }
            return events, list(tail.tenants)

        events, _ = self.both(ask)
        for tenant, found in events.items():
            self._read_to[tenant] = found[-1][0]

    @rule(by=st.integers(0, 1), asked=st.lists(tenants, max_size=3))
    def heads(self, by: int, asked: Sequence[Tenant]) -> None:
        async def ask(side: Side) -> Any:
            found = await side.stores[by].heads(asked)
            return [side.plain(tenant, head) for tenant, head in zip(asked, found, strict=True)]

        self.both(ask)

    @rule(tenant=tenants)
    def look(self, tenant: Tenant) -> None:
        async def ask(side: Side) -> Any:
            left = await side.stores[0].remaining(tenant, NAMES)
            # A lease is long gone, or has most of its time left: which of the two lengths it was is to be equal too.
            return [-1 if ms < 0 else 600 if ms <= 600_000 else 900 for ms in left], side.plain(
                tenant, await side.stores[1].head(tenant)
            )

        self.both(ask)


@pytest.mark.slow
def test_memory_and_redis_agree_on_every_sequence_of_operations() -> None:
    """What is proven by simulation on the memory store must be true of the store that users run.

    Its own server holds one event in each node of a stream, so that it trims to the event as the memory store does.
    """

    class OnThisServer(Differential):
        pass

    examples = max(settings.default.max_examples // 2, 1) if settings.default else 30
    with redis_server(options=("--stream-node-max-entries", "1")) as server:
        OnThisServer.redis_url = server.url
        run_state_machine_as_test(OnThisServer, settings=settings(max_examples=examples))
