"""LogCopying: a tenant's log written to another store, where positions are others: by an import, and by a replay."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from msgspec import structs

from registry.clock import Clock
from registry.domain.events import (
    Event,
    HistoryResumed,
    InstanceExpired,
    InstanceRegistered,
    InstanceUnregistered,
    encode_event,
)
from registry.domain.fold import include
from registry.domain.own import ACTOR
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.view import RegistryView
from registry.projection.saving import save
from registry.store.lease import Lease, LeaseName, Write
from registry.store.leases import rearm
from registry.store.port import Store

#: Events, and their bytes, that are written together.
BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024

#: What is said of those that a copy lacks.
LEFT_OUT: Final = "{} events `history-resumed` are left out: they name places of the other log"

#: How long the lease of an instance that registers is (ms).
LeaseLength = Callable[[InstanceRegistered], int]


def usual_lease(event: InstanceRegistered) -> int:
    """One full lease, in which a client that lives sends its next heartbeat."""
    return event.instance.health_check.ttl_ms()


class LogCopy:
    """Writes one log. A position that an event names is told anew.

    Events that say that a history was mended are left out, and counted: they name places of the log that is copied.

    Args:
        base: the state that the log begins with.
    """

    def __init__(self, store: Store, base: RegistryView, lease: LeaseLength = usual_lease) -> None:
        self._store = store
        self._base = base
        self._lease = lease
        self._at = ORIGIN
        self._registered: dict[str, str] = {}
        self._waiting: list[Write] = []
        self._bytes = 0
        self.events = 0
        self.left_out = 0

    async def begin(self) -> None:
        """Begin the log with the state. Raises HistoryChanged where there is one already, StoreUnavailable."""
        await self._store.add_tenant(self._base.tenant)
        await self.seed(self._base)

    async def seed(self, state: RegistryView) -> None:
        """Go on with this state, whatever the log has led to. Raises HistoryChanged, StoreUnavailable."""
        await self.flush()
        tenant, replica, now_ms = state.tenant, secrets.token_hex(6), Clock().wall_ms()
        head, self._at = self._at, Position(max(now_ms, self._at.epoch + 1), 1)
        at_ms, after = state.moment_ms, ORIGIN.text() if head == ORIGIN else ""
        include(state.lineage, head)  # or a replica that follows would put back what led there
        resumed = HistoryResumed(after=after, at_ms=at_ms, replica=replica, number=0, actor=ACTOR)
        encoded = encode_event(resumed)
        await save(self._store, tenant, self._at, take(state, encoded, self._at, at_ms), now_ms, replica)
        rows = [row for service in state.services.values() for row in service.instances.values()]
        await rearm(self._store, {tenant: rows})
        await self._store.resume_history(tenant, head, self._at.epoch, [encoded], seeded=True)

    async def add(self, position: Position, event: Event) -> None:
        """The next event, which stood at this position."""
        if isinstance(event, HistoryResumed):
            self.left_out += 1
            return
        place = Position(self._at.epoch, self._at.sequence + len(self._waiting) + 1)
        grants: tuple[Lease, ...] = ()
        drops: tuple[LeaseName, ...] = ()
        if isinstance(event, InstanceRegistered):
            self._registered[position.text()] = place.text()
            instance = event.instance
            grants = (Lease(instance.service_id, instance.instance_id, self._lease(event)),)
        elif isinstance(event, InstanceExpired | InstanceUnregistered):
            drops = (LeaseName(event.service_id, event.instance_id),)
        if isinstance(event, InstanceExpired):
            event = structs.replace(event, registered=self._registered.get(event.registered, event.registered))
        payload = encode_event(event)
        self._waiting.append(Write(payload, grants, drops))
        self._bytes += len(payload)
        if len(self._waiting) >= BATCH_MAX or self._bytes >= BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. Raises HistoryChanged, StoreUnavailable."""
        if self._waiting:
            await self._store.commit(self._base.tenant, self._at.epoch, self._waiting, self._at.sequence)
            self._at = Position(self._at.epoch, self._at.sequence + len(self._waiting))
            self.events += len(self._waiting)
            self._waiting, self._bytes = [], 0
