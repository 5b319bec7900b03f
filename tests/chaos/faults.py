"""Nemesis: does to the system what the plan says, one fault after another, and takes down what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tests.chaos import plan
from tests.chaos.clocks import Clock
from tests.chaos.fleet import ChaosReplica, now_ms
from tests.chaos.plan import STEPS_S, Step
from tests.chaos.proxy import OPEN, STATES
from tests.chaos.store import ChaosStore
from tests.support.history import (
    CLOCK_JUMP,
    CRASH,
    FLUSH,
    LOST_TAIL,
    PARTITION,
    SLOW,
    STALL,
    STORE_DOWN,
    STORE_STALLED,
    Fault,
)

#: How much of the tail (seconds) the copy of Redis lacks at most when it takes over.
BEHIND_S: Final = 2.0
#: What a slow way adds to every message (seconds), at most.
DELAY_S: Final = 0.4


class Nemesis:
    """The faults of one run."""

    def __init__(
        self,
        store: ChaosStore,
        replicas: Sequence[ChaosReplica],
        store_clock: Clock | None,
        record: Callable[[Fault], None],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._replicas = replicas
        self._store_clock = store_clock
        self._record = record
        self._say = say

    async def run(self, steps: Sequence[Step]) -> None:
        does: dict[str, Callable[[Step, ChaosReplica], Awaitable[None]]] = {
            plan.KILL: self._kill,
            plan.RESTART: self._restart,
            plan.STOP: self._stop,
            plan.PARTITION: self._partition,
            plan.SLOW: self._slow,
            plan.REDIS_KILL: self._redis_kill,
            plan.REDIS_STOP: self._redis_stop,
            plan.FAILOVER: self._failover,
            plan.SPLIT: self._split,
            plan.FLUSH: self._flush,
            plan.CLOCK: self._clock,
            plan.REDIS_CLOCK: self._redis_clock,
        }
        for step in steps:
            await asyncio.sleep(step.rest_s)
            replica = self._replicas[step.replica]
            self._say(f"{step.nemesis} {replica.name} {step.length_s:.1f} s (chance {step.chance:.2f})")
            await does[step.nemesis](step, replica)

    def _done(self, kind: str, start_ms: int, target: str = "") -> None:
        self._record(Fault(kind=kind, start_ms=start_ms, end_ms=now_ms(), target=target))

    # -- replicas ------------------------------------------------------------------------------------------------------

    async def _kill(self, step: Step, replica: ChaosReplica) -> None:
        start_ms = now_ms()
        replica.kill()
        await asyncio.sleep(step.length_s)
        await replica.start()
        self._done(CRASH, start_ms, replica.name)

    async def _restart(self, step: Step, replica: ChaosReplica) -> None:
        start_ms = now_ms()
        await replica.stop()
        await asyncio.sleep(step.length_s)
        await replica.start()
        self._done(CRASH, start_ms, replica.name)

    async def _stop(self, step: Step, replica: ChaosReplica) -> None:
        start_ms = now_ms()
        replica.pause()
        try:
            await asyncio.sleep(step.length_s)
        finally:
            replica.resume()
        self._done(STALL, start_ms, replica.name)

    async def _partition(self, step: Step, replica: ChaosReplica) -> None:
        start_ms = now_ms()
        state = STATES[int(step.chance * len(STATES))]
        replica.proxy.break_with(state)
        await asyncio.sleep(step.length_s)
        # Half of the time what was kept back arrives after all.
        replica.proxy.heal(drop=int(step.chance * 1000) % 2 == 0)
        self._done(PARTITION, start_ms, replica.name)

    async def _slow(self, step: Step, replica: ChaosReplica) -> None:
        start_ms = now_ms()
        replica.proxy.break_with(OPEN, step.chance * DELAY_S)
        await asyncio.sleep(step.length_s)
        replica.proxy.heal()
        self._done(SLOW, start_ms, replica.name)

    async def _clock(self, step: Step, replica: ChaosReplica) -> None:
        if replica.clock is not None:
            await self._jump(step, replica.clock, replica.name)

    # -- Redis ---------------------------------------------------------------------------------------------------------

    async def _redis_kill(self, step: Step, _: ChaosReplica) -> None:
        start_ms = now_ms()
        await asyncio.to_thread(self._store.main.kill)
        await asyncio.sleep(step.length_s)
        await asyncio.to_thread(self._store.main.start)
        self._done(STORE_DOWN, start_ms)

    async def _redis_stop(self, step: Step, _: ChaosReplica) -> None:
        start_ms = now_ms()
        self._store.main.pause()
        try:
            await asyncio.sleep(step.length_s)
        finally:
            self._store.main.resume()
        self._done(STORE_STALLED, start_ms)

    async def _flush(self, step: Step, _: ChaosReplica) -> None:
        start_ms = now_ms()
        await self._store.flush()
        self._done(FLUSH, start_ms)

    async def _redis_clock(self, step: Step, _: ChaosReplica) -> None:
        if self._store_clock is not None:
            await self._jump(step, self._store_clock, "")

    async def _jump(self, step: Step, clock: Clock, target: str) -> None:
        """Set a clock, and after a while set it right again: two jumps."""
        for offset_s in (STEPS_S[int(step.chance * len(STEPS_S))], 0):
            start_ms = now_ms()
            clock.step(offset_s)
            await asyncio.sleep(step.length_s / 2)
            self._done(CLOCK_JUMP, start_ms, target)

    # -- another Redis -------------------------------------------------------------------------------------------------

    async def _failover(self, step: Step, _: ChaosReplica) -> None:
        """The server dies, and the copy that takes over lacks what was written in the last moments before."""
        start_ms = now_ms()
        self._store.keep_copy_behind()
        await asyncio.sleep(step.chance * BEHIND_S)
        down_ms = now_ms()
        await asyncio.to_thread(self._store.main.kill)
        await asyncio.sleep(step.length_s)
        old = await self._store.promote()
        for replica in self._replicas:
            replica.proxy.drop()
        self._done(STORE_DOWN, down_ms)
        self._done(LOST_TAIL, start_ms)
        await self._store.take_back(old)

    async def _split(self, step: Step, late: ChaosReplica) -> None:
        """The copy takes over while one replica still reaches the old server only; both are written."""
        start_ms = now_ms()
        self._store.keep_copy_behind()
        old = await self._store.promote()
        for replica in self._replicas:
            if replica is late:
                replica.proxy.retarget(lambda: old.socket)
            else:
                replica.proxy.drop()
        await asyncio.sleep(step.length_s)
        await asyncio.to_thread(old.kill)
        late.proxy.retarget(lambda: self._store.main.socket)
        self._done(LOST_TAIL, start_ms)
        await self._store.take_back(old)
