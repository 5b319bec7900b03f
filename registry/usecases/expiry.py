"""Expiry: who has stopped beating is removed in time, and nobody else.

The guarantee is the sweep. Each replica knows for every instance the earliest moment at which its lease can lapse,
asks the store only about those that are due, and learns the true deadline; so heartbeats cost the sweep nothing.
A lapse is only a proposal: the store appends `InstanceExpired` where the lease is really gone, in one atomic step.
Notifications merely prompt the sweep to look sooner.

After an outage of ours (no replica could write for `outage_after_ms`) nobody is judged before every lease has been
given its full length again: clients could not beat, so their silence says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, InstanceExpired, InstanceRegistered, encode_event
from registry.domain.fold import Outcome
from registry.domain.position import Position
from registry.domain.view import InstanceRow, Tenant
from registry.projection.projector import Projector
from registry.store.port import HistoryChanged, Lease, LeaseName, OutageSuspected, Proposal, Store
from registry.usecases.writes import Clock, Writes

logger = logging.getLogger(__name__)

#: How often the sweep looks, ms; with the width of a slot it bounds how late a lapse is noticed.
TICK_MS: Final = 100
SLOT_MS: Final = 100
#: How often each tenant's pulse is recorded, ms.
PULSE_MS: Final = 500
#: Leases asked about, proposed or re-armed in one step.
ASK_MAX: Final = 2000
#: Leases asked about in one tick, so that a start with a million instances does not hold up everything else.
ASK_PER_TICK_MAX: Final = 20_000
ACTOR: Final = "registry"


@dataclass(slots=True)
class ExpiryStats:
    expired: int = 0
    asked: int = 0
    rearmed: int = 0
    prompted: int = 0
    #: The longest time between a lease's deadline and its `InstanceExpired`, ms.
    latest_ms: int = 0


#: An instance to ask about, and the steady time (ms) at which its lease ends as far as this replica knows. A plain
#: tuple of what is no container, so that a million of them are none of the garbage collector's business.
_Due = tuple[InstanceRow, int]


@dataclass(slots=True)
class _Schedule:
    """One tenant's instances by the slot of steady time in which their lease may lapse."""

    slots: dict[int, list[_Due]] = field(default_factory=lambda: defaultdict(list))
    reached: int = 0

    def add(self, due_ms: int, row: InstanceRow) -> None:
        self.slots[max(due_ms // SLOT_MS + 1, self.reached)].append((row, due_ms))

    def due(self, now_ms: int, most: int) -> list[_Due]:
        """Take up to `most` instances whose slot has begun."""
        found: list[_Due] = []
        last = now_ms // SLOT_MS
        if not self.reached:
            self.reached = min(self.slots, default=last)
        while self.reached <= last and len(found) < most:
            slot = self.slots.get(self.reached)
            if slot is not None:
                room = most - len(found)
                found += slot[:room]
                del slot[:room]
                if slot:
                    break
                del self.slots[self.reached]
            self.reached += 1
        return found


class Expiry:
    """One replica's part in expiring the instances of all tenants."""

    def __init__(self, store: Store, projector: Projector, writes: Writes, clock: Clock, outage_after_ms: int) -> None:
        self._store = store
        self._projector = projector
        self._writes = writes
        self._clock = clock
        self._outage_after_ms = outage_after_ms
        self._schedules: dict[Tenant, _Schedule] = defaultdict(_Schedule)
        self._prompts: asyncio.Queue[tuple[Tenant, LeaseName]] = asyncio.Queue(maxsize=ASK_PER_TICK_MAX)
        self.stats = ExpiryStats()
        projector.listen(self._note)

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        """Schedule what was registered. Replaying, look at it at once: its lease may have little left."""
        if isinstance(event, InstanceRegistered):
            now = self._clock.steady_ms()
            for change in outcome.changes:
                due = now + change.row.ttl_ms if self._projector.live else now
                self._schedules[tenant].add(due, change.row)

    def prompt(self, tenant: Tenant, name: LeaseName) -> None:
        """Look at this instance in the next tick. Prompts beyond the queue's limit are dropped: the sweep will look."""
        if not self._prompts.full():
            self._prompts.put_nowait((tenant, name))

    def _due(self) -> dict[Tenant, list[_Due]]:
        """The instances to ask about now, as the views hold them now."""
        now = self._clock.steady_ms()
        due: dict[Tenant, dict[LeaseName, _Due]] = defaultdict(dict)
        room = ASK_PER_TICK_MAX
        for tenant, schedule in self._schedules.items():
            found = schedule.due(now, room)
            room -= len(found)
            view = self._projector.view(tenant)
            for row, due_ms in found:
                current = view.instance(row.service_id, row.instance_id)
                if current is not None and current.registered == row.registered:
                    due[tenant][LeaseName(row.service_id, row.instance_id)] = (current, due_ms)
        while not self._prompts.empty():
            tenant, name = self._prompts.get_nowait()
            self.stats.prompted += 1
            current = self._projector.view(tenant).instance(*name)
            if current is not None:
                due[tenant].setdefault(name, (current, now))
        return {tenant: list(rows.values()) for tenant, rows in due.items()}

    # -- the sweep -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sweep and pulse until cancelled."""
        pulsed_ms = 0
        while True:
            now = self._clock.steady_ms()
            if now - pulsed_ms >= PULSE_MS:
                pulsed_ms = now
                await self.pulse()
            await self.sweep()
            await asyncio.sleep(TICK_MS / 1000)

    async def sweep(self) -> None:
        """Ask about the leases that may have lapsed by now, and propose to expire those that have."""
        for tenant, rows in self._due().items():
            for start in range(0, len(rows), ASK_MAX):
                some = rows[start : start + ASK_MAX]
                try:
                    await self._judge(tenant, some)
                except OutageSuspected as error:
                    logger.warning("nobody is expired: %s", error.detail, extra={"action": "expiry_held"})
                    self._look_again(tenant, some)
                except HistoryChanged:
                    self._look_again(tenant, some)
                except StoreUnavailable as error:
                    logger.warning("leases cannot be read: %s", error.detail, extra={"action": "sweep_failed"})
                    self._look_again(tenant, some)

    async def _judge(self, tenant: Tenant, asked: Sequence[_Due]) -> None:
        now = self._clock.steady_ms()
        left = await self._store.remaining(tenant, [LeaseName(row.service_id, row.instance_id) for row, _ in asked])
        self.stats.asked += len(asked)
        lapsed = []
        for due, remaining_ms in zip(asked, left, strict=True):
            if remaining_ms >= 0:
                self._schedules[tenant].add(now + remaining_ms, due[0])
            else:
                lapsed.append(due)
        if lapsed:
            await self._propose(tenant, lapsed)

    async def _propose(self, tenant: Tenant, lapsed: Sequence[_Due]) -> None:
        epoch = self._projector.view(tenant).position.epoch
        events = [self._expired(due) for due in lapsed]
        proposals = [
            Proposal(LeaseName(event.service_id, event.instance_id), event.registered, encode_event(event))
            for event in events
        ]
        positions = await self._store.expire(tenant, epoch, proposals, self._outage_after_ms)
        appended = [(position, event) for position, event in zip(positions, events, strict=True) if position]
        self._projector.offer(tenant, appended)
        for position, event in appended:
            self._record(tenant, position, event)
        # The others were renewed meanwhile, or another replica was first. If they are still there, ask again.
        self._look_again(tenant, [due for due, position in zip(lapsed, positions, strict=True) if not position])

    def _expired(self, due: _Due) -> InstanceExpired:
        """The event with its evidence: the lease was not renewed before the deadline that this replica knew."""
        row, due_ms = due
        stamp = self._writes.stamp(ACTOR)
        deadline_ms = stamp.at_ms - max(self._clock.steady_ms() - due_ms, 0)
        return InstanceExpired(
            service_id=row.service_id,
            instance_id=row.instance_id,
            registered=row.registered,
            last_beat_ms=deadline_ms - row.ttl_ms,
            deadline_ms=deadline_ms,
            **stamp._asdict(),
        )

    def _record(self, tenant: Tenant, position: Position, event: InstanceExpired) -> None:
        self.stats.expired += 1
        self.stats.latest_ms = max(self.stats.latest_ms, event.at_ms - event.deadline_ms)
        logger.info(
            "instance %s of service %s expired: last heartbeat at %d, lease ended at %d (Unix ms)",
            event.instance_id,
            event.service_id,
            event.last_beat_ms,
            event.deadline_ms,
            extra={"action": "instance_expired", "tenant": str(tenant), "position": position.text()},
        )

    def _look_again(self, tenant: Tenant, rows: Iterable[_Due]) -> None:
        later = self._clock.steady_ms() + PULSE_MS
        for row, _ in rows:
            self._schedules[tenant].add(later, row)

    # -- outages -------------------------------------------------------------------------------------------------------

    async def pulse(self) -> None:
        """Record that this replica can write; after an outage, re-arm every lease first. Also compares the heads."""
        for tenant in self._projector.tenants:
            try:
                pulse = await self._store.pulse(tenant, self._outage_after_ms, resume=False)
                await self._projector.check(tenant, pulse.head)
                if abs(pulse.silence_ms) > self._outage_after_ms:
                    await self._resume(tenant, pulse.silence_ms)
            except StoreUnavailable as error:
                logger.warning("no pulse: %s", error.detail, extra={"action": "pulse_failed"})
                return

    async def _resume(self, tenant: Tenant, silence_ms: int) -> None:
        await self._projector.catch_up(tenant)
        view = self._projector.view(tenant)
        rows = [row for service in view.services.values() for row in service.instances.values()]
        for start in range(0, len(rows), ASK_MAX):
            some = rows[start : start + ASK_MAX]
            await self._store.rearm(tenant, [Lease(row.service_id, row.instance_id, row.ttl_ms) for row in some])
        await self._store.pulse(tenant, self._outage_after_ms, resume=True)
        now = self._clock.steady_ms()
        for row in rows:
            self._schedules[tenant].add(now + row.ttl_ms, row)
        self.stats.rearmed += len(rows)
        logger.warning(
            "no replica could write for %d ms: %d leases of %s start anew",
            silence_ms,
            len(rows),
            tenant,
            extra={"action": "leases_rearmed", "tenant": str(tenant)},
        )

    async def follow_notifications(self) -> None:
        """Turn the store's notifications into prompts, for as long as it sends any."""
        while True:
            try:
                async for tenant, name in self._store.lapses():
                    self.prompt(tenant, name)
            except StoreUnavailable as error:
                logger.info("no notifications for now: %s", error.detail, extra={"action": "notifications_lost"})
            await asyncio.sleep(1)
