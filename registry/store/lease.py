"""Lease: for how long an instance may be silent; what is asked of leases, and what is written together with them."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct


class LeaseName(NamedTuple):
    """An instance id is unique within its service only, so a lease is named by both."""

    service_id: str
    instance_id: str


class Lease(Struct, frozen=True, gc=False):
    """A lease to grant or renew; `ttl_ms` from now."""

    service_id: str
    instance_id: str
    ttl_ms: int


#: By how much a replica may be wrong about when a lease that has ended was renewed.
RENEWED_ABOUT_MS: Final = 250


class Renewed(NamedTuple):
    """`left_ms` is -1 when there is no such lease.

    `replica` brought the last heartbeat; "" when no heartbeat has renewed it last (it was granted, or given its full
    length after an outage), or when that one is not kept any more.
    """

    left_ms: int
    replica: str


class Write(NamedTuple):
    """One event to append (None: none; never empty), and the leases to grant and to drop with it."""

    payload: bytes | None
    grants: tuple[Lease, ...] = ()
    drops: tuple[LeaseName, ...] = ()


class Proposal(NamedTuple):
    """An `InstanceExpired` to append if the lease is really gone. `registered` names the registration it concerns."""

    name: LeaseName
    registered: str
    payload: bytes
