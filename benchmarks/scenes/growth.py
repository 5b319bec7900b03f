"""Growth: does registering slow down while one service grows?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final

from benchmarks import cpu, filling, workload
from benchmarks.cpu import Usage
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Driver, drive
from benchmarks.load.record import Record
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import clear
from benchmarks.stage import Stage

CONNECTIONS: Final = 64
#: The first of them are not counted: the registry warms up.
LEAD: Final = 1000
WINDOWS: Final = 20
TICKS_MIN: Final = 50


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far it had come at one moment."""

    instances: int
    at_s: float
    used: Usage


class _Marks:
    """Notes time and processor time whenever the service has grown by one window."""

    def __init__(self, target: Target, lead: int, window: int) -> None:
        self._target = target
        self._lead = lead
        self._window = window
        self.found: list[_Mark] = []

    def note(self, record: Record, instances: int) -> None:
        """Called after every registration."""
        if instances >= self._lead and (instances - self._lead) % self._window == 0:
            last_s = record.samples["register"].due_s[-1] + record.samples["register"].latencies_us[-1] / 1e6
            self.found.append(_Mark(instances, last_s, cpu.read_usage(self._target.pids)))


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    connections = options.connections or CONNECTIONS
    population = Population(options.growth, options.growth, "growth")
    lead = min(LEAD, options.growth // 2)
    window = max((options.growth - lead) // WINDOWS, 1)
    outcome.setting |= {"connections": connections, "from": lead, "to": options.growth}
    # The whole service is listed in the end.
    with stage.registry("--answer-max-bytes", str(1 << 30)) as target:
        clear(target.address, [population.service(0)])
        marks = _Marks(target, lead, window)
        record = _grow(stage, target, population, connections, marks)
        outcome.errors |= record.errors
        outcome.problem = record.problem or filling.take_census(target.address, population, stage.say).problem
        outcome.numbers |= record.summary().numbers("")
        outcome.numbers["client busy"] = Number(record.client_busy, "cores")
        _count(outcome, marks.found)
        clear(target.address, [population.service(0)])


def _grow(stage: Stage, target: Target, population: Population, connections: int, marks: _Marks) -> Record:
    address = target.address
    name = population.service(0)
    creation = filling.call(address, "service", workload.create_service(name), filling.has_service_id)
    filling.send_all(address, iter([creation]), 1, "service registered", stage.say)

    def calls() -> Iterator[Call]:
        for number in range(population.instances):
            yield filling.registration(address, population, number)

    driver = Driver(
        address, connections, schedules.closed(calls()), filling.progress(stage.say, population.instances, "instances")
    )
    driver.on_answer = lambda instances: marks.note(driver.record, instances)
    return drive(driver)


def _count(outcome: Outcome, marks: list[_Mark]) -> None:
    """The rate and the processor time of each window, and whether the last is worse than the first."""
    windows = list(pairwise(marks))
    if not windows:
        return
    rates = [((b.instances - a.instances) / (b.at_s - a.at_s)) for a, b in windows]
    outcome.series["req/s against instances"] = [
        (b.instances, rate) for (_, b), rate in zip(windows, rates, strict=True)
    ]
    first, last = marks[0], marks[-1]
    outcome.numbers["req/s"] = Number(
        (last.instances - first.instances) / (last.at_s - first.at_s), "/s", "more", tuple(rates)
    )
    part = max(len(rates) // 4, 1)
    outcome.numbers["last quarter to first"] = Number(fmean(rates[-part:]) / fmean(rates[:part]), "", "more")
    if first.used.processes:
        costs = [b.used.since(a.used).total_us / (b.instances - a.instances) for a, b in windows]
        outcome.series["CPU µs per request against instances"] = [
            (b.instances, cost) for (_, b), cost in zip(windows, costs, strict=True)
        ]
        outcome.numbers |= last.used.since(first.used).numbers(last.instances - first.instances, last.at_s - first.at_s)
        # Ticks of 10 ms are coarse: a quarter that used few of them says nothing.
        if fmean(costs[:part]) * part * (windows[0][1].instances - first.instances) > TICKS_MIN * cpu.TICK_US:
            change = fmean(costs[-part:]) / fmean(costs[:part])
            outcome.numbers["CPU of last quarter to first"] = Number(change, "", "less")


SCENE: Final = Scene("growth", "one service grows: does registering slow down?", _run)
