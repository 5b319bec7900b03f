"""Beating: everybody beats by sets at one replica. What does that cost it, and what the one that watches leases?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks import cpu, filling, workload
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Driver, drive
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.stage import Stage

#: Members of one set.
SET: Final = 1000
BEAT_EVERY_S: Final = 30.0
#: The default lease: 30 s × (3 + 1).
TIMES: Final = 3
#: Instances that are surely registered per second: nobody's lease may end before all are.
FILLED_PER_S: Final = 2000
CONNECTIONS: Final = 4
SECONDS: Final = 60.0


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    instances = options.instances
    seconds = 2.0 if options.quick else SECONDS
    times = max(TIMES, -(-(instances // FILLED_PER_S + 60) // 30))
    population = Population(instances, options.per_service, "beating", times)
    outcome.setting |= {"instances": instances, "lease s": 30 * (times + 1), "set": SET, "seconds": seconds}
    with stage.registry() as target, stage.replica_of(target) as other:
        filling.fill(target.address, population, stage.say)
        calls = schedules.periodic(
            -(-instances // SET), min(BEAT_EVERY_S, seconds), seconds, _set(other, population), "sets"
        )
        watching, beaten = cpu.read_usage(target.pids[:1]), cpu.read_usage(other.pids)
        record = drive(Driver(other.address, CONNECTIONS, calls))
        watched = cpu.read_usage(target.pids[:1]).since(watching)
        beating = cpu.read_usage(other.pids).since(beaten)
        census = filling.take_census(target.address, population, stage.say)
    sets = max(record.answered, 1)
    outcome.numbers["replica's CPU per instance"] = Number(beating.total_us / sets / min(SET, instances), "µs", "less")
    share = 100 * watched.total_us / (record.elapsed_s * 1e6)
    outcome.numbers["the other replica, which expires"] = Number(share, "% of a core", "less")
    outcome.numbers |= record.summary().numbers("set")
    outcome.numbers["instances lost"] = Number(census.lost, "", "less")
    outcome.errors |= record.errors
    outcome.problem = record.problem or census.problem


def _set(target: Target, population: Population) -> Callable[[int], Call]:
    def call_of(number: int) -> Call:
        last = min((number + 1) * SET, population.instances)
        members = [population.member(member) for member in range(number * SET, last)]
        return filling.call(target.address, "set", workload.heartbeat_set(members), lambda head, body: None)

    return call_of


SCENE: Final = Scene(
    "beating",
    f"--instances instances beat every {BEAT_EVERY_S:.0f} s in sets of {SET} at another replica",
    _run,
    own="cannot start another replica of a registry that it did not start",
)
