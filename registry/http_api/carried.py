"""Carried: a call as a value, so that another process can answer it."""

from __future__ import annotations

from msgspec import Struct

from registry.access.reach import Reach
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.http_api.call import Call


class Carried(Struct, frozen=True):
    """`operation`: its name. Whether it may be called has been decided. The others: as in `Call`."""

    operation: str
    path: dict[str, str]
    query: bytes
    headers: dict[bytes, bytes]
    tenant: tuple[str, str]
    actor: str
    reach: Reach
    body: bytes
    applied: tuple[Position, Position]


async def carry(operation: str, call: Call, has_body: bool) -> Carried:
    """Raises what reading the body raises."""
    body = await call.body() if has_body else b""
    path, headers = dict(call.path), dict(call.headers)
    return Carried(
        operation, path, call.query_string, headers, call.tenant, str(call.actor), call.reach, body, call.applied
    )


def call_of(carried: Carried) -> Call:
    """The same call."""

    tenant, body_max = Tenant(*carried.tenant), max(len(carried.body), 1)
    call = Call(carried.path, carried.query, carried.headers, carried.actor, carried.body, tenant, body_max)
    call.reach, call.applied = carried.reach, carried.applied
    if not call.reach.everywhere:
        call.covers = call.reach.covers
    return call
