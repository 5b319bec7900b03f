"""Size: does a registry that holds many instances answer as fast as one that holds a hundred?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks import filling
from benchmarks.closed_loop import Contender, Load, Plan, numbers_of, ratio, take_turns
from benchmarks.outcome import Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import finding, heartbeats, unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import populate
from benchmarks.stage import QUIET, Stage

#: Of the small registry.
SMALL: Final = 100
#: Instances that are sent heartbeats, spread over the whole population.
BEATEN: Final = 1000


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two registries."""

    name: str
    target: Target
    population: Population


#: Which load each question puts on a registry, and over how many connections.
_LOADS: Final[dict[str, tuple[int, Callable[[_Side], Load]]]] = {
    "find-1": (32, lambda side: finding(QUIET, [f"{QUIET}-0000"])),
    "find-304": (32, lambda side: unmodified(side.target.address, QUIET)),
    "heartbeat": (64, lambda side: heartbeats(side.population.some(BEATEN))),
}


def _run(stage: Stage, outcome: Outcome) -> None:
    filled, options = stage.filled(), stage.options
    large = _Side("large", filled.target, filled.population)
    with stage.registry() as target:
        small = _Side("small", target, Population(SMALL, SMALL))
        filling.fill(target.address, small.population, stage.say)
        outcome.setting |= {"large": large.population.instances, "small": SMALL}
        populate(small.target.address, QUIET, 1)
        for what, (connections, load_of) in _LOADS.items():
            stage.say(f" {what}")
            plan = Plan(options.connections or connections, options.seconds, options.rounds, stage.directory)
            runs = take_turns(
                [Contender(side.name, side.target, load_of(side)) for side in (large, small)], plan, stage.say
            )
            for name, done in runs.items():
                outcome.numbers |= numbers_of(done, f"{what} {name} ")
            outcome.numbers[f"{what} large to small"] = ratio(runs["large"], runs["small"])


SCENE: Final = Scene(
    "size",
    "find 1, 304 and heartbeats with --instances instances registered, against the same with 100",
    _run,
    filled=True,
    own="has no second registry to compare with",
)
