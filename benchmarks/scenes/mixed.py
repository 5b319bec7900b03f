"""Mixed: what instances do in production, for minutes. Which latencies do they see, and is any of them lost?"""

from __future__ import annotations

import time
from typing import Final

from benchmarks import clients, cpu, filling, memory
from benchmarks.clients import Part
from benchmarks.load import fleet
from benchmarks.load.record import Record, merged
from benchmarks.load.ticks import pauses
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import clear, populate
from benchmarks.stage import QUIET, Stage
from benchmarks.wire import Address, Request

#: Instances of each service of the mixed load.
PER_SERVICE: Final = 20
#: Of all client processes together.
CONNECTIONS: Final = 256
#: The lease of java chassis: 30 s × (3 + 1); longer only where registering everybody takes long.
TIMES: Final = 3
_SLOW_FILL: Final = 2000
"""Registrations per second that any registry surely reaches."""
#: The first seconds (at most this share of all) count for errors, not for latencies.
WARM_UP_S: Final = 15.0
WARM_UP_SHARE: Final = 0.1
#: Seconds from now until the processes begin together.
HEAD_START_S: Final = 0.5
SPAWN_S: Final = 3.0
_MB: Final = 1e6


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    times = max(TIMES, -(-(options.instances // _SLOW_FILL + 60) // 30))
    population = Population(options.instances, PER_SERVICE, "mixed", times)
    connections = options.connections or CONNECTIONS
    outcome.setting |= {"instances": options.instances, "minutes": options.minutes, "connections": connections}
    outcome.setting |= {"churn per second": options.churn, "lease s": 30 * (times + 1), "serve": options.serve_args}
    with stage.registry() as target:
        clear(target.address, [QUIET])
        filling.fill(target.address, population, stage.say)
        try:
            populate(target.address, QUIET, 1)
            _play(stage, outcome, target, population, connections)
        finally:
            if not stage.own:
                clear(target.address, [QUIET])
                filling.remove(target.address, population, stage.say)


def _play(stage: Stage, outcome: Outcome, target: Target, population: Population, connections: int) -> None:
    revs = clients.revs_of(target.address, population, stage.say)
    calls = clients.first_polls(target.address, population, revs)
    filling.send_all(target.address, calls, population.services, "services polled for the first time", stage.say)
    tick = unmodified(target.address, QUIET).sample
    parts = _parts(stage, target.address, population, revs, connections, tick)
    held, before = memory.read(target.pids), cpu.read_usage(target.pids)
    played = fleet.run(clients.play, parts)
    used = cpu.read_usage(target.pids).since(before)
    record, ticks = merged([record for record, _ in played]), merged([ticks for _, ticks in played])
    outcome.numbers |= used.numbers(record.answered + ticks.answered, record.elapsed_s)
    warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * stage.options.minutes * 60)
    _count(outcome, record.from_second(warm_up_s), ticks.from_second(warm_up_s))
    if target.pids:
        for name, at in (("start", held), ("end", memory.read(target.pids))):
            outcome.numbers[f"registry pss at {name}"] = Number(at.registry_bytes("pss") / _MB, "MB", "less")
    census = filling.take_census(target.address, population, stage.say)
    outcome.numbers["instances lost"] = Number(census.lost, "", "less")
    outcome.problem = record.problem or ticks.problem or census.problem


def _count(outcome: Outcome, record: Record, ticks: Record) -> None:
    outcome.numbers["req/s"] = Number(record.answered / record.elapsed_s, "/s")
    outcome.numbers |= record.summary().numbers("")
    for kind, samples in sorted(record.samples.items()):
        if not samples.due_s:
            continue
        outcome.numbers |= record.summary(kind).numbers(kind)
        outcome.series[f"{kind} p99 ms against seconds"] = samples.p99_by_time(_width_s(record.elapsed_s))
    outcome.numbers |= pauses(ticks)
    outcome.errors |= record.errors + ticks.errors


def _width_s(elapsed_s: float) -> float:
    """So that a curve has about sixty points."""
    return max(1.0, elapsed_s // 60)


def _parts(
    stage: Stage, address: Address, population: Population, revs: dict[str, str], connections: int, tick: Request
) -> list[Part]:
    options, count = stage.options, stage.options.clients
    start_s = time.monotonic() + (HEAD_START_S if count == 1 else SPAWN_S)
    return [
        Part(
            name=f"client {number + 1}",
            address=address,
            population=population,
            first=population.instances * number // count,
            last=population.instances * (number + 1) // count,
            connections=max(connections // count, 1),
            seconds=options.minutes * 60,
            start_s=start_s,
            revs=revs,
            churn=options.churn / count,
            tick=tick,
        )
        for number in range(count)
    ]


SCENE: Final = Scene(
    "mixed",
    "--instances instances for --minutes: each beats every 30 s and polls 10 providers every 15 s; is any lost?",
    _run,
)
