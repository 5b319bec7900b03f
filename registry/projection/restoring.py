"""Restoring: a tenant's view from its newest good snapshot and the events after it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from dataclasses import dataclass, field
from typing import Final

from registry.domain.events import Event, HistoryResumed, decode_event, unknown_type
from registry.domain.fold import apply
from registry.domain.marks import ChunksDigest, Mark
from registry.domain.outcome import Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.recent import RECENT_MAX, Recent
from registry.domain.snapshot import FORMAT, Loader, SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.store.damage import REPAIR, Damaged
from registry.store.port import HistoryChanged, PastLog, Store

logger = logging.getLogger(__name__)

#: Bytes of the newest events that are kept of a log which is replayed.
TAIL_MAX_BYTES: Final = 128 * 1024 * 1024


class Inapplicable(Damaged):
    """An event that can be read and breaks the fold. What it was applied to is half changed."""

    def __init__(self, tenant: Tenant, key: str, position: Position, why: Exception) -> None:
        super().__init__(tenant, key, f"it cannot be applied: {why!r}", position.text())
        self.position = position


@dataclass(slots=True)
class Restored:
    """A view, and the newest events that led to it."""

    view: RegistryView
    tail: Recent = field(default_factory=lambda: Recent(2 * RECENT_MAX, TAIL_MAX_BYTES))
    #: What this replica's own events came to.
    own: list[tuple[Event, Outcome]] = field(default_factory=list)
    #: The event at the position of the snapshot that was loaded, as it was written.
    last: bytes = b""

    def apply(self, store: Store, position: Position, event: Event, written: bytes, replica: str) -> None:
        """The next event, and the bytes in which it is written. Raises Inapplicable."""
        self.note(position, event, written, apply_or_tell(store, self.view, position, event), replica)

    def note(self, position: Position, event: Event, written: bytes, outcome: Outcome, replica: str) -> None:
        """The next event, which was applied to the view."""
        self.tail.add(position, written)
        if event.replica == replica:
            self.own.append((event, outcome))


def follows(before: Position, position: Position, event: Event) -> bool:
    """Whether this is the event after the one at `before`. A new epoch says itself where it goes on."""
    if position.sequence == 1 and isinstance(event, HistoryResumed):
        return event.after == before.text()
    return position.sequence == 1 if before == ORIGIN else position == before.next()


def begins_anew(position: Position, event: Event) -> bool:
    """Whether the log was seeded here: with a snapshot at this place, whatever stands before it."""
    return position.sequence == 1 and isinstance(event, HistoryResumed)


def read_event(store: PastLog, tenant: Tenant, position: Position, payload: bytes) -> Event:
    """Raises Damaged: nobody can tell what this entry says, or this version cannot."""
    try:
        event: Event = decode_event(payload)
        return event
    except Exception as exc:  # these bytes may be anything
        reason, remedy = f"it cannot be read: its {len(payload)} bytes are no event", REPAIR
        if tag := unknown_type(payload):
            reason = f"it is of the type {tag[:64]!r}, which this version does not know, so a newer one wrote it"
            remedy = f"run that version, or: {REPAIR}"
        raise Damaged(tenant, store.key(tenant, "events"), reason, position.text(), remedy) from exc


def apply_or_tell(store: PastLog, view: RegistryView, position: Position, event: Event) -> Outcome:
    """Apply an event. Raises Inapplicable where the fold breaks: no event that the registry wrote does that."""
    try:
        return apply(view, position, event)
    except Exception as exc:
        raise Inapplicable(view.tenant, store.key(view.tenant, "events"), position, exc) from exc


async def restore(store: Store, tenant: Tenant, replica: str, before_ms: int | None = None) -> Restored:
    """The tenant as its log has it now. With `before_ms`, snapshots taken later (Unix ms) are not used.

    Raises:
        Damaged: the log cannot be replayed, or its head contradicts it.
        HistoryChanged: it lost its tail meanwhile; try again.
        StoreUnavailable
    """
    restored = await load_newest(store, tenant, before_ms)
    while True:
        entries = (await store.read({tenant: restored.view.position}, None, 0)).events.get(tenant)
        view = restored.view
        if not entries:
            if await _has_ended(store, view):
                return restored
            continue
        for position, payload in entries:
            event = read_event(store, tenant, position, payload)
            if not follows(view.position, position, event):
                # Was a snapshot written meanwhile, and the log trimmed up to it?
                restored = await load_newest(store, tenant, before_ms)
                if restored.view.position > view.position:
                    break
                raise Damaged(
                    tenant,
                    store.key(tenant, "events"),
                    f"the log goes on at {position.text()}, and no snapshot that can be read reaches it: "
                    f"the newest ends at {view.position.text()}",
                    position.text(),
                )
            restored.apply(store, position, event, payload, replica)
        await asyncio.sleep(0)


async def _has_ended(store: Store, view: RegistryView) -> bool:
    """Whether the view, behind which nothing was read, stands where the log's head says. False: the log has grown."""
    head = await store.head(view.tenant)
    if head == view.position:
        return True
    await store.inspect(view.tenant)  # log and head change together: where they differ now, they always will
    if head < view.position:
        raise HistoryChanged(f"the log ends at {head.text()} now, and was read to {view.position.text()}")
    return False


async def load_newest(store: Store, tenant: Tenant, before_ms: int | None = None) -> Restored:
    """The newest snapshot that can be read and that belongs to the log; an empty view when there is none.

    Raises StoreUnavailable, Damaged.
    """
    head = await store.head(tenant)
    for mark in await store.snapshots.marks(tenant):
        if mark.position > head or (before_ms is not None and mark.at_ms >= before_ms):
            continue
        try:
            return await load_mark(store, tenant, mark)
        except SnapshotUnreadable as why:
            pass_over(mark, tenant, why)
    return Restored(RegistryView(tenant))


async def load_mark(store: PastLog, tenant: Tenant, mark: Mark) -> Restored:
    """The snapshot of that mark. Raises SnapshotUnreadable also where it belongs to another log, StoreUnavailable."""
    restored = await _load(store, tenant, mark)
    await prove(store, mark, tenant, restored.last)
    return restored


def pass_over(mark: Mark, tenant: Tenant, why: SnapshotUnreadable) -> None:
    logger.warning(
        "the snapshot of %s at %s is passed over: %s",
        tenant,
        mark.position.text(),
        why,
        extra={"action": "snapshot_unreadable", "tenant": str(tenant)},
    )


async def salvage(store: Store, tenant: Tenant, replica: str) -> Restored:
    """What can still be read of a damaged tenant: its newest readable snapshot, and what follows up to the damage.

    Raises StoreUnavailable, never Damaged.
    """
    before: Position | None = None
    while True:
        try:
            return await _salvage(store, tenant, replica, before)
        except Inapplicable as damage:
            before = damage.position


async def _salvage(store: Store, tenant: Tenant, replica: str, before: Position | None) -> Restored:
    restored = await _salvage_snapshot(store, tenant)
    try:
        while entries := (await store.read({tenant: restored.view.position}, None, 0)).events.get(tenant):
            for position, payload in entries:
                event = read_event(store, tenant, position, payload)
                if position == before or not follows(restored.view.position, position, event):
                    return restored
                restored.apply(store, position, event, payload, replica)
            await asyncio.sleep(0)
    except Inapplicable:
        raise
    except Damaged:
        pass
    return restored


async def _salvage_snapshot(store: Store, tenant: Tenant) -> Restored:
    """As `load_newest`, from a store in which head and log may say nothing of where snapshots belong."""
    marks: list[Mark] = []
    with contextlib.suppress(Damaged):
        marks = await store.snapshots.marks(tenant)
    for mark in marks:
        try:
            restored = await _load(store, tenant, mark)
            with contextlib.suppress(Damaged):
                await prove(store, mark, tenant, restored.last)
            return restored
        except SnapshotUnreadable as why:
            pass_over(mark, tenant, why)
    return Restored(RegistryView(tenant))


async def _load(store: PastLog, tenant: Tenant, mark: Mark) -> Restored:
    """Raises SnapshotUnreadable."""
    if mark.format != FORMAT:
        raise SnapshotUnreadable(f"it has format {mark.format}, this version reads format {FORMAT}")
    digest, loader = ChunksDigest(), Loader()
    for index in range(mark.chunks):
        stored = await store.snapshots.chunk(tenant, mark.position, index)
        if stored is None:
            raise SnapshotUnreadable(f"chunk {index} of {mark.chunks} is gone")
        digest.add(stored)
        loader.add(unpack(stored))
        await asyncio.sleep(0)
    view = loader.view()
    if digest.digest() != mark.digest or (view.tenant, view.position) != (tenant, mark.position):
        raise SnapshotUnreadable("it is not what its mark says")
    restored = Restored(view, last=loader.last)
    with contextlib.suppress(Damaged):  # a later version's event is part of the view all the same
        if loader.last:
            read_event(store, tenant, view.position, loader.last)
            restored.tail.add(view.position, loader.last)
    restored.tail.log_bytes = mark.log_bytes
    return restored


async def prove(store: PastLog, mark: Mark, tenant: Tenant, last: bytes) -> None:
    """Raise SnapshotUnreadable if the log says that the snapshot is of another one.

    Args:
        last: the event at which it was taken, as the snapshot has it.
    """
    stands = await store.entry(tenant, mark.position)
    if stands is None and (eldest := await store.eldest(tenant)) is not None and eldest[0] <= mark.position:
        raise SnapshotUnreadable("the log has lost the event at which it was taken")
    if stands is not None and stands != last:
        raise SnapshotUnreadable("the log holds another event where it was taken")


def unpack(stored: bytes) -> bytes:
    """A chunk as it was before it was packed. Raises SnapshotUnreadable."""
    try:
        return zlib.decompress(stored)
    except zlib.error as exc:
        raise SnapshotUnreadable(f"a chunk is damaged: {exc}") from exc
