"""Aside: tenants whose data in the store are damaged. Nobody else is to suffer for it, and they as little as can be.

A tenant that is set aside is answered from the view that this replica has of it, and neither read nor written any more.
It is looked at again all the time, and taken back as soon as its log can be replayed. A damaged list of tenants is a
damage of its own: those that are known go on, and new ones are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.store.damage import Damaged
from registry.store.port import Store
from registry.store.soundness import complaint

logger = logging.getLogger(__name__)

#: Seconds between looks at what is set aside.
LOOK_AGAIN_S: Final = 2.0
#: Tenants inspected each time, so that the number of tenants does not matter.
PATROL_MAX: Final = 16
#: A replay that found the log damaged is tried again when something has changed in the store, or after this time (ms).
REPLAY_AGAIN_MS: Final = 60_000


class Views(Protocol):
    """The views of the replica, as far as they concern what is set aside."""

    @property
    def tenants(self) -> Sequence[Tenant]: ...

    def view(self, tenant: Tenant) -> RegistryView: ...

    async def salvage(self, tenant: Tenant) -> None:
        """Put what can still be read in the place of the view."""

    async def rebuild(self, tenant: Tenant, reason: str) -> None:
        """Replay the log. Raises Damaged, StoreUnavailable."""

    def note_aside(self, tenant: Tenant) -> None:
        """The tenant has been set aside, or taken back."""

    async def take_up(self, tenants: Sequence[Tenant]) -> bool:
        """Follow those of the tenants that are not known. Returns whether there were any."""


@dataclass(slots=True)
class _Case:
    """One tenant that is set aside."""

    damage: Damaged
    since_ms: int
    #: Its view was left half changed.
    spoilt: bool = False
    #: What the store showed before the last replay, and when that was.
    seen: object = None
    replayed_ms: int = 0


class Aside:
    """What is set aside on this replica.

    Args:
        steady_ms: a clock that never jumps.
    """

    def __init__(self, store: Store, views: Views, steady_ms: Callable[[], int]) -> None:
        self._store = store
        self._views = views
        self._steady_ms = steady_ms
        self._cases: dict[Tenant, _Case] = {}
        #: Why the list of tenants cannot be followed, and whether it was made up for by the names in the other place.
        self._list: Damaged | None = None
        self._list_made_up = False
        self._woken = asyncio.Event()
        #: Tenants that this round of inspections has not come to yet.
        self._unseen: list[Tenant] = []
        store.on_damage(self.put)

    # -- what is set aside ---------------------------------------------------------------------------------------------

    @property
    def tenants(self) -> Mapping[Tenant, object]:
        return self._cases

    @property
    def list_is_damaged(self) -> bool:
        return self._list is not None

    def check(self, tenant: Tenant) -> None:
        """Raise Damaged if the tenant is set aside."""
        if self._cases and (case := self._cases.get(tenant)) is not None:
            raise case.damage.anew()

    def check_list(self) -> None:
        """Raise Damaged if no tenant can be added to the list."""
        if self._list is not None:
            raise self._list.anew()

    def seconds(self, tenant: Tenant) -> int:
        """For how long the tenant has been set aside."""
        return (self._steady_ms() - self._cases[tenant].since_ms) // 1000

    def damages(self) -> list[Damaged]:
        """All there are, that of the list of tenants first."""
        return [*([self._list] if self._list else []), *(case.damage for case in self._cases.values())]

    def put(self, damage: Damaged, spoilt: bool = False) -> None:
        """Set a tenant aside, or the list of tenants; what is set aside already is so for the newest reason.

        Args:
            spoilt: the view was left half changed.
        """
        if damage.tenant is None:
            new, self._list = self._list is None, damage
        else:
            case = self._cases.get(damage.tenant)
            new = case is None or (spoilt and not case.spoilt)
            if case is None:
                case = self._cases[damage.tenant] = _Case(damage, self._steady_ms())
                self._views.note_aside(damage.tenant)
            case.damage = damage
            case.spoilt |= spoilt
        if new:
            self._woken.set()
            tenant = str(damage.tenant) if damage.tenant else ""
            logger.error("set aside: %s", damage.detail, extra={"action": "tenant_set_aside", "tenant": tenant})

    def _release(self, tenant: Tenant) -> None:
        seconds = self.seconds(tenant)
        del self._cases[tenant]
        self._views.note_aside(tenant)
        logger.warning(
            "%s is sound again and taken back after %d s",
            tenant,
            seconds,
            extra={"action": "tenant_taken_back", "tenant": str(tenant)},
        )

    # -- looking again -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at what is set aside, and around for what should be, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._woken.wait()
            self._woken.clear()
            await self.look()
            await self.patrol()

    async def patrol(self) -> None:
        """Inspect the next few tenants: much of what may be damaged is not needed before the next start."""
        if not self._unseen:
            self._unseen = list(self._views.tenants)
        for _ in range(min(PATROL_MAX, len(self._unseen))):
            tenant = self._unseen.pop()
            if tenant not in self._cases:
                await self._attempt(self._store.inspect(tenant))

    async def look(self) -> None:
        """Take back what is sound again."""
        await self._attempt(self.settle())
        await self._attempt(self._look_at_list())
        for tenant in list(self._cases):
            await self._attempt(self._look_at(tenant))

    async def _attempt(self, work: Awaitable[object]) -> None:
        """Damage has been put down where it was found, and a store that is away is asked again."""
        with contextlib.suppress(StoreUnavailable):
            await work

    async def settle(self) -> bool:
        """Salvage the views that were left half changed, and find the tenants that a damaged list does not tell of.

        Returns whether any view is another one now. Raises StoreUnavailable.
        """
        found = False
        for tenant, case in list(self._cases.items()):
            if case.spoilt:
                await self._views.salvage(tenant)
                case.spoilt = False
                found = True
        if self._list is not None and not self._list_made_up:
            self._list_made_up = True
            with contextlib.suppress(Damaged):  # then only those are known that are
                found |= await self._views.take_up(await self._store.tenants())
        return found

    async def _look_at(self, tenant: Tenant) -> None:
        case, now = self._cases[tenant], self._steady_ms()
        position = self._views.view(tenant).position
        following = (await self._store.read({tenant: position}, None, 0)).events.get(tenant, [])
        marks = await self._store.snapshots.marks(tenant)
        seen = (position, following[:1], marks[:1], complaint(await self._store.upkeep.condition(tenant)))
        if case.seen == seen and now - case.replayed_ms < REPLAY_AGAIN_MS:
            return
        try:
            await self._views.rebuild(tenant, "")
            await self._store.inspect(tenant)
        except Damaged as damage:
            self.put(damage)
            case.seen, case.replayed_ms = seen, now
            return
        self._release(tenant)

    async def _look_at_list(self) -> None:
        if self._list is None:
            return
        names, after = await self._store.tenants(), ""
        while (tail := await self._store.read({}, after, 0)).tenants or tail.gone:
            names += tail.tenants
            after = tail.tenants_after
        self._list, self._list_made_up = None, False
        logger.warning("the list of tenants is sound again", extra={"action": "tenants_sound"})
        await self._views.take_up(names)
