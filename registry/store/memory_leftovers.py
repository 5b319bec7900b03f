"""Leftovers of tenants in the store in memory. Keeps the promises of `store.port.Leftovers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.store.damage import KeyName
from registry.store.memory_data import Entry, Gone, Struck, TenantData
from registry.store.memory_snapshots import Need
from registry.store.port import Notice


class Server(Protocol):
    """What all replicas share."""

    data: dict[Tenant, TenantData]
    tenants: list[Entry]
    clock_ms: Callable[[], int]

    def listed(self) -> dict[Tenant, None]: ...


class NeedList(Protocol):
    def __call__(self, *names: KeyName) -> None:
        """Raise Damaged when one of these keys is of another type."""


class MemoryLeftovers:
    """
    Args:
        need_list, need: look at the keys that a call needs.
        announced: reads an entry of the list. Raises Damaged.
    """

    def __init__(
        self,
        server: Server,
        need_list: NeedList,
        need: Need,
        announced: Callable[[Tenant | Gone | None, int], tuple[Tenant, Position | None]],
    ) -> None:
        self._server = server
        self._need_list = need_list
        self._need = need
        self._announced = announced

    async def notices(self, after: str, most: int) -> list[Notice]:
        self._need_list("tenants_log")
        now_ms, found = self._server.clock_ms(), list[Notice]()
        begin = int(after or "0")
        for index, entry in enumerate(self._server.tenants[begin:], begin):
            if not isinstance(entry, Struck) and len(found) < most:
                since_ms = entry.since_ms if isinstance(entry, Gone) else now_ms
                found.append(Notice(str(index + 1), *self._announced(entry, index), now_ms - since_ms))
        return found

    async def strike(self, entries: Sequence[str]) -> None:
        self._need_list("tenants_log")
        for entry in entries:
            self._server.tenants[int(entry) - 1] = Struck()

    async def clear(self, tenant: Tenant, at: Position) -> bool:
        self._need_list("tenants")
        if tenant in self._server.listed():
            return False
        self._need(tenant, "snapshots")
        self._need(tenant, "head")
        data = self._server.data.get(tenant, TenantData())
        head = data.head_text or data.head
        if head not in (at, ORIGIN) or (head == ORIGIN and data.events):
            return False
        self._server.data.pop(tenant, None)
        return True
