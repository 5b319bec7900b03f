"""Recent: the newest events that a replica remembers of one log, and what the log has lost, told from them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from registry.domain.events import Event, HistoryResumed, InstanceExpired, decode_event
from registry.domain.position import Position, parse_position
from registry.domain.view import RegistryView

#: Events of one tenant that a replica remembers. A store that loses more of its tail is seeded from memory instead.
RECENT_MAX: Final = 20_000
#: What an event takes in memory beside the bytes in which it is written.
EVENT_OVERHEAD_BYTES: Final = 16
#: Bytes of events from which on one piece is made of them. Each by itself would stay wherever memory was free when it
#: came, and hold all that was around it.
PIECE_BYTES: Final = 16 * 1024

EventId = tuple[str, int]


class Remembered(NamedTuple):
    position: Position
    event: Event


def event_id(event: Event) -> EventId:
    """An event's name for ever: the replica that wrote it, and its count there."""
    return event.replica, event.number


class _Name(Struct, gc=False):
    """What of an event, as it is written, names it."""

    type: str
    replica: str
    number: int


_encode_piece: Final = msgspec.msgpack.Encoder().encode
_decode_piece: Final = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_name: Final = msgspec.msgpack.Decoder(_Name).decode
_RESUMED: Final = HistoryResumed.__struct_config__.tag


class _Mention(NamedTuple):
    """An event of which only this is remembered."""

    position: Position
    id: EventId
    #: The event itself, if it begins an epoch: it has no name of its own.
    resumed: Event | None


class _Run(Struct, gc=False):
    """Events that stand one after the other: how many, and the position of the last."""

    last: Position
    count: int = 1

    def first(self) -> Position:
        return Position(self.last.epoch, self.last.sequence - self.count + 1)

    def positions(self) -> Iterator[Position]:
        epoch, last = self.last.epoch, self.last.sequence
        return (Position(epoch, sequence) for sequence in range(last - self.count + 1, last + 1))


class Recent:
    """The newest events of one log, in order, up to a number of them and of bytes. The newest one is always kept.

    They are kept as they are written, many in one piece, and read when they are asked for, which is seldom. Bytes are
    those in which they are written, and `EVENT_OVERHEAD_BYTES` for each.
    """

    def __init__(self, events_max: int | None = None, bytes_max: float = math.inf) -> None:
        self._events_max = RECENT_MAX if events_max is None else events_max
        self._bytes_max = bytes_max
        #: The eldest and the newest of them, and pieces of some `PIECE_BYTES` between.
        self._eldest: deque[bytes] = deque()
        self._pieces: deque[bytes] = deque()
        self._newest: deque[bytes] = deque()
        self._newest_bytes = 0
        self._count = 0
        #: Where they stand.
        self._runs: deque[_Run] = deque()
        self.size = 0
        #: Bytes in which all events of the present epoch are written, up to the newest: those that are remembered no
        #: more, too. The same on every replica, as long as snapshots tell of it.
        self.log_bytes = 0
        #: The one before the eldest, when that was dropped here.
        self._before: _Mention | None = None
        #: All of them, once they were asked for, until there is another one.
        self._all: list[Remembered] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def is_cut(self) -> bool:
        """Whether older ones were dropped."""
        return self._before is not None

    def add(self, position: Position, written: bytes) -> None:
        """The next event of the log."""
        size, self._all = len(written), None
        self.log_bytes = size + (self.log_bytes if position.sequence > 1 else 0)
        self._newest.append(written)
        self._count += 1
        self._newest_bytes += size
        if self._newest_bytes > PIECE_BYTES and len(self._newest) > 1:
            *piece, _ = self._newest
            self._pieces.append(_encode_piece(piece))
            self._newest, self._newest_bytes = deque((written,)), size
        run = self._runs[-1] if self._runs else None
        if run is not None and position == run.last.next():
            run.last = position
            run.count += 1
        else:
            self._runs.append(_Run(position))
        self.size += size + EVENT_OVERHEAD_BYTES
        while self._count > 1 and (self._count > self._events_max or self.size > self._bytes_max):
            self.drop()

    def drop(self) -> None:
        """Forget the eldest."""
        run, self._all = self._runs[0], None
        if not self._eldest and self._pieces:
            self._eldest.extend(_decode_piece(self._pieces.popleft()))
        if self._eldest:
            written = self._eldest.popleft()
        else:
            written = self._newest.popleft()
            self._newest_bytes -= len(written)
        self._before = _mention(run.first(), written)
        self._count -= 1
        run.count -= 1
        if not run.count:
            self._runs.popleft()
        self.size -= len(written) + EVENT_OVERHEAD_BYTES

    def clear(self) -> None:
        for part in (self._eldest, self._pieces, self._newest, self._runs):
            part.clear()
        self._newest_bytes = self._count = self.size = 0
        self._before = self._all = None

    def written(self) -> Iterator[tuple[Position, bytes]]:
        """All of them, eldest first, as they are written."""
        pieces = chain.from_iterable(map(_decode_piece, self._pieces))
        positions = chain.from_iterable(run.positions() for run in self._runs)
        return zip(positions, chain(self._eldest, pieces, self._newest), strict=True)

    def newest(self) -> Remembered | None:
        return _read(self._runs[-1].last, self._newest[-1]) if self._newest else None

    def last(self, most: int = RECENT_MAX) -> list[Remembered]:
        """The newest of them, eldest first."""
        return [_read(*one) for one in islice(self.written(), max(self._count - most, 0), None)]

    def all(self) -> list[Remembered]:
        if self._all is None:
            self._all = [_read(*one) for one in self.written()]
        return self._all.copy()

    def lost(self, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """What this replica has applied and a log does not hold.

        Args:
            log: the view to which the log was replayed.
            tail: the log's newest events. What is older is told by its position alone.
        """
        begins = tail[0].position if tail else log.position.next()
        return _missing(self.all(), tail, log, begins)

    def broken_off(self, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """Those events that begin an epoch, or tell of it, which this replica has applied and a log does not hold."""
        begins = tail[0].position if tail else log.position.next()
        held = [remembered for remembered in tail if isinstance(remembered.event, HistoryResumed)]
        return [
            remembered
            for remembered in self.all()
            if isinstance(remembered.event, HistoryResumed)
            and remembered not in held
            and not (remembered.position < begins and log.includes(remembered.position))
        ]

    def since(self, own: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        """What the log's newest events tell that this replica, whose view is `own`, has not applied."""
        known = self.all()
        begins = known[0].position if known else own.position.next()
        return _missing(tail, known, own, begins)

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
            for position, event in self.all()
            if not isinstance(event, (InstanceExpired, HistoryResumed))
        )

    def reach(self, log: RegistryView, tail: Sequence[Remembered]) -> bool:
        """Whether everything that the log may have lost is remembered: it holds what was before the eldest event."""
        if not self._count:
            return False
        position, event = self.all()[0]
        begins = tail[0].position if tail else log.position.next()
        if _holds(tail, _mention(*next(self.written()))) or (position < begins and log.includes(position)):
            return True
        if isinstance(event, HistoryResumed):
            return event.after != "" and log.includes(parse_position(event.after))
        if position.sequence == 1:
            return True
        if self._before is not None and begins <= self._before.position:
            return _holds(tail, self._before)
        return log.includes(Position(position.epoch, position.sequence - 1))


def _read(position: Position, written: bytes) -> Remembered:
    return Remembered(position, decode_event(written))


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


def _mention(position: Position, written: bytes) -> _Mention:
    name = _decode_name(written)
    return _Mention(position, (name.replica, name.number), decode_event(written) if name.type == _RESUMED else None)


def _holds(tail: Iterable[Remembered], asked: _Mention) -> bool:
    if asked.resumed is not None:
        return Remembered(asked.position, asked.resumed) in tail
    return any(event_id(remembered.event) == asked.id for remembered in tail)
