"""Upheaval: very many instances of one service come, change and go at once. How long do all others wait?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from benchmarks import filling, workload
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Driver
from benchmarks.load.record import Record
from benchmarks.load.ticks import RATE, pauses
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import populate, succeed
from benchmarks.stage import QUIET, Stage
from benchmarks.wire import Request, send

INSTANCES: Final = 50_000
INSTANCES_QUICK: Final = 200
CONNECTIONS: Final = 64
#: Instances that are there and do nothing, and for how long it is looked.
IDLE: Final = 100_000
IDLE_S: Final = 15.0
LEASE_S: Final = 30
#: Seconds until everybody must have expired after the last registration.
GONE_S: Final = 120.0
LOOK_EVERY_S: Final = 0.5
#: Instances that stay: the quiet one and the registry's own.
OTHERS: Final = 2


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    instances = INSTANCES_QUICK if options.quick else INSTANCES
    outcome.setting |= {"instances": instances, "idle instances": 2 * instances, "connections": CONNECTIONS}
    with stage.registry("--mass-lapse-share", "1") as target:
        populate(target.address, QUIET, 1)
        crowd = _Crowd(stage, target, instances)
        succeed(target.address, workload.create_service(crowd.service))
        outcome.numbers |= crowd.watched(crowd.register, "registering")
        outcome.numbers |= crowd.watched(crowd.change, "changing all")
        outcome.numbers |= crowd.watched(crowd.expire, "expiring")
        idle = Population(2 * instances, 2 * instances, "idle")
        filling.fill(target.address, idle, stage.say)
        outcome.numbers |= crowd.watched(lambda: asyncio.sleep(1 if options.quick else IDLE_S), "idle")
        outcome.problem = crowd.problem


class _Crowd:
    """The instances of one service."""

    def __init__(self, stage: Stage, target: Target, instances: int) -> None:
        self._stage = stage
        self._target = target
        self._population = Population(instances, instances, "crowd", 0)
        self.service = self._population.service(0)
        self.problem = ""

    def watched(self, phase: Callable[[], Coroutine[Any, Any, object]], name: str) -> dict[str, Number]:
        """What ticks see beside a phase, and how long it takes."""
        tick = filling.call(
            self._target.address, "tick", unmodified(self._target.address, QUIET).sample, filling.is_empty, 304
        )

        async def beside() -> tuple[Record, float]:
            over = False

            def until_over() -> Any:
                number = 0
                while not over:
                    yield number / RATE, tick
                    number += 1

            driver = Driver(self._target.address, 8, until_over())
            ticking = asyncio.ensure_future(driver.run())
            started_s = time.monotonic()
            await phase()
            elapsed_s = time.monotonic() - started_s
            over = True
            return await ticking, elapsed_s

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            record, elapsed_s = runner.run(beside())
        self._stage.say(f"  {name}: {elapsed_s:.1f} s, longest pause {record.summary().max_ms:.1f} ms")
        self.problem = self.problem or record.problem
        found = {key: value for key, value in pauses(record, f"{name}: ").items() if not key.endswith("client busy")}
        return found | {f"{name}: seconds": Number(elapsed_s, "s")}

    async def register(self) -> None:
        calls = (self._registration(number) for number in range(self._population.instances))
        await self._drive(CONNECTIONS, calls)

    async def change(self) -> None:
        """One request sets the status of all."""
        body = json.dumps({"matches": {"properties": {"build": "1"}}, "status": "DOWN"})
        path = f"{workload.BASE}/instances/status"
        request = Request("PUT", path, body)
        await self._drive(1, iter([filling.call(self._target.address, "status", request, lambda head, reply: None)]))

    async def expire(self) -> None:
        ends_s = time.monotonic() + GONE_S
        while time.monotonic() < ends_s:
            reply = await asyncio.to_thread(send, self._target.address, workload.statistics())
            if reply.json()["statistics"]["instances"]["count"] <= OTHERS:
                return
            await asyncio.sleep(LOOK_EVERY_S)
        self.problem = self.problem or f"instances were left {GONE_S:.0f} s after the last was registered"

    def _registration(self, number: int) -> Call:
        _, instance_id = self._population.member(number)
        health = {"mode": "push", "interval": LEASE_S, "times": 0}
        body = workload.numbered_body(instance_id, number) | {"healthCheck": health}
        request = workload.register_instance(self.service, body)
        return filling.call(self._target.address, "register", request, lambda head, reply: None)

    async def _drive(self, connections: int, calls: Any) -> None:
        record = await Driver(self._target.address, connections, schedules.closed(calls)).run()
        self.problem = self.problem or record.problem


SCENE: Final = Scene(
    "upheaval",
    f"{INSTANCES:,} instances of one service register, change and expire at once, {IDLE:,} are idle: longest pauses",
    _run,
    own="does not change what it did not make",
)
