"""Case: a history, what is allowed in it, and what several rules ask of it - above all what its faults excuse."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from msgspec import structs

from tests.support.history import (
    BREAK,
    CLOCK_JUMP,
    FIND,
    HEARTBEAT,
    LOSSES,
    OK,
    REGISTER,
    SET_PROPERTIES,
    UNKNOWN,
    WRITES,
    Fault,
    History,
    Operation,
    Position,
    Seen,
)
from tests.support.instance_model import REMEMBERED, InstanceModel, models_of

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
EXACT: Final = "exact"  # the feed of events left one out, told one twice, or another than the history has
PAST: Final = "past"  # what was at a time is not what it was
DUPLICATE: Final = "duplicate"  # one endpoint twice in a list
FAILURE: Final = "failure"  # a replica ended, or answered 500003
RULES: Final = (
    *(FAILURE, ORDER, LOST_WRITE, LIVING_REMOVED, DEAD_KEPT, DIVERGENCE),
    *(STALE_READ, WRONG_304, REV, BACKWARDS, FEED, DUPLICATE, EXACT, PAST),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is allowed, in ms, and what is looked at."""

    #: A plain read may be so old, where no fault is near.
    lag_ms: int = 1500
    #: How long after its lease a lapsed instance is gone; the rest of `lag_ms` is for reads.
    expiry_ms: int = 1000
    #: How long after its end a fault excuses what it has touched: a call that a partition swallowed times out after
    #: five seconds, a read that waits for news after six.
    recover_ms: int = 6500
    #: ... and one after which the log has to be mended, which takes waits of its own and is tried again.
    mend_ms: int = 10_000
    #: A jump of the store's clock that is no longer than this shortens leases unnoticed; nor is a lease started anew
    #: that is longer than `jump_leases` of the jump.
    jump_ms: int = 1500
    jump_leases: int = 4
    enabled: tuple[str, ...] = RULES


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
        return models_of(self.history.operations, self._without_doubt)

    def _without_doubt(self, operation: Operation) -> Operation:
        """What an answer says for certain.

        A replica that cannot reach the store accepts heartbeats of what it holds, and delivers them later. In an
        outage of the store nobody is expired meanwhile, so they keep leases all the same. Where one replica alone was
        in trouble they may come too late, or never ("Limits").
        """
        if operation.outcome != OK or operation.kind not in (HEARTBEAT, REGISTER):
            return operation
        operation = structs.replace(operation, ttl_ms=self._left_by_jumps(operation))
        trouble = self.trouble(operation.replica, operation.start_ms, operation.end_ms)
        if trouble is None:
            return operation
        if operation.kind == REGISTER:
            return structs.replace(operation, ttl_ms=0) if trouble.own else operation
        return structs.replace(operation, outcome=UNKNOWN if trouble.own else REMEMBERED)

    def _left_by_jumps(self, operation: Operation) -> int:
        """How much of the lease is left at worst when the store's clock was set forward within it."""
        ttl_ms = operation.ttl_ms
        begin_ms, end_ms = operation.start_ms, operation.end_ms + ttl_ms
        jumps = sum(begin_ms <= jump.end_ms and jump.start_ms <= end_ms for jump in self._jumps)
        return max(ttl_ms - jumps * max(self.rules.jump_ms, ttl_ms // self.rules.jump_leases), 0)

    @cached_property
    def _jumps(self) -> list[Fault]:
        return [fault for fault in self.history.faults if fault.kind == CLOCK_JUMP and not fault.target]

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
            end_ms = self._felt_until_ms(fault)
            own = fault.target == name
            if merged and fault.start_ms <= merged[-1].end_ms:
                last = merged.pop()
                merged.append(Trouble(last.begin_ms, max(last.end_ms, end_ms), last.own or own))
            else:
                merged.append(Trouble(fault.start_ms, end_ms, own))
        return merged

    def _felt_until_ms(self, fault: Fault) -> int:
        if fault.kind in LOSSES:
            return fault.end_ms + self.rules.mend_ms
        return fault.end_ms + (0 if fault.kind == BREAK else self.rules.recover_ms)

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
                due_ms = max(due_ms, self._felt_until_ms(fault) + ttl_ms)
        return due_ms

    @cached_property
    def has_losses(self) -> bool:
        return any(fault.kind in LOSSES for fault in self.history.faults)

    def losses_before(self, find: Operation) -> int | None:
        """How many losses there were before; None while one is felt, when a position may name two events."""
        losses = [f for f in self.history.faults if f.kind in LOSSES and f.start_ms <= find.end_ms]
        if any(find.start_ms <= self._felt_until_ms(loss) for loss in losses):
            return None
        return len(losses)

    @cached_property
    def _doubts(self) -> list[tuple[int, int]]:
        """From when to when a log may hold what it loses, or lack what it gets back: from the moment to which it fell
        back until it is mended everywhere, and for as long as other faults hold that up.
        """
        troubles: list[tuple[int, int, bool]] = []
        for fault in sorted(self.history.faults, key=lambda fault: fault.start_ms):
            begin_ms, end_ms, loses = fault.start_ms, self._felt_until_ms(fault), fault.kind in LOSSES
            if troubles and begin_ms <= troubles[-1][1]:
                begin_ms, before_ms, lost = troubles.pop()
                end_ms, loses = max(end_ms, before_ms), loses or lost
            troubles.append((begin_ms, end_ms, loses))
        return [(begin_ms, end_ms) for begin_ms, end_ms, loses in troubles if loses]

    def is_doubtful(self, begin_ms: int, end_ms: int) -> bool:
        """Whether what stood in a log in this stretch of time may not be what stands there now."""
        return any(begin <= end_ms and begin_ms <= end for begin, end in self._doubts)

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
