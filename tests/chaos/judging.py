"""Judging: what the checker finds in the history of a chaos run, less what real Redis servers cannot but do."""

from __future__ import annotations

from tests.support.checker import DIVERGENCE, Finding, Rules, check
from tests.support.history import LOST_TAIL, History

#: Real processes on a busy machine are slower than simulated ones.
RULES = Rules(lag_ms=2500, recover_ms=5000)


def judge(history: History) -> list[Finding]:
    """Everything in the history that breaks a promise."""
    findings = check(history, RULES)
    if any(fault.kind == LOST_TAIL for fault in history.faults):
        # A position that the log has lost is given to another event by those who never saw the first one.
        return [finding for finding in findings if not _is_of_one_position(finding)]
    return findings


def _is_of_one_position(finding: Finding) -> bool:
    return finding.rule == DIVERGENCE and finding.text.startswith("another rev at")
