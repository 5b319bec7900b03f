"""Expiry: who has stopped beating is removed in time, and nobody else.

The guarantee is the sweep. Each replica knows for every instance the earliest moment at which its lease can lapse,
asks the store only about those that are due, and learns the true deadline; so heartbeats cost the sweep nothing.
A lapse is only a proposal: the store appends `InstanceExpired` where the lease is really gone, in one atomic step.
Notifications merely prompt the sweep to look sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, InstanceExpired, InstanceRegistered, encode_event
from registry.domain.outcome import DELETE, Outcome
from registry.domain.own import ACTOR
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.view import InstanceRow
from registry.domain.write_times import Writing
from registry.episode import Actions, Episode
from registry.projection.projector import Projector
from registry.store.damage import Damaged
from registry.store.lease import Lease, LeaseName, Proposal
from registry.store.leases import SILENCE_MAX_MS
from registry.store.port import HistoryChanged, OutageSuspected, Store
from registry.upkeep.kept import Kept, Lapse
from registry.upkeep.protection import WINDOW_MS, Protection
from registry.upkeep.pulses import Pulses
from registry.upkeep.schedule import Entry, Schedules
from registry.usecases.writers import Writers
from registry.usecases.writes import Writes

logger = logging.getLogger(__name__)

#: How often the sweep looks, ms; with the width of a slot it bounds how late a lapse is noticed.
TICK_MS: Final = 100
#: Leases asked about or proposed in one step, which takes some two milliseconds here and half of one in the store.
ASK_MAX: Final = 250
#: Leases of a tenant asked about in one sweep, and how long (ms) it goes on with steps: other tenants wait.
ASK_PER_TICK_MAX: Final = 20_000
SWEEP_MAX_MS: Final = 300
#: Tenants judged at once: what they ask the store is under way together, at most `ASK_MAX` leases of each.
TENANTS_AT_ONCE: Final = 32
#: Leases judged together once one of them has lapsed.
JUDGED_MAX: Final = 1_000_000
#: Of how many in one sweep, of all tenants, it is asked through which replica each was last renewed. To ask of more
#: would hold up their removal.
EVIDENCE_MAX: Final = 16
#: After how many ms an instance that could not be judged is asked about again.
LOOK_AGAIN_MS: Final = 500
#: After how many ms an instance that the protection holds is asked about again.
HELD_MS: Final = 1000


@dataclass(slots=True)
class ExpiryStats:
    expired: int = 0
    asked: int = 0
    prompted: int = 0
    #: The longest time between a lease's deadline and its `InstanceExpired`, ms, without that for which it paused.
    latest_ms: int = 0


class _Due(NamedTuple):
    """An instance to ask about, and the steady time (ms) at which its lease ends as far as this replica knows."""

    name: LeaseName
    row: InstanceRow
    due_ms: int


class Expiry:
    """One replica's part in expiring the instances of all tenants."""

    def __init__(
        self,
        store: Store,
        projector: Projector,
        writes: Writes,
        clock: Clock,
        pulses: Pulses,
        protection: Protection,
        writers: Writers,
    ) -> None:
        self.protection = protection
        self._store = store
        self._projector = projector
        self._writes = writes
        self._clock = clock
        self._pulses = pulses
        self._writers = writers
        self._schedules = Schedules()
        self._kept = Kept()
        #: See `EVIDENCE_MAX`.
        self._evidence_left = EVIDENCE_MAX
        self._prompts: asyncio.Queue[tuple[Tenant, LeaseName]] = asyncio.Queue(maxsize=ASK_PER_TICK_MAX)
        self.stats = ExpiryStats()
        self._held = Episode(
            logger, Actions("expiry_held", "expiry_goes_on"), projector.refusing, steady_ms=clock.steady_ms
        )
        self._unprompted = Episode(
            logger,
            Actions("notifications_lost", "notifications_back"),
            projector.refusing,
            logging.INFO,
            clock.steady_ms,
        )
        projector.listen(self._note)
        projector.listen_for_rebuilds(self._schedule_anew)
        projector.listen_for_leaves(self._leave)

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        """Schedule what was registered. Replaying, look at it at once: its lease may have little left."""
        if isinstance(event, InstanceRegistered):
            now = self._clock.steady_ms()
            for change in outcome.changes:
                due = now + change.row.ttl_ms if self._projector.live else now
                name = _name(change.row)
                self._schedules[tenant].add(now, due, name)
                self.protection.alive(tenant, (name,))
                self._kept.forget(tenant, (name,))
            return
        for change in outcome.changes:
            if change.action == DELETE:
                name = _name(change.row)
                self._schedules[tenant].remove(name)
                self._kept.forget(tenant, (name,))
                if isinstance(event, InstanceExpired) and self._is_recent(event):
                    self.protection.expired(tenant, name)
                else:
                    self.protection.left(tenant, name)

    def _is_recent(self, event: Event) -> bool:
        """Whether it happened lately. A replayed log tells of all that have ever expired."""
        return self._projector.live or self._clock.wall_ms() - event.at_ms < WINDOW_MS

    def _schedule_anew(self, tenant: Tenant) -> None:
        """The log was replayed: look at everything it holds, leases may have little left."""
        self._schedules.forget(tenant)
        self._kept.forget_all(tenant)
        schedule = self._schedules[tenant]
        now, view = self._clock.steady_ms(), self._projector.view(tenant)
        for service in view.services.values():
            for row in service.instances.values():
                schedule.add(now, now, _name(row))
        self.protection.keep(tenant, lambda name: view.instance(*name) is not None)

    def _leave(self, tenant: Tenant) -> None:
        self._schedules.forget(tenant)
        self.protection.forget(tenant)

    def renew(self) -> Iterator[object]:
        """Make the tables of what is scheduled as small as can be, step by step; yields what was there."""
        for schedule in list(self._schedules.values()):
            yield from schedule.renew()

    def prompt(self, tenant: Tenant, name: LeaseName) -> None:
        """Look at this instance in the next tick. Prompts beyond the queue's limit are dropped: the sweep will look."""
        if not self._prompts.full():
            self._prompts.put_nowait((tenant, name))

    def _prompted(self) -> dict[Tenant, list[_Due]]:
        """Whom to look at because the store has told of a lapse."""
        now = self._clock.steady_ms()
        found: dict[Tenant, list[Entry]] = defaultdict(list)
        while not self._prompts.empty():
            tenant, name = self._prompts.get_nowait()
            self.stats.prompted += 1
            found[tenant].append(Entry(*name, now))
        return {tenant: self._still_there(tenant, entries) for tenant, entries in found.items()}

    def _still_there(self, tenant: Tenant, found: Iterable[Entry]) -> list[_Due]:
        """Those of the schedule's entries that the view holds."""
        view = self._projector.view(tenant)
        there: list[_Due] = []
        for entry in found:
            current = view.instance(entry.service_id, entry.instance_id)
            if current is not None:
                there.append(_Due(LeaseName(entry.service_id, entry.instance_id), current, entry.due_ms))
        return there

    # -- the sweep -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await asyncio.sleep(TICK_MS / 1000)

    async def sweep(self) -> None:
        """Ask about the leases that may have lapsed by now, and propose to expire those that have."""
        prompted = self._prompted()
        self._evidence_left = EVIDENCE_MAX
        until_ms = self._clock.steady_ms() + SWEEP_MAX_MS
        tenants = self._schedules.due(self._clock.steady_ms(), prompted)
        left = iter(tenants)

        async def judge_the_next() -> bool:
            return all([await self._try_to_judge(tenant, prompted.get(tenant, []), until_ms) for tenant in left])

        judging = min(len(tenants), TENANTS_AT_ONCE)
        if all(await asyncio.gather(*(judge_the_next() for _ in range(judging)))):
            self._held.ends("who has lapsed is expired again")

    async def _try_to_judge(self, tenant: Tenant, taken: list[_Due], until_ms: int) -> bool:
        """Whether it could be done. Those who could not be judged are looked at again."""
        judged = self._pulses.may_judge(tenant) and tenant not in self._projector.aside.tenants
        if judged:
            try:
                await self._judge(tenant, taken, until_ms)
            except StoreUnavailable as error:
                judged = False
                if not isinstance(error, HistoryChanged):
                    self._held.occurs("nobody of %s is expired: %s", tenant, error.detail, tenant=str(tenant))
                self._put_back(tenant, taken)
        self._schedules.again(tenant)
        return judged

    async def _judge(self, tenant: Tenant, taken: list[_Due], until_ms: int) -> None:
        """Propose those of the given and of the due instances that have lapsed, and others of the same moment.

        However many they are, they are believed or not as a whole: told of them one by one, the protection would
        give away the first ones. Everybody who was looked at is added to the list.
        """
        lapsed = await self._ask(tenant, taken)
        lapsed += await self._ask_due(tenant, taken, until_ms)
        if not lapsed:
            return
        lapsed += await self._ask_ahead(tenant, taken)
        if not self._pulses.may_judge(tenant):
            raise OutageSuspected("this replica's own pulse is late")
        # Who left while the store was asked must not be held: nobody would ever hear of it again.
        view = self._projector.view(tenant)
        gone = {due.name: due for due in lapsed if view.instance(*due.name) is not None}
        if not self.protection.accepts(tenant, gone, view.instance_count):
            ended = {name: due.due_ms for name, due in gone.items()}
            self._kept.keep(tenant, ended, self._clock.steady_ms())
            self._look_again(tenant, gone.values(), HELD_MS)
            return
        lapsed = list(gone.values())
        for start in range(0, len(lapsed), ASK_MAX):
            await self._propose(tenant, lapsed[start : start + ASK_MAX])

    async def _ask_due(self, tenant: Tenant, taken: list[_Due], until_ms: int) -> list[_Due]:
        """Ask about those that are due, step by step, and about at least one of them even when it is late."""
        lapsed: list[_Due] = []
        room = ASK_PER_TICK_MAX
        while room > 0:
            found = self._schedules[tenant].due(self._clock.steady_ms(), min(room, ASK_MAX))
            some = self._still_there(tenant, found)
            taken += some
            lapsed += await self._ask(tenant, some)
            room -= len(found)
            if len(found) < ASK_MAX or self._clock.steady_ms() >= until_ms:
                break
        return lapsed

    async def _ask_ahead(self, tenant: Tenant, taken: list[_Due]) -> list[_Due]:
        """Ask about the others that will be due in a moment."""
        lapsed: list[_Due] = []
        known = {due.name for due in taken}
        soon = islice(self._schedules[tenant].ahead(self._clock.steady_ms()), JUDGED_MAX)
        while found := list(islice(soon, ASK_MAX)):
            some = [due for due in self._still_there(tenant, found) if due.name not in known]
            known.update(due.name for due in some)
            taken += some
            lapsed += await self._ask(tenant, some)
        return lapsed

    async def _ask(self, tenant: Tenant, rows: Sequence[_Due]) -> list[_Due]:
        """Those that have no lease. The others are scheduled for the end of theirs."""
        lapsed: list[_Due] = []
        for start in range(0, len(rows), ASK_MAX):
            some = rows[start : start + ASK_MAX]
            now, alive = self._clock.steady_ms(), []
            left = await self._store.remaining(tenant, [due.name for due in some])
            self.stats.asked += len(some)
            schedule = self._schedules[tenant]
            for due, remaining_ms in zip(some, left, strict=True):
                if remaining_ms >= 0:
                    schedule.add(now, now + remaining_ms, due.name)
                    alive.append(due.name)
                else:
                    lapsed.append(due)
            self.protection.alive(tenant, alive)
            self._kept.forget(tenant, alive)
        return lapsed

    async def _propose(self, tenant: Tenant, lapsed: Sequence[_Due]) -> None:
        at = self._projector.view(tenant).position
        through = await self._renewed_through(tenant, lapsed)
        writing = self._writing(tenant, lapsed)
        events = [self._expired(tenant, due, through.get(due.name, ""), writing) for due in lapsed]
        proposals = [
            Proposal(LeaseName(event.service_id, event.instance_id), event.registered, encode_event(event))
            for event in events
        ]
        positions = await self._store.expire(tenant, at.epoch, proposals, SILENCE_MAX_MS, at.sequence)
        appended = [
            (position, event, proposal.payload)
            for position, event, proposal in zip(positions, events, proposals, strict=True)
            if position
        ]
        self._projector.offer(tenant, appended)
        for _, event, _ in appended:
            self.stats.expired += 1
            self.stats.latest_ms = max(self.stats.latest_ms, event.at_ms - event.deadline_ms - event.paused_ms)
        # The others were renewed meanwhile, or another replica was first. If they are still there, ask again.
        self._look_again(tenant, [due for due, position in zip(lapsed, positions, strict=True) if not position])

    async def _renewed_through(self, tenant: Tenant, lapsed: Sequence[_Due]) -> dict[LeaseName, str]:
        """Which replica brought the last heartbeat of each, where they are few. It is for the record only."""
        if len(lapsed) > self._evidence_left:
            return {}
        self._evidence_left -= len(lapsed)
        now, found = self._clock.steady_ms(), {}
        with contextlib.suppress(Damaged):
            for name, row, due_ms in lapsed:
                lease = Lease(row.service_id, row.instance_id, row.ttl_ms)
                found[name] = (await self._store.renewed(tenant, lease, now - due_ms + row.ttl_ms)).replica
                now = self._clock.steady_ms()
        return found

    def _writing(self, tenant: Tenant, lapsed: Sequence[_Due]) -> Writing:
        """When each replica could write since the eldest last renewal: one answer for all that lapsed together."""
        now = self._clock.steady_ms()
        renewed_ms = min(self._lapse(tenant, due, now).due_ms - due.row.ttl_ms for due in lapsed)
        since_ms = self._clock.wall_ms() - (now - renewed_ms)
        return self._writers.since(since_ms, self._pulses.write_times(), self._store.part(tenant))

    def _lapse(self, tenant: Tenant, due: _Due, now: int) -> Lapse:
        return self._kept.lapse(tenant, due.name) or Lapse(due.due_ms, now)

    def _expired(self, tenant: Tenant, due: _Due, through: str, writing: Writing) -> InstanceExpired:
        """The event with its evidence: the lease was not renewed before the deadline that this replica knew."""
        row = due.row
        stamp, now = self._writes.stamp(ACTOR), self._clock.steady_ms()
        due_ms, since_ms = self._lapse(tenant, due, now)
        deadline_ms = stamp.at_ms - max(now - due_ms, 0)
        return InstanceExpired(
            service_id=row.service_id,
            instance_id=row.instance_id,
            registered=row.registered,
            last_beat_ms=deadline_ms - row.ttl_ms,
            deadline_ms=deadline_ms,
            paused_ms=now - since_ms,
            renewed_through=through,
            writers=writing.writers,
            outages=writing.outages,
            **stamp._asdict(),
        )

    def _look_again(self, tenant: Tenant, rows: Iterable[_Due], after_ms: int = LOOK_AGAIN_MS) -> None:
        now = self._clock.steady_ms()
        for due in rows:
            self._schedules[tenant].add(now, now + after_ms, due.name)

    def _put_back(self, tenant: Tenant, taken: Iterable[_Due]) -> None:
        """Nothing came of it: look again at those that are not scheduled already: those found alive are."""
        schedule = self._schedules[tenant]
        self._look_again(tenant, [due for due in taken if not schedule.holds(due.name)])

    async def follow_notifications(self) -> None:
        """Turn the store's notifications into prompts, for as long as it sends any."""
        while True:
            try:
                async for tenant, name in self._store.lapses():
                    self._unprompted.ends("notifications of lapses come again")
                    self.prompt(tenant, name)
            except StoreUnavailable as error:
                self._unprompted.occurs("no notifications of lapses, the sweep alone looks: %s", error.detail)
            await asyncio.sleep(1)


def _name(row: InstanceRow) -> LeaseName:
    return LeaseName(row.service_id, row.instance_id)
