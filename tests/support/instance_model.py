"""InstanceModel: what one instance can have been, given what its one client sent and was answered.

Two questions are answered from the outside, without knowing the registry:

- Is there an order of the operations, each at one moment between its begin and its end, in which every answer is true
  (linearizability; the search is Wing and Gong's, with Lowe's memory of states seen)? What ended unknown may happen at
  any moment from its begin on, or never. A lapse of the lease may come in between where no renewal forbids it.
- Within a stretch of time, can a reader have seen the instance so?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from tests.support.history import (
    HEARTBEAT,
    OK,
    REFUSED,
    REGISTER,
    SET_PROPERTIES,
    SET_STATUS,
    UNKNOWN,
    UNREGISTER,
    Operation,
    Seen,
)

EVER: Final = 1 << 62
#: The outcome of a heartbeat that was accepted without the store: it keeps the lease, but says nothing of the registry.
REMEMBERED: Final = "remembered"
#: What the last look showed, as the last operation.
LOOK: Final = "look"
#: An id, status or value that cannot be known.
ANY: Final = "?"
#: A silence of the store that is shorter than a lease by this factor does not make it start anew; and for this time
#: after it what was remembered may still be on its way.
UNHEARD_LEASES: Final = 4
DELIVERED_MS: Final = 500
#: States among which an order is looked for; then it is given up: what cannot be decided is no finding.
STATES_MAX: Final = 20_000


class Content(NamedTuple):
    """A registered instance."""

    instance_id: str
    status: str
    value: str


State = Content | None  # None: not registered


class Step(NamedTuple):
    """Something that happens at one moment between `start_ms` and `end_ms`, or if it is optional perhaps never."""

    kind: str
    start_ms: int
    end_ms: int
    optional: bool
    refused: bool = False
    instance_id: str = ""
    status: str = ""
    value: str = ""
    shown: State = None
    #: Once this has happened the lease holds until then at least.
    held_until_ms: int = 0

    def leads_to(self, state: State) -> list[State]:
        """The states after it in which its answer is true; none when it is not."""
        match self.kind:
            case "look":
                return [state] if _shows(state, self.shown) else []
            case "register":
                known = state.instance_id if state is not None else self.instance_id
                if not _same(known, self.instance_id):
                    return []
                return [Content(self.instance_id if self.instance_id != ANY else known, self.status, self.value)]
        here = state is not None and _same(state.instance_id, self.instance_id)
        sure = state is not None and state.instance_id == self.instance_id
        if self.refused:
            return [] if sure else [state]
        if not here or state is None:
            return [state] if self.optional else []
        match self.kind:
            case "heartbeat":
                return [state._replace(instance_id=self.instance_id)]
            case "unregister":
                return [None]
            case "set_status":
                return [state._replace(instance_id=self.instance_id, status=self.status)]
            case "set_properties":
                return [state._replace(instance_id=self.instance_id, value=self.value)]
        raise AssertionError(self.kind)


def _same(one: str, other: str) -> bool:
    return one == other or ANY in (one, other)


def _shows(state: State, shown: State) -> bool:
    if state is None or shown is None:
        return state is shown
    return all(_same(a, b) for a, b in zip(state, shown, strict=True))


class Span(NamedTuple):
    """A stretch of time in which something may have been so."""

    begin_ms: int
    end_ms: int

    def meets(self, begin_ms: int, end_ms: int) -> bool:
        return self.begin_ms <= end_ms and begin_ms <= self.end_ms


@dataclass(frozen=True)
class InstanceModel:
    """The operations of one instance, in the order of their begin."""

    endpoint: str
    ttl_ms: int
    operations: Sequence[Operation]

    # -- renewals ------------------------------------------------------------------------------------------------------

    @cached_property
    def renewals(self) -> list[Operation]:
        """What certainly renewed the lease."""
        return [
            o for o in self.operations if o.kind in (REGISTER, HEARTBEAT) and o.outcome in (OK, REMEMBERED) and o.ttl_ms
        ]

    @cached_property
    def lapses(self) -> list[Span]:
        """When the lease may have lapsed: nowhere between a renewal's answer and one lease after its begin."""
        free: list[Span] = []
        begin = 0
        for held in sorted(self._held):
            if held.begin_ms >= begin:
                free.append(Span(begin, held.begin_ms))
            begin = max(begin, held.end_ms)
        return [*free, Span(begin, EVER)]

    @cached_property
    def _held(self) -> list[Span]:
        """When leases certainly hold. What was only remembered comes in time if a good part of the lease was left."""
        held = [Span(o.end_ms, o.start_ms + o.ttl_ms) for o in self.renewals if o.outcome == OK]
        for o in self.renewals:
            margin_ms = o.ttl_ms // UNHEARD_LEASES + DELIVERED_MS
            if o.outcome == REMEMBERED and any(
                span.begin_ms <= o.start_ms and o.start_ms + margin_ms <= span.end_ms for span in held
            ):
                held.append(Span(o.end_ms, o.start_ms + o.ttl_ms))
        return held

    def renewed_before(self, at_ms: int) -> int:
        """Until when requests sent before this moment can have renewed the lease, as far as the client knows."""
        ends = (o.end_ms for o in self._tries if o.start_ms <= at_ms)
        return max(ends, default=at_ms)

    @cached_property
    def _tries(self) -> list[Operation]:
        return [o for o in self.operations if o.kind in (REGISTER, HEARTBEAT) and o.outcome != REFUSED]

    # -- the order -----------------------------------------------------------------------------------------------------

    def has_order(self, look: Seen | None, look_ms: int, lapses_anywhere: bool = False, with_look: bool = True) -> bool:
        """Whether some order explains every answer, and with the last look what it showed."""
        held = not lapses_anywhere
        unsaid = (UNKNOWN, REMEMBERED)
        steps = [_step(o, held) for o in self.operations if not (o.kind == HEARTBEAT and o.outcome in unsaid)]
        if with_look:
            shown = Content(look.instance_id, look.status, look.value) if look else None
            steps.append(Step(LOOK, look_ms, look_ms, optional=False, shown=shown))
        lapses = [Span(0, EVER)] if lapses_anywhere else self.lapses
        return _has_order(sorted(steps, key=lambda step: step.start_ms), lapses)

    # -- what a reader can have seen -----------------------------------------------------------------------------------

    def absent(self, begin_ms: int, end_ms: int) -> bool:
        """Whether it can have been missing at some moment of this stretch."""
        return any(span.meets(begin_ms, end_ms) for span in self._absences)

    @cached_property
    def _absences(self) -> list[Span]:
        registrations = [o for o in self.operations if o.kind == REGISTER and o.outcome == OK]

        def until(after_ms: int) -> int:
            return min((o.end_ms for o in registrations if o.start_ms >= after_ms), default=EVER)

        gone = [o for o in self.operations if o.kind == UNREGISTER and o.outcome != REFUSED]
        removals = [Span(o.start_ms, until(o.end_ms) if o.outcome == OK else EVER) for o in gone]
        return [Span(0, until(0)), *self.lapses, *removals]

    def shown(self, seen: Seen, begin_ms: int, end_ms: int) -> str:
        """Why it cannot have been seen so at any moment of this stretch; "" when it can."""
        if not any(span.meets(begin_ms, end_ms) for span in self._presences):
            return "it was not registered"
        for what, spans, value in (("status", self._statuses, seen.status), ("value", self._values, seen.value)):
            if not any(span.meets(begin_ms, end_ms) for span in spans.get(value, ())):
                return f"its {what} was not {value!r}"
        return ""

    @cached_property
    def _presences(self) -> list[Span]:
        over = [o for o in self.operations if o.kind == UNREGISTER and o.outcome == OK]
        return [
            Span(o.start_ms, min((u.end_ms for u in over if u.start_ms >= o.end_ms), default=EVER))
            for o in self.operations
            if o.kind == REGISTER and o.outcome != REFUSED
        ]

    @cached_property
    def _statuses(self) -> dict[str, list[Span]]:
        return _spans([o for o in self.operations if o.kind in (REGISTER, SET_STATUS)], lambda o: o.status)

    @cached_property
    def _values(self) -> dict[str, list[Span]]:
        return _spans([o for o in self.operations if o.kind in (REGISTER, SET_PROPERTIES)], lambda o: o.value)


def _spans(writes: Sequence[Operation], what: Callable[[Operation], str]) -> dict[str, list[Span]]:
    """When each text may have been the current one: until the next write that certainly came after it was answered."""
    spans: dict[str, list[Span]] = {}
    sure = [o for o in writes if o.outcome == OK]
    for write in writes:
        if write.outcome == REFUSED:
            continue
        over = EVER
        if write.outcome == OK:
            over = min((o.end_ms for o in sure if o.start_ms >= write.end_ms and o is not write), default=EVER)
        spans.setdefault(what(write), []).append(Span(write.start_ms, over))
    return spans


def _step(operation: Operation, held: bool) -> Step:
    renews = held and operation.kind in (REGISTER, HEARTBEAT) and operation.outcome == OK
    unknown = operation.outcome == UNKNOWN
    return Step(
        operation.kind,
        operation.start_ms,
        EVER if unknown else operation.end_ms,
        unknown,
        operation.outcome == REFUSED,
        operation.instance_id or ANY,
        operation.status,
        operation.value,
        held_until_ms=operation.start_ms + operation.ttl_ms if renews else 0,
    )


def _has_order(steps: Sequence[Step], lapses: Sequence[Span]) -> bool:
    """Search for an order of the steps (sorted by begin) in which each leads from one state to the next."""
    needed = sum(1 << i for i, step in enumerate(steps) if not step.optional)
    stack: list[tuple[int, State, int]] = [(0, None, 0)]
    met: set[tuple[int, State, int]] = set()
    while stack:
        done, state, now_ms = stack.pop()
        if done & needed == needed:
            return True
        if (done, state, now_ms) in met:
            continue
        met.add((done, state, now_ms))
        if len(met) > STATES_MAX:
            return True
        # The next one must begin before every needed one that is left has ended, and must not be over already.
        left = [(i, step) for i, step in enumerate(steps) if not done >> i & 1]
        latest = min(step.end_ms for _, step in left if not step.optional)
        if state is not None:
            # It may also expire first, as soon as its lease may have lapsed.
            since_ms = max((step.held_until_ms for i, step in enumerate(steps) if done >> i & 1), default=0)
            since_ms = max(since_ms, now_ms)
            lapse_ms = next((max(since_ms, lapse.begin_ms) for lapse in lapses if lapse.end_ms >= since_ms), EVER)
            if lapse_ms <= latest:
                stack.append((done, None, lapse_ms))
        for i, step in reversed(left):
            if step.start_ms <= latest and step.end_ms >= now_ms:
                stack += [(done | 1 << i, after, max(now_ms, step.start_ms)) for after in step.leads_to(state)]
    return False


def models_of(
    operations: Iterable[Operation], certain: Callable[[Operation], Operation]
) -> dict[tuple[str, str], InstanceModel]:
    """The instances by service and endpoint.

    Args:
        certain: what an operation says for certain.
    """
    found: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        if operation.endpoint:
            found.setdefault((operation.service, operation.endpoint), []).append(operation)
    return {key: _model(key[1], some, certain) for key, some in found.items()}


def _model(endpoint: str, operations: Sequence[Operation], certain: Callable[[Operation], Operation]) -> InstanceModel:
    ttl_ms = max(operation.ttl_ms for operation in operations)
    return InstanceModel(endpoint, ttl_ms, sorted(map(certain, operations), key=lambda o: o.start_ms))
