"""Bugs: what may be planted in a registry's process, so that it can be seen that a chaos run finds it."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from msgspec import structs

from registry.domain import fold_instances
from registry.domain.find import FindQuery
from registry.domain.recent import Recent
from registry.domain.rev import content_digest
from registry.domain.tenant import Tenant
from registry.domain.view import Answer, InstanceRow, RegistryView
from registry.history.feeds import Feeds
from registry.projection import mending
from registry.projection.restoring import Restored, restore
from registry.store.lease import Lease
from registry.store.port import Store
from registry.store.redis_store import RedisStore
from registry.upkeep import pulses
from registry.upkeep.expiry import Expiry
from registry.usecases.discovery import Discovery
from registry.usecases.instances import Instances
from registry.usecases.watching import Watcher, Watching

#: One in this number of changes, or events, is forgotten.
FORGOTTEN_EVERY: Final = 3
#: The length of too short a lease (ms).
STINGY_MS: Final = 1200
#: For how long finds are answered as before (seconds).
LAZY_S: Final = 6.0


def forget_writes() -> None:
    """Now and then a change of a status is acknowledged and not made."""
    set_status, numbers = Instances.set_status, count(1)

    async def forgetful(self: Instances, *arguments: Any) -> None:
        if next(numbers) % FORGOTTEN_EVERY:
            await set_status(self, *arguments)

    Instances.set_status = forgetful  # type: ignore[method-assign,assignment]


def blind_rev() -> None:
    """The status of an instance does not enter the rev."""

    def digest(body: bytes) -> bytes:
        return content_digest(re.sub(rb'"status":"[A-Z]+"', b"", body))

    fold_instances.content_digest = digest  # type: ignore[attr-defined]


def deaf_beats() -> None:
    """Heartbeats are acknowledged and renew nothing."""

    async def beat(self: RedisStore, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        return []

    RedisStore.beat = beat  # type: ignore[method-assign]


def short_leases() -> None:
    """A heartbeat renews the lease for less than its length."""
    beat = RedisStore.beat

    async def stingy(self: RedisStore, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        return await beat(self, tenant, [structs.replace(lease, ttl_ms=STINGY_MS) for lease in leases], replica)

    RedisStore.beat = stingy  # type: ignore[method-assign]


def no_sweep() -> None:
    """Nobody is ever expired."""

    async def sweep(self: Expiry) -> None:
        return

    Expiry.sweep = sweep  # type: ignore[method-assign]


def no_rearming() -> None:
    """After an outage nobody gets a lease back before the others are judged."""

    async def rearm(store: Store, of: Mapping[Tenant, Sequence[InstanceRow]]) -> bool:
        return await store.rearm(next(iter(of)), ())

    for module in (pulses, mending):
        module.rearm = rearm  # type: ignore[attr-defined]


def no_mending() -> None:
    """What the log has lost stays lost."""

    async def restore_only(
        self: mending.Mending, own: RegistryView, recent: Recent, before_ms: int | None = None, hasty: bool = False
    ) -> Restored | None:
        return await restore(self._store, own.tenant, self._replica, before_ms)

    mending.Mending.restore = restore_only  # type: ignore[method-assign]


def silent_watch() -> None:
    """Now and then watchers are not told of a change."""
    concerned, numbers = Watching._concerned, count(1)

    def forgetful(self: Watching, *arguments: Any) -> deque[Watcher]:
        watchers = concerned(self, *arguments)
        return watchers if next(numbers) % FORGOTTEN_EVERY else deque()

    Watching._concerned = forgetful  # type: ignore[method-assign,assignment]


def silent_feed() -> None:
    """Now and then feeds are not told of an event."""
    note, numbers = Feeds._note, count(1)

    def forgetful(self: Feeds, *arguments: Any) -> None:
        if next(numbers) % FORGOTTEN_EVERY:
            note(self, *arguments)

    Feeds._note = forgetful  # type: ignore[method-assign,assignment]


def stale_finds() -> None:
    """A find is answered again as it was a while ago, whatever has changed since."""
    find_now = Discovery.find_now
    given: dict[tuple[object, ...], tuple[float, Answer | None]] = {}

    def lazy(self: Discovery, tenant: Tenant, query: FindQuery) -> Answer | None:
        key = (tenant, query.app_id, query.service_name)
        at_s, answer = given.get(key, (0.0, None))
        if answer is None or time.monotonic() - at_s > LAZY_S:
            answer = find_now(self, tenant, query)
            given[key] = time.monotonic(), answer
        return None if answer is not None and query.rev and query.rev != answer.rev else answer

    Discovery.find_now = lazy  # type: ignore[method-assign]


BUGS: Final[dict[str, Callable[[], None]]] = {
    "forget-writes": forget_writes,
    "blind-rev": blind_rev,
    "deaf-beats": deaf_beats,
    "short-leases": short_leases,
    "no-sweep": no_sweep,
    "no-rearming": no_rearming,
    "no-mending": no_mending,
    "silent-watch": silent_watch,
    "silent-feed": silent_feed,
    "stale-finds": stale_finds,
}


def plant(name: str) -> None:
    BUGS[name]()
