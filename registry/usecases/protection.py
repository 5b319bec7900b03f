"""Protection: when very many leases lapse at once, it is more likely that we do not hear than that all have died.

Then nobody is removed for a while. It ends by itself: when those who had lapsed beat again, or after the time set; who
has not come back by then is removed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from registry.clock import Clock
from registry.domain.view import Tenant
from registry.store.port import LeaseName

logger = logging.getLogger(__name__)

#: Lapses within so many ms count together.
WINDOW_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class MassLapse:
    """When expiry pauses.

    `share` of a tenant's instances within the window, but not for fewer than `least`; for `hold_ms` at most.
    """

    share: float = 0.5
    least: int = 1000
    hold_ms: int = 60_000


@dataclass(slots=True)
class _State:
    #: When instances expired, and how many.
    expired: deque[tuple[int, int]] = field(default_factory=deque)
    #: Who has lapsed and is kept.
    held: dict[LeaseName, None] = field(default_factory=dict)
    paused_ms: int | None = None
    #: Nobody is held until then: the time set is over.
    released_until_ms: int = 0


class Protection:
    """One replica's judgement on how many lapses it believes."""

    def __init__(self, rule: MassLapse, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock
        self._states: dict[Tenant, _State] = {}
        #: How often expiry was paused.
        self.pauses = 0

    def held(self) -> dict[Tenant, int]:
        """The tenants whose expiry is paused, and how many lapsed instances each keeps."""
        return {tenant: len(state.held) for tenant, state in self._states.items() if state.paused_ms is not None}

    def expired(self, tenant: Tenant) -> None:
        """An instance was removed, by whichever replica."""
        state, now = self._state(tenant), self._clock.steady_ms()
        if state.expired and now - state.expired[-1][0] < 1000:
            at, number = state.expired[-1]
            state.expired[-1] = (at, number + 1)
        else:
            state.expired.append((now, 1))

    def alive(self, tenant: Tenant, names: Iterable[LeaseName]) -> None:
        """These have a lease: they were not held in vain."""
        state = self._states.get(tenant)
        if state is not None and state.held:
            for name in names:
                state.held.pop(name, None)
            self._end_early(tenant, state)

    def believes(self, tenant: Tenant, lapsed: Iterable[LeaseName], instances: int) -> bool:
        """Whether these may be removed. Those that may not are counted as held.

        Args:
            instances: how many the tenant has now.
        """
        state, now = self._state(tenant), self._clock.steady_ms()
        if now < state.released_until_ms:
            return True
        while state.expired and now - state.expired[0][0] > WINDOW_MS:
            state.expired.popleft()
        state.held.update(dict.fromkeys(lapsed))
        if state.paused_ms is not None and now - state.paused_ms >= self._rule.hold_ms:
            self._end(tenant, state, "the time set is over")
            state.released_until_ms = now + WINDOW_MS
            return True
        gone = sum(number for _, number in state.expired)
        if len(state.held) + gone < self._limit(instances + gone):
            if state.paused_ms is None:
                state.held.clear()
                return True
            self._end(tenant, state, "enough of them beat again")
            return True
        if state.paused_ms is None:
            self._begin(tenant, state, now, instances)
        return False

    def _limit(self, instances: int) -> float:
        return max(self._rule.least, self._rule.share * instances) if self._rule.share < 1 else float("inf")

    def _state(self, tenant: Tenant) -> _State:
        state = self._states.get(tenant)
        if state is None:
            state = self._states[tenant] = _State()
        return state

    def _begin(self, tenant: Tenant, state: _State, now: int, instances: int) -> None:
        state.paused_ms = now
        self.pauses += 1
        logger.error(
            "expiry of %s pauses: %d of %d instances lapsed at once; they stay for up to %d s unless they beat again",
            tenant,
            len(state.held),
            instances,
            self._rule.hold_ms // 1000,
            extra={"action": "expiry_paused", "tenant": str(tenant)},
        )

    def _end_early(self, tenant: Tenant, state: _State) -> None:
        if state.paused_ms is not None and not state.held:
            self._end(tenant, state, "all of them beat again")

    def _end(self, tenant: Tenant, state: _State, why: str) -> None:
        logger.error(
            "expiry of %s goes on: %s; %d instances had lapsed",
            tenant,
            why,
            len(state.held),
            extra={"action": "expiry_resumed", "tenant": str(tenant)},
        )
        state.paused_ms = None
        state.held.clear()
