"""Leases: what is done to all leases of some tenants at once, in steps that hold up nobody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from registry.domain.tenant import Tenant
from registry.domain.view import InstanceRow
from registry.store.lease import Lease
from registry.store.port import Store

#: Leases re-armed in one step.
REARM_MAX: Final = 2000
#: A longer silence of all replicas (ms) makes leases start anew before anybody is judged.
SILENCE_MAX_MS: Final = 1500


async def rearm(store: Store, of: Mapping[Tenant, Sequence[InstanceRow]]) -> bool:
    """Give all of these leases, of tenants in one part of the store, their full length again.

    False when the store was silent for long in between: then all of it begins anew.
    """
    going_on_ms = 0
    for tenant, rows in of.items():
        # Also for a tenant without any: that is the mark by which a resumption knows that they have been re-armed.
        for start in range(0, max(len(rows), 1), REARM_MAX):
            some = rows[start : start + REARM_MAX]
            leases = [Lease(row.service_id, row.instance_id, row.ttl_ms) for row in some]
            if not await store.rearm(tenant, leases, going_on_ms):
                return False
            going_on_ms = SILENCE_MAX_MS
    return True
