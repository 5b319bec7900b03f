"""Durable: a write is answered only when it has the durability that was asked for, or that is the deployment's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final, get_args

from registry.clock import Clock
from registry.domain.errors import InvalidParams, StoreUnavailable
from registry.domain.events import Event, encode_event
from registry.domain.position import Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.episode import Actions, Episode
from registry.store.port import Durability, NotDurable, Store
from registry.usecases.grouping import Group

logger = logging.getLogger(__name__)

#: How long (ms) the store may take to confirm.
CONFIRM_TIMEOUT_MS: Final = 2000
#: Milliseconds after which the store is asked again what it can promise.
ASKED_AGAIN_MS: Final = 1000
#: Seconds between looks whether the deployment's durability can be had.
LOOK_EVERY_S: Final = 2.0
BATCH_MAX: Final = 10_000
WAITING_MAX: Final = 50_000
NAMES: Final = get_args(Durability)


Newest = Callable[[Tenant], tuple[Position, Event | None]]


class Durable:
    """
    Args:
        newest: the newest event that this replica has applied of a tenant's log, its own writes included.
        exists: whether there is a tenant of that name. Of one that does not exist, nothing was written, and nothing is
            remembered: clients can make up as many as there are names.
        default: what every write gets that asks for nothing else.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        newest: Newest,
        exists: Callable[[Tenant], bool],
        default: Durability,
    ) -> None:
        self._store = store
        self._exists = exists
        self._newest = newest
        self._clock = clock
        self._default = default
        #: That the deployment's durability cannot be had, and the tenants of which that is known.
        self.lost = Episode(
            logger, Actions("durability_lost", "durability_back"), level=logging.ERROR, steady_ms=clock.steady_ms
        )
        self._lost_by: set[Tenant] = set()
        self._checked: dict[tuple[Tenant, Durability], int] = {}
        self._groups: dict[tuple[Tenant, Durability], Group[None, None]] = {}

    def wanted(self, named: str) -> Durability:
        """The durability of that name; the deployment's for "". Raises InvalidParams."""
        if not named:
            return self._default
        if named not in NAMES:
            raise InvalidParams(f"header X-Registry-Durability is {named[:32]!r}, it may be {', '.join(NAMES)}")
        durability: Durability = named  # type: ignore[assignment]  # it is one of them
        return durability

    async def check(self, tenant: Tenant, durability: Durability, asked_for: bool) -> None:
        """Refuse before anything is written what the store cannot promise.

        Args:
            asked_for: by the client; else the deployment has chosen it.

        Raises:
            InvalidParams: the client may ask for something else; the detail says what.
            NotDurable: the deployment's choice cannot be had now.
            StoreUnavailable.
        """
        if durability == "memory":
            return
        now = self._clock.steady_ms()
        if now - self._checked.get((tenant, durability), -ASKED_AGAIN_MS) < ASKED_AGAIN_MS:
            return
        reason = await self._store.cannot(tenant, durability)
        if reason and asked_for:
            possible = [name for name in NAMES if await self._can(tenant, name)]
            raise InvalidParams(
                f"header X-Registry-Durability is {durability}, which cannot be had: {reason}; "
                f"it may be {' or '.join(possible)}"
            )
        if durability == self._default:
            self._note(tenant, reason)
        if reason:
            raise NotDurable(f"durability {durability} cannot be had: {reason}")
        if self._exists(tenant):
            self._checked[tenant, durability] = now

    async def _can(self, tenant: Tenant, durability: Durability) -> bool:
        try:
            return not await self._store.cannot(tenant, durability)
        except NotDurable:
            return False

    def _note(self, tenant: Tenant, reason: str) -> None:
        """Whether the deployment's durability can be had for the tenant ("")."""
        if not reason:
            self._lost_by.discard(tenant)
            if not self._lost_by:
                self.lost.ends("writes can have the durability %s again", self._default)
        elif tenant == DEFAULT_TENANT or self._exists(tenant):
            self._lost_by.add(tenant)
            self.lost.occurs(
                "REGISTRY_DURABILITY is %s, which cannot be had, and writes are refused: %s; mend that, or lower it",
                self._default,
                reason,
            )

    async def run(self) -> None:
        """Look all the time whether the deployment's durability can be had, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for tenant in {DEFAULT_TENANT, *self._lost_by}:
                with contextlib.suppress(StoreUnavailable):
                    await self.check(tenant, self._default, asked_for=False)

    async def confirm(self, tenant: Tenant, durability: Durability) -> None:
        """Wait until everything that is written has it. One question serves all who wait.

        Raises:
            NotDurable: it was written, but this is not confirmed in time.
        """
        if durability != "memory" and self._exists(tenant):
            await self._group(tenant, durability).put(None)

    def _group(self, tenant: Tenant, durability: Durability) -> Group[None, None]:
        group = self._groups.get((tenant, durability))
        if group is None:

            async def flush(waiting: Sequence[None]) -> Sequence[None]:
                at, event = self._newest(tenant)
                held = await self._store.confirm(tenant, durability, CONFIRM_TIMEOUT_MS, at)
                if event is not None and held != encode_event(event):
                    raise NotDurable("written to a server that is gone; the one that is there now does not hold it")
                return waiting

            group = self._groups[tenant, durability] = Group(flush, BATCH_MAX, 2, WAITING_MAX)
        return group
