"""Pulses: that replicas can write is written down all the time, so that a silence of the registry is known to be one.

A part of the store is silent as a whole, so it has one pulse, however many tenants it holds: on one server that is all
of them, in a cluster each is a part of its own.

After such a silence (no replica could write) nobody is judged before the leases that it may have cost have been
given their full length again: clients could not beat, so their silence says nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Final

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import Tenant
from registry.domain.view import InstanceRow
from registry.domain.write_times import Outage, WriteTimes
from registry.episode import Actions, Episode
from registry.projection.projector import Projector
from registry.store.leases import SILENCE_MAX_MS, rearm
from registry.store.port import Pulse, Store

logger = logging.getLogger(__name__)

#: How often each part's pulse is recorded, ms.
PULSE_MS: Final = 500
#: A pulse is late after `SILENCE_MAX_MS`, or after this number of rounds where there are very many parts.
PULSE_ROUNDS_LATE: Final = 3
#: Parts pulsed at once.
PULSES_AT_ONCE: Final = 16
#: After a silence of all replicas leases start anew before anybody is judged - all of them when it was longer than the
#: setting `outage_after_ms`, else those that are no longer than this multiple of the silence.
SHORT_LEASE_SILENCES: Final = 4


#: What helps, by some words of Redis's refusal.
REMEDIES: Final = {
    "maxmemory": "raise its maxmemory, or take out what is not the registry's",
    "read only replica": "it is a replica now: name the master in REGISTRY_REDIS_URL, or promote it",
    "good replicas": "attach replicas to it, or lower its min-replicas-to-write",
    "unable to persist": "it cannot save to its disk: make room, or look at its log",
}


class Pulses:
    """One replica's part in it, for all tenants."""

    def __init__(self, store: Store, projector: Projector, clock: Clock, outage_after_ms: int) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._outage_after_ms = outage_after_ms
        #: The tenants of each part, by the one that stands for it.
        self._parts: dict[Tenant, list[Tenant]] = {}
        self._sorted: list[Tenant] = []
        #: The store's process at this replica's last pulse of a part, and the parts that did not take the last one.
        self._runs: dict[Tenant, str] = {}
        self._away: set[Tenant] = set()
        #: When each part's last pulse that was taken began, and how long the last one of all parts took.
        self._pulsed_ms: dict[Tenant, int] = {}
        self._round_ms = 0
        #: When each part answered this replica's last pulse that was taken, and what this tells of when it could write.
        self._answered_ms: dict[Tenant, int] = {}
        self._times: WriteTimes | None = None
        #: Leases that started anew.
        self.rearmed = 0
        self._failing = Episode(
            logger, Actions("pulse_failed", "pulse_recovered"), projector.refusing, steady_ms=clock.steady_ms
        )
        self._unread = Episode(
            logger, Actions("heads_unread", "heads_read"), projector.refusing, logging.INFO, clock.steady_ms
        )

    async def run(self) -> None:
        """Pulse until cancelled, beside the sweep: however long that takes, a late pulse would look like an outage."""
        while True:
            began = self._clock.steady_ms()
            await self.pulse()
            self._round_ms = self._clock.steady_ms() - began
            await asyncio.sleep(max(PULSE_MS - self._round_ms, 0) / 1000)

    async def pulse(self) -> None:
        """Record that this replica can write; after a silence, re-arm leases first. Also compares some of the heads."""
        parts = list(self._sort())
        for start in range(0, len(parts), PULSES_AT_ONCE):
            some = parts[start : start + PULSES_AT_ONCE]
            found = await asyncio.gather(*(self._pulse(part) for part in some), return_exceptions=True)
            failed = {part: error for part, error in zip(some, found, strict=True) if error is not None}
            self._away.difference_update(some)
            self._away.update(failed)
            everywhere = self._away.issuperset(parts[: start + len(some)])
            self._report(failed, everywhere)
            if everywhere:
                # Not one shard of a cluster, but all of the store: there is no need to wait for the others.
                self._away.update(parts)
                return
        if not self._away:
            self._failing.ends("all parts of the store take writes again")
        try:
            await self._projector.proving.look()
        except StoreUnavailable as error:
            self._unread.occurs("the heads of logs cannot be read: %s", error.detail)
        else:
            self._unread.ends("the heads of logs are read again")

    def _report(self, failed: Mapping[Tenant, BaseException], everywhere: bool) -> None:
        details: list[str] = []
        for error in failed.values():
            if not isinstance(error, StoreUnavailable):
                raise error
            details.append(error.detail)
        if everywhere and details:
            self._projector.refusing.occurs("the store takes no writes: %s%s", details[0], _remedy(details[0]))
            return
        self._projector.refusing.ends("the store takes writes again")
        if details:
            self._failing.occurs("%d parts of the store take no writes: %s", len(failed), details[0])

    def _sort(self) -> dict[Tenant, list[Tenant]]:
        """The tenants by the part that they are in; made anew only when there are others."""
        tenants = self._projector.tenants
        if tenants != self._sorted:
            self._sorted, self._parts = tenants, {}
            for tenant in tenants:
                self._parts.setdefault(self._store.part(tenant), []).append(tenant)
            self._answered_ms = {part: ms for part, ms in self._answered_ms.items() if part in self._parts}
        return self._parts

    async def _pulse(self, part: Tenant) -> None:
        began = self._clock.steady_ms()
        pulse = await self._store.pulse(part, SILENCE_MAX_MS, resume=False)
        # A store that was started anew under a living replica may have lost renewals, no matter which replica noticed
        # first; one that was started together with us after a short stop has not.
        lost = self._runs.get(part, pulse.run) != pulse.run
        if lost:
            await self._projector.proving.prove(self._parts[part])
        silent = lost or pulse.restarted or abs(pulse.silence_ms) > SILENCE_MAX_MS
        if silent and not await self._resume(part, pulse, lost):
            return
        self._note(part, began)
        self._runs[part] = pulse.run
        self._pulsed_ms[part] = began

    def _note(self, part: Tenant, began: int) -> None:
        """A pulse was taken. If that was long ago the last time, the replica could not write in between."""
        now, wall = self._clock.steady_ms(), self._clock.wall_ms()
        before = self._answered_ms.get(part, now)
        if self._times is None:
            self._times = WriteTimes(wall)
        failed_or_hung = part in self._away or now - began > SILENCE_MAX_MS
        if now - before > SILENCE_MAX_MS and (failed_or_hung or began - before > self._late_ms):
            self._times = self._times.with_outage(Outage(wall - (now - before), wall, str(part)))
        self._answered_ms[part] = now

    def write_times(self) -> WriteTimes:
        """When this replica could write, up to now."""
        now, wall = self._clock.steady_ms(), self._clock.wall_ms()
        times = self._times or WriteTimes(wall)
        away = self._away.intersection(self._sort()) if self._away else ()
        since = ((part, self._answered_ms.get(part)) for part in away)
        return times.with_present([Outage(wall - (now - ms), 0, str(part)) for part, ms in since if ms is not None])

    async def _resume(self, part: Tenant, pulse: Pulse, lost: bool) -> bool:
        """Give leases their full length again: all of them after an outage, the short ones after any silence."""
        await self._store.rearm(part, [])  # refused at once where nothing is written: there may be a million rows
        await self._projector.reading.catch_up_all(self._parts[part])
        outage = lost or abs(pulse.silence_ms) > self._outage_after_ms
        longest_ms = math.inf if outage else SHORT_LEASE_SILENCES * abs(pulse.silence_ms)
        concerned = {tenant: rows for tenant in self._sort()[part] if (rows := self._rows(tenant, longest_ms))}
        if not await rearm(self._store, concerned or {part: []}):
            return False  # silent once more meanwhile: the next pulse begins anew
        await self._store.pulse(part, SILENCE_MAX_MS, resume=True)
        number = sum(len(rows) for rows in concerned.values())
        self.rearmed += number
        started = lost or pulse.restarted
        logger.warning(
            "%s: %d leases of %d tenants start anew",
            "the store was started anew" if started else _silence(pulse.silence_ms),
            number,
            len(concerned),
            extra={"action": "leases_rearmed", "tenant": str(part)},
        )
        return True

    def _rows(self, tenant: Tenant, longest_ms: float) -> list[InstanceRow]:
        """Its instances whose leases are no longer than that."""
        services = self._projector.view(tenant).services.values()
        return [row for service in services for row in service.instances.values() if row.ttl_ms <= longest_ms]

    def may_judge(self, tenant: Tenant) -> bool:
        """Whether leases of the tenant need not start anew first, for all that this replica knows.

        The store says so too, but only when an expiry is proposed, and the protection is asked before.
        """
        part, now = self._store.part(tenant), self._clock.steady_ms()
        late_ms = now - self._pulsed_ms.get(part, now)
        return part not in self._away and late_ms <= self._late_ms

    @property
    def _late_ms(self) -> int:
        return max(SILENCE_MAX_MS, PULSE_ROUNDS_LATE * self._round_ms)


def _remedy(detail: str) -> str:
    """What helps against a refusal of Redis."""
    return next((f" ({remedy})" for words, remedy in REMEDIES.items() if words in detail), "")


def _silence(silence_ms: int) -> str:
    """What its length says: it is measured by the store's clock, which may be set."""
    if silence_ms < 0:
        return f"the store's clock went back by {-silence_ms} ms"
    return f"no replica could write for {silence_ms} ms"
