"""Report: what a run came to, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tests.support.checker import Finding
from tests.support.history import OK, REFUSED, UNKNOWN, Fed, History

#: One cause leads to many findings.
SHOWN_MAX: Final = 20


def summary(history: History, findings: Sequence[Finding]) -> str:
    """Operations by kind and outcome, faults, and what is wrong."""
    operations = Counter((one.kind, one.outcome) for one in history.operations)
    lines = [f"{'operation':<18}{OK:>8}{REFUSED:>9}{UNKNOWN:>9}"]
    for kind in sorted({kind for kind, _ in operations}):
        ok, refused, unknown = (operations[kind, outcome] for outcome in (OK, REFUSED, UNKNOWN))
        lines.append(f"{kind:<18}{ok:>8}{refused:>9}{unknown:>9}")
    lines.append(f"{'all':<18}{len(history.operations):>8}")
    if history.watches:
        changes = sum(len(watch.changes) for watch in history.watches)
        dropped = sum(watch.dropped for watch in history.watches)
        lines.append(f"watches: {len(history.watches)}, {dropped} of them dropped; {changes} events")
    if history.readings:
        told = sum(isinstance(reading, Fed) for reading in history.readings)
        lines.append(f"feeds: {told} events; the past: {len(history.past_looks)} looks")
    faults = Counter(fault.kind for fault in history.faults)
    lines += ["", "faults: " + (", ".join(f"{count} {kind}" for kind, count in sorted(faults.items())) or "none")]
    refusals = Counter((one.kind, one.code) for one in history.operations if one.code)
    lines += [f"  {kind} answered {code}: {count}" for (kind, code), count in sorted(refusals.items())]
    instances: Counter[str] = Counter()
    for look in history.last_looks:
        instances[look.replica] += len(look.seen)
    lines.append("at last: " + ", ".join(f"{count} instances on {replica}" for replica, count in instances.items()))
    lines += [f"FINDING {finding}" for finding in findings[:SHOWN_MAX]]
    rules = Counter(finding.rule for finding in findings)
    by_rule = ", ".join(f"{count} {rule}" for rule, count in sorted(rules.items()))
    lines.append(f"{len(findings)} findings" + (f": {by_rule}" if findings else ""))
    return "\n".join(lines)
