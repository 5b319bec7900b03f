"""Short chaos runs: no fault leads to a broken promise, and a planted bug is found."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from tests.chaos.bugs import BUGS
from tests.chaos.clocks import faketime_library
from tests.chaos.judging import judge
from tests.chaos.plan import (
    CLOCK,
    FAILOVER,
    FLUSH,
    KILL,
    NEMESES,
    OF_REPLICAS,
    PARTITION,
    REDIS_CLOCK,
    REDIS_KILL,
    REDIS_STOP,
    RESTART,
    SLOW,
    SPLIT,
    STOP,
    draw,
    draw_two,
)
from tests.chaos.planting import PLANTED, is_found, planted, short
from tests.chaos.report import summary
from tests.chaos.world import Options, run
from tests.support.history import History

FAMILIES: Final = {
    "replicas": (KILL, RESTART, STOP, PARTITION, SLOW),
    "redis": (REDIS_KILL, REDIS_STOP),
    "losses": (FAILOVER, SPLIT, FLUSH),
    "clocks": (CLOCK, REDIS_CLOCK),
}
#: Those of the planted bugs that are looked for here; `scripts/chaos --planted` looks for all.
BUGS_HERE: Final = ("deaf-beats", "silent-watch", "no-mending", "blind-rev")
SEED: Final = 5


def _run_all(options: Iterable[Options]) -> list[History]:
    """All at once: each is a few processes that mostly wait."""
    some = list(options)
    with ThreadPoolExecutor(len(some)) as pool:
        return list(pool.map(run, some))


@pytest.mark.slow
def test_no_fault_breaks_a_promise() -> None:
    # Where libfaketime is missing, clocks are left alone: nothing else moves the clock of one process.
    families = {name: nemeses for name, nemeses in FAMILIES.items() if name != "clocks" or faketime_library()}
    histories = _run_all(short(SEED, nemeses) for nemeses in families.values())
    for family, history in zip(families, histories, strict=True):
        findings = judge(history)
        assert not findings, f"{family}: {summary(history, findings)}"
        assert history.faults, family
        assert len(history.operations) > 200, family
        assert any(watch.changes for watch in history.watches), family


@pytest.mark.slow
def test_planted_bugs_are_found() -> None:
    histories = _run_all(planted(bug, SEED) for bug in BUGS_HERE)
    for bug, history in zip(BUGS_HERE, histories, strict=True):
        assert is_found(bug, history), f"{bug}: {summary(history, judge(history))}"


def test_every_bug_is_expected_to_be_found() -> None:
    assert PLANTED.keys() == BUGS.keys()


def test_the_seed_names_the_faults() -> None:
    assert draw(1, 60, NEMESES, 3) == draw(1, 60, NEMESES, 3)
    assert draw(1, 60, NEMESES, 3) != draw(2, 60, NEMESES, 3)
    steps = draw(3, 120, NEMESES, 3)
    assert {step.nemesis for step in steps} == set(NEMESES)
    assert sum(step.rest_s + step.length_s for step in steps) <= 120
    to_replicas, to_redis = draw_two(3, 120, NEMESES, 3)
    assert {step.nemesis for step in to_replicas} == OF_REPLICAS
    assert {step.nemesis for step in to_redis} == set(NEMESES) - OF_REPLICAS
