"""Planting: which faults bring each planted bug to light, and as what the checker finds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from tests.chaos.judging import judge
from tests.chaos.plan import FAILOVER, FLUSH, SLOW
from tests.chaos.world import Options
from tests.support.checker import (
    DEAD_KEPT,
    DIVERGENCE,
    EXACT,
    FEED,
    LIVING_REMOVED,
    LOST_WRITE,
    ORDER,
    REV,
    STALE_READ,
    WRONG_304,
)
from tests.support.history import History

_GONE: Final = frozenset({LIVING_REMOVED, LOST_WRITE, ORDER, STALE_READ})


class Expected(NamedTuple):
    nemeses: tuple[str, ...]
    found_as: frozenset[str]
    beat_s: float = 1.5


#: By the name of the bug. Any one of the rules will do: which of them sees it first is chance.
PLANTED: Final = {
    "forget-writes": Expected((), frozenset({LOST_WRITE, ORDER, STALE_READ})),
    "blind-rev": Expected((), frozenset({REV, STALE_READ, WRONG_304})),
    "deaf-beats": Expected((), _GONE),
    "no-sweep": Expected((), frozenset({DEAD_KEPT})),
    "short-leases": Expected((), _GONE),
    # An instance that beats often is saved by its next heartbeat.
    "no-rearming": Expected((FLUSH,), _GONE, beat_s=4.0),
    "no-mending": Expected((FAILOVER,), _GONE | {DIVERGENCE}),
    "silent-watch": Expected((SLOW,), frozenset({FEED})),
    "silent-feed": Expected((), frozenset({EXACT})),
    "stale-finds": Expected((), frozenset({STALE_READ, WRONG_304})),
}


def short(seed: int, nemeses: tuple[str, ...], seconds: float = 9.0) -> Options:
    """A run as short as the shortest lease lets it be: that, until it starts anew, and until its end is noticed."""
    return Options(
        seed=seed,
        seconds=seconds,
        settle_s=9.0,
        replicas=2,
        services=2,
        instances=20,
        consumers=3,
        watchers=2,
        period_s=0.4,
        nemeses=nemeses,
        beat_s=1.5,
        times=(0,),
        stay_s=(2.0, 12.0),
        archive=True,
    )


def planted(bug: str, seed: int, seconds: float = 9.0) -> Options:
    """A short run that is to find the bug."""
    expected = PLANTED[bug]
    return replace(short(seed, expected.nemeses, seconds), bug=bug, beat_s=expected.beat_s)


def is_found(bug: str, history: History) -> bool:
    return not PLANTED[bug].found_as.isdisjoint(finding.rule for finding in judge(history))
