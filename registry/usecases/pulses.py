"""Pulses: that replicas can write is written down all the time, so that a silence of ours is known for what it is.

After a silence of ours (no replica could write) nobody is judged before the leases that it may have cost have been
given their full length again: clients could not beat, so their silence says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.view import Tenant
from registry.projection.projector import Projector
from registry.store.leases import SILENCE_MAX_MS, rearm
from registry.store.port import Damaged, Pulse, Store

logger = logging.getLogger(__name__)

#: How often each tenant's pulse is recorded, ms.
PULSE_MS: Final = 500
#: A pulse is late after `SILENCE_MAX_MS`, or after so many rounds where there are very many tenants.
PULSE_ROUNDS_LATE: Final = 3
#: Tenants pulsed at once.
PULSES_AT_ONCE: Final = 16
#: After a silence of all replicas leases start anew before anybody is judged - all of them when it was longer than the
#: setting `outage_after_ms`, else those that are no longer than so many times the silence.
SHORT_LEASE_SILENCES: Final = 4


class Pulses:
    """One replica's part in it, for all tenants."""

    def __init__(self, store: Store, projector: Projector, clock: Clock, outage_after_ms: int) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._outage_after_ms = outage_after_ms
        #: The store's process at this replica's last pulse, and the tenants whose part of it did not take that.
        self._runs: dict[Tenant, str] = {}
        self.away: set[Tenant] = set()
        #: When each tenant's last pulse that was taken began, and how long the last one of all tenants took.
        self._pulsed_ms: dict[Tenant, int] = {}
        self._round_ms = 0
        #: Leases that started anew.
        self.rearmed = 0

    async def run(self) -> None:
        """Pulse until cancelled, beside the sweep: however long that takes, a late pulse would look like an outage."""
        while True:
            began = self._clock.steady_ms()
            await self.pulse()
            self._round_ms = self._clock.steady_ms() - began
            await asyncio.sleep(max(PULSE_MS - self._round_ms, 0) / 1000)

    async def pulse(self) -> None:
        """Record that this replica can write; after a silence, re-arm leases first. Also compares the heads."""
        aside = self._projector.aside.tenants
        tenants = [tenant for tenant in self._projector.tenants if tenant not in aside]
        for start in range(0, len(tenants), PULSES_AT_ONCE):
            some = tenants[start : start + PULSES_AT_ONCE]
            found = await asyncio.gather(*(self._pulse(tenant) for tenant in some), return_exceptions=True)
            # What is damaged is set aside now, and says nothing of whether the store answers.
            failed = {t: e for t, e in zip(some, found, strict=True) if e is not None and not isinstance(e, Damaged)}
            self.away.difference_update(some)
            self.away.update(failed)
            details: list[str] = []
            for error in failed.values():
                if not isinstance(error, StoreUnavailable):
                    raise error
                details.append(error.detail)
            if details:
                logger.warning("no pulse: %s", details[0], extra={"action": "pulse_failed"})
            if self.away.issuperset(tenants[: start + len(some)]):
                # Not one shard of a cluster, but all of the store: there is no need to wait for the others.
                self.away.update(tenants)
                return

    async def _pulse(self, tenant: Tenant) -> None:
        began = self._clock.steady_ms()
        pulse = await self._store.pulse(tenant, SILENCE_MAX_MS, resume=False)
        await self._projector.proving.check(tenant, pulse.head, pulse.run)
        # A store that was started anew under a living replica may have lost renewals, whoever noticed first; one that
        # was started together with us after a short stop has not.
        lost = self._runs.get(tenant, pulse.run) != pulse.run
        silent = lost or pulse.restarted or abs(pulse.silence_ms) > SILENCE_MAX_MS
        if silent and not await self._resume(tenant, pulse, lost):
            return
        self._runs[tenant] = pulse.run
        self._pulsed_ms[tenant] = began

    async def _resume(self, tenant: Tenant, pulse: Pulse, lost: bool) -> bool:
        """Give leases their full length again: all of them after an outage, the short ones after any silence."""
        await self._projector.catch_up(tenant)
        outage = lost or abs(pulse.silence_ms) > self._outage_after_ms
        rows = [
            row
            for service in self._projector.view(tenant).services.values()
            for row in service.instances.values()
            if outage or row.ttl_ms <= SHORT_LEASE_SILENCES * abs(pulse.silence_ms)
        ]
        if not await rearm(self._store, tenant, rows):
            return False  # silent once more meanwhile: the next pulse begins anew
        await self._store.pulse(tenant, SILENCE_MAX_MS, resume=True)
        self.rearmed += len(rows)
        started = lost or pulse.restarted
        logger.warning(
            "%s: %d leases of %s start anew",
            "the store was started anew" if started else f"no replica could write for {pulse.silence_ms} ms",
            len(rows),
            tenant,
            extra={"action": "leases_rearmed", "tenant": str(tenant)},
        )
        return True

    def is_late(self, tenant: Tenant) -> bool:
        """Whether leases may have to start anew first, for all that this replica knows: then it judges nobody.

        The store says so too, but only when an expiry is proposed, and the protection is asked before.
        """
        now = self._clock.steady_ms()
        late_ms = now - self._pulsed_ms.get(tenant, now)
        return late_ms > max(SILENCE_MAX_MS, PULSE_ROUNDS_LATE * self._round_ms)
