"""Checker: judges a recorded history by what the registry promises (registry/docs/guarantees.md).

A finding is a promise that was broken. What a fault excuses is not found: a read that a fault touches may be as old
as the fault, and an instance that falls silent may stay for one more lease after it. No fault excuses an acknowledged
write that is missing, an instance removed while its lease holds, a rev that lies, or replicas that differ at the end.

It judges a run of real processes the same way. Record it by the conventions of `tests.support.history`, all times from
one clock (that of the machine on which the clients and the faults run), and pass `Rules` with longer tolerances: what
the machine may delay goes into `lag_ms`, what reconnecting takes into `recover_ms`. Begin and end of operations bound
when something happened, so clients that note them late only make it judge more mildly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tests.support.case import (
    BACKWARDS,
    DEAD_KEPT,
    DIVERGENCE,
    DUPLICATE,
    EXACT,
    FAILURE,
    FEED,
    LIVING_REMOVED,
    LOST_WRITE,
    ORDER,
    PAST,
    REV,
    RULES,
    STALE_READ,
    WRONG_304,
    Case,
    Rules,
)
from tests.support.exactness import changed_past, forgotten_past, inexact, misled
from tests.support.history import (
    NOWHERE,
    REFUSED,
    History,
    Operation,
    Position,
    Seen,
    Watch,
)

__all__ = (
    "BACKWARDS",
    "DEAD_KEPT",
    "DIVERGENCE",
    "DUPLICATE",
    "EXACT",
    "FAILURE",
    "FEED",
    "LIVING_REMOVED",
    "LOST_WRITE",
    "ORDER",
    "PAST",
    "REV",
    "RULES",
    "STALE_READ",
    "WRONG_304",
    "Finding",
    "Rules",
    "check",
)

#: 4xx codes that deny what was asked for, which a replica may do only after it has caught up.
DENIALS: Final = (400012, 400017)


class Finding(NamedTuple):
    """A broken promise: which, where, and what happened."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.text}"


def check(history: History, rules: Rules | None = None) -> list[Finding]:
    """Everything in the history that breaks a promise."""
    rules = rules or Rules()
    case = Case(history, rules)
    judges: list[Callable[[Case], Iterator[Finding]]] = [
        _failures,
        _orders,
        _dead,
        _divergence,
        _reads,
        _revs,
        _backwards,
        _feeds,
        _exact,
        _past,
    ]
    return [finding for judge in judges for finding in judge(case) if finding.rule in rules.enabled]


# -- writes ------------------------------------------------------------------------------------------------------------


def _failures(case: Case) -> Iterator[Finding]:
    for failure in case.history.failures:
        yield Finding(FAILURE, failure.replica, failure.text)


def _orders(case: Case) -> Iterator[Finding]:
    """Per instance: do the answers fit together, and with them what is there at the end?"""
    looks = {look.service: look for look in case.history.last_looks}
    for (service, endpoint), model in case.models.items():
        look = looks.get(service)
        last = next((s for s in look.seen if s.endpoint == endpoint), None) if look else None
        look_ms = look.at_ms if look else 0
        if model.has_order(last, look_ms, with_look=look is not None):
            continue
        where = f"{service} {endpoint}"
        if model.has_order(last, look_ms, lapses_anywhere=True, with_look=look is not None):
            yield Finding(LIVING_REMOVED, where, "it was removed within a lease after a renewal was answered")
        elif model.has_order(None, look_ms, lapses_anywhere=True, with_look=False):
            yield Finding(
                LOST_WRITE, where, f"the last look shows {last}, which its acknowledged writes do not lead to"
            )
        else:
            yield Finding(ORDER, where, "no order of its operations explains their answers")
    for operation in case.history.operations:
        if operation.outcome == REFUSED and operation.code not in DENIALS:
            yield Finding(ORDER, _where(operation), f"refused with {operation.code}")


def _dead(case: Case) -> Iterator[Finding]:
    """An instance that has fallen silent is gone one lease later: from every list, or at the latest when faults are
    over.
    """
    rules = case.rules
    views = [(o.start_ms, o.end_ms, o.service, o.seen, _where(o)) for o in case.finds if not o.not_modified]
    views += [(look.at_ms, look.at_ms, look.service, look.seen, look.replica) for look in case.history.last_looks]
    for at_ms, end_ms, service, seen, where in views:
        for instance in seen:
            model = case.models.get((service, instance.endpoint))
            if model is None:
                continue
            due_ms = model.renewed_before(end_ms) + model.ttl_ms
            if due_ms + rules.expiry_ms + rules.lag_ms >= at_ms:
                continue
            late_ms = at_ms - case.excused_ms(due_ms, model.ttl_ms) - rules.expiry_ms - rules.lag_ms
            if late_ms > 0:
                text = f"{instance.endpoint} is shown {late_ms} ms after it had to be gone"
                yield Finding(DEAD_KEPT, f"{service} {where}", text)


# -- reads -------------------------------------------------------------------------------------------------------------


def _divergence(case: Case) -> Iterator[Finding]:
    looks: dict[str, tuple[object, str]] = {}
    for look in case.history.last_looks:
        content = (look.rev, look.digest, look.seen, look.state_hash)
        known, replica = looks.setdefault(look.service, (content, look.replica))
        if known != content:
            yield Finding(DIVERGENCE, look.service, f"{replica} and {look.replica} differ at the end")
    at: dict[tuple[str, Position, int], Operation] = {}
    for find in case.finds:
        losses = case.losses_before(find)
        if losses is None:
            continue
        first = at.setdefault((find.service, find.position, losses), find)
        if first.rev != find.rev:
            yield Finding(DIVERGENCE, _where(find), f"another rev at {find.position} than {_where(first)}")


def _reads(case: Case) -> Iterator[Finding]:
    """Each list must have been true at some moment that its answer may be from."""
    judged: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for find in case.finds:
        yield from _twice(find)
        seen = case.lists.get((find.service, find.rev)) if find.not_modified else find.seen
        if seen is None:
            yield Finding(WRONG_304, _where(find), f"rev {find.rev[:8]} was handed out to nobody")
            continue
        begin_ms = _oldest_ms(case, find)
        known = judged.setdefault((find.service, find.rev), [])
        if any(begin_ms <= begin and end <= find.end_ms for begin, end in known):
            continue  # the same list was fine for a stretch within this one
        why = _untrue(case, find.service, seen, begin_ms, find.end_ms)
        if why:
            yield Finding(WRONG_304 if find.not_modified else STALE_READ, _where(find), why)
        else:
            known.append((begin_ms, find.end_ms))


def _oldest_ms(case: Case, find: Operation) -> int:
    """From when on the answer may be. One that contradicts what the client holds may not be from before the request."""
    contradicts = find.asked_rev and not find.not_modified
    begin_ms = find.start_ms - (0 if contradicts else case.rules.lag_ms)
    trouble = case.trouble(find.replica, find.start_ms - case.rules.lag_ms, find.end_ms)
    if trouble is not None:
        begin_ms = min(begin_ms, trouble.begin_ms - case.rules.lag_ms)
    # A write that changed nothing may have been answered at this position later than this find.
    return max(begin_ms, min(case.not_before_ms(find.position), find.end_ms))


def _untrue(case: Case, service: str, seen: Sequence[Seen], begin_ms: int, end_ms: int) -> str:
    by_endpoint = {instance.endpoint: instance for instance in seen}
    for model in case.by_service.get(service, ()):
        instance = by_endpoint.get(model.endpoint)
        if instance is None:
            why = "" if model.absent(begin_ms, end_ms) else "it is missing"
        else:
            why = model.shown(instance, begin_ms, end_ms)
        if why:
            return f"{model.endpoint}: {why}, from {begin_ms} to {end_ms}"
    return ""


def _twice(find: Operation) -> Iterator[Finding]:
    if len({instance.endpoint for instance in find.seen}) < len(find.seen):
        yield Finding(DUPLICATE, _where(find), "one endpoint is registered twice")


def _revs(case: Case) -> Iterator[Finding]:
    """One rev, one content, on every replica and for ever."""
    digests: dict[tuple[str, str], Operation] = {}
    revs: dict[tuple[str, str], Operation] = {}
    for find in case.finds:
        if find.not_modified:
            continue
        first = digests.setdefault((find.service, find.rev), find)
        if first.digest != find.digest:
            yield Finding(REV, _where(find), f"rev {find.rev[:8]} stands for another list than at {_where(first)}")
        first = revs.setdefault((find.service, find.digest), find)
        if first.rev != find.rev:
            yield Finding(REV, _where(find), f"the list has another rev than at {_where(first)}")


def _backwards(case: Case) -> Iterator[Finding]:
    """What was asked to include a position does, and no life of a replica goes back."""
    answered = [o for o in case.history.operations if o.position != NOWHERE]
    for operation in answered:
        if operation.position < operation.wanted:
            text = f"made at {operation.position}, wanted {operation.wanted}"
            yield Finding(BACKWARDS, _where(operation), text)
    if case.has_losses:
        return
    by_life: dict[str, list[Operation]] = {}
    for operation in answered:
        by_life.setdefault(operation.replica, []).append(operation)
    for operations in by_life.values():
        ended = iter(sorted(operations, key=lambda o: o.end_ms))
        other = next(ended)
        highest = NOWHERE
        for operation in sorted(operations, key=lambda o: o.start_ms):
            while other.end_ms < operation.start_ms:
                highest = max(highest, other.position)
                other = next(ended)
            if operation.position < highest:
                yield Finding(BACKWARDS, _where(operation), f"made at {operation.position}, after {highest}")


# -- feeds -------------------------------------------------------------------------------------------------------------


def _feeds(case: Case) -> Iterator[Finding]:
    """What a watcher was told leads from its first list to its last, and leaves no acknowledged change out."""
    for watch in case.history.watches:
        if watch.dropped:
            continue
        where = f"{watch.service} {watch.client} on {watch.replica} from {watch.opened_ms}"
        told = {instance.endpoint: instance for instance in watch.first}
        for change in watch.changes:
            if change.action == "DELETE":
                told.pop(change.seen.endpoint, None)
            else:
                told[change.seen.endpoint] = change.seen
        last = {instance.endpoint: instance for instance in watch.last}
        if told != last:
            wrong = sorted(key for key in told.keys() | last.keys() if told.get(key) != last.get(key))
            yield Finding(FEED, where, f"what it was told of {', '.join(wrong)} is not what is there")
        yield from _untold(case, watch, where)


def _untold(case: Case, watch: Watch, where: str) -> Iterator[Finding]:
    """Acknowledged writes of the session that set a value nobody had set before must have come as events."""
    told = {change.seen.value for change in watch.changes} | {instance.value for instance in watch.first}
    for operation in case.writes_of_values.get(watch.service, ()):
        if case.is_doubtful(operation.start_ms, operation.end_ms) and case.is_doubtful(
            watch.closed_ms, watch.closed_ms
        ):
            continue  # the watcher may stand in a history that lacks it, and in which its place names another event
        if watch.first_position < operation.position <= watch.last_position and operation.value not in told:
            yield Finding(FEED, where, f"it was not told of {operation.value}, set at {operation.position}")


def _exact(case: Case) -> Iterator[Finding]:
    for client, at_ms, text in (*inexact(case), *misled(case)):
        yield Finding(EXACT, f"{client} at {at_ms}", text)


def _past(case: Case) -> Iterator[Finding]:
    for where, text in (*changed_past(case), *forgotten_past(case)):
        yield Finding(PAST, where, text)


def _where(operation: Operation) -> str:
    return f"{operation.service} {operation.client} {operation.kind} on {operation.replica} at {operation.start_ms}"
