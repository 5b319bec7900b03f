"""Watch: one change, many who watch. When has the last of them heard of it?"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import uvloop

from benchmarks import cpu, filling, latency, workload
from benchmarks.errors import BenchmarkError
from benchmarks.latency import microseconds
from benchmarks.load import schedules, watcher
from benchmarks.load.driver import Call, Driver
from benchmarks.outcome import Number, Outcome
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import clear, populate, succeed
from benchmarks.stage import Stage
from benchmarks.wire import Address
from benchmarks.workload import PREFIX

PROVIDER: Final = f"{PREFIX}watched"
CONSUMERS: Final = tuple(f"{PREFIX}watching-{number}" for number in range(10))
#: Changes, one after the other, per round; and changes without a pause at the end.
CHANGES: Final = 10
BURST: Final = 20
ARRIVAL_TIMEOUT_S: Final = 60.0


class _Crowd:
    """Counts what all watchers together have been told of the change that is under way."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._number = ""
        self._right: bytes | None = None
        self.arrivals_s: list[float] = []
        self.problem = ""
        self.all_told = asyncio.Event()
        self._awaited = 0

    def expect(self, number: str, changes: int = 1) -> None:
        """From now on wait for a number of changes to reach everybody; `number` marks the only one, empty any."""
        self._number, self._right, self._awaited = number, None, self._size * changes
        self.arrivals_s = []
        self.all_told.clear()

    def told(self, payload: bytes, now_s: float) -> None:
        """One watcher got one event."""
        if payload != self._right and not self._is_right(payload):
            self.problem = self.problem or f"expected the UPDATE {self._number}, got {payload[:200]!r}"
        self._right = payload
        self.arrivals_s.append(now_s)
        if len(self.arrivals_s) == self._awaited:
            self.all_told.set()

    def _is_right(self, payload: bytes) -> bool:
        return b'"action":"UPDATE"' in payload and b'"number":"%b' % self._number.encode() in payload


def _run(stage: Stage, outcome: Outcome) -> None:
    with stage.registry() as target:
        clear(target.address, [PROVIDER, *CONSUMERS])
        try:
            [instance_id] = populate(target.address, PROVIDER, 1)
            for consumer in CONSUMERS:
                succeed(target.address, workload.create_service(consumer))
                # Only who has found a service is told of it.
                succeed(target.address, workload.find(PROVIDER, consumer=consumer))
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_watch(stage, outcome, target, instance_id))
        finally:
            clear(target.address, [PROVIDER, *CONSUMERS])


async def _watch(stage: Stage, outcome: Outcome, target: Target, instance_id: str) -> None:
    options = stage.options
    outcome.setting |= {"watchers": options.watchers}
    crowd = _Crowd(options.watchers)
    names = [CONSUMERS[number % len(CONSUMERS)] for number in range(options.watchers)]
    watchers = await watcher.open_all(target.address, names, crowd.told)
    stage.say(f"  {len(watchers):,} watchers")
    try:
        await _one_by_one(outcome, crowd, target.address, instance_id, CHANGES * options.rounds)
        await _burst(outcome, crowd, target, instance_id)
    finally:
        gone = sum(watcher.lost for watcher in watchers)
        for each in watchers:
            each.close()
        await asyncio.sleep(0)
    outcome.errors |= {"watchers lost": gone} if gone else {}
    outcome.problem = crowd.problem or (f"{gone} watchers were disconnected" if gone else "")


async def _one_by_one(outcome: Outcome, crowd: _Crowd, address: Address, instance_id: str, changes: int) -> None:
    delays, firsts, lasts = latency.new(), latency.new(), latency.new()
    for number in range(changes):
        crowd.expect(f"{number}")
        sent_s = time.monotonic()
        await _change(address, [_call(address, instance_id, f"{number}")])
        await _all_told(crowd)
        times_s = sorted(at_s - sent_s for at_s in crowd.arrivals_s)
        delays.extend(microseconds(each) for each in times_s)
        firsts.append(microseconds(times_s[0]))
        lasts.append(microseconds(times_s[-1]))
    outcome.numbers |= latency.summarise(delays).numbers("told")
    outcome.numbers["first told p50"] = Number(latency.summarise(firsts).p50_ms, "ms", "less")
    outcome.numbers["last told p50"] = Number(latency.summarise(lasts).p50_ms, "ms", "less")
    outcome.numbers["last told max"] = Number(latency.summarise(lasts).max_ms, "ms", "less")


async def _burst(outcome: Outcome, crowd: _Crowd, target: Target, instance_id: str) -> None:
    crowd.expect("burst-", BURST)
    before, sent_s = cpu.read_usage(target.pids), time.monotonic()
    await _change(target.address, [_call(target.address, instance_id, f"burst-{number}") for number in range(BURST)])
    await _all_told(crowd)
    elapsed_s = max(crowd.arrivals_s) - sent_s
    used = cpu.read_usage(target.pids).since(before)
    outcome.numbers["events per second in a burst"] = Number(len(crowd.arrivals_s) / elapsed_s, "/s", "more")
    if used.processes:
        outcome.numbers["CPU per event"] = Number(used.total_us / len(crowd.arrivals_s), "µs", "less")


async def _all_told(crowd: _Crowd) -> None:
    try:
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S):
            await crowd.all_told.wait()
    except TimeoutError as exc:
        told = len(crowd.arrivals_s)
        raise BenchmarkError(f"only {told} events arrived within {ARRIVAL_TIMEOUT_S:.0f} s of a change.") from exc


async def _change(address: Address, calls: list[Call]) -> None:
    record = await Driver(address, 1, schedules.closed(calls)).run()
    if record.problem:
        raise BenchmarkError(record.problem)


def _call(address: Address, instance_id: str, number: str) -> Call:
    request = workload.set_properties(PROVIDER, instance_id, {"number": number})
    return filling.call(address, "change", request, filling.is_empty)


SCENE: Final = Scene("watch", "one change, --watchers sockets that watch: when has the last been told?", _run)
