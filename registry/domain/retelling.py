"""Retelling: what a log that lost events tells again, to those who were told of them.

Who follows a log holds what it was told. When some of that is lost and put back, or is not, the log tells again what
each thing is about which such a reader may be wrong: in pages, so that no event grows with the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from registry.domain.events import Event, HistoryResumed
from registry.domain.history import subjects
from registry.domain.outcome import Again
from registry.domain.position import Position
from registry.domain.recent import Remembered
from registry.domain.recorded import Recorded
from registry.domain.retold import Retold
from registry.domain.view import RegistryView, ServiceRow

#: Things that are told again; where there are more, a reader is told that it has to read the present.
RETOLD_MAX: Final = 10_000
#: Things of one page, and the bytes of what is told of them, unless one alone has more.
PAGE_MAX: Final = 100
PAGE_MAX_BYTES: Final = 256 * 1024
#: Lost events that are named of one thing: the newest.
UNDONE_NAMED_MAX: Final = 10

#: The ids of a microservice and of an instance of it, "" for the microservice itself; both "" for everything else.
Thing = tuple[str, str]


class Retelling(NamedTuple):
    """`forked`: as in `HistoryResumed`. `undone`: number of events that were lost and are not put back."""

    forked: str
    undone: int
    pages: Sequence[list[Retold]]


#: Nothing is known of what readers were told.
UNKNOWN: Final = Retelling("", 0, ())


def fork(lost: Sequence[Remembered], end: Position) -> Position:
    """The place directly before the first of these events; `end` where there are none."""
    first = min((position for position, _ in lost), default=end.next())
    return Position(first.epoch, first.sequence - 1)


def retelling(
    behind: Position,
    undone: Sequence[Remembered],
    told: Sequence[RegistryView],
    now: RegistryView,
    touching: Sequence[Remembered] = (),
) -> Retelling:
    """What is to be told again.

    Args:
        behind: the place up to which all readers were told the same.
        undone: events behind it that are lost, and are not put back.
        told: what those hold who were told everything that there was before the loss.
        now: what is so from now on.
        touching: events behind the place that are put back, and are not told again one by one.
    """
    about: dict[Thing, list[tuple[str, str]]] = defaultdict(list)
    number = 0
    for position, event in undone:
        resumed = isinstance(event, HistoryResumed)
        number += not resumed
        for thing in _things(event):
            about[thing] += [] if resumed else [(position.text(), str(type(event).__struct_config__.tag))]
    for _, event in touching:
        for thing in _things(event):
            about[thing] += []
    for view in told:
        for thing in differing(view, now):
            about[thing] += []
    if len(about) > RETOLD_MAX:
        return UNKNOWN._replace(undone=number)
    views = (now, *told)
    found = [Retold(*thing, _name(thing[0], views), about[thing][-UNDONE_NAMED_MAX:]) for thing in sorted(about)]
    return Retelling(behind.text(), number, list(_pages(found, now)))


def tell_again(
    resumed: HistoryResumed, epoch: int, written: int, put_back: int, again: Retelling
) -> tuple[HistoryResumed, ...]:
    """The event with which an epoch begins, and the last ones of its mending, behind those that are written again.

    Args:
        written: number of events between them; `put_back` of them had been lost.
    """
    forked, undone, pages = again
    last = 1 + written + len(pages)
    begin = structs.replace(resumed, forked=forked, until=last, put_back=put_back, undone=undone)
    ends = (
        HistoryResumed(
            **{name: getattr(resumed, name) for name in Recorded.__struct_fields__},
            after=Position(epoch, number - 1).text(),
            forked=forked,
            until=last,
            retold=page,
        )
        for number, page in enumerate(pages, 2 + written)
    )
    return begin, *ends


def again(view: RegistryView, event: HistoryResumed) -> tuple[Again, ...]:
    """What is so of the things that the event tells again."""
    found = []
    for told in event.retold:
        service = view.services.get(told.service_id)
        instance = service.instances.get(told.instance_id) if service is not None else None
        found.append(Again(told, service.service if service else None, service.tags if service else {}, instance))
    return tuple(found)


def differing(before: RegistryView, now: RegistryView) -> Iterator[Thing]:
    """The microservices and instances that are not the same in both. Those of one that is gone go with it."""
    for service_id in before.services.keys() | now.services.keys():
        old, new = before.services.get(service_id), now.services.get(service_id)
        if old is new:
            continue
        if old is None or new is None or old.body != new.body or old.tags != new.tags:
            yield service_id, ""
        if new is None:
            continue
        held = old.instances if old is not None else {}
        for instance_id in held.keys() | new.instances.keys():
            one, other = held.get(instance_id), new.instances.get(instance_id)
            if one is None or other is None or one.body != other.body:
                yield service_id, instance_id


def _things(event: Event) -> set[Thing]:
    if isinstance(event, HistoryResumed):
        return {(told.service_id, told.instance_id) for told in event.retold}
    found = set()
    for whole, *rest in subjects(event):
        if whole != "service":
            found.add(("", ""))
        else:
            found.add((rest[0], rest[2] if rest[1:2] == ["instance"] else ""))
    return found


def _name(service_id: str, views: Sequence[RegistryView]) -> tuple[str, str, str, str]:
    for view in views:
        row = view.services.get(service_id)
        if row is not None:
            service = row.service
            return service.environment, service.app_id, service.service_name, service.version
    return "", "", "", ""


def _pages(things: Sequence[Retold], now: RegistryView) -> Iterator[list[Retold]]:
    page: list[Retold] = []
    size = 0
    for told in things:
        weight = _weight(told, now.services.get(told.service_id))
        if page and (len(page) == PAGE_MAX or size + weight > PAGE_MAX_BYTES):
            yield page
            page, size = [], 0
        page.append(told)
        size += weight
    if page:
        yield page


def _weight(told: Retold, row: ServiceRow | None) -> int:
    """Bytes of what is told of it."""
    if row is None:
        return 0
    if not told.instance_id:
        return len(row.body) + sum(len(key) + len(value) for key, value in row.tags.items())
    instance = row.instances.get(told.instance_id)
    return len(instance.body) if instance is not None else 0
