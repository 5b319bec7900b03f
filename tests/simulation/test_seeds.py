"""Thousands of seeds: whatever fails around the registry, it keeps its promises; and a seed says exactly what happens.

`SIMULATION_SEEDS` is how many seeds each profile runs, `SIMULATION_FIRST` the first. To look further than CI does:
`SIMULATION_FIRST=100000 SIMULATION_SEEDS=5000 pytest tests/simulation/test_seeds.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest

from tests.simulation.faults import PROFILES
from tests.simulation.judging import judge, report
from tests.simulation.world import Run, run
from tests.support.checker import Finding

#: By profile of Hypothesis. A seed takes 60 to 250 ms of one core.
SEEDS_OF: Final = {"ci": "40", "long": "1024"}
SEEDS: Final = int(os.environ.get("SIMULATION_SEEDS") or SEEDS_OF.get(os.environ.get("HYPOTHESIS_PROFILE", ""), "16"))
FIRST: Final = int(os.environ.get("SIMULATION_FIRST", "0"))
#: Pieces of a profile, so that they spread over the cores.
PIECES: Final = 4
#: Seeds of which it is looked at, too, what has happened.
LOOKED_AT: Final = 12

Judge = Callable[[int, str], tuple[Run, list[Finding]]]


@pytest.fixture(scope="module")
def judged() -> Judge:
    """As `judge`; what two tests look at is run once."""
    kept = cache(judge)
    return lambda seed, profile: (kept if seed < LOOKED_AT else judge)(seed, profile)


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("profile", PROFILES)
def test_no_fault_breaks_a_promise(judged: Judge, profile: str, piece: int) -> None:
    """A failure names the command that shows the run again."""
    reports = []
    for seed in range(FIRST + piece, FIRST + SEEDS, PIECES):
        _, findings = judged(seed, profile)
        if findings:
            reports.append(report(seed, profile, findings))
    assert not reports, "\n".join(reports[:5])


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_a_seed_replays_exactly(profile: str) -> None:
    """Else a failing seed could not be looked at: every store call, request and fault comes again, in order."""
    first, again = run(FIRST + 3, profile, keep_trace=True), run(FIRST + 3, profile, keep_trace=True)
    assert first.trace == again.trace
    assert first.history == again.history
    assert first.digest == again.digest
    assert len(first.trace) > 200


@pytest.mark.slow
def test_seeds_differ() -> None:
    assert run(1, "all").history != run(2, "all").history


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_the_profile_does_what_it_says(judged: Judge, profile: str) -> None:
    """A simulation whose faults never happen, or whose watchers never stay, would be green for nothing."""
    histories = [judged(seed, profile)[0].history for seed in range(LOOKED_AT)]
    kinds = {fault.kind for history in histories for fault in history.faults}
    assert kinds - {"break"} <= set(PROFILES[profile].kinds())
    assert bool(kinds) == (profile != "calm")
    watches = [watch for history in histories for watch in history.watches]
    assert any(watch.changes for watch in watches if not watch.dropped)
    operations = [operation for history in histories for operation in history.operations]
    assert any(operation.not_modified for operation in operations)
    assert any(operation.outcome == "refused" for operation in operations)
