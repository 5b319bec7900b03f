"""Exactness: what the feed of events and the past owe, judged by what readers took down.

The feed tells every event of the log behind a reader's place once and in order, whichever replicas it reads from; and
what was at a time stays as it was. Only a log that has lost events and got them back may say otherwise, of the time in
which it had lost them: a place may then name one event to one reader and another one to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.support import feed_pages
from tests.support.case import Case
from tests.support.history import (
    LOSSES,
    NOWHERE,
    Fed,
    FeedBegins,
    FeedEnds,
    Logged,
    Operation,
    PastLook,
    Position,
    Reading,
)

#: The kind of the event with which a history goes on that has lost something.
RESUMED: Final = "history-resumed"


class Inexact(NamedTuple):
    client: str
    at_ms: int
    text: str


def inexact(case: Case) -> Iterator[Inexact]:
    """Where a reader of the feed was not told what the log holds."""
    by_client: dict[str, list[Reading]] = defaultdict(list)
    for reading in case.history.readings:
        by_client[reading.client].append(reading)
    log = case.history.logged
    for client, readings in by_client.items():
        for stretch in _stretches(readings):
            for at_ms, text in _judge(case, stretch, log):
                yield Inexact(client, at_ms, text)


def misled(case: Case) -> Iterator[Inexact]:
    """Where who followed the feed held something else than the registry, though it had been told of each loss."""
    losses = [fault for fault in case.history.faults if fault.kind in LOSSES]
    for one in case.history.misled:
        lost_ms = max((fault.end_ms for fault in losses if fault.start_ms <= one.at_ms), default=0)
        if one.mended_ms > lost_ms or not case.is_doubtful(one.at_ms, one.at_ms):
            yield Inexact(one.client, one.at_ms, f"at {one.position} it held {one.text}")


class _Stretch(NamedTuple):
    """What came behind one place. `given_up`: at last its reader was told to read the present."""

    begins: FeedBegins
    fed: Sequence[Fed]
    ends: FeedEnds | None
    given_up: bool = False


def _stretches(readings: Sequence[Reading]) -> Iterator[_Stretch]:
    begins: FeedBegins | None = None
    fed: list[Fed] = []
    for reading in readings:
        if isinstance(reading, FeedEnds):
            assert begins is not None
            yield _Stretch(begins, fed, reading)
            return
        if isinstance(reading, Fed):
            fed.append(reading)
            continue
        if begins is not None:
            yield _Stretch(begins, fed, None, reading.given_up != NOWHERE)
        begins, fed = reading, []
    if begins is not None:
        yield _Stretch(begins, fed, None)


def _judge(case: Case, stretch: _Stretch, log: Sequence[Logged]) -> Iterator[tuple[int, str]]:
    place = stretch.begins.position
    for told in stretch.fed:
        if told.position <= place:
            yield told.at_ms, f"{told.position} was told behind {place}"
        place = told.position
    given_up, at_ms = stretch.begins.given_up, stretch.begins.at_ms
    if given_up and log and given_up >= log[0].position and not case.is_doubtful(at_ms, at_ms):
        yield at_ms, f"what comes behind {given_up} was said not to be kept, and is"
    yield from _compare(case, stretch, log)


def _compare(case: Case, stretch: _Stretch, log: Sequence[Logged]) -> Iterator[tuple[int, str]]:
    """What was told is what the log holds, as far as it does and the reader has come."""
    if not log:
        return
    until = stretch.ends.position if stretch.ends is not None else max((t.position for t in stretch.fed), default=None)
    if until is None:
        return
    told = {one.position: one for one in stretch.fed}
    held = {one.position: one for one in log if stretch.begins.position < one.position <= until}
    resumptions = [one.position for one in stretch.fed if one.kind == RESUMED]
    places = _places_in_doubt(case, stretch)
    for position, one in told.items():
        is_held = position in held and held[position].digest == one.digest
        if is_held or position < log[0].position:
            continue
        is_told = stretch.given_up or any(later > position for later in resumptions)
        if is_told and case.is_doubtful(one.at_ms, one.at_ms):
            continue  # the log has lost it, and said so
        yield one.at_ms, f"{position}, {one.kind}, is not what the history has there"
    for position in held.keys() - told.keys():
        if any(position <= place for place in places):
            continue  # the reader was further in the history that was lost
        yield stretch.begins.at_ms, f"{position}, {held[position].kind}, was never told"


def _places_in_doubt(case: Case, stretch: _Stretch) -> list[Position]:
    """Where the reader was while its log may not have been the one that there is now."""
    readings: list[FeedBegins | Fed] = [stretch.begins, *stretch.fed]
    return [one.position for one in readings if case.is_doubtful(one.at_ms, one.at_ms)]


# -- the past ----------------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """What was at a time, as somebody was told it."""

    start_ms: int
    end_ms: int
    content: tuple[str, str]
    where: str


def changed_past(case: Case) -> Iterator[tuple[str, str]]:
    """Where a find of the past is not what another one of the same time was, or what the present was then."""
    seen: dict[tuple[str, str], list[_Seen]] = defaultdict(list)
    for look in case.history.past_looks:
        if look.position == NOWHERE and case.is_doubtful(look.start_ms, look.end_ms):
            continue  # a log that was emptied knows of no microservice
        seen[look.service, look.as_of].append(_of_look(look))
        if look.position not in (NOWHERE, _place(look.as_of)):
            seen[look.service, _text(look.position)].append(_of_look(look))
    for find in case.finds:
        if not find.not_modified:
            seen[find.service, _text(find.position)].append(_of_find(find))
    for (service, as_of), looks in seen.items():
        looks.sort(key=lambda seen: seen.end_ms)
        first = next((one for one in looks if not case.is_doubtful(one.start_ms, one.end_ms)), None)
        if first is None:
            continue
        for one in looks:
            if one.content != first.content and one.end_ms > first.end_ms:
                yield f"{service} {one.where}", f"what was at {as_of} is not what {first.where} says"


def forgotten_past(case: Case) -> Iterator[tuple[str, str]]:
    """Where a time is said not to be kept that was told of before, though no loss of the log came between."""
    told: dict[tuple[str, str], int] = {}
    for look in sorted(case.history.past_looks, key=lambda look: look.end_ms):
        told.setdefault((look.service, look.as_of), look.end_ms)
    losses = [fault.start_ms for fault in case.history.faults if fault.kind in LOSSES]
    for gone in case.history.past_gone:
        told_ms = told.get((gone.service, gone.as_of))
        if told_ms is None or told_ms >= gone.at_ms or any(loss_ms <= gone.at_ms for loss_ms in losses):
            continue
        where = f"{gone.service} {gone.client} asOf {gone.as_of} on {gone.replica} at {gone.at_ms}"
        yield where, "nothing is kept of a time that was told of before"


def _of_look(look: PastLook) -> _Seen:
    where = f"{look.client} asOf {look.as_of} on {look.replica} at {look.start_ms}"
    return _Seen(look.start_ms, look.end_ms, (look.rev, look.digest), where)


def _of_find(find: Operation) -> _Seen:
    where = f"{find.client} on {find.replica} at {find.start_ms}"
    return _Seen(find.start_ms, find.end_ms, (find.rev, find.digest), where)


def _place(as_of: str) -> Position:
    return feed_pages.place(as_of) if "-" in as_of else NOWHERE


def _text(position: Position) -> str:
    return f"{position[0]}-{position[1]}"
