"""Repair: what is damaged in a store, said in plain sentences, and mended where that is asked for.

A damaged log is cut: it keeps what can be read without a gap, from its newest readable snapshot on, and goes on in a
new epoch with those of the later events that can still be read. Replicas that hold in memory what is lost put it back
afterwards, as after any other loss (`projection.mending`). What stands beside the log is forgotten, and made anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.clock import Clock
from registry.domain.events import Event, HistoryResumed, encode_event
from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.projection.restoring import Inapplicable, apply_or_tell, read_event, salvage
from registry.store.damage import Condition, Damaged, KeyName
from registry.store.port import Store
from registry.store.soundness import TYPES, log_complaint, mistyped

#: Under this name a repair begins an epoch.
REPAIRER: Final = "repair"
#: An id that lies further ahead of the clock (ms) was not given by the registry: no epoch has to come after it.
AHEAD_MAX_MS: Final = 86_400_000
#: What is lost with each key beside the log.
WITHOUT: Final[dict[KeyName, str]] = {
    "snapshots": "The snapshots are lost; replicas write new ones.",
    "beats": "The heartbeats that were kept as evidence are lost; no lease is.",
    "pulse": "Nothing is lost; all leases start anew.",
    "rearming": "Nothing is lost.",
    "holder": "Nothing is lost.",
    "states": "Nothing is lost; replicas tell each other anew what they hold.",
}


@dataclass(slots=True)
class Cut:
    """How a log goes on."""

    seen: Condition
    keep_to: Position
    epoch: int
    events: list[Event]
    #: Snapshots of what is cut off.
    stray: list[Mark]


@dataclass(slots=True)
class Finding:
    """What is wrong with one tenant, or with the list of tenants (None), and what mending it means."""

    tenant: Tenant | None
    sentences: list[str] = field(default_factory=list)
    forget: list[KeyName] = field(default_factory=list)
    cut: Cut | None = None
    #: The whole list, where that is damaged.
    tenants: list[Tenant] = field(default_factory=list)


async def examine(store: Store, clock: Clock) -> AsyncIterator[Finding]:
    """Everything in the store that is damaged. Changes nothing. Raises StoreUnavailable."""
    tenants, finding = await _examine_list(store)
    if finding is not None:
        yield finding
    for tenant in tenants:
        finding = await examine_tenant(store, tenant, clock)
        if finding is not None:
            yield finding


async def mend(store: Store, finding: Finding) -> None:
    """Do what the finding says.

    Raises:
        HistoryChanged: the log is not what it was when it was examined. Nothing was done to it.
        StoreUnavailable
    """
    tenant = finding.tenant
    if tenant is None:
        await store.upkeep.rewrite_tenants(finding.tenants)
        return
    for name in finding.forget:
        await store.upkeep.forget(tenant, name)
    cut = finding.cut
    if cut is not None:
        await store.upkeep.cut(tenant, cut.seen, cut.keep_to, cut.epoch, [encode_event(event) for event in cut.events])
        for mark in cut.stray:
            await store.snapshots.drop(tenant, mark)


# -- the list of tenants -----------------------------------------------------------------------------------------------


async def _examine_list(store: Store) -> tuple[list[Tenant], Finding | None]:
    """Every tenant that is announced or has a log; and what is wrong with the list."""
    names: dict[Tenant, None] = {}
    wrong: list[str] = []
    try:
        names.update(dict.fromkeys(await store.tenants()))
    except Damaged as damage:
        wrong.append(_told(damage))
    try:
        after = ""
        while (tail := await store.read({}, after, 0)).tenants or tail.gone:
            names.update(dict.fromkeys(tail.tenants))
            after = tail.tenants_after
    except Damaged as damage:
        wrong.append(_told(damage))
    names.update(dict.fromkeys(await store.upkeep.found()))
    tenants = sorted(names)
    if not wrong:
        return tenants, None
    wrong.append(f"The list would be written anew with the {len(tenants)} tenants that are announced or have a log.")
    wrong.append("Nothing is lost but the names of tenants without a log, which are empty.")
    return tenants, Finding(None, wrong, tenants=tenants)


# -- one tenant --------------------------------------------------------------------------------------------------------


async def examine_tenant(store: Store, tenant: Tenant, clock: Clock) -> Finding | None:
    """What is damaged of this tenant, None when nothing is. Raises StoreUnavailable."""
    seen = await store.upkeep.condition(tenant)
    finding = Finding(tenant)
    for name, held in seen.wrong.items():
        if name in WITHOUT:
            finding.forget.append(name)
            finding.sentences.append(f"{store.key(tenant, name)}: {mistyped(held, TYPES[name])}; it would be deleted.")
            finding.sentences.append(WITHOUT[name])
    kept = (await salvage(store, tenant, REPAIRER)).view
    rest = _Rest(kept.position)
    await rest.read(store, tenant)
    complaints = _complaints(seen, kept.position)
    if complaints or rest.faults or rest.events:
        for name, entry, reason in complaints:
            told = _told(Damaged(tenant, store.key(tenant, name), reason, entry))
            if not any(entry and entry in fault for fault in rest.faults):
                finding.sentences.append(told)
        await _plan_cut(store, finding, seen, kept, rest, clock)
    return finding if finding.sentences else None


def _complaints(seen: Condition, snapshot: Position) -> list[tuple[KeyName, str, str]]:
    """What is wrong with log and head, where the newest snapshot and what follows end at a position."""
    mistakes = [(name, "", mistyped(held, TYPES[name])) for name, held in seen.wrong.items() if name not in WITHOUT]
    if mistakes:
        return mistakes
    if not seen.head and not seen.newest and snapshot != ORIGIN:
        return [("events", "", "the log is gone, and a snapshot of it is there")]
    about = log_complaint(seen)
    return [about] if about is not None else []


class _Rest:
    """What a log holds behind the place up to which it can be read without a gap."""

    def __init__(self, after: Position) -> None:
        self.after = after
        self.faults: list[str] = []
        self.unreadable = 0
        #: What can be read, and where it stands.
        self.events: list[tuple[Position, Event]] = []
        self._whole = {after.epoch: after.sequence}

    async def read(self, store: Store, tenant: Tenant) -> None:
        before = self.after
        while True:
            try:
                entries = (await store.read({tenant: before}, None, 0)).events.get(tenant)
            except Damaged:
                return  # the log is none: `condition` tells
            if not entries:
                return
            for position, payload in entries:
                self._take(store, tenant, before, position, payload)
                before = position

    def _take(self, store: Store, tenant: Tenant, before: Position, position: Position, payload: bytes) -> None:
        try:
            event = read_event(store, tenant, position, payload)
        except Damaged as damage:
            self.faults.append(_told(damage))
            self.unreadable += 1
            return
        missing = position.sequence - 1 - (before.sequence if before.epoch == position.epoch else 0)
        if missing > 0 and (before.epoch == position.epoch or before == ORIGIN):
            key = store.key(tenant, "events")
            self.faults.append(
                f"{key}: before {position.text()} {missing} events are missing, and no snapshot has them."
            )
        if position.sequence == self._whole.get(position.epoch, 0) + 1:
            self._whole[position.epoch] = position.sequence
        if not isinstance(event, HistoryResumed):
            self.events.append((position, event))

    def lose(self, position: Position) -> None:
        """The event there is not kept, though it can be read."""
        whole = self._whole.get(position.epoch, 0)
        self._whole[position.epoch] = min(whole, position.sequence - 1)

    def whole(self) -> dict[int, int]:
        """Of each epoch, the sequence up to which nothing of it is lost."""
        return {epoch: sequence for epoch, sequence in self._whole.items() if sequence}


def _told(damage: Damaged) -> str:
    place = f"{damage.key}, entry {damage.entry}" if damage.entry else damage.key
    return f"{place}: {damage.reason}."


async def _plan_cut(
    store: Store, finding: Finding, seen: Condition, kept: RegistryView, rest: _Rest, clock: Clock
) -> None:
    """Say and plan how the log goes on."""
    tenant, end = kept.tenant, kept.position
    finding.sentences += rest.faults
    say = finding.sentences.append
    if end == ORIGIN and not rest.events:
        say("Nothing of the log can be read, nor any snapshot: it would be deleted.")
    else:
        services, instances = len(kept.services), kept.instance_count
        say(f"It can be read up to {end.text()} without a gap: {services} services with {instances} instances.")
    usable, void = _usable(store, kept, rest)
    if rest.events:
        say(f"Of the events behind that, {len(usable)} would be kept; {void} of them change nothing any more.")
    lost = rest.unreadable + len(rest.events) - len(usable)
    if lost:
        say(f"{lost} entries would be lost.")
    say("A replica that runs now and holds in memory what is lost puts it back afterwards, so stop none before.")
    at_ms, events = clock.wall_ms(), list[Event]()
    if end != ORIGIN or usable:
        resumed = HistoryResumed(
            at_ms=at_ms, replica=REPAIRER, number=0, actor=REPAIRER, after=end.text(), mended=rest.whole()
        )
        events = [resumed, *(event for _, event in usable)]
    finding.cut = Cut(seen, end, _next_epoch(at_ms, end, seen, usable), events, await _beyond(store, tenant, end))


def _usable(store: Store, view: RegistryView, rest: _Rest) -> tuple[list[tuple[Position, Event]], int]:
    """The events that can be applied, and how many of them change nothing. The view takes them."""
    usable: list[tuple[Position, Event]] = []
    void = 0
    epoch = view.position.epoch + 1
    for number, (position, event) in enumerate(rest.events, 1):
        try:
            outcome = apply_or_tell(store, view, Position(epoch, number), event)
        except Inapplicable:
            rest.lose(position)
            continue
        usable.append((position, event))
        void += outcome.error is not None
    return usable, void


def _next_epoch(now_ms: int, end: Position, seen: Condition, usable: Sequence[tuple[Position, Event]]) -> int:
    """After every epoch that a replica may stand in, and every id that the log has given."""
    last = int(seen.last.partition("-")[0] or 0)
    epochs = [end.epoch, last, *(position.epoch for position, _ in usable)]
    return max(now_ms, *(epoch + 1 for epoch in epochs if epoch <= now_ms + AHEAD_MAX_MS))


async def _beyond(store: Store, tenant: Tenant, end: Position) -> list[Mark]:
    """Snapshots of places that are cut off: none of them can be read, or it would not be cut there."""
    try:
        return [mark for mark in await store.snapshots.marks(tenant) if mark.position > end]
    except Damaged:
        return []
