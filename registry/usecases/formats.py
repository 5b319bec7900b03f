"""Formats: a new type of event is written only when every replica that lives can read it.

Each replica tells the others which format of events it reads. One that tells of its views and of no format is of a
version before the first that told (decisions/0011).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from registry.clock import Clock
from registry.domain.errors import NotReadByAll, StoreUnavailable
from registry.domain.events import EVENT_FORMAT, Event
from registry.domain.tenant import DEFAULT_TENANT
from registry.projection.mending import CLAIMS
from registry.store.port import Store

#: Seconds from one announcement to the next.
ANNOUNCE_EVERY_S: Final = 2.0
#: A replica that has announced nothing new for this long (ms) is taken for dead.
ALIVE_MS: Final = 10_000
#: How long what was heard counts, ms. A replica that hears nothing writes what every version reads.
HEARD_MS: Final = 10_000
#: Announcements stand among what replicas say of their views of the default tenant (`agreement`, which forgets what is
#: too old), each under the replica's name behind this; a count tells a new one from the one before.
READS: Final = "reads "
KEPT_MS: Final = 3_600_000
#: What every version reads.
FIRST: Final = 1


class Formats:
    """One replica's part in it."""

    def __init__(self, store: Store, replica: str, clock: Clock) -> None:
        self._store = store
        self._replica = replica
        self._clock = clock
        self._count = 0
        #: Under each name what was heard, and when it was new (steady ms).
        self._heard: dict[str, tuple[bytes, int]] = {}
        self._heard_ms: int | None = None

    async def run(self) -> None:
        """Announce and hear until cancelled."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self.announce()
            await asyncio.sleep(ANNOUNCE_EVERY_S)

    async def announce(self) -> None:
        """Tell what this replica reads, and hear the others. Raises StoreUnavailable."""
        self._count += 1
        said = b"%d %d" % (EVENT_FORMAT, self._count)
        found = await self._store.snapshots.exchange(DEFAULT_TENANT, READS + self._replica, said, KEPT_MS)
        now = self._heard_ms = self._clock.steady_ms()
        before = self._heard
        self._heard = {
            name: before[name] if name in before and before[name][0] == heard else (heard, now)
            for name, heard in found.items()
            if name != self._replica and not name.startswith(CLAIMS)
        }

    def check(self, event: Event) -> None:
        """Raise NotReadByAll if a replica that lives could not read the event."""
        if event.since > FIRST:
            self._check(event)

    def _check(self, event: Event) -> None:
        kind, now = event.__struct_config__.tag, self._clock.steady_ms()
        if self._heard_ms is None or now - self._heard_ms > HEARD_MS:
            raise NotReadByAll(f"nothing was heard of the other replicas lately, and not every version reads {kind}")
        for name, reads in self._living(now).items():
            if reads < event.since:
                raise NotReadByAll(
                    f"replica {name} reads events up to format {reads}, and {kind} is of format {event.since}: "
                    "it can be written when that replica has been replaced by a newer one"
                )

    def _living(self, now: int) -> dict[str, int]:
        """What the other replicas read. One that has been silent since it announced has ended, even if something is
        left of it.
        """
        announced = {name.removeprefix(READS): said for name, said in self._heard.items() if name.startswith(READS)}
        silent = {name: FIRST for name in self._heard if not name.startswith(READS) and name not in announced}
        return silent | {name: _format(heard) for name, (heard, at_ms) in announced.items() if now - at_ms <= ALIVE_MS}


def _format(heard: bytes) -> int:
    number = heard.partition(b" ")[0]
    return int(number) if number.isdigit() else FIRST
