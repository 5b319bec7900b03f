"""Everywhere: a change of accounts is answered when every replica that lives has applied it.

Each replica tells the others up to where it has applied the log of the accounts: when it has applied something, and
every second. So the one who changes something knows when it counts everywhere, and who does not keep up; and a replica
that hears that others are further than itself, or that has slept and heard nothing, knows that what it holds may be out
of date. One that cannot hear anything, because the store is away, goes by what it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import ACCOUNTS, Tenant
from registry.projection.projector import Projector
from registry.store.port import Store
from registry.store.soundness import read_position

logger = logging.getLogger(__name__)

#: Seconds from one announcement to the next.
ANNOUNCE_EVERY_S: Final = 1.0
#: A replica that has announced nothing new for this long (ms) is taken for dead.
ALIVE_MS: Final = 5_000
#: A replica that has not even tried to hear the others for this long (ms) has slept.
#: Less than a change waits: so one that a change did not wait for knows it, when it goes on.
ASLEEP_MS: Final = 1_800
#: Seconds that an announcement may take.
ANNOUNCE_TIMEOUT_S: Final = 1.0
#: Announcements stand among what replicas say of their views (`agreement`), each under this, the replica's name and
#: address. They are kept as long as those are.
APPLIED: Final = "applied "
KEPT_MS: Final = 30_000
#: Under this, and its name, somebody asks who is no replica: the answer counts for nothing.
ASKS: Final = "asks "
#: How long a change waits for all replicas, and after how long it asks them again, seconds.
WAIT_MAX_S: Final = 2.0
ASK_FIRST_S: Final = 0.005
ASK_MOST_S: Final = 0.1


class Everywhere:
    """One replica's part in it. `address`: by which people know it."""

    def __init__(self, store: Store, projector: Projector, clock: Clock, address: str) -> None:
        self._store = store
        self._projector = projector
        self._clock = clock
        self._name = f"{APPLIED}{projector.replica} {address}"
        self._count = 0
        #: Of each of the others what it said last, and when that was new (steady ms).
        self._heard: dict[str, tuple[bytes, int]] = {}
        #: Since when (steady ms) each of the others has not kept up.
        self._late: dict[str, int] = {}
        self._news = asyncio.Event()
        #: Others have applied what this replica has not.
        self.behind = False
        #: Until then (Unix ms) this replica need not make sure that it knows all changes.
        self.sure_until_ms = 0
        self._making_sure = asyncio.Lock()
        projector.listen(self._note)
        projector.listen_for_rebuilds(self._note_rebuild)

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        if tenant == ACCOUNTS:
            self._news.set()

    def _note_rebuild(self, tenant: Tenant) -> None:
        if tenant == ACCOUNTS:
            self._news.set()

    async def run(self) -> None:
        """Announce and hear until cancelled."""
        while True:
            self._news.clear()
            if self._clock.wall_ms() < self.sure_until_ms:
                self._stay_sure()  # the store may take its time
            await self._try_announce()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_EVERY_S):
                    await self._news.wait()

    async def make_sure(self) -> None:
        """Hear the others first, if this replica has slept.

        Raises:
            StoreUnavailable: it has not applied all that others have.
        """
        if not self.behind and self._clock.wall_ms() >= self.sure_until_ms:
            async with self._making_sure:
                if self._clock.wall_ms() >= self.sure_until_ms:  # one asks for all who wait
                    await self._try_announce()
        if self.behind:
            raise StoreUnavailable("this replica has not applied the newest changes of accounts; another one may have")

    async def _try_announce(self) -> None:
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                await self.announce()
        self._stay_sure()

    def _stay_sure(self) -> None:
        self.sure_until_ms = 0 if self.behind else self._clock.wall_ms() + ASLEEP_MS

    async def announce(self) -> None:
        """Tell how far this replica is, and hear the others. Raises StoreUnavailable."""
        self._count += 1
        said = b"%b %d" % (self._position.text().encode(), self._count)
        found = await self._store.snapshots.exchange(ACCOUNTS, self._name, said, KEPT_MS)
        now, before = self._clock.steady_ms(), self._heard
        self._heard = {
            name: before[name] if name in before and before[name][0] == heard else (heard, now)
            for name, heard in found.items()
            if name.startswith(APPLIED)
        }
        late = self._not_at(self._position)
        self._late = {name: self._late.get(name, now) for name in late}
        await self._keep_up(max(self._living().values(), default=self._position))

    async def _keep_up(self, furthest: Position) -> None:
        if furthest > self._position:
            with contextlib.suppress(StoreUnavailable):
                await self._projector.catch_up(ACCOUNTS)
        behind = furthest > self._position
        if behind != self.behind:
            self.behind = behind
            logger.log(
                logging.ERROR if behind else logging.WARNING,
                "tokens are refused here: other replicas know of later changes of accounts"
                if behind
                else "tokens are accepted here again: all changes of accounts are known",
                extra={"action": "accounts_behind" if behind else "accounts_caught_up"},
            )

    @property
    def _position(self) -> Position:
        return self._projector.view(ACCOUNTS).position

    def _living(self) -> dict[str, Position]:
        """How far each of the others is that lives."""
        now = self._clock.steady_ms()
        living = {name: said for name, (said, at_ms) in self._heard.items() if now - at_ms <= ALIVE_MS}
        return _places(living, self._position)

    def _not_at(self, position: Position) -> list[str]:
        return _before(self._living(), position)

    async def applied(self, position: Position) -> list[str]:
        """Wait until every replica that lives has applied `position`. Returns those that have not in time."""

        async def not_yet() -> list[str]:
            await self.announce()
            return self._not_at(position)

        return await _wait_while(not_yet)

    def late(self) -> list[str]:
        """The replicas that have not kept up for longer than a change waits for them."""
        now = self._clock.steady_ms()
        return sorted(name for name, since_ms in self._late.items() if now - since_ms > WAIT_MAX_S * 1000)


async def applied(store: Store, name: str, position: Position) -> list[str]:
    """As `Everywhere.applied`, for one that is no replica, and has not heard before who lives.

    So a replica counts that has announced anything within half a minute.
    """

    async def not_yet() -> list[str]:
        found = await store.snapshots.exchange(ACCOUNTS, ASKS + name, b"", KEPT_MS)
        announced = {other: said for other, said in found.items() if other.startswith(APPLIED)}
        return _before(_places(announced, position), position)

    return await _wait_while(not_yet)


async def _wait_while(not_yet: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Ask until nobody is named, but no longer than a change waits."""
    late: list[str] = []
    pause_s = ASK_FIRST_S
    with contextlib.suppress(TimeoutError, StoreUnavailable):
        async with asyncio.timeout(WAIT_MAX_S):
            while late := await not_yet():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, ASK_MOST_S)
            return []
    return late or ["unknown: the store does not answer"]


def _places(announced: Mapping[str, bytes], otherwise: Position) -> dict[str, Position]:
    """How far each replica says that it is; `otherwise` where it cannot be read."""
    return {
        name.removeprefix(APPLIED): read_position(said.partition(b" ")[0]) or otherwise
        for name, said in announced.items()
    }


def _before(places: Mapping[str, Position], position: Position) -> list[str]:
    return sorted(name for name, at in places.items() if at < position)
