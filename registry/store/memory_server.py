"""MemoryServer: what the replicas over the store in memory share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.damage import KeyName
from registry.store.memory_data import Entry, Gone, TenantData
from registry.store.port import Durability


class MemoryServer:
    """What all replicas share: the data, and the clock (Unix ms) by which leases lapse."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self.clock_ms = clock_ms
        self.tenants: list[Entry] = []
        #: Of the list of tenants, keys of another type.
        self.wrong: dict[KeyName, str] = {}
        self.data: dict[Tenant, TenantData] = {}
        self.appended = asyncio.Event()
        #: Counts the server's starts.
        self.run = 1
        #: As in `port.Store`; as on one server.
        self.part: Callable[[Tenant], Tenant] = lambda tenant: DEFAULT_TENANT
        #: What it can promise.
        self.durabilities: set[Durability] = {"memory"}

    def listed(self) -> dict[Tenant, None]:
        """The tenants on the list."""
        listed: dict[Tenant, None] = {}
        for entry in self.tenants:
            if isinstance(entry, Gone):
                listed.pop(entry.tenant, None)
            elif isinstance(entry, Tenant):
                listed[entry] = None
        return listed

    def of(self, tenant: Tenant) -> TenantData:
        return self.data.setdefault(tenant, TenantData())

    def head(self, tenant: Tenant) -> Position:
        data = self.data.get(tenant)
        return data.head if data is not None else ORIGIN

    def trim(self, tenant: Tenant, before: Position) -> int:
        data = self.of(tenant)
        kept = [entry for entry in data.events if entry[0] >= before]
        trimmed = len(data.events) - len(kept)
        data.events = kept
        return trimmed

    def wake(self) -> None:
        """Wake every reader; each then waits on the next event object."""
        self.appended.set()
        self.appended = asyncio.Event()
