"""Mending: a log that has lost events gets them back from the replicas that have applied them.

A failover to a server that lacked the tail, a restored backup, an emptied disk: the store goes on from an earlier state
as if nothing had happened. A replica notices, because its own position is not part of the log any more. It then

- appends what it remembers and the log lacks once more, as the first events of a new epoch, exactly once over all
  replicas: an event is known by who wrote it and its number, and the epoch begins only if the log has not moved since
  it was read; or,
- where the log is empty, or has lost more than is remembered, or what is no tail, seeds it: it writes its whole view,
  and on it what the log says beyond it, as a snapshot, and begins a new epoch with it. The replica that is furthest
  ahead does so.

Leases are given their full length again before the epoch begins, since the store has lost renewals too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import structs

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, HistoryResumed, encode_event
from registry.domain.fold import include
from registry.domain.history import PutBack, put_back
from registry.domain.own import ACTOR
from registry.domain.position import ORIGIN, Position
from registry.domain.recent import Recent, Remembered
from registry.domain.retelling import Retelling, fork, retelling, tell_again
from registry.domain.snapshot import Loader, take
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.projection.restoring import Restored, apply_or_tell, restore
from registry.projection.saving import save
from registry.store.damage import Damaged
from registry.store.leases import rearm
from registry.store.port import HistoryChanged, Store
from registry.store.soundness import read_position

logger = logging.getLogger(__name__)

#: For how long the replicas say how far they are before the one that is furthest ahead seeds an empty log.
CLAIMS_WAIT_S: Final = 1.0
#: How many of these waits a replica that is further ahead has to do it.
CLAIMS_WAITS_MAX: Final = 10
CLAIM_KEPT_MS: Final = 5000
#: Claims stand among what replicas say of their views (`agreement`), each under the replica's name behind this.
CLAIMS: Final = "claim "
#: The right to seed, ms. It is renewed while the snapshot is written; if its holder dies, others wait this long.
SEEDING_MS: Final = 6_000
#: Of the newest events, when an empty log is seeded: readers that had not been told of them yet go on.
SEED_RETOLD_MAX: Final = 300


class Mending:
    """One replica's part in putting histories together again."""

    def __init__(self, store: Store, replica: str, clock: Clock) -> None:
        self._store = store
        self._replica = replica
        self._clock = clock
        #: Events put back, and logs seeded, by this replica.
        self.put_back = 0
        self.seeded = 0
        self._again = 0

    async def restore(
        self, own: RegistryView, recent: Recent, before_ms: int | None = None, hasty: bool = False
    ) -> Restored | None:
        """What the log holds now, after it got back what this replica knows of. None: the own view is the log's state.

        Args:
            hasty: the log moves all the time, so that there is no time for a snapshot. Lost events are appended though
                some stand in the log that came after them, and were applied without them.

        Raises:
            HistoryChanged: the log moved meanwhile; try again.
            StoreUnavailable, Damaged
        """
        restored = await self._replay(own.tenant, before_ms)
        log, tail = restored.view, restored.tail.all()
        lost, broken_off = recent.lost(log, tail), recent.broken_off(log, tail)
        if not lost and log.includes(own.position):
            return restored
        since, all_known = recent.since(own, tail), not restored.tail.is_cut
        if log.position == ORIGIN or (recent.gap(lost, lost) and not since):
            # Here is all that the log holds, and more; where that is no tail, none can be appended in its place.
            await self._await_turn(own, log.position)
            for epoch, sequence in _histories(log).items():
                include(own.lineage, Position(epoch, sequence))
            known = recent.last(SEED_RETOLD_MAX) if log.position == ORIGIN else recent.all()
            again = retelling(fork(known, own.position), (), (log,) if log.services else (), own, known)
            await self._seed(own, log.position, own.position.text(), again)
            return None
        events = put_back(lost, since, log)
        if recent.gap(lost, events.of(lost)) and all_known and not hasty:
            return await self._merge(restored, own, since, recent)
        if recent.reach(log, tail):
            undone = [*events.undone(lost), *broken_off]
            await self._append_again(restored, own, events, undone, fork([*lost, *broken_off], own.position))
            return restored
        if all_known and (not since or since[0].position.sequence == 1):
            return await self._merge(restored, own, since, recent)
        _give_up(own, log)
        return restored

    async def _replay(self, tenant: Tenant, before_ms: int | None) -> Restored:
        if before_ms is not None:
            try:
                return await restore(self._store, tenant, self._replica, before_ms)
            except Damaged:
                logger.warning(
                    "%s has no snapshot that is old enough, the newest must do",
                    tenant,
                    extra={"action": "snapshot_too_new", "tenant": str(tenant)},
                )
        return await restore(self._store, tenant, self._replica)

    # -- a lost tail ---------------------------------------------------------------------------------------------------

    async def _append_again(
        self, restored: Restored, own: RegistryView, events: PutBack, undone: Sequence[Remembered], behind: Position
    ) -> None:
        """Where all that was lost has been decided otherwise since, the epoch says just that some was."""
        log, store = restored.view, self._store
        head = log.position
        epoch = self._next_epoch(head, own.position)
        resumed = self._resumed(head.text(), _histories(own))
        written = [*events.lost, *map(self._said_again, events.again)]
        outcomes = [
            apply_or_tell(store, log, Position(epoch, number), event)
            for number, event in enumerate((resumed, *written), 1)
        ]
        again = retelling(behind, undone, (own,), log)
        resumed, *pages = tell_again(resumed, epoch, len(written), len(events.lost), again)
        payloads = list(map(encode_event, (resumed, *written, *pages)))
        for number, (event, outcome) in enumerate(zip((resumed, *written), outcomes, strict=True), 1):
            restored.note(Position(epoch, number), event, payloads[number - 1], outcome, self._replica)
        for event in pages:
            restored.apply(store, log.position.next(), event, payloads[log.position.sequence], self._replica)
        await self._rearm(log)
        await self._store.resume_history(log.tenant, head, epoch, payloads)
        self.put_back += len(events.lost)
        logger.error(
            "the log of %s had lost its history after %s; %d events are put back in epoch %d",
            log.tenant,
            head.text(),
            len(events.lost),
            epoch,
            extra={"action": "history_mended", "tenant": str(log.tenant)},
        )

    def _said_again(self, event: Event) -> Event:
        """The same under a name of its own; those that clients' writes are given count upwards."""
        self._again -= 1
        return structs.replace(event, replica=self._replica, number=self._again)

    # -- a lost log ----------------------------------------------------------------------------------------------------

    async def _await_turn(self, own: RegistryView, head: Position) -> None:
        """Let the replica seed that is furthest ahead; of equals, one."""
        tenant, name = own.tenant, CLAIMS + self._replica
        mine = own.position, name
        claim = own.position.text().encode()
        for _ in range(CLAIMS_WAITS_MAX):
            await self._store.snapshots.exchange(tenant, name, claim, CLAIM_KEPT_MS)
            await asyncio.sleep(CLAIMS_WAIT_S)
            others = await self._store.snapshots.exchange(tenant, name, claim, CLAIM_KEPT_MS)
            if await self._store.head(tenant) != head:
                raise HistoryChanged("the log has moved")
            if all((_claimed(said), other) < mine for other, said in others.items() if other.startswith(CLAIMS)):
                break
        if not await self._store.snapshots.hold(tenant, self._replica, SEEDING_MS):
            raise HistoryChanged("another replica is seeding the log, or writing a snapshot")

    async def _merge(
        self, restored: Restored, own: RegistryView, since: Sequence[Remembered], recent: Recent
    ) -> Restored | None:
        """The log lost more than is remembered, or what is no tail, or began anew: the own view, and on it what the log
        says beyond it.
        """
        log = restored.view
        await self._await_turn(own, log.position)
        known = recent.all()
        behind = fork(known, own.position)
        if not since:
            await self._seed(own, log.position, own.position.text(), retelling(behind, (), (log,), own, known))
            return None
        loader = Loader()
        for chunk in take(own, b""):
            loader.add(chunk)
            await asyncio.sleep(0)
        merged = Restored(loader.view())
        for sequence, (_, event) in enumerate(since, 1):
            # In an epoch of nobody's, later than the own one: the log's may be earlier, if the store's clock is wrong.
            merged.apply(
                self._store, Position(own.position.epoch + 1, sequence), event, encode_event(event), self._replica
            )
        include(merged.view.lineage, log.position)
        again = retelling(behind, (), (own, log), merged.view, known)
        position, resumed = await self._seed(merged.view, log.position, "", again, _histories(own))
        merged.tail.clear()  # what led here stands in no log
        merged.apply(self._store, position, resumed, encode_event(resumed), self._replica)
        return merged

    async def _seed(
        self,
        view: RegistryView,
        head: Position,
        after: str,
        again: Retelling,
        mended: dict[int, int] | None = None,
    ) -> tuple[Position, HistoryResumed]:
        """Write the view as the state with which a new epoch begins."""
        tenant = view.tenant
        position = Position(self._next_epoch(head, view.position), 1)
        resumed, *pages = tell_again(self._resumed(after, mended), position.epoch, 0, 0, again)
        payloads = list(map(encode_event, (resumed, *pages)))
        chunks = take(view, payloads[0], position, resumed.at_ms)
        async with self._holding(tenant):
            mark = await save(self._store, tenant, position, chunks, self._clock.wall_ms(), self._replica)
            if mark is None:
                raise HistoryChanged("the snapshot was lost while it was written")
            try:
                await self._rearm(view)
                await self._store.resume_history(tenant, head, position.epoch, payloads, seeded=True)
            except StoreUnavailable:
                # It may have begun all the same. If it does so later, it finds that the snapshot is gone, and does not.
                with contextlib.suppress(StoreUnavailable):
                    if await self._store.entry(tenant, position) != payloads[0]:
                        await self._store.snapshots.drop(tenant, mark)
                raise
        self.seeded += 1
        logger.error(
            "the log of %s was lost; it goes on in epoch %d from this replica's memory, %d instances, as of %s",
            tenant,
            position.epoch,
            view.instance_count,
            view.position.text(),
            extra={"action": "history_seeded", "tenant": str(tenant)},
        )
        return position, resumed

    @contextlib.asynccontextmanager
    async def _holding(self, tenant: Tenant) -> AsyncIterator[None]:
        """Keep the right to seed for as long as it takes, and give it back."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(SEEDING_MS / 3000)
                with contextlib.suppress(StoreUnavailable):
                    await self._store.snapshots.hold(tenant, self._replica, SEEDING_MS)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(StoreUnavailable):
                await self._store.snapshots.hold(tenant, self._replica, 1)

    # -- both ----------------------------------------------------------------------------------------------------------

    def _resumed(self, after: str, mended: dict[int, int] | None = None) -> HistoryResumed:
        at_ms = self._clock.wall_ms()
        return HistoryResumed(
            at_ms=at_ms, replica=self._replica, number=0, actor=ACTOR, after=after, mended=mended or {}
        )

    def _next_epoch(self, head: Position, own: Position) -> int:
        return max(self._clock.wall_ms(), head.epoch + 1, own.epoch + 1)

    async def _rearm(self, view: RegistryView) -> None:
        rows = [row for service in view.services.values() for row in service.instances.values()]
        if not await rearm(self._store, {view.tenant: rows}):
            raise HistoryChanged("the store was silent while leases were re-armed")


def _give_up(own: RegistryView, log: RegistryView) -> None:
    logger.error(
        "the log of %s is another one, with a history up to %s: what was here, up to %s, is given up",
        own.tenant,
        log.position.text(),
        own.position.text(),
        extra={"action": "history_given_up", "tenant": str(own.tenant)},
    )


def _histories(view: RegistryView) -> dict[int, int]:
    """All that led to the view: epoch -> the sequence up to which it did."""
    return {**view.lineage, view.position.epoch: view.position.sequence}


def _claimed(claim: bytes) -> Position:
    return read_position(claim) or ORIGIN
