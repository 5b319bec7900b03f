"""Restart: everything registers again, all at once. How long until the last is in, and who notices?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks import cpu, filling, workload
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Driver
from benchmarks.load.ticks import drive_beside, pauses
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.stage import QUIET, Stage
from benchmarks.wire import Address

CONNECTIONS: Final = 256
#: What a restarted instance registers differs in one property.
BUILD: Final = "2"


def _run(stage: Stage, outcome: Outcome) -> None:
    filled, options = stage.filled(), stage.options
    target, population = filled.target, filled.population
    connections = options.connections or CONNECTIONS
    outcome.setting |= {"instances": population.instances, "connections": connections}
    not_modified = unmodified(target.address, QUIET).sample
    tick = filling.call(target.address, "tick", not_modified, filling.is_empty, 304)

    progress = filling.progress(stage.say, population.instances, "registered again", "register")
    calls = schedules.all_due_at_start(_registrations(target.address, population))
    before = cpu.read_usage(target.pids)
    [record], ticks = drive_beside(target.address, tick, Driver(target.address, connections, calls, progress))
    used = cpu.read_usage(target.pids).since(before)
    outcome.numbers["until all are in"] = Number(record.elapsed_s, "s", "less")
    outcome.numbers["instances per second"] = Number(population.instances / record.elapsed_s, "/s", "more")
    outcome.numbers |= record.summary("register").numbers("register")
    outcome.numbers |= pauses(ticks) | used.numbers(record.answered, record.elapsed_s)
    outcome.errors |= record.errors + ticks.errors
    census = filling.take_census(target.address, population, stage.say)
    outcome.numbers["instances lost"] = Number(census.lost, "", "less")
    outcome.problem = record.problem or ticks.problem or census.problem


def _registrations(address: Address, population: Population) -> Iterator[Call]:
    """As clients start: each registers its service, which exists, and then itself."""
    for number in range(population.instances):
        service, _ = population.member(number)
        yield filling.call(address, "service", workload.create_service(service), filling.has_service_id)
        yield filling.registration(address, population, number, BUILD)


SCENE: Final = Scene(
    "mass-restart",
    "all --instances instances register again at once; meanwhile a request every 5 ms shows what others notice",
    _run,
    filled=True,
)
