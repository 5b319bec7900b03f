"""Recent: the newest events that a replica remembers of the logs, and what a log has lost, told from them.

They are bounded in number for each log, and in bytes for all of them together.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import Final, NamedTuple

from registry.domain.events import Event, HistoryResumed, InstanceExpired
from registry.domain.position import Position, parse_position
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView

#: Events of one tenant that a replica remembers. A store that loses more of its tail is seeded from memory instead.
RECENT_MAX: Final = 20_000
#: What an event takes in memory beside the bytes in which it is written.
EVENT_OVERHEAD_BYTES: Final = 1024

EventId = tuple[str, int]


class Remembered(NamedTuple):
    position: Position
    event: Event


def event_id(event: Event) -> EventId:
    """An event's name for ever: the replica that wrote it, and its count there."""
    return event.replica, event.number


class _Mention(NamedTuple):
    """An event of which only this is remembered."""

    position: Position
    id: EventId
    #: The event itself, if it begins an epoch: it has no name of its own.
    resumed: HistoryResumed | None


class Recent:
    """The newest events of one log, in order, up to a number of them and of bytes. The newest one is always kept.

    Bytes are those in which events are written, and `EVENT_OVERHEAD_BYTES` for each.
    """

    def __init__(self, events_max: int | None = None, bytes_max: float = math.inf) -> None:
        self._events_max = RECENT_MAX if events_max is None else events_max
        self._bytes_max = bytes_max
        self._events: deque[Remembered] = deque()
        self._sizes: deque[int] = deque()
        self.size = 0
        #: Bytes in which all events of the present epoch are written, up to the newest: those that are remembered no
        #: more, too. The same on every replica, as long as snapshots tell of it.
        self.log_bytes = 0
        #: The one before the eldest, when that was dropped here.
        self._before: _Mention | None = None

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_cut(self) -> bool:
        """Whether older ones were dropped."""
        return self._before is not None

    def add(self, position: Position, event: Event, size: int = 0) -> None:
        """The next event of the log, and the number of bytes in which it is written."""
        self.log_bytes = size + (self.log_bytes if position.sequence > 1 else 0)
        self._events.append(Remembered(position, event))
        self._sizes.append(size + EVENT_OVERHEAD_BYTES)
        self.size += size + EVENT_OVERHEAD_BYTES
        while len(self._events) > 1 and (len(self._events) > self._events_max or self.size > self._bytes_max):
            self.drop()

    def drop(self) -> None:
        """Forget the eldest."""
        position, event = self._events.popleft()
        self._before = _Mention(position, event_id(event), event if isinstance(event, HistoryResumed) else None)
        self.size -= self._sizes.popleft()

    def clear(self) -> None:
        self._events.clear()
        self._sizes.clear()
        self.size, self._before = 0, None

    def newest(self) -> Remembered | None:
        return self._events[-1] if self._events else None

    def last(self, most: int = RECENT_MAX) -> list[Remembered]:
        """The newest of them, eldest first."""
        return list(islice(self._events, max(len(self._events) - most, 0), None))

    def all(self) -> list[Remembered]:
        return list(self._events)

    def sizes(self) -> list[int]:
        """In how many bytes each of them is written."""
        return [size - EVENT_OVERHEAD_BYTES for size in self._sizes]

    def lost(self, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """What this replica has applied and a log does not hold.

        Args:
            log: the view to which the log was replayed.
            tail: the log's newest events. What is older is told by its position alone.
        """
        begins = tail[0].position if tail else log.position.next()
        return _missing(self._events, tail, log, begins)

    def broken_off(self, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """Those events that begin an epoch, or tell of it, which this replica has applied and a log does not hold."""
        begins = tail[0].position if tail else log.position.next()
        held = [remembered for remembered in tail if isinstance(remembered.event, HistoryResumed)]
        return [
            remembered
            for remembered in self._events
            if isinstance(remembered.event, HistoryResumed)
            and remembered not in held
            and not (remembered.position < begins and log.includes(remembered.position))
        ]

    def since(self, own: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """What the log's newest events tell that this replica, whose view is `own`, has not applied."""
        begins = self._events[0].position if self._events else own.position.next()
        return _missing(tail, self._events, own, begins)

    def gap(self, lost: Sequence[Remembered], wanted: Sequence[Remembered]) -> bool:
        """Whether the log holds what came after something that it has lost: then it is no tail that is missing.

        Expiries say nothing of it: they are never put back.

        Args:
            wanted: those of the lost events that the log is to hold again.
        """
        begins = min((position for position, event in wanted if not isinstance(event, InstanceExpired)), default=None)
        missing = {position for position, _ in lost}
        return begins is not None and any(
            position > begins and position not in missing
            for position, event in self._events
            if not isinstance(event, (InstanceExpired, HistoryResumed))
        )

    def reach(self, log: RegistryView, tail: Sequence[Remembered]) -> bool:
        """Whether everything that the log may have lost is remembered: it holds what was before the eldest event."""
        if not self._events:
            return False
        position, event = self._events[0]
        begins = tail[0].position if tail else log.position.next()
        if _holds(tail, _mention(self._events[0])) or (position < begins and log.includes(position)):
            return True
        if isinstance(event, HistoryResumed):
            return event.after != "" and log.includes(parse_position(event.after))
        if position.sequence == 1:
            return True
        if self._before is not None and begins <= self._before.position:
            return _holds(tail, self._before)
        return log.includes(Position(position.epoch, position.sequence - 1))


def _missing(
    events: Iterable[Remembered], others: Iterable[Remembered], view: RegistryView, begins: Position
) -> list[Remembered]:
    """Those of the events that are not among the others, nor in what the view held before these begin."""
    known = {event_id(remembered.event) for remembered in others}
    return [
        remembered
        for remembered in events
        if event_id(remembered.event) not in known
        and not (remembered.position < begins and view.includes(remembered.position))
        and not isinstance(remembered.event, HistoryResumed)
    ]


def _holds(tail: Iterable[Remembered], asked: _Mention) -> bool:
    if asked.resumed is not None:
        return Remembered(asked.position, asked.resumed) in tail
    return any(event_id(remembered.event) == asked.id for remembered in tail)


def _mention(remembered: Remembered) -> _Mention:
    position, event = remembered
    return _Mention(position, event_id(event), event if isinstance(event, HistoryResumed) else None)


class Recents:
    """What one replica remembers of all logs, up to a number of bytes together: it forgets the oldest anywhere.

    What a store loses is what was newest in all of its logs, so that a log with many events takes nothing from the
    others that would be lost together with its own. The newest event of each log stays in any case.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._of: dict[Tenant, Recent] = {}
        self.size = 0
        #: Whose event was followed by another one, eldest first, and the keys of each tenant in it.
        self._followed: OrderedDict[int, Tenant] = OrderedDict()
        self._keys: dict[Tenant, deque[int]] = {}
        self._numbers = count()

    def of(self, tenant: Tenant) -> Recent:
        """What is remembered of its log; nothing, which is not kept, of one that was never heard of."""
        return self._of.get(tenant) or Recent()

    def add(self, tenant: Tenant, position: Position, event: Event, size: int) -> None:
        """The next event of the tenant's log, and the number of bytes in which it is written."""
        recent = self._of.get(tenant)
        if recent is None:
            recent, self._keys[tenant] = self._of.setdefault(tenant, Recent()), deque()
        keys = self._keys[tenant]
        if len(recent):
            key = next(self._numbers)
            keys.append(key)
            self._followed[key] = tenant
        before = recent.size
        recent.add(position, event, size)
        self.size += recent.size - before
        while len(keys) >= len(recent):
            del self._followed[keys.popleft()]
        while self.size > self._bytes_max and self._followed:
            self._drop()

    def _drop(self) -> None:
        _, tenant = self._followed.popitem(last=False)
        self._keys[tenant].popleft()
        recent = self._of[tenant]
        before = recent.size
        recent.drop()
        self.size += recent.size - before

    def reset(self, tenant: Tenant, tail: Recent) -> None:
        """The log was replayed: these are its newest events."""
        self.forget(tenant)
        for (position, event), size in zip(tail.all(), tail.sizes(), strict=True):
            self.add(tenant, position, event, size)
        if tenant in self._of:
            self._of[tenant].log_bytes = tail.log_bytes

    def forget(self, tenant: Tenant) -> None:
        recent = self._of.pop(tenant, None)
        if recent is not None:
            self.size -= recent.size
            for key in self._keys.pop(tenant):
                del self._followed[key]
