"""Propagation: a change is written on one replica. When is it seen on another?"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks import cpu, filling, latency, workload
from benchmarks.errors import BenchmarkError
from benchmarks.latency import microseconds
from benchmarks.load import schedules, watcher
from benchmarks.load.driver import Call, Driver
from benchmarks.load.record import Record
from benchmarks.outcome import Number, Outcome
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import clear, populate, succeed
from benchmarks.stage import Stage
from benchmarks.wire import Address
from benchmarks.workload import PREFIX

PROVIDER: Final = f"{PREFIX}changing"
CONSUMER: Final = f"{PREFIX}observing"
#: Instances that are changed in turn; the first of them with every fifth change.
INSTANCES: Final = 100
FIRST_EVERY: Final = 5
CONNECTIONS: Final = 64
#: Gets per second of one instance on the other replica: how exactly they see when it changes.
GETS: Final = 1000.0
#: How long the last changes may take.
ARRIVAL_TIMEOUT_S: Final = 30.0
_NUMBER: Final = re.compile(rb'"number":"(\d+)"')


class _Sightings:
    """When each change was seen first, by `time.monotonic()`."""

    def __init__(self, changes: int) -> None:
        self._changes = changes
        self.told_s: dict[int, float] = {}
        self.got_s: dict[int, float] = {}
        self._next_got = 0
        self.all_told = asyncio.Event()

    def told(self, payload: bytes, now_s: float) -> None:
        """An event arrived."""
        if found := _NUMBER.search(payload):
            self.told_s.setdefault(int(found[1]), now_s)
            if len(self.told_s) == self._changes:
                self.all_told.set()

    def got(self, head: bytes, body: bytes) -> str | None:
        """A get was answered; what it shows was there when it was asked, at the latest."""
        if b'"instanceId":"' not in body:
            return "expected an instance"
        if found := _NUMBER.search(body):
            now_s, number = time.monotonic(), int(found[1])
            # Those that were overwritten between two gets were there too, at the latest now.
            while self._next_got <= number:
                self.got_s[self._next_got] = now_s
                self._next_got += FIRST_EVERY
        return None


def _run(stage: Stage, outcome: Outcome) -> None:
    with stage.registry() as target, _other(stage, target) as other:
        clear(target.address, [PROVIDER, CONSUMER])
        try:
            ids = populate(target.address, PROVIDER, INSTANCES)
            succeed(target.address, workload.create_service(CONSUMER))
            succeed(target.address, workload.find(PROVIDER, consumer=CONSUMER))
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_propagate(stage, outcome, target, other, ids))
        finally:
            clear(target.address, [PROVIDER, CONSUMER])


@contextlib.contextmanager
def _other(stage: Stage, target: Target) -> Iterator[Target]:
    """Another replica of the same registry."""
    if not stage.own:
        yield Target(Address.of(stage.options.second_url))
        return
    with stage.replica_of(target) as other:
        yield other


async def _propagate(stage: Stage, outcome: Outcome, target: Target, other: Target, ids: list[str]) -> None:
    options = stage.options
    seconds = options.seconds * options.rounds
    changes = int(options.change_rate * seconds)
    outcome.setting |= {"changes per second": options.change_rate, "seconds": seconds}
    sightings = _Sightings(changes)
    [watching] = await watcher.open_all(other.address, [CONSUMER], sightings.told)

    def change(number: int) -> Call:
        at = 0 if number % FIRST_EVERY == 0 else 1 + number % (INSTANCES - 1)
        request = workload.set_properties(PROVIDER, ids[at], {"number": str(number)})
        return filling.call(target.address, "change", request, filling.is_empty)

    get = filling.call(other.address, "get", workload.get_instance(PROVIDER, ids[0]), sightings.got)
    writer = Driver(target.address, CONNECTIONS, schedules.at_rate(options.change_rate, seconds, change))
    reader = Driver(other.address, 8, schedules.at_rate(GETS, seconds, lambda _: get))
    before = cpu.read_usage([*target.pids, *other.pids])
    start_s = time.monotonic() + 0.5
    written, read = await asyncio.gather(writer.run(start_s), reader.run(start_s))
    await _all_told(sightings, changes)
    used = cpu.read_usage([*target.pids, *other.pids]).since(before)
    watching.close()
    outcome.errors |= written.errors + read.errors
    outcome.problem = written.problem or read.problem
    outcome.numbers |= written.summary().numbers("change answered") | _seen(outcome, sightings, written, start_s)
    outcome.numbers |= used.numbers(changes, written.elapsed_s)
    outcome.numbers["client busy"] = Number(max(written.client_busy, read.client_busy), "cores")
    outcome.numbers["client late"] = Number(max(written.client_late_us, read.client_late_us) / 1000, "ms", "less")


async def _all_told(sightings: _Sightings, changes: int) -> None:
    try:
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S):
            await sightings.all_told.wait()
    except TimeoutError as exc:
        told = len(sightings.told_s)
        raise BenchmarkError(
            f"of {changes} changes only {told} were told on the other replica within {ARRIVAL_TIMEOUT_S:.0f} s."
        ) from exc


def _seen(outcome: Outcome, sightings: _Sightings, written: Record, start_s: float) -> dict[str, Number]:
    """Delays from the intended moment of each change, and from its answer (0 when it was seen before that)."""
    rate = float(outcome.setting["changes per second"])
    samples = written.samples["change"]
    answered_s = {
        round(due_s * rate): start_s + due_s + latency_us / 1e6
        for due_s, latency_us in zip(samples.due_s, samples.latencies_us, strict=True)
    }
    numbers: dict[str, Number] = {}
    for how, seen_s in (("told", sightings.told_s), ("got", sightings.got_s)):
        from_intended, from_answer = latency.new(), latency.new()
        for number, at_s in seen_s.items():
            from_intended.append(microseconds(at_s - start_s - number / rate))
            if number in answered_s:
                from_answer.append(microseconds(at_s - answered_s[number]))
        numbers |= latency.summarise(from_intended).numbers(f"{how} after intended")
        numbers |= latency.summarise(from_answer).numbers(f"{how} after answer")
    return numbers


SCENE: Final = Scene(
    "propagation",
    "changes on one replica at --change-rate: when are they told to a watcher and got by a client of another?",
    _run,
    own="has no second replica that we know of (--second-url names one)",
    second_url=True,
)
