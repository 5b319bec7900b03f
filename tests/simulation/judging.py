"""Judging: run a seed and check what came of it, by the rules of its profile."""

from __future__ import annotations

from tests.simulation.faults import RULES
from tests.simulation.world import Run, run
from tests.support.checker import Finding, check


def judge(seed: int, profile: str, keep_trace: bool = False) -> tuple[Run, list[Finding]]:
    """Run one seed; what it came to, and every promise that it broke."""
    outcome = run(seed, profile, keep_trace)
    return outcome, check(outcome.history, RULES.get(profile))


def report(seed: int, profile: str, findings: list[Finding]) -> str:
    """What a failing test says: how to see the run again, and what is wrong with it."""
    lines = [f"python -m tests.simulation {seed} {profile}", *map(str, findings[:10])]
    return "\n".join(lines + [f"and {len(findings) - 10} more"] * (len(findings) > 10))
