"""The simulation can see: every bug planted in the real code is found within a bounded number of seeds."""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulation.judging import judge
from tests.simulation.planted import BUGS

#: What shows seldom (two replicas that must both be late, a loss in the middle of a session) needs some luck.
SEEDS_MAX: Final = 300


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """Else a change could do the same to the registry, and thousands of green seeds would say nothing."""
    bug = BUGS[name]
    with bug.plant():
        seeds = (bug.shown_by, *range(SEEDS_MAX))
        found = any({finding.rule for finding in judge(seed, bug.profile)[1]} & bug.rules for seed in seeds)
    assert found, f"{SEEDS_MAX} seeds of {bug.profile} do not show {name}"
