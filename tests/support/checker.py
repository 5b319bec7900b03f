"""Checker: judges a recorded history by what the registry promises (README.md, "Guarantees" and "Limits").

A finding is a promise that was broken. What a fault excuses is not found: a read that a fault touches may be as old
as the fault, and an instance that falls silent may stay for one more lease after it. No fault excuses an acknowledged
write that is missing, an instance removed while its lease holds, a rev that lies, or replicas that differ at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from msgspec import structs

from tests.simulation.instance_model import REMEMBERED, InstanceModel, models_of
from tests.support.history import (
    BREAK,
    FIND,
    HEARTBEAT,
    LOSSES,
    NOWHERE,
    OK,
    REFUSED,
    REGISTER,
    SET_PROPERTIES,
    UNKNOWN,
    WRITES,
    History,
    Operation,
    Position,
    Seen,
    Watch,
)

# The rules.
ORDER: Final = "order"  # no order of one instance's operations explains their answers
LOST_WRITE: Final = "lost-write"  # what was acknowledged is not there at the end
LIVING_REMOVED: Final = "living-removed"  # an instance went while its lease held
DEAD_KEPT: Final = "dead-kept"  # one that fell silent is still shown
DIVERGENCE: Final = "divergence"  # replicas differ at the end, or answers at one position
STALE_READ: Final = "stale-read"  # an answer is older than it may be, or was never true
WRONG_304: Final = "wrong-304"  # the same of a not-modified
REV: Final = "rev"  # one rev for two lists, or two revs for one
BACKWARDS: Final = "backwards"  # a replica, or what a position was asked of, went back
FEED: Final = "feed"  # a watcher was not told something
DUPLICATE: Final = "duplicate"  # one endpoint twice in a list
FAILURE: Final = "failure"  # a replica ended, or answered 500003
RULES: Final = (
    FAILURE, ORDER, LOST_WRITE, LIVING_REMOVED, DEAD_KEPT, DIVERGENCE, STALE_READ, WRONG_304, REV, BACKWARDS, FEED, DUPLICATE,
)  # fmt: skip
#: 4xx codes that deny what was asked for, which a replica may do only after it has caught up.
DENIALS: Final = (400012, 400017)


class Finding(NamedTuple):
    """A broken promise: which, where, and what happened."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is allowed, in ms, and what is looked at."""

    #: A plain read may be so old, where no fault is near.
    lag_ms: int = 1500
    #: A lapsed instance is gone so long after its lease; the rest of `lag_ms` is for reads.
    expiry_ms: int = 1000
    #: For so long after its end a fault excuses what it has touched.
    recover_ms: int = 4000
    enabled: tuple[str, ...] = RULES


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
    ]
    return [finding for judge in judges for finding in judge(case) if finding.rule in rules.enabled]


class Trouble(NamedTuple):
    """A stretch of time in which faults are felt; `own`: not only those that concern all replicas."""

    begin_ms: int
    end_ms: int
    own: bool


@dataclass(frozen=True)
class Case:
    """A history, and what several rules ask of it."""

    history: History
    rules: Rules

    @cached_property
    def models(self) -> dict[tuple[str, str], InstanceModel]:
        return models_of(self._without_doubt(operation) for operation in self.history.operations)

    def _without_doubt(self, operation: Operation) -> Operation:
        """What an answer says for certain.

        A replica that cannot reach the store accepts heartbeats of what it holds, and delivers them later. In an
        outage of the store nobody is expired meanwhile, so they keep leases all the same. Where one replica alone was
        in trouble they may come too late, or never ("Limits").
        """
        if operation.outcome != OK or operation.kind not in (HEARTBEAT, REGISTER):
            return operation
        trouble = self.trouble(operation.replica, operation.start_ms, operation.end_ms)
        if trouble is None:
            return operation
        if operation.kind == REGISTER:
            return structs.replace(operation, ttl_ms=0) if trouble.own else operation
        return structs.replace(operation, outcome=UNKNOWN if trouble.own else REMEMBERED)

    @cached_property
    def by_service(self) -> dict[str, list[InstanceModel]]:
        found: dict[str, list[InstanceModel]] = {}
        for (service, _), model in self.models.items():
            found.setdefault(service, []).append(model)
        return found

    @cached_property
    def finds(self) -> list[Operation]:
        """The answered finds in the order of their answers."""
        finds = [o for o in self.history.operations if o.kind == FIND and o.outcome == OK]
        return sorted(finds, key=lambda o: o.end_ms)

    @cached_property
    def lists(self) -> dict[tuple[str, str], tuple[Seen, ...]]:
        """What each rev of each service was handed out for."""
        found: dict[tuple[str, str], tuple[Seen, ...]] = {}
        for find in self.finds:
            if not find.not_modified:
                found.setdefault((find.service, find.rev), find.seen)
        return found

    @cached_property
    def writes_of_values(self) -> dict[str, list[Operation]]:
        """By service, acknowledged writes of values that no other request tried to set, each at its position."""
        tries: dict[tuple[str, str], list[Operation]] = {}
        for operation in self.history.operations:
            if operation.kind in (REGISTER, SET_PROPERTIES):
                tries.setdefault((operation.service, operation.value), []).append(operation)
        found: dict[str, list[Operation]] = {}
        for (service, _), some in tries.items():
            if len(some) == 1 and some[0].outcome == OK:
                found.setdefault(service, []).append(some[0])
        return found

    # -- faults --------------------------------------------------------------------------------------------------------

    @cached_property
    def _troubles(self) -> dict[str, list[Trouble]]:
        """By replica: when faults are felt there, those that touch each other as one."""
        names = {o.replica.partition(".")[0] for o in self.history.operations}
        return {name: self._troubles_of(name) for name in names}

    def _troubles_of(self, name: str) -> list[Trouble]:
        merged: list[Trouble] = []
        for fault in sorted(self.history.faults, key=lambda fault: fault.start_ms):
            if fault.target not in ("", name):
                continue
            end_ms = fault.end_ms + (0 if fault.kind == BREAK else self.rules.recover_ms)
            own = fault.target == name
            if merged and fault.start_ms <= merged[-1].end_ms:
                last = merged.pop()
                merged.append(Trouble(last.begin_ms, max(last.end_ms, end_ms), last.own or own))
            else:
                merged.append(Trouble(fault.start_ms, end_ms, own))
        return merged

    def trouble(self, replica: str, begin_ms: int, end_ms: int) -> Trouble | None:
        """The first trouble of this replica in this stretch of time."""
        for trouble in self._troubles.get(replica.partition(".")[0], ()):
            if trouble.begin_ms <= end_ms and begin_ms <= trouble.end_ms:
                return trouble
        return None

    def excused_ms(self, due_ms: int, ttl_ms: int) -> int:
        """When a lease that ends at `due_ms` has ended at last, if every fault near it starts leases anew."""
        for fault in sorted(self.history.faults, key=lambda fault: fault.start_ms):
            if (
                fault.kind != BREAK
                and fault.start_ms <= due_ms + self.rules.expiry_ms
                and fault.end_ms + ttl_ms > due_ms - ttl_ms
            ):
                due_ms = max(due_ms, fault.end_ms + self.rules.recover_ms + ttl_ms)
        return due_ms

    @cached_property
    def has_losses(self) -> bool:
        return any(fault.kind in LOSSES for fault in self.history.faults)

    # -- positions -----------------------------------------------------------------------------------------------------

    @cached_property
    def _writes(self) -> tuple[list[Position], list[int]]:
        """Positions of acknowledged writes, ascending, and the latest begin of a write up to each."""
        writes = sorted(
            (o.position, o.start_ms) for o in self.history.operations if o.kind in WRITES and o.outcome == OK
        )
        latest, begins = 0, []
        for _, start_ms in writes:
            latest = max(latest, start_ms)
            begins.append(latest)
        return [position for position, _ in writes], begins

    def not_before_ms(self, position: Position) -> int:
        """An answer made at this position shows the registry as it was at this moment, or later."""
        positions, begins = self._writes
        index = bisect_right(positions, position)
        return begins[index - 1] if index and not self.has_losses else 0


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
    """Whoever has fallen silent is gone one lease later: from every list, or at the latest when faults are over."""
    rules = case.rules
    views = [(o.start_ms, o.service, o.seen, _where(o)) for o in case.finds if not o.not_modified]
    views += [(look.at_ms, look.service, look.seen, look.replica) for look in case.history.last_looks]
    for at_ms, service, seen, where in views:
        for instance in seen:
            model = case.models.get((service, instance.endpoint))
            if model is None:
                continue
            due_ms = model.renewed_before(at_ms) + model.ttl_ms
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
    at: dict[tuple[str, Position], Operation] = {}
    for find in case.finds:
        first = at.setdefault((find.service, find.position), find)
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
        if watch.first_position < operation.position <= watch.last_position and operation.value not in told:
            yield Finding(FEED, where, f"it was not told of {operation.value}, set at {operation.position}")


def _where(operation: Operation) -> str:
    return f"{operation.service} {operation.client} {operation.kind} on {operation.replica} at {operation.start_ms}"
