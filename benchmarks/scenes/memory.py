"""Memory: what does an instance cost a replica, and what Redis?"""

from __future__ import annotations

from typing import Final

from benchmarks import memory
from benchmarks.outcome import Number, Outcome
from benchmarks.scenes.scene import Scene
from benchmarks.stage import Filled, Stage

_MB: Final = 1e6


def _run(stage: Stage, outcome: Outcome) -> None:
    filled = stage.filled()
    instances = filled.population.instances
    outcome.setting |= {"instances": instances, "services": filled.population.services}
    now = memory.read(filled.target.pids)
    for kind in ("rss", "pss"):
        before, after = filled.held_before.registry_bytes(kind), now.registry_bytes(kind)
        outcome.numbers[f"registry {kind}"] = Number(after / _MB, "MB", "less")
        outcome.numbers[f"registry {kind} per instance"] = Number((after - before) / instances, "B", "less")
    outcome.numbers["empty registry rss"] = Number(filled.held_before.registry_bytes("rss") / _MB, "MB", "less")
    outcome.numbers["redis used_memory"] = Number(filled.redis_bytes_after / _MB, "MB", "less")
    per_instance = (filled.redis_bytes_after - filled.redis_bytes_before) / instances
    outcome.numbers["redis used_memory per instance"] = Number(per_instance, "B", "less")
    _filling(filled, outcome)


def _filling(filled: Filled, outcome: Outcome) -> None:
    record = filled.record
    rate = filled.population.instances / record.elapsed_s
    outcome.numbers["registered while filling"] = Number(rate, "/s", "more")
    outcome.numbers["client busy"] = Number(record.client_busy, "cores")
    outcome.numbers |= record.summary().numbers("registering")
    outcome.numbers |= {
        f"filling {name}": number
        for name, number in filled.used.numbers(filled.population.instances, record.elapsed_s).items()
    }


SCENE: Final = Scene(
    "memory",
    "memory of a replica and of Redis with --instances instances, and the rate at which they were registered",
    _run,
    filled=True,
    own="cannot look into the processes of a registry that it did not start",
)
