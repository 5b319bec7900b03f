"""Workers: what do two worker processes give, against one?"""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.closed_loop import Contender, Plan, numbers_of, ratio, take_turns
from benchmarks.outcome import Outcome
from benchmarks.scenes.closed import finding, heartbeats
from benchmarks.scenes.scene import Scene
from benchmarks.setup import populate
from benchmarks.stage import Stage
from benchmarks.workload import PREFIX

SERVICE: Final = f"{PREFIX}workers"
INSTANCES: Final = 100
CONNECTIONS: Final = 64


def _run(stage: Stage, outcome: Outcome) -> None:
    options = stage.options
    plan = Plan(options.connections or CONNECTIONS, options.seconds, options.rounds, stage.directory)
    outcome.setting |= {"connections": plan.connections}
    with stage.registry("--workers", "1") as one, stage.registry("--workers", "2") as two:
        targets = {"one": one, "two": two}
        ids, _ = (populate(target.address, SERVICE, INSTANCES) for target in targets.values())
        loads = {
            "find-100": partial(finding, SERVICE, ids),
            "heartbeat": partial(heartbeats, [(SERVICE, instance_id) for instance_id in ids]),
        }
        for what, load_of in loads.items():
            stage.say(f" {what}")
            runs = take_turns([Contender(name, target, load_of()) for name, target in targets.items()], plan, stage.say)
            for name, done in runs.items():
                outcome.numbers |= numbers_of(done, f"{what} {name} ")
            outcome.numbers[f"{what} two to one"] = ratio(runs["two"], runs["one"])


SCENE: Final = Scene(
    "workers",
    "finds and heartbeats answered by two workers, against one",
    _run,
    own="cannot change how many workers a registry has that it did not start",
)
