"""Protection: when very many leases lapse at once, it is more likely that we do not hear than that all have died.

Then nobody is removed for a while. It ends by itself: when those who had lapsed beat again, or after the time set; who
has not come back by then is removed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from registry.clock import Clock
from registry.domain.tenant import Tenant
from registry.episode import Actions, Episode
from registry.store.lease import LeaseName

logger = logging.getLogger(__name__)

#: Lapses within this time (ms) count together.
WINDOW_MS: Final = 30_000
#: Removals within this time (ms) are kept as one number.
COUNTED_TOGETHER_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class MassLapse:
    """When expiry pauses.

    `share` of a tenant's instances within the window, but not for fewer than `least`; for `hold_ms` at most.
    """

    share: float = 0.5
    least: int = 1000
    hold_ms: int = 60_000


class Pause(NamedTuple):
    """Why expiry pauses: `lapsed` of a tenant's instances lapsed within the window. `held`: those that are kept."""

    lapsed: int
    of: int
    held: int


@dataclass(slots=True)
class _State:
    said: Episode
    #: When instances expired, and how many.
    expired: deque[tuple[int, int]] = field(default_factory=deque)
    #: Who has lapsed and is kept.
    held: dict[LeaseName, None] = field(default_factory=dict)
    paused_ms: int | None = None
    #: What decided last: how many had lapsed within the window, removed or held, and of how many.
    lapsed: int = 0
    of: int = 0
    #: Nobody is held until then: the time set is over.
    released_until_ms: int = 0


class Protection:
    """One replica's judgement on how many lapses it accepts as such."""

    def __init__(self, rule: MassLapse, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock
        self._states: dict[Tenant, _State] = {}
        #: How often expiry was paused.
        self.pauses = 0

    def held(self) -> dict[Tenant, int]:
        """The tenants whose expiry is paused, and how many lapsed instances each keeps."""
        return {tenant: len(state.held) for tenant, state in self._states.items() if state.paused_ms is not None}

    def pauses_now(self) -> dict[Tenant, Pause]:
        """The tenants whose expiry is paused, with the numbers that decided so."""
        paused = {tenant: state for tenant, state in self._states.items() if state.paused_ms is not None}
        return {tenant: Pause(state.lapsed, state.of, len(state.held)) for tenant, state in paused.items()}

    def expired(self, tenant: Tenant, name: LeaseName) -> None:
        """An instance was removed for its lapse, by whichever replica."""
        state, now = self._state(tenant), self._clock.steady_ms()
        if now >= state.released_until_ms:
            self._count(state, now)
        state.held.pop(name, None)
        if state.paused_ms is not None and not state.held:
            # That replica has waited for as long as the rule says: its judgement is not to be waited for once more.
            self._release(tenant, state, now, "another replica has removed the last of them")

    def left(self, tenant: Tenant, name: LeaseName) -> None:
        """An instance has gone, and not by a lapse: nobody waits for it to beat."""
        self.alive(tenant, (name,))

    def forget(self, tenant: Tenant) -> None:
        """The tenant is gone."""
        self._states.pop(tenant, None)

    def keep(self, tenant: Tenant, present: Callable[[LeaseName], bool]) -> None:
        """The view is another one: hold only those that are still there."""
        self.alive(tenant, [name for name in self._state(tenant).held if not present(name)])

    def alive(self, tenant: Tenant, names: Iterable[LeaseName]) -> None:
        """These have a lease: they were not held in vain."""
        state = self._states.get(tenant)
        if state is not None and state.held:
            for name in names:
                state.held.pop(name, None)
            if state.paused_ms is not None and not state.held:
                self._end(tenant, state, "none of them is missing any more")

    def accepts(self, tenant: Tenant, lapsed: Iterable[LeaseName], instances: int) -> bool:
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
            self._release(tenant, state, now, "the time set is over")
            return True
        gone = sum(number for _, number in state.expired)
        together, of = len(state.held) + gone, instances + gone
        if together < self._limit(of):
            if state.paused_ms is None:
                state.held.clear()
                return True
            self._end(tenant, state, "enough of them beat again")
            return True
        state.lapsed, state.of = together, of
        self._pause(tenant, state, now)
        return False

    def _count(self, state: _State, now: int) -> None:
        if state.expired and now - state.expired[-1][0] < COUNTED_TOGETHER_MS:
            at, number = state.expired[-1]
            state.expired[-1] = (at, number + 1)
        else:
            state.expired.append((now, 1))

    def _limit(self, instances: int) -> float:
        return max(self._rule.least, self._rule.share * instances) if self._rule.share < 1 else float("inf")

    def _state(self, tenant: Tenant) -> _State:
        state = self._states.get(tenant)
        if state is None:
            actions = Actions("expiry_paused", "expiry_resumed")
            said = Episode(logger, actions, level=logging.ERROR, steady_ms=self._clock.steady_ms)
            state = self._states[tenant] = _State(said)
        return state

    def _pause(self, tenant: Tenant, state: _State, now: int) -> None:
        if state.paused_ms is None:
            state.paused_ms = now
            self.pauses += 1
        state.said.occurs(
            "expiry of %s pauses: %d of %d instances lapsed within %d s, and %d stay for %d s unless they beat again",
            tenant,
            state.lapsed,
            state.of,
            WINDOW_MS // 1000,
            len(state.held),
            self._rule.hold_ms // 1000,
            tenant=str(tenant),
        )

    def _release(self, tenant: Tenant, state: _State, now: int, why: str) -> None:
        """End the pause, and let those go that it was about: they are not the beginning of another one."""
        self._end(tenant, state, why)
        state.expired.clear()
        state.released_until_ms = now + WINDOW_MS

    def _end(self, tenant: Tenant, state: _State, why: str) -> None:
        state.said.ends(
            "expiry of %s goes on (%s; %d instances had not beaten)", tenant, why, len(state.held), tenant=str(tenant)
        )
        state.paused_ms = None
        state.held.clear()
