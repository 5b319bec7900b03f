"""Churn: what do clients that poll lose when things change all the time?

Every client has a body of its own, remembers the revs that it was answered, and checks what it is told. Our own client
sends all of it, also to the bare app, so the rates here are smaller than those of wrk and compare with each other only.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from itertools import cycle
from typing import Final

import uvloop

from benchmarks import cpu, filling, servers, workload
from benchmarks.clients import Clients, Part, first_polls, revs_of
from benchmarks.load import schedules
from benchmarks.load.driver import AT_ONCE, Call, Driver, Schedule
from benchmarks.load.record import Record
from benchmarks.outcome import Number, Outcome, median_of
from benchmarks.population import Population
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.stage import Stage
from benchmarks.wire import Reply, Request

SERVICES: Final = 1000
SERVICES_QUICK: Final = 200
PER_SERVICE: Final = 1
CONNECTIONS: Final = 64
#: Connections on which changes are made.
WRITERS: Final = 16
CHANGES: Final = 500.0


def _run(stage: Stage, outcome: Outcome) -> None:
    services = SERVICES_QUICK if stage.options.quick else SERVICES
    population = Population(services * PER_SERVICE, PER_SERVICE, "churn")
    outcome.setting |= {"services": services, "connections": CONNECTIONS, "changes per second": CHANGES}
    with stage.registry() as target:
        filling.fill(target.address, population, stage.say)
        revs = revs_of(target.address, population, stage.say)
        calls = first_polls(target.address, population, revs)
        filling.send_all(target.address, calls, population.services, "services polled for the first time", stage.say)
        polls = _Polls(target, population, revs)
        _peaks(stage, outcome, polls)
        _half(stage, outcome, polls)


class _Polls:
    """The clients of a population, who ask in turn, and somebody who changes instances beside them."""

    def __init__(self, target: Target, population: Population, revs: dict[str, str]) -> None:
        self.target = target
        nobody = Request("GET", "/")
        part = Part("", target.address, population, 0, population.instances, 0, 0, 0, revs, 0, nobody)
        self.clients = Clients(part)
        self._members = cycle(random.Random(workload.SEED).sample(range(population.instances), population.instances))
        self._population = population
        self._changes = 0

    def poll(self, _: int = 0) -> Call:
        return self.clients.poll(next(self._members))

    def unchecked(self) -> Call:
        """The same to an app that knows nothing."""
        return self.poll()._replace(check=lambda head, body: None)

    def change(self, _: int = 0) -> Call:
        self._changes += 1
        service, instance_id = self._population.member(self._changes * PER_SERVICE % self._population.instances)
        request = workload.set_properties(service, instance_id, {"change": str(self._changes)})
        return filling.call(self.target.address, "change", request, filling.is_empty)

    def run(self, schedule: Schedule, seconds: float, changes: float) -> tuple[Record, Record, cpu.Usage]:
        """The polls, the changes, and what the registry used."""
        address = self.target.address
        drivers = [Driver(address, CONNECTIONS, schedule)]
        drivers += [Driver(address, WRITERS, schedules.at_rate(changes, seconds, self.change))] if changes else []
        before = cpu.read_usage(self.target.pids)
        records = _together(drivers)
        return records[0], records[-1] if changes else Record(), cpu.read_usage(self.target.pids).since(before)


def _peaks(stage: Stage, outcome: Outcome, polls: _Polls) -> None:
    """Closed loops in turn: calm, with changes, and the bare app with an answer of the same size."""
    seconds = stage.options.seconds
    rates: dict[str, list[float]] = {"calm": [], "churn": [], "bare": []}
    costs: dict[str, list[float]] = {"calm": [], "churn": []}
    reply = Reply(200, {"content-type": "application/json"}, polls.clients.unchanged, 0)
    with servers.bare(stage.directory, reply) as bare:
        for number in range(1, stage.options.rounds + 1):
            for name, changes in (("calm", 0.0), ("churn", CHANGES)):
                record, made, used = polls.run(_closed(polls.poll, seconds), seconds, changes)
                _note(outcome, record, made)
                rates[name].append(record.answered / record.elapsed_s)
                costs[name].append(used.total_us / max(record.answered, 1))
            [record] = _together([Driver(bare.address, CONNECTIONS, _closed(polls.unchecked, seconds))])
            _note(outcome, record, Record())
            rates["bare"].append(record.answered / record.elapsed_s)
            stage.say(f"  round {number}: " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in rates.items()))
    for name, found in rates.items():
        outcome.numbers[f"polls {name}"] = median_of(found, "/s", "more")
    for name, found in costs.items():
        outcome.numbers[f"CPU per poll {name}"] = median_of(found, "µs", "less")
    for name, other in (("calm", "calm"), ("bare", "bare")):
        pairs = [ours / theirs for ours, theirs in zip(rates["churn"], rates[name], strict=True)]
        outcome.numbers[f"churn to {other}"] = median_of(pairs, "", "more")


def _half(stage: Stage, outcome: Outcome, polls: _Polls) -> None:
    """The open loop at half of the peak under churn: every latency counts from the intended moment."""
    seconds = float(stage.options.seconds * stage.options.rounds)
    rate = outcome.numbers["polls churn"].value / 2
    record, made, _ = polls.run(schedules.at_rate(rate, seconds, polls.poll), seconds, CHANGES)
    _note(outcome, record, made)
    outcome.numbers["half peak"] = Number(rate, "/s")
    outcome.numbers |= {f"half peak {name}": number for name, number in record.summary("poll").numbers("poll").items()}
    outcome.numbers |= {
        f"half peak {name}": number for name, number in made.summary("change").numbers("change").items()
    }
    outcome.numbers["half peak client busy"] = Number(record.client_busy, "cores")
    outcome.numbers["half peak client late"] = Number(record.client_late_us / 1000, "ms", "less")


def _note(outcome: Outcome, *records: Record) -> None:
    for record in records:
        for what, count in record.errors.items():
            outcome.errors[what] = outcome.errors.get(what, 0) + count
        outcome.problem = outcome.problem or record.problem


def _closed(call_of: Callable[[], Call], seconds: float) -> Schedule:
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        yield AT_ONCE, call_of()


def _together(drivers: list[Driver]) -> list[Record]:
    async def all_of_them() -> list[Record]:
        return list(await asyncio.gather(*(driver.run() for driver in drivers)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(all_of_them())


SCENE: Final = Scene(
    "churn",
    f"batch finds of 10 by {SERVICES * PER_SERVICE:,} clients that learn, calm and with {CHANGES:.0f} changes/s",
    _run,
    own="does not change what it did not make",
)
