"""Proving: whether a log still holds what a replica has applied of it.

It may have lost its tail and grown on since, and been read: so the newest event alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.domain.events import decode_event
from registry.domain.history import Remembered
from registry.domain.position import Position
from registry.domain.view import Tenant
from registry.projection.restoring import NO_TENANTS
from registry.store.port import Store

#: Events in order, the newest last; none is empty.
Claims = Mapping[Tenant, Sequence[Remembered]]


async def lost(store: Store, claims: Claims) -> dict[Tenant, Position]:
    """Of the logs that do not hold what is claimed, as far as they reach back, the first place where they do not.

    Raises:
        StoreUnavailable
    """
    held = await _held(store, claims)
    found = {tenant: _missing(remembered, held[tenant]) for tenant, remembered in claims.items()}
    return {tenant: position for tenant, position in found.items() if position is not None}


async def _held(store: Store, claims: Claims) -> dict[Tenant, dict[Position, bytes]]:
    """What the logs hold from the eldest of these events to the newest."""
    held: dict[Tenant, dict[Position, bytes]] = {tenant: {} for tenant in claims}
    after = {tenant: _before(remembered[0].position) for tenant, remembered in claims.items()}
    while after:
        found = (await store.read(after, NO_TENANTS, 0)).events
        for tenant in list(after):
            entries = found.get(tenant, ())
            held[tenant].update(entries)
            if entries and entries[-1][0] < claims[tenant][-1].position:
                after[tenant] = entries[-1][0]
            else:
                del after[tenant]
    return held


def _before(position: Position) -> Position:
    return Position(position.epoch, position.sequence - 1)


def _missing(remembered: Sequence[Remembered], held: Mapping[Position, bytes]) -> Position | None:
    begins = min(held, default=remembered[-1].position)  # what is older may have been trimmed
    for position, event in remembered:
        if position >= begins and (position not in held or decode_event(held[position]) != event):
            return position
    return None
