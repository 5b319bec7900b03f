"""Faults: what may happen to a run, and when it does. Every kind can be switched on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.simulation.recorder import Recorder
from tests.simulation.replica import SimReplica
from tests.simulation.store_host import StoreHost
from tests.simulation.virtual_time import VirtualLoop
from tests.support.case import DIVERGENCE, DUPLICATE, FAILURE, FEED, REV, Rules
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


@dataclass(frozen=True, slots=True)
class Faults:
    """A profile. Delays are always there; `breaks` is how often a connection breaks around one call."""

    breaks: float = 0.0
    crashes: bool = False
    stalls: bool = False
    partitions: bool = False
    slow_links: bool = False
    store_outages: bool = False
    store_stalls: bool = False
    #: The store forgets its newest writes, or everything: only with a registry that recovers what was lost.
    lost_tails: bool = False
    flushes: bool = False
    #: How often a file of the archive is not written: the disk is full, or the replica dies before or behind it.
    archive_breaks: float = 0.0
    #: The store's clock is set, forwards or back.
    clock_jumps: bool = False

    @property
    def loses(self) -> bool:
        return self.lost_tails or self.flushes

    def kinds(self) -> list[str]:
        chosen = {
            CRASH: self.crashes,
            STALL: self.stalls,
            PARTITION: self.partitions,
            SLOW: self.slow_links,
            STORE_DOWN: self.store_outages,
            STORE_STALLED: self.store_stalls,
            LOST_TAIL: self.lost_tails,
            FLUSH: self.flushes,
            CLOCK_JUMP: self.clock_jumps,
        }
        return [kind for kind, is_on in chosen.items() if is_on]


_REPLICAS: Final = Faults(breaks=0.001, archive_breaks=0.2, crashes=True, stalls=True, partitions=True, slow_links=True)
_STORE: Final = Faults(breaks=0.001, store_outages=True, store_stalls=True)

PROFILES: Final = {
    "calm": Faults(),
    "replicas": _REPLICAS,
    "store": _STORE,
    "all": replace(_REPLICAS, store_outages=True, store_stalls=True),
    "lost_tail": replace(_REPLICAS, lost_tails=True, crashes=False),
    "flush": replace(_REPLICAS, flushes=True, crashes=False),
    "clock": Faults(breaks=0.001, clock_jumps=True),
    "wreck": replace(_REPLICAS, lost_tails=True, flushes=True, store_outages=True, store_stalls=True, clock_jumps=True),
}
#: Where every replica that has applied a write may die while the log loses it, only what is left has to agree.
RULES: Final = {"wreck": Rules(enabled=(FAILURE, DIVERGENCE, REV, FEED, DUPLICATE))}
#: How long each kind lasts, seconds.
LENGTH_S: Final = {
    CRASH: (0.3, 12.0),
    STALL: (0.3, 12.0),
    PARTITION: (0.5, 14.0),
    SLOW: (2.0, 10.0),
    STORE_DOWN: (0.2, 12.0),
    STORE_STALLED: (0.2, 12.0),
    LOST_TAIL: (0.1, 2.0),
    FLUSH: (0.0, 0.0),
    CLOCK_JUMP: (0.0, 0.0),
}
#: Faults of one run, at most. They may overlap.
FAULTS_MAX: Final = 6
#: Seconds by which a slow link delays each message, at most.
SLOW_S: Final = 1.5
#: How far back a store falls that loses its tail (seconds), and how far its clock jumps (ms).
TAIL_S: Final = (0.2, 5.0)
JUMP_MS: Final = 20_000


class FaultPlan:
    """The faults of one run: when, what, whom and for how long; all drawn before the run begins."""

    def __init__(
        self,
        loop: VirtualLoop,
        random: Random,
        faults: Faults,
        host: StoreHost,
        replicas: Sequence[SimReplica],
        recorder: Recorder,
    ) -> None:
        self._loop = loop
        self._random = random
        self._kinds = faults.kinds()
        self._host = host
        self._replicas = replicas
        self._recorder = recorder

    async def run(self, from_s: float, until_s: float) -> None:
        """Let the faults happen, and return when the last one is over. `until_s` from now all have begun."""
        if not self._kinds:
            return
        count = self._random.randint(0, FAULTS_MAX)
        starts = [self._random.uniform(from_s, until_s) for _ in range(count)]
        await asyncio.gather(*(self._happen(start_s, self._random.choice(self._kinds)) for start_s in starts))

    async def _happen(self, start_s: float, kind: str) -> None:
        length_s = self._random.uniform(*LENGTH_S[kind])
        replica = self._random.choice(self._replicas)
        happening = self._happening(kind, replica)
        await asyncio.sleep(start_s)
        begin_ms = self._loop.now_ms()
        self._recorder.trace(f"fault {kind} {replica.name} for {length_s:.3f} s")
        if await happening(length_s):
            one = kind in (CRASH, STALL, PARTITION, SLOW)
            self._recorder.add(
                Fault(kind=kind, start_ms=begin_ms, end_ms=self._loop.now_ms(), target=replica.name if one else "")
            )

    def _happening(self, kind: str, replica: SimReplica) -> Callable[[float], Awaitable[bool]]:
        """A coroutine function that does it for this time; False when it was not possible."""
        return {
            CRASH: lambda s: self._crash(replica, s),
            STALL: lambda s: self._stall(replica, s),
            PARTITION: lambda s: self._partition(replica, s),
            SLOW: lambda s: self._slow(replica, s),
            STORE_DOWN: self._store_down,
            STORE_STALLED: self._store_stalled,
            LOST_TAIL: self._lose_tail,
            FLUSH: self._flush,
            CLOCK_JUMP: self._jump,
        }[kind]

    # -- replicas ------------------------------------------------------------------------------------------------------

    async def _crash(self, replica: SimReplica, length_s: float) -> bool:
        if not replica.process.alive:
            return False
        replica.kill()
        await asyncio.sleep(length_s)
        replica.revive()
        return True

    async def _stall(self, replica: SimReplica, length_s: float) -> bool:
        process = replica.process
        if process.stalled or not process.alive:
            return False
        process.stall()
        await asyncio.sleep(length_s)
        process.resume()
        return True

    async def _partition(self, replica: SimReplica, length_s: float) -> bool:
        link = replica.link
        if link.partitioned:
            return False
        link.partitioned = True
        await asyncio.sleep(length_s)
        link.partitioned = False
        return True

    async def _slow(self, replica: SimReplica, length_s: float) -> bool:
        link = replica.link
        if link.slow_s:
            return False
        link.slow_s = self._random.uniform(0.1, SLOW_S)
        await asyncio.sleep(length_s)
        link.slow_s = 0.0
        return True

    # -- the store -----------------------------------------------------------------------------------------------------

    async def _store_down(self, length_s: float) -> bool:
        if not self._host.up:
            return False
        self._host.stop()
        await asyncio.sleep(length_s)
        self._host.start()
        return True

    async def _store_stalled(self, length_s: float) -> bool:
        if self._host.stalled or not self._host.up:
            return False
        self._host.stall()
        await asyncio.sleep(length_s)
        self._host.resume()
        return True

    async def _lose_tail(self, length_s: float) -> bool:
        """A replica of the store that lags takes over."""
        backup = self._host.backup()
        await asyncio.sleep(self._random.uniform(*TAIL_S))
        if not await self._store_down(length_s):
            return False
        self._host.restore(backup)
        return True

    async def _flush(self, length_s: float) -> bool:
        if not self._host.up or self._host.stalled:
            return False
        self._host.flush()
        return True

    async def _jump(self, length_s: float) -> bool:
        self._host.clock_offset_ms += self._random.randint(-JUMP_MS, JUMP_MS)
        return True
