"""Leaving: what a registry holds while instances come and go, and when most of them have left."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Final

from benchmarks import filling, memory, workload
from benchmarks.load.driver import Call, Driver, drive
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.stage import Stage
from benchmarks.wire import Request

INSTANCES: Final = 200_000
INSTANCES_QUICK: Final = 500
PER_SERVICE: Final = 1000
STAY: Final = 0.1
CONNECTIONS: Final = 64
#: Registrations, changes and departures per second of the churn, together.
CHURN: Final = 900.0
#: How long it is waited for memory to be given back.
GIVEN_BACK_S: Final = 60.0
_MB: Final = 1e6


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    instances = INSTANCES_QUICK if options.quick else INSTANCES
    population = Population(instances, PER_SERVICE, "leaving")
    outcome.setting |= {"instances": instances, "minutes of churn": options.minutes, "churn per second": CHURN}
    with stage.registry() as target:
        _churn(stage, outcome, target)
        filling.fill(target.address, population, stage.say)
        peak = _resident(target)
        leavers = random.Random(workload.SEED).sample(range(instances), int(instances * (1 - STAY)))
        calls = (_departure(target, population, number) for number in leavers)
        filling.send_all(target.address, calls, len(leavers), "instances unregistered", stage.say)
        peak = max(peak, _resident(target))
        left, ends_s = _resident(target), time.monotonic() + (1 if options.quick else GIVEN_BACK_S)
        while time.monotonic() < ends_s:
            time.sleep(1)
            left = min(left, _resident(target))
    outcome.numbers["rss at the peak"] = Number(peak / _MB, "MB", "less")
    outcome.numbers["rss when 90 % have left"] = Number(left / _MB, "MB", "less")
    outcome.numbers["rss left to peak"] = Number(left / peak, "", "less")


def _churn(stage: Stage, outcome: Outcome, target: Target) -> None:
    """Each instance registers, changes, and leaves; memory is read once a second."""
    seconds = stage.options.minutes * 60
    crowd = Population(int(seconds * CHURN / 3) + 1, 10**9, "churning")
    creation = filling.call(
        target.address, "service", workload.create_service(crowd.service(0)), filling.has_service_id
    )
    filling.send_all(target.address, iter([creation]), 1, "service registered", stage.say)
    held: list[tuple[float, float]] = []
    started_s = time.monotonic()
    driver = Driver(
        target.address,
        CONNECTIONS,
        ((number / CHURN, call) for number, call in enumerate(_life(target, crowd))),
        lambda record: held.append((time.monotonic() - started_s, _resident(target) / _MB)),
    )
    record = drive(driver)
    outcome.numbers |= record.summary().numbers("churn")
    outcome.errors |= record.errors
    outcome.problem = record.problem
    outcome.series["rss MB against seconds of churn"] = held
    if len(held) >= 4:
        half, end = held[len(held) // 2][1], held[-1][1]
        outcome.numbers["rss after half of the churn"] = Number(half, "MB", "less")
        outcome.numbers["rss after the churn"] = Number(end, "MB", "less")


def _life(target: Target, crowd: Population) -> Iterator[Call]:
    """Registrations, changes of those before them, departures of those before these."""
    behind = CONNECTIONS * 4
    for number in range(crowd.instances):
        yield filling.registration(target.address, crowd, number)
        if number >= behind:
            service, instance_id = crowd.member(number - behind)
            request = workload.set_properties(service, instance_id, {"change": str(number)})
            yield filling.call(target.address, "change", request, filling.is_empty)
        if number >= 2 * behind:
            yield _departure(target, crowd, number - 2 * behind)


def _departure(target: Target, population: Population, number: int) -> Call:
    service, instance_id = population.member(number)
    request = Request("DELETE", f"{workload.BASE}/microservices/{service}/instances/{instance_id}")
    return filling.call(target.address, "unregister", request, filling.is_empty)


def _resident(target: Target) -> int:
    return memory.read(target.pids).registry_bytes("rss")


SCENE: Final = Scene(
    "leaving",
    f"memory through --minutes of churn, and when 90 % of {INSTANCES:,} instances have left",
    _run,
    own="cannot look into the processes of a registry that it did not start",
)
