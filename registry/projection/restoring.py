"""Restoring: a tenant's view from its newest good snapshot and the events after it."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from registry.domain.events import Event, HistoryResumed, decode_event
from registry.domain.fold import apply
from registry.domain.history import RECENT_MAX, Remembered
from registry.domain.outcome import Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT, ChunksDigest, Loader, Mark, SnapshotUnreadable
from registry.domain.view import RegistryView, Tenant
from registry.store.port import Store

logger = logging.getLogger(__name__)

#: Where to go on with the list of tenants when nobody wants to hear of them.
NO_TENANTS: Final = "18446744073709551615-0"


class LogDamaged(Exception):
    """The log cannot be replayed: events are missing, or of a kind this version does not know."""


@dataclass(slots=True)
class Restored:
    """A view, and the newest events that led to it."""

    view: RegistryView
    tail: deque[Remembered] = field(default_factory=lambda: deque(maxlen=2 * RECENT_MAX))
    #: What this replica's own events came to.
    own: list[tuple[Event, Outcome]] = field(default_factory=list)

    def apply(self, position: Position, event: Event, replica: str) -> None:
        outcome = apply(self.view, position, event)
        self.tail.append(Remembered(position, event))
        if event.replica == replica:
            self.own.append((event, outcome))


def follows(before: Position, position: Position, event: Event) -> bool:
    """Whether this is the event after the one at `before`. A new epoch says itself where it goes on."""
    if position.sequence == 1 and isinstance(event, HistoryResumed):
        return event.after == before.text()
    return position.sequence == 1 if before == ORIGIN else position == before.next()


def read_event(tenant: Tenant, position: Position, payload: bytes) -> Event:
    """Raises LogDamaged."""
    try:
        event: Event = decode_event(payload)
        return event
    except ValueError as exc:
        raise LogDamaged(f"{tenant}: event {position.text()} cannot be read: {exc}") from exc


async def restore(store: Store, tenant: Tenant, replica: str, before_ms: int | None = None) -> Restored:
    """The tenant as its log has it now. With `before_ms`, snapshots taken later (Unix ms) are not used.

    Raises:
        LogDamaged: events are missing that no readable snapshot stands in for.
        StoreUnavailable
    """
    restored = await load_newest(store, tenant, before_ms)
    while entries := (await store.read({tenant: restored.view.position}, NO_TENANTS, 0)).events.get(tenant):
        view = restored.view
        for position, payload in entries:
            event = read_event(tenant, position, payload)
            if not follows(view.position, position, event):
                # Was a snapshot written meanwhile, and the log trimmed up to it?
                restored = await load_newest(store, tenant, before_ms)
                if restored.view.position > view.position:
                    break
                raise LogDamaged(
                    f"the log of {tenant} goes on at {position.text()}, and no snapshot that can be read reaches it: "
                    f"the newest ends at {view.position.text()}"
                )
            restored.apply(position, event, replica)
        await asyncio.sleep(0)
    return restored


async def load_newest(store: Store, tenant: Tenant, before_ms: int | None = None) -> Restored:
    """The newest snapshot that can be read and that belongs to the log; an empty view when there is none."""
    head = await store.head(tenant)
    for mark in await store.snapshots.marks(tenant):
        if mark.position > head or (before_ms is not None and mark.at_ms >= before_ms):
            continue
        try:
            return await _load(store, tenant, mark)
        except SnapshotUnreadable as why:
            logger.warning(
                "the snapshot of %s at %s is passed over: %s",
                tenant,
                mark.position.text(),
                why,
                extra={"action": "snapshot_unreadable", "tenant": str(tenant)},
            )
    return Restored(RegistryView(tenant))


async def _load(store: Store, tenant: Tenant, mark: Mark) -> Restored:
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
    stands = await store.entry(tenant, mark.position)
    if stands is None and (begins := await _begins(store, tenant)) is not None and begins <= mark.position:
        raise SnapshotUnreadable("the log has lost the event at which it was taken")
    if stands is not None and stands != loader.last:
        raise SnapshotUnreadable("the log holds another event where it was taken")
    restored = Restored(view)
    if loader.last:
        restored.tail.append(Remembered(view.position, read_event(tenant, view.position, loader.last)))
    return restored


async def _begins(store: Store, tenant: Tenant) -> Position | None:
    """The eldest event that the log still holds."""
    events = (await store.read({tenant: ORIGIN}, NO_TENANTS, 0)).events.get(tenant)
    return events[0][0] if events else None


def unpack(stored: bytes) -> bytes:
    """A chunk as it was before it was packed. Raises SnapshotUnreadable."""
    try:
        return zlib.decompress(stored)
    except zlib.error as exc:
        raise SnapshotUnreadable(f"a chunk is damaged: {exc}") from exc
