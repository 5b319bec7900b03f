"""Conditions: the alarms that are no event but a state, each for as long as it lasts."""

from __future__ import annotations

from registry.http_api.access import Access
from registry.projection.projector import Projector
from registry.upkeep.protection import Protection
from registry.upkeep.snapshotting import Snapshotting
from registry.usecases.alarms import (
    ACCOUNTS_LATE,
    ARCHIVE_FAILS,
    DURABILITY_LOST,
    HEARTBEATS_WAITING,
    MASS_LAPSE,
    REPLICAS_DIFFER,
    STORE_REFUSES_WRITES,
    TENANT_DAMAGED,
)
from registry.usecases.durable import Durable
from registry.usecases.heartbeats import Heartbeats


def conditions(
    projector: Projector, protection: Protection, snapshotting: Snapshotting, heartbeats: Heartbeats
) -> dict[str, str]:
    """Those of the store, the views, expiry and heartbeats: alarm -> what is so, in words."""
    found: dict[str, str] = {}
    paused = protection.pauses_now()
    if paused:
        names = ", ".join(f"{p.lapsed} of {p.of} instances of {tenant} ({p.held} kept)" for tenant, p in paused.items())
        found[MASS_LAPSE] = f"lapsed at once, some are kept for now: {names}"
    # A store that is silent refuses nothing: it must have been heard since.
    if projector.refusing.since_ms is not None and projector.reading.heard_since(projector.refusing.since_ms):
        found[STORE_REFUSES_WRITES] = projector.refusing.newest
    if snapshotting.archive_failing.since_ms is not None:
        found[ARCHIVE_FAILS] = snapshotting.archive_failing.newest
    if snapshotting.distrusted:
        names = ", ".join(str(tenant) for tenant in snapshotting.distrusted)
        found[REPLICAS_DIFFER] = f"replicas hold different views of {names}"
    if heartbeats.waiting:
        found[HEARTBEATS_WAITING] = f"{heartbeats.waiting} heartbeats wait for the store"
    damages = projector.aside.damages()
    if damages:
        others = ", ".join(str(damage.tenant) for damage in damages[1:])
        found[TENANT_DAMAGED] = damages[0].detail + (f"; set aside as well: {others}" if others else "")
    return found


def late_replicas(access: Access | None) -> dict[str, str]:
    late = access.everywhere.late() if access is not None else []
    return {ACCOUNTS_LATE: f"changes of accounts do not count yet at {', '.join(late)}"} if late else {}


def lost_durability(durable: Durable) -> dict[str, str]:
    return {DURABILITY_LOST: durable.lost.newest} if durable.lost.since_ms is not None else {}
