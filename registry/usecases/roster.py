"""Roster: the replicas tell each other how they are, so that any of them can tell it of all.

What they say stands beside no tenant's log: under a name that no client can have.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, structs

from registry.domain.errors import RegistryError, StoreUnavailable
from registry.domain.tenant import Tenant
from registry.domain.write_times import WriteTimes
from registry.projection.projector import Projector
from registry.store.port import Store
from registry.usecases.writers import Writers

#: Seconds from one word to the next.
TELL_EVERY_S: Final = 2.0
#: A replica that has said nothing for this long (ms) is no longer on the list.
KEPT_MS: Final = 10_000
#: Where it stands. A client that leaves the domain blank is of `default`.
ROSTER: Final = Tenant("", "replicas")
#: Tenants whose logs are looked at for the lag.
LOGS_MAX: Final = 64


class Presence(Struct, frozen=True, rename="camel"):
    """One replica, as it is. Of each number the unit stands in its name or in registry/docs/console.md."""

    name: str
    address: str
    version: str
    #: When it said this, and since when it runs, Unix ms.
    at_ms: int
    started_ms: int
    #: In the log of the default tenant.
    position: str
    #: Why it should not be sent requests, "" when it should.
    not_ready: str
    #: Since the store last answered it.
    silent_ms: int
    #: Tenants of which it and another replica hold different views.
    differing: int
    memory_bytes: int
    #: Since it started.
    heartbeats: int
    finds: int
    changes: int
    #: Events that it has not applied yet; -1: it cannot know.
    lag: int = -1
    #: When it could write; nothing of a version that does not tell it.
    writing: WriteTimes | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Presence).decode


class Roster:
    """One replica's part in it.

    Args:
        describe: what this replica has to say of itself now, but for its lag.
        writers: is told when the others could write.
    """

    def __init__(self, store: Store, projector: Projector, describe: Callable[[], Presence], writers: Writers) -> None:
        self._store = store
        self._projector = projector
        self._describe = describe
        self._writers = writers
        self._others: dict[str, Presence] = {}
        #: Events that this replica had not applied yet when it last looked; -1: it cannot know.
        self.lag = -1

    async def run(self) -> None:
        """Tell and hear until cancelled. A store that is away is an alarm already."""
        while True:
            try:
                await self.tell()
            except RegistryError:
                self._others, self.lag = {}, -1
            await asyncio.sleep(TELL_EVERY_S)

    async def tell(self) -> None:
        """Say how this replica is, and hear how the others are. Raises StoreUnavailable."""
        self.lag = await self._lag()
        said = structs.replace(self._describe(), lag=self.lag)
        found = await self._store.snapshots.exchange(ROSTER, self._projector.replica, _encode(said), KEPT_MS)
        heard = (_read(said) for said in found.values())
        self._others = {presence.name: presence for presence in heard if presence is not None}
        for name, presence in self._others.items():
            if presence.writing is not None:
                self._writers.hear(name, presence.writing, presence.at_ms)

    async def _lag(self) -> int:
        tenants = self._projector.tenants[:LOGS_MAX]
        heads = await self._store.heads(tenants)
        pairs = [(head, self._projector.view(tenant).position) for tenant, head in zip(tenants, heads, strict=True)]
        return sum(max(head.sequence - own.sequence, 0) for head, own in pairs if head and head.epoch == own.epoch)

    async def present(self) -> list[Presence]:
        """The replicas as they said within the last seconds, this one first and as of now."""
        try:
            lag = await self._lag()
        except StoreUnavailable:
            lag = -1
        own = structs.replace(self._describe(), lag=lag)
        return [own, *(self._others[name] for name in sorted(self._others))]


def _read(said: bytes) -> Presence | None:
    """What another replica said; None when it is of a version that says other things."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return _decode(said)
    return None


def memory_bytes() -> int:
    """What this process has in memory now; where that cannot be read, the most that it ever had."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
