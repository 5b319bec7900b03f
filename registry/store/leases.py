"""Leases: what is done to all leases of a tenant at once, in steps that hold up nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from registry.domain.view import InstanceRow, Tenant
from registry.store.port import Lease, Store

#: Leases re-armed in one step.
REARM_MAX: Final = 2000
#: A longer silence of all replicas (ms) makes leases start anew before anybody is judged.
SILENCE_MAX_MS: Final = 1500


async def rearm(store: Store, tenant: Tenant, rows: Sequence[InstanceRow]) -> bool:
    """Give all of these leases their full length again; False when the store was silent for long in between."""
    for start in range(0, max(len(rows), 1), REARM_MAX):
        some = rows[start : start + REARM_MAX]
        leases = [Lease(row.service_id, row.instance_id, row.ttl_ms) for row in some]
        if not await store.rearm(tenant, leases, SILENCE_MAX_MS if start else 0):
            return False
    return True
