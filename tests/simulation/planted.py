"""Planted: bugs put into the real code, so that it can be seen that the simulation and its checker find them.

Each is what a hasty change might do. `BUGS` says under which faults, and as which broken promise, it must show.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from msgspec import structs

from registry.archive import segment
from registry.archive.folder import Folder
from registry.domain import find as domain_find
from registry.domain import fold
from registry.domain.events import Event, InstancePropertiesSet, InstanceStatusSet
from registry.domain.find import FindQuery
from registry.domain.history import PutBack
from registry.domain.history import put_back as right_put_back
from registry.domain.marks import Mark
from registry.domain.outcome import NOTHING, Outcome
from registry.domain.position import Position
from registry.domain.recent import Recent, Remembered
from registry.domain.retelling import Retelling
from registry.domain.retelling import retelling as right_retelling
from registry.domain.rev import content_digest
from registry.domain.tenant import Tenant
from registry.domain.view import Answer, InstanceRow, RegistryView
from registry.history.cache import Kept, Views
from registry.history.feeds import Feeds
from registry.history.moments import When
from registry.http_api import events as http_events
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.projection import mending
from registry.projection.restoring import Restored, restore
from registry.store.lease import Lease, LeaseName, Proposal
from registry.store.memory_store import MemoryStore
from registry.store.port import Store
from registry.upkeep.archiving import Archiving
from registry.usecases.discovery import Discovery
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.watching import Watching
from tests.support.case import (
    BACKWARDS,
    DEAD_KEPT,
    DIVERGENCE,
    EXACT,
    FAILURE,
    FEED,
    LIVING_REMOVED,
    LOST_WRITE,
    ORDER,
    PAST,
    REV,
    STALE_READ,
    WRONG_304,
)

Patch = AbstractContextManager[Any]


# -- leases and expiry -------------------------------------------------------------------------------------------------


def deaf_beats() -> Patch:
    """Heartbeats are answered 200 and never delivered."""

    async def flush(self: Heartbeats, tenant: Tenant, leases: Sequence[Lease]) -> list[bool]:
        return [True] * len(leases)

    return patch.object(Heartbeats, "_flush", flush)


def unasked_expiry() -> Patch:
    """An instance whose lease might have lapsed is expired: the store is not asked whether it has."""
    right = MemoryStore.expire

    async def remaining(self: MemoryStore, tenant: Tenant, names: Sequence[LeaseName]) -> list[int]:
        return [-1] * len(names)

    async def expire(self: MemoryStore, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], *more: int) -> Any:
        for proposal in proposals:
            self._server.of(tenant).leases.pop(proposal.name, None)
        return await right(self, tenant, epoch, proposals, *more)

    return patch.multiple(MemoryStore, remaining=remaining, expire=expire)


def unchecked_expiry() -> Patch:
    """A lapse that was seen is believed: that the lease is still gone is not checked in the step that appends."""
    right = MemoryStore.expire

    async def expire(self: MemoryStore, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], *more: int) -> Any:
        for proposal in proposals:
            self._server.of(tenant).leases.pop(proposal.name, None)
        return await right(self, tenant, epoch, proposals, *more)

    return patch.object(MemoryStore, "expire", expire)


def no_sweep() -> Patch:
    """Nobody is ever expired."""

    async def sweep(self: Any) -> None:
        return None

    return patch("registry.upkeep.expiry.Expiry.sweep", sweep)


def no_rearming() -> Patch:
    """After an outage nobody gets a lease back before the others are judged."""

    async def rearm(store: Store, of: Mapping[Tenant, Sequence[InstanceRow]]) -> bool:
        return await store.rearm(next(iter(of)), ())

    return patch("registry.upkeep.pulses.rearm", rearm)


# -- writes ------------------------------------------------------------------------------------------------------------


def early_answer() -> Patch:
    """A change is acknowledged before it is committed."""
    right = Instances.set_properties

    async def set_properties(self: Instances, *arguments: Any) -> None:
        under_way = asyncio.ensure_future(right(self, *arguments))
        under_way.add_done_callback(lambda done: done.exception())

    return patch.object(Instances, "set_properties", set_properties)


def lost_status() -> Patch:
    """Now and then a change of a status is acknowledged and not made."""
    right, numbers = Instances.set_status, count(1)

    async def set_status(self: Instances, *arguments: Any) -> None:
        if next(numbers) % 4:
            await right(self, *arguments)

    return patch.object(Instances, "set_status", set_status)


# -- views and answers -------------------------------------------------------------------------------------------------


def skipped_event() -> Patch:
    """A projector passes over an event now and then: its position moves on, its view does not."""
    right, numbers = fold.apply, count(1)

    def apply(view: RegistryView, position: Position, event: Event) -> Outcome:
        if isinstance(event, InstanceStatusSet | InstancePropertiesSet) and not next(numbers) % 9:
            fold.move(view, position)
            return NOTHING
        return right(view, position, event)

    return patch("registry.projection.restoring.apply", apply)


def blind_rev() -> Patch:
    """The status of an instance does not enter the rev."""

    def digest(body: bytes) -> bytes:
        return content_digest(re.sub(rb'"status":"[A-Z]+"', b"", body))

    return patch("registry.domain.fold_instances.content_digest", digest)


def rev_of_the_moment() -> Patch:
    """The rev depends on something that is not content: how often this replica has digested anything."""
    numbers = count(1)

    def digest(body: bytes) -> bytes:
        return content_digest(body + b" " * (next(numbers) % 2))

    return patch("registry.domain.fold_instances.content_digest", digest)


def always_304() -> Patch:
    """Whatever rev a client holds is said to be current."""
    right = domain_find.find

    def find(view: RegistryView, query: FindQuery) -> Answer:
        answer = right(view, query)
        return structs.replace(answer, rev=query.rev) if query.rev else answer

    return patch.object(domain_find, "find", find)


def no_catching_up() -> Patch:
    """A replica contradicts a client from a view that may be old."""

    async def catch_up(self: Discovery, tenant: Tenant) -> None:
        return None

    return patch.object(Discovery, "_catch_up_soon", catch_up)


def unheard_position() -> Patch:
    """The position that a client wants included is not waited for."""

    async def await_position(self: Discovery, tenant: Tenant, position: Position) -> None:
        return None

    return patch.object(Discovery, "await_position", await_position)


def dropped_change() -> Patch:
    """Now and then a change is not told to watchers."""
    right, numbers = Watching._note, count(1)

    def note(self: Watching, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        if not isinstance(event, InstancePropertiesSet) or next(numbers) % 5:
            right(self, tenant, position, event, outcome)

    return patch.object(Watching, "_note", note)


def kept_watchers() -> Patch:
    """When the log is another one watchers are not dropped, though no event leads them there."""
    return patch.object(Watching, "_drop_all", lambda self, tenant: None)


# -- feeds and the past -----------------------------------------------------------------------------------------------


def dropped_from_feed() -> Patch:
    """Now and then an event is not told to feeds."""
    right, numbers = Feeds._note, count(1)

    def note(self: Feeds, *arguments: Any) -> None:
        if next(numbers) % 5:
            right(self, *arguments)

    return patch.object(Feeds, "_note", note)


def told_again() -> Patch:
    """Who comes back is told once more what it was told last."""

    async def after(api: Api, call: Call) -> Position:
        place = await right(api, call)
        return Position(place.epoch, max(place.sequence - 1, 0))

    right = http_events._after
    return patch.object(http_events, "_after", after)


def feeds_kept() -> Patch:
    """When the log is another one feeds go on from what they hold of the old one."""
    return patch.object(Feeds, "_begin_anew", lambda self, tenant: None)


def later_past() -> Patch:
    """What was at a time is told as of the nearest state that is at hand, though it came later."""

    def nearest(self: Views, tenant: Tenant, when: When, read: frozenset[str] | None = None) -> Kept | None:
        kept = [kept for (of, *_), kept in self._kept.items() if of == tenant and kept.has(read)]
        return kept[-1] if kept else None

    return patch.object(Views, "nearest", nearest)


def trimmed_unarchived() -> Patch:
    """What is trimmed is said to be in the archive, and is not all there."""
    right = Archiving._put_events

    async def put_events(
        self: Archiving, folder: Folder, tenant: Tenant, marks: Sequence[Mark], place: Position, before: Position
    ) -> None:
        await right(self, folder, tenant, marks, place, Position(before.epoch, max(before.sequence - 3, 0)))

    return patch.object(Archiving, "_put_events", put_events)


def gap_in_archive() -> Patch:
    """Now and then an event is left out of a segment."""
    right, numbers = segment.encode_events, count(1)

    def encode(tenant: Tenant, after: Position, events: Sequence[tuple[Position, bytes]]) -> bytes:
        left = [events[0], *events[2:]] if len(events) > 2 and not next(numbers) % 3 else events
        return right(tenant, after, left)

    return patch("registry.upkeep.archiving.encode_events", encode)


# -- mending -----------------------------------------------------------------------------------------------------------


def no_mending() -> Patch:
    """What the log has lost stays lost."""

    async def restore_only(self: mending.Mending, own: RegistryView, *arguments: Any) -> Restored:
        return await restore(self._store, own.tenant, self._replica)

    return patch.object(mending.Mending, "restore", restore_only)


def dropped_in_mending() -> Patch:
    """Of the lost events the last one is not put back."""

    def put_back(lost: Sequence[Remembered], since: Sequence[Remembered], log: RegistryView) -> PutBack:
        events = right_put_back(lost, since, log)
        return PutBack(events.lost[:-1], events.again)

    return patch.object(mending, "put_back", put_back)


def turned_in_mending() -> Patch:
    """The lost events are put back from the last to the first."""

    def put_back(lost: Sequence[Remembered], since: Sequence[Remembered], log: RegistryView) -> PutBack:
        events = right_put_back(lost, since, log)
        return PutBack(events.lost[::-1], events.again)

    return patch.object(mending, "put_back", put_back)


def untold_in_mending() -> Patch:
    """Of the things that readers of the feed may hold wrong every second one is not told again."""

    def retelling(*arguments: Any) -> Retelling:
        found = right_retelling(*arguments)
        return found._replace(pages=[page[::2] for page in found.pages])

    return patch.object(mending, "retelling", retelling)


def twice_in_mending() -> Patch:
    """Every replica puts back what it remembers, also what another one has put back already."""

    def lost(self: Recent, log: RegistryView, tail: Sequence[Remembered]) -> list[Remembered]:
        return [remembered for remembered in self.all() if not log.includes(remembered.position)] or self.all()[-3:]

    return patch.object(Recent, "lost", lost)


class Bug(NamedTuple):
    """A planted bug: where it shows, and as what; one of the rules is enough.

    `shown_by` is a seed that has shown it and is tried first. Where the code has changed since, others are searched.
    """

    plant: Callable[[], Patch]
    profile: str
    rules: frozenset[str]
    shown_by: int = 0


_GONE: Final = frozenset((LIVING_REMOVED, LOST_WRITE, ORDER, STALE_READ, WRONG_304))

BUGS: Final[dict[str, Bug]] = {
    "deaf-beats": Bug(deaf_beats, "calm", _GONE),
    "unasked-expiry": Bug(unasked_expiry, "calm", _GONE),
    "unchecked-expiry": Bug(unchecked_expiry, "calm", _GONE, 7),
    "no-sweep": Bug(no_sweep, "calm", frozenset((DEAD_KEPT,))),
    "no-rearming": Bug(no_rearming, "store", _GONE, 56),
    "early-answer": Bug(early_answer, "all", frozenset((LOST_WRITE, ORDER, STALE_READ, WRONG_304, FEED)), 5),
    "lost-status": Bug(lost_status, "calm", frozenset((LOST_WRITE, ORDER, STALE_READ, WRONG_304))),
    "skipped-event": Bug(skipped_event, "calm", frozenset((DIVERGENCE, STALE_READ, WRONG_304, FEED))),
    "blind-rev": Bug(blind_rev, "calm", frozenset((REV, WRONG_304)), 12),
    "rev-of-the-moment": Bug(rev_of_the_moment, "calm", frozenset((REV, DIVERGENCE))),
    "always-304": Bug(always_304, "calm", frozenset((WRONG_304,))),
    "no-catching-up": Bug(no_catching_up, "all", frozenset((STALE_READ,)), 215),
    "unheard-position": Bug(unheard_position, "all", frozenset((BACKWARDS,))),
    "dropped-change": Bug(dropped_change, "calm", frozenset((FEED,)), 1),
    "kept-watchers": Bug(kept_watchers, "wreck", frozenset((FEED,)), 39),
    "dropped-from-feed": Bug(dropped_from_feed, "calm", frozenset((EXACT,))),
    "told-again": Bug(told_again, "calm", frozenset((EXACT,))),
    "feeds-kept": Bug(feeds_kept, "lost_tail", frozenset((EXACT,)), 6),
    "later-past": Bug(later_past, "calm", frozenset((PAST,))),
    "trimmed-unarchived": Bug(trimmed_unarchived, "calm", frozenset((PAST,))),
    "gap-in-archive": Bug(gap_in_archive, "calm", frozenset((PAST, FAILURE))),
    "no-mending": Bug(no_mending, "lost_tail", frozenset((LOST_WRITE, *_GONE, DIVERGENCE, FAILURE)), 22),
    "dropped-in-mending": Bug(dropped_in_mending, "lost_tail", frozenset((*_GONE, DIVERGENCE, DEAD_KEPT)), 22),
    "turned-in-mending": Bug(turned_in_mending, "lost_tail", frozenset((*_GONE, DIVERGENCE, DEAD_KEPT)), 34),
    "untold-in-mending": Bug(untold_in_mending, "flush", frozenset((EXACT,)), 9),
    "twice-in-mending": Bug(twice_in_mending, "flush", frozenset((*_GONE, DIVERGENCE, DEAD_KEPT)), 21),
}
