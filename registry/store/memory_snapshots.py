"""Snapshots in memory, for tests and simulation. Keeps the promises of `store.port.Snapshots`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import KeyName


@dataclass(slots=True)
class SnapshotData:
    """What is kept beside one tenant's log. Times in Unix ms."""

    chunks: dict[tuple[Position, int], bytes] = field(default_factory=dict)
    marks: dict[Position, Mark] = field(default_factory=dict)
    holder: tuple[str, int] = ("", 0)
    states: dict[str, tuple[int, bytes]] = field(default_factory=dict)


class Need(Protocol):
    def __call__(self, tenant: Tenant, *names: KeyName) -> None:
        """Raise Damaged when one of these keys is of another type."""


class MemorySnapshots:
    """
    Args:
        of: the data of one tenant.
        trim: drops the events of a tenant's log before a position, and counts them.
        need: looks at the keys that a call needs.
    """

    def __init__(
        self,
        of: Callable[[Tenant], SnapshotData],
        trim: Callable[[Tenant, Position], int],
        clock_ms: Callable[[], int],
        need: Need,
    ) -> None:
        self._of = of
        self._need = need
        self._trim = trim
        self._clock_ms = clock_ms

    async def marks(self, tenant: Tenant) -> list[Mark]:
        self._need(tenant, "snapshots")
        return sorted(self._of(tenant).marks.values(), key=lambda mark: mark.position, reverse=True)

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        return self._of(tenant).chunks.get((position, index))

    async def put_chunk(self, tenant: Tenant, position: Position, index: int, stored: bytes) -> None:
        self._of(tenant).chunks[position, index] = stored

    async def put_mark(self, tenant: Tenant, mark: Mark) -> bool:
        data = self._of(tenant)
        if any((mark.position, index) not in data.chunks for index in range(mark.chunks)):
            return False
        self._need(tenant, "snapshots")
        data.marks[mark.position] = mark
        return True

    async def drop(self, tenant: Tenant, mark: Mark) -> None:
        self._need(tenant, "snapshots")
        data = self._of(tenant)
        data.marks.pop(mark.position, None)
        for index in range(mark.chunks):
            data.chunks.pop((mark.position, index), None)

    async def trim(self, tenant: Tenant, before: Position) -> int:
        self._need(tenant, "events")
        return self._trim(tenant, before)

    async def hold(self, tenant: Tenant, replica: str, ttl_ms: int) -> bool:
        self._need(tenant, "holder")
        data, now = self._of(tenant), self._clock_ms()
        holder, until = data.holder
        if holder != replica and until > now:
            return False
        data.holder = (replica, now + ttl_ms)
        return True

    async def exchange(self, tenant: Tenant, replica: str, state: bytes, keep_ms: int) -> dict[str, bytes]:
        self._need(tenant, "states")
        data, now = self._of(tenant), self._clock_ms()
        data.states[replica] = (now, state)
        data.states = {name: kept for name, kept in data.states.items() if now - kept[0] <= keep_ms}
        return {name: kept for name, (_, kept) in data.states.items() if name != replica}
