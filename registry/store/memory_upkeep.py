"""Upkeep of the store in memory. Keeps the promises of `store.port.Upkeep`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, KeyName
from registry.store.memory_data import Entry, TenantData
from registry.store.memory_snapshots import SnapshotData
from registry.store.port import HistoryChanged


class Server(Protocol):
    """What all replicas share."""

    @property
    def data(self) -> Mapping[Tenant, TenantData]: ...

    tenants: list[Entry]
    wrong: dict[KeyName, str]

    def of(self, tenant: Tenant) -> TenantData: ...

    def wake(self) -> None: ...


class MemoryUpkeep:
    def __init__(self, server: Server) -> None:
        self._server = server

    async def condition(self, tenant: Tenant) -> Condition:
        return self._server.of(tenant).condition()

    async def found(self) -> list[Tenant]:
        return [t for t, data in self._server.data.items() if data.condition() != Condition({}, "", "", "")]

    async def forget(self, tenant: Tenant, name: KeyName) -> None:
        data = self._server.of(tenant)
        data.wrong.pop(name, None)
        if name == "events":
            data.events, data.last = [], ORIGIN
        elif name == "head":
            data.head, data.head_text = ORIGIN, ""
        elif name == "snapshots":
            data.snapshots = SnapshotData(chunks=data.snapshots.chunks)
        elif name == "pulse":
            data.pulse = None
        elif name == "rearming":
            data.rearmed = 0
        elif name == "holder":
            data.snapshots.holder = ("", 0)
        elif name == "states":
            data.snapshots.states.clear()

    async def cut(
        self, tenant: Tenant, seen: Condition, keep_to: Position, epoch: int, payloads: Sequence[bytes]
    ) -> None:
        data = self._server.of(tenant)
        now = data.condition()
        if (now.head, now.newest) != (seen.head, seen.newest):
            raise HistoryChanged(f"the log's newest event is {now.head}")
        stays = payloads and "events" not in data.wrong
        data.events = [entry for entry in data.events if stays and entry[0] <= keep_to]
        data.events += [(Position(epoch, number), payload) for number, payload in enumerate(payloads, 1)]
        data.head, data.head_text, data.last = (Position(epoch, len(payloads)) if payloads else ORIGIN), "", ORIGIN
        data.wrong.pop("events", None)
        data.wrong.pop("head", None)
        self._server.wake()

    async def rewrite_tenants(self, tenants: Sequence[Tenant]) -> None:
        self._server.wrong.clear()
        self._server.tenants[:] = tenants
        self._server.wake()
