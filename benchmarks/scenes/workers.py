"""Workers: what do two worker processes give, against one?

Each is held to a part of a core, where that is allowed, so that the load generator and Redis have room beside them.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks import processes
from benchmarks.closed_loop import Contender, Plan, numbers_of, ratio, take_turns
from benchmarks.holding import held
from benchmarks.outcome import Number, Outcome
from benchmarks.scenes.closed import finding, heartbeats
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import populate
from benchmarks.stage import Stage
from benchmarks.workload import PREFIX

FOUND: Final = f"{PREFIX}found"
BEATEN: Final = f"{PREFIX}beaten"
INSTANCES: Final = 100
CONNECTIONS: Final = 64
#: What each worker may use of a core: two of them, Redis and wrk fit into two cores.
CORES: Final = 0.35


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    plan = Plan(options.connections or CONNECTIONS, options.seconds, options.rounds, stage.directory)
    outcome.setting |= {"connections": plan.connections}
    with stage.registry("--workers", "1") as one, stage.registry("--workers", "2") as two:
        targets = {"one": one, "two": two}
        found, _ = (populate(target.address, FOUND, 1) for target in targets.values())
        beaten, _ = (populate(target.address, BEATEN, INSTANCES) for target in targets.values())
        loads = {
            "find-1": partial(finding, FOUND, found),
            "heartbeat": partial(heartbeats, [(BEATEN, instance_id) for instance_id in beaten]),
        }
        with held([pid for target in targets.values() for pid in _workers(target)], CORES) as allowed:
            outcome.numbers["cores for each worker"] = Number(CORES if allowed else 1.0, "cores")
            for what, load_of in loads.items():
                stage.say(f" {what}")
                contenders = [Contender(name, target, load_of()) for name, target in targets.items()]
                runs = take_turns(contenders, plan, stage.say)
                for name, done in runs.items():
                    outcome.numbers |= numbers_of(done, f"{what} {name} ")
                outcome.numbers[f"{what} two to one"] = ratio(runs["two"], runs["one"])


def _workers(target: Target) -> list[int]:
    """The processes that answer: neither Redis nor the parent of others."""
    found = processes.tree(target.pids)
    parents = {process.parent for process in found.values()}
    return [pid for pid, process in found.items() if pid not in parents and not process.name.startswith("redis")]


SCENE: Final = Scene(
    "workers",
    "finds and heartbeats answered by two workers, against one",
    _run,
    own="cannot change how many workers a registry has that it did not start",
)
