"""Judging: what the checker finds in the history of a chaos run, less what real Redis servers cannot but do."""

from __future__ import annotations

from msgspec import structs

from tests.support.checker import DENIALS, FEED, Finding, Rules, check
from tests.support.history import LOST_TAIL, REFUSED, STORE_DOWN, UNKNOWN, WRITES, Fault, History, Operation

#: Real processes on a busy machine are slower than simulated ones.
RULES = Rules(lag_ms=2500, recover_ms=5000)


def judge(history: History) -> list[Finding]:
    """Everything in the history that breaks a promise."""
    lost_tail = any(fault.kind == LOST_TAIL for fault in history.faults)
    findings = check(structs.replace(history, operations=_doubted(history)), RULES)
    return [finding for finding in findings if not (lost_tail and _is_of_positions(finding))]


def _doubted(history: History) -> tuple[Operation, ...]:
    """The operations, less what was said while there were two masters and could not be known or kept.

    A replica at the old master denies in good faith what was written to the new one. And of an instance that was
    written to at both, what stands in the log that goes on wins, whichever write came last.
    """
    down = [fault for fault in history.faults if fault.kind == STORE_DOWN]
    lost = [fault for fault in history.faults if fault.kind == LOST_TAIL]
    operations = list(history.operations)
    for split in (fault for fault in lost if not any(_meet(fault, other) for other in down)):
        within = [index for index, operation in enumerate(operations) if _meet(operation, split)]
        written: dict[tuple[str, str], set[str]] = {}
        for operation in (operations[index] for index in within):
            if operation.kind in WRITES:
                written.setdefault((operation.service, operation.endpoint), set()).add(operation.replica)
        for index in within:
            operation = operations[index]
            denied = operation.outcome == REFUSED and operation.code in DENIALS
            at_both = len(written.get((operation.service, operation.endpoint), ())) > 1
            if denied or (at_both and operation.kind in WRITES):
                operations[index] = structs.replace(operation, outcome=UNKNOWN)
    return tuple(operations)


def _meet(one: Operation | Fault, other: Fault) -> bool:
    return one.start_ms <= other.end_ms and other.start_ms <= one.end_ms


def _is_of_positions(finding: Finding) -> bool:
    """Whether it goes by positions alone, which after a lost tail name one event to some and another one to others."""
    return finding.rule == FEED and finding.text.startswith("it was not told of")
