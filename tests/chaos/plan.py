"""Plan: which faults a run has, drawn from its seed before it begins, so that the seed alone names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

KILL: Final = "kill"  # kill -9 of a replica, started again
RESTART: Final = "restart"  # SIGTERM of a replica, which ends in its own time, and is started again
STOP: Final = "stop"  # SIGSTOP of a replica
PARTITION: Final = "partition"  # a replica and Redis do not reach each other: cut, or hanging in some direction
SLOW: Final = "slow"  # everything between a replica and Redis takes longer
REDIS_KILL: Final = "redis-kill"  # kill -9 of Redis, started again with its append-only file
REDIS_STOP: Final = "redis-stop"  # SIGSTOP of Redis
FAILOVER: Final = "failover"  # Redis is killed and its copy, which may lack the tail, takes over
SPLIT: Final = "split"  # the copy takes over for some replicas first, the others go on with the old Redis for a while
FLUSH: Final = "flush"  # FLUSHALL
CLOCK: Final = "clock"  # the wall clock of a replica jumps, and back
REDIS_CLOCK: Final = "redis-clock"  # that of Redis

#: Each nemesis with how long it lasts (seconds).
LENGTH_S: Final = {
    KILL: (0.2, 6.0),
    RESTART: (0.2, 3.0),
    STOP: (0.5, 8.0),
    PARTITION: (0.5, 8.0),
    SLOW: (1.0, 5.0),
    REDIS_KILL: (0.2, 7.0),
    REDIS_STOP: (0.3, 8.0),
    FAILOVER: (0.1, 3.0),
    SPLIT: (0.1, 2.0),
    FLUSH: (0.0, 0.0),
    CLOCK: (2.0, 5.0),
    REDIS_CLOCK: (2.0, 5.0),
}
NEMESES: Final = tuple(LENGTH_S)
#: Those that are done to one replica.
OF_REPLICAS: Final = frozenset((KILL, RESTART, STOP, PARTITION, SLOW, CLOCK))
#: Those that need a second Redis; those that need libfaketime.
WITH_COPY: Final = frozenset((FAILOVER, SPLIT))
WITH_CLOCKS: Final = frozenset((CLOCK, REDIS_CLOCK))
#: Seconds of rest after each fault. Most leave time to recover, some do not.
REST_S: Final = (0.2, 4.0)
#: Steps of a clock, seconds.
STEPS_S: Final = (3600, -3600, 3, -3, 40, -40)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: after a rest, on one of the replicas. `chance` (0 to 1) decides what else there is to decide."""

    rest_s: float
    nemesis: str
    replica: int
    length_s: float
    chance: float


def draw(seed: int, seconds: float, nemeses: Sequence[str], replicas: int) -> list[Step]:
    """Faults one after another until these seconds are full. Each nemesis comes up before one comes up again."""
    random = Random(f"faults {seed}")
    steps: list[Step] = []
    left_s = seconds
    deck: list[str] = []
    while nemeses:
        deck = deck or random.sample(list(nemeses), len(nemeses))
        nemesis = deck.pop()
        rest_s = random.uniform(*REST_S)
        length_s = random.uniform(*LENGTH_S[nemesis])
        left_s -= rest_s + length_s
        if left_s < 0:
            break
        steps.append(Step(rest_s, nemesis, random.randrange(replicas), length_s, random.random()))
    return steps


def draw_two(seed: int, seconds: float, nemeses: Sequence[str], replicas: int) -> list[list[Step]]:
    """What is done to replicas, and what at the same time to Redis."""
    to_replicas = [nemesis for nemesis in nemeses if nemesis in OF_REPLICAS]
    to_redis = [nemesis for nemesis in nemeses if nemesis not in OF_REPLICAS]
    return [draw(seed, seconds, to_replicas, replicas), draw(-1 - seed, seconds, to_redis, replicas)]
