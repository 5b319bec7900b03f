"""Short chaos runs: no fault leads to a broken promise, and a planted bug is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest

from tests.chaos.clocks import faketime_library
from tests.chaos.judging import judge
from tests.chaos.plan import (
    CLOCK,
    FAILOVER,
    FLUSH,
    KILL,
    NEMESES,
    PARTITION,
    REDIS_CLOCK,
    REDIS_KILL,
    REDIS_STOP,
    SLOW,
    SPLIT,
    STOP,
    draw,
)
from tests.chaos.report import summary
from tests.chaos.world import Options, run
from tests.support.checker import DEAD_KEPT, DIVERGENCE, LIVING_REMOVED, LOST_WRITE, ORDER, REV, STALE_READ
from tests.support.history import History

pytestmark = pytest.mark.slow

#: Runs at once: each is a few processes that mostly wait.
AT_ONCE: Final = 7
SECONDS: Final = 9.0
#: The lease of 10 s, the time until it starts anew, and that until it is noticed.
SETTLE_S: Final = 13.0
FAMILIES: Final = {
    "replicas": (KILL, STOP, PARTITION, SLOW),
    "redis": (REDIS_KILL, REDIS_STOP),
    "losses": (FAILOVER, SPLIT, FLUSH),
    "clocks": (CLOCK, REDIS_CLOCK),
}
#: Planted bugs: what shows them, and what they are found as.
PLANTED: Final = {
    "blind-rev": ((SLOW,), {REV, STALE_READ}),
    "deaf-beats": ((), {LIVING_REMOVED, LOST_WRITE, DEAD_KEPT, ORDER, STALE_READ}),
    "no-mending": ((FAILOVER,), {LOST_WRITE, LIVING_REMOVED, DIVERGENCE, ORDER, STALE_READ}),
}


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[[str], Future[History]]]:
    """Gives the run of a name. All of them are started by the first that is asked for."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs: dict[str, Future[History]] = {}

        def begun(name: str) -> Future[History]:
            for other, options in _all_options().items():
                if other not in runs:
                    runs[other] = pool.submit(run, options)
            return runs[name]

        yield begun
        for waiting in runs.values():
            waiting.cancel()


def _all_options() -> dict[str, Options]:
    chosen: dict[str, tuple[tuple[str, ...], str]] = {name: (nemeses, "") for name, nemeses in FAMILIES.items()}
    chosen |= {bug: (nemeses, bug) for bug, (nemeses, _) in PLANTED.items()}
    if not faketime_library():
        del chosen["clocks"]
    return {
        name: Options(
            seed=5,
            seconds=SECONDS,
            settle_s=SETTLE_S,
            replicas=2,
            services=2,
            instances=20,
            consumers=3,
            period_s=0.4,
            nemeses=nemeses,
            beat_s=3.0,
            times=(1,),
            bug=bug,
        )
        for name, (nemeses, bug) in chosen.items()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_no_fault_breaks_a_promise(start: Callable[[str], Future[History]], family: str) -> None:
    if family == "clocks" and not faketime_library():
        pytest.skip("libfaketime is not installed")
    history = start(family).result()
    findings = judge(history)
    assert not findings, summary(history, findings)
    assert history.faults
    assert len(history.operations) > 200


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(start: Callable[[str], Future[History]], bug: str) -> None:
    history = start(bug).result()
    findings = judge(history)
    assert {finding.rule for finding in findings} & PLANTED[bug][1], summary(history, findings)


def test_the_seed_names_the_faults() -> None:
    assert draw(1, 60, NEMESES, 3) == draw(1, 60, NEMESES, 3)
    assert draw(1, 60, NEMESES, 3) != draw(2, 60, NEMESES, 3)
    steps = draw(3, 120, NEMESES, 3)
    assert {step.nemesis for step in steps} == set(NEMESES)
    assert sum(step.rest_s + step.length_s for step in steps) <= 120
