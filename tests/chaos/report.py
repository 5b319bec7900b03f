"""Report: what a run came to, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.support.history import OK, REFUSED, UNKNOWN, History


def summary(history: History, findings: Sequence[object]) -> str:
    """Operations by kind and outcome, faults, and what is wrong."""
    operations = Counter((one.kind, one.outcome) for one in history.operations)
    lines = [f"{'operation':<18}{OK:>8}{REFUSED:>9}{UNKNOWN:>9}"]
    for kind in sorted({kind for kind, _ in operations}):
        ok, refused, unknown = (operations[kind, outcome] for outcome in (OK, REFUSED, UNKNOWN))
        lines.append(f"{kind:<18}{ok:>8}{refused:>9}{unknown:>9}")
    lines.append(f"{'all':<18}{len(history.operations):>8}")
    faults = Counter(fault.kind for fault in history.faults)
    lines += ["", "faults: " + (", ".join(f"{count} {kind}" for kind, count in sorted(faults.items())) or "none")]
    refusals = Counter((one.kind, one.code) for one in history.operations if one.code)
    lines += [f"  {kind} answered {code}: {count}" for (kind, code), count in sorted(refusals.items())]
    instances: Counter[str] = Counter()
    for look in history.last_looks:
        instances[look.replica] += len(look.seen)
    lines.append("at last: " + ", ".join(f"{count} instances on {replica}" for replica, count in instances.items()))
    lines += [f"FAILURE {failure.replica}: {failure.text}" for failure in history.failures]
    lines += [f"FINDING {finding}" for finding in findings]
    lines.append(f"{len(findings)} findings")
    return "\n".join(lines)
