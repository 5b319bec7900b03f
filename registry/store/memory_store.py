"""The store in memory, for tests and simulation: many replicas over one `MemoryServer`, time by an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.store.damage import Damaged, KeyName
from registry.store.lease import RENEWED_ABOUT_MS, Lease, LeaseName, Proposal, Renewed, Write
from registry.store.memory_data import Gone, Struck, TenantData
from registry.store.memory_leftovers import MemoryLeftovers
from registry.store.memory_notes import MemoryNotes
from registry.store.memory_server import MemoryServer
from registry.store.memory_snapshots import MemorySnapshots
from registry.store.memory_upkeep import MemoryUpkeep
from registry.store.port import About, Durability, HistoryChanged, NotDurable, OutageSuspected, Pulse, Tail
from registry.store.soundness import LIST_TYPES, complaint, mistyped


class MemoryStore:
    """One replica's connection to a `MemoryServer`. Keeps the promises of `store.port`, proven by tests/contract."""

    def __init__(
        self,
        server: MemoryServer,
        read_max: int = 2000,
        lapse_memory_ms: int = 60_000,
        followed_max: int = 64,
    ) -> None:
        self._followed_max = followed_max
        self._server = server
        self._read_max = read_max
        self._lapse_memory_ms = lapse_memory_ms
        self.notes = MemoryNotes(lambda tenant: server.of(tenant).notes, server.clock_ms)
        self._snapshots = MemorySnapshots(
            lambda tenant: server.of(tenant).snapshots, server.trim, server.clock_ms, self._need
        )
        self._leftovers = MemoryLeftovers(server, self._need_list, self._need, self._announced)
        self._damage_listeners: list[Callable[[Damaged], None]] = []

    @property
    def snapshots(self) -> MemorySnapshots:
        return self._snapshots

    @property
    def upkeep(self) -> MemoryUpkeep:
        return MemoryUpkeep(self._server)

    @property
    def leftovers(self) -> MemoryLeftovers:
        return self._leftovers

    # -- damage --------------------------------------------------------------------------------------------------------

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        return f"{tenant}:{name}" if tenant else name

    def on_damage(self, listener: Callable[[Damaged], None]) -> None:
        self._damage_listeners.append(listener)

    def _damaged(self, tenant: Tenant | None, name: KeyName, reason: str, entry: str = "") -> Damaged:
        damage = Damaged(tenant, self.key(tenant, name), reason, entry)
        for listener in self._damage_listeners:
            listener(damage)
        return damage

    def _need(self, tenant: Tenant, *names: KeyName) -> None:
        """Raise Damaged when one of these keys is of another type."""
        if any(name in self._server.of(tenant).wrong for name in names):
            self._inspect(tenant)

    def _inspect(self, tenant: Tenant) -> None:
        found = complaint(self._server.of(tenant).condition())
        if found is not None:
            name, entry, reason = found
            raise self._damaged(tenant, name, reason, entry)

    def _need_list(self, *names: KeyName) -> None:
        for name in names:
            if name in self._server.wrong:
                raise self._damaged(None, name, mistyped(self._server.wrong[name], LIST_TYPES[name]))

    def _head(self, tenant: Tenant) -> Position:
        data = self._server.of(tenant)
        if data.head_text:
            raise self._damaged(tenant, "head", f"it holds {data.head_text!r}, which is no position")
        return data.head

    def _need_room(self, tenant: Tenant) -> None:
        """Raise Damaged where an entry stands, or stood, beyond the head: nothing can be appended then."""
        data = self._server.of(tenant)
        if max([data.last, *(position for position, _ in data.events[-1:])]) > data.head:
            self._inspect(tenant)

    async def inspect(self, tenant: Tenant) -> None:
        self._inspect(tenant)

    # -- the log -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def tenants(self) -> list[Tenant]:
        self._need_list("tenants")
        return list(self._server.listed())

    async def add_tenant(self, tenant: Tenant, most: int = 0) -> bool:
        self._need_list("tenants", "tenants_log")
        listed = self._server.listed()
        if tenant not in listed:
            if most and len(listed) >= most:
                return False
            self._server.tenants.append(tenant)
            self._server.wake()
        return True

    async def forget_tenant(self, tenant: Tenant, at: Position) -> bool:
        self._need_list("tenants", "tenants_log")
        if tenant not in self._server.listed():
            return False
        self._server.tenants.append(Gone(tenant, at, self._server.clock_ms()))
        self._server.wake()
        return True

    @property
    def followed_max(self) -> int:
        return self._followed_max

    def part(self, tenant: Tenant) -> Tenant:
        return self._server.part(tenant)

    async def head(self, tenant: Tenant) -> Position:
        self._need(tenant, "head")
        return self._head(tenant)

    async def heads(self, tenants: Sequence[Tenant]) -> list[Position | None]:
        return [self._head_or_nothing(tenant) for tenant in tenants]

    def _head_or_nothing(self, tenant: Tenant) -> Position | None:
        data = self._server.data.get(tenant)
        if data is None or "head" in data.wrong:
            return ORIGIN
        return None if data.head_text else data.head

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        appended = self._server.appended
        tail = self._read_now(after, tenants_after)
        if block_ms and not (tail.events or tail.tenants or tail.gone):
            try:
                async with asyncio.timeout(block_ms / 1000):
                    await appended.wait()
            except TimeoutError:
                return tail
            return self._read_now(after, tenants_after)
        return tail

    def _read_now(self, after: Mapping[Tenant, Position], tenants_after: str | None) -> Tail:
        events: dict[Tenant, Sequence[tuple[Position, bytes]]] = {}
        if tenants_after is not None:
            self._need_list("tenants_log")
        for tenant, position in after.items():
            self._need(tenant, "events")
            new = [entry for entry in self._server.of(tenant).events if entry[0] > position][: self._read_max]
            if new:
                events[tenant] = new
        if tenants_after is None:
            return Tail(events, [], "")
        begin = int(tenants_after or "0")
        listed: dict[Tenant, Position | None] = {}
        for number, entry in enumerate(self._server.tenants[begin:], begin):
            if not isinstance(entry, Struck):
                tenant, gone_at = self._announced(entry, number)
                listed.pop(tenant, None)
                listed[tenant] = gone_at
        tenants = [tenant for tenant, gone_at in listed.items() if gone_at is None]
        gone = tuple((tenant, gone_at) for tenant, gone_at in listed.items() if gone_at is not None)
        return Tail(events, tenants, str(len(self._server.tenants)), gone)

    def _announced(self, entry: Tenant | Gone | None, index: int) -> tuple[Tenant, Position | None]:
        if entry is None:
            raise self._damaged(None, "tenants_log", "it announces no tenant", str(index + 1))
        return (entry.tenant, entry.at) if isinstance(entry, Gone) else (entry, None)

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        self._need(tenant, "events")
        return dict(self._server.of(tenant).events).get(position)

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None:
        self._need(tenant, "events")
        return next(iter(self._server.of(tenant).events), None)

    async def commit(
        self, tenant: Tenant, epoch: int, writes: Sequence[Write], applied: int = 0
    ) -> list[Position | None]:
        data = self._server.of(tenant)
        now = self._server.clock_ms()
        self._need(tenant, "head")
        if data.head_text or epoch != data.head.epoch or data.head.sequence < applied:
            raise HistoryChanged(f"this is not the log that was followed; its newest event is {data.head.text()}")
        if any(write.payload is not None for write in writes):
            self._need(tenant, "events")
            self._need_room(tenant)
        assert all(write.payload != b"" for write in writes), "an event has at least one byte"
        before = data.head
        head = data.head if epoch else Position(now, 0)
        positions: list[Position | None] = []
        for write in writes:
            if write.payload is None:
                positions.append(None)
            else:
                head = head.next()
                data.events.append((head, write.payload))
                positions.append(head)
            for grant in write.grants:
                data.leases[LeaseName(grant.service_id, grant.instance_id)] = now + grant.ttl_ms
            for drop in write.drops:
                data.leases.pop(drop, None)
        if head.sequence != before.sequence:
            data.head = head
            self._server.wake()
        return positions

    def _alive(self, data: TenantData, name: LeaseName) -> bool:
        deadline = data.leases.get(name)
        return deadline is not None and deadline > self._server.clock_ms()

    async def beat(self, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        data = self._server.of(tenant)
        now = self._server.clock_ms()
        missing = []
        for index, lease in enumerate(leases):
            name = LeaseName(lease.service_id, lease.instance_id)
            if self._alive(data, name):
                data.leases[name] = max(data.leases[name], now + lease.ttl_ms)
                data.beats[name] = (now, replica)
            else:
                missing.append(index)
        self._need(tenant, "beats")
        return missing

    async def revive(self, tenant: Tenant, at: Position, leases: Sequence[Lease]) -> bool:
        self._need(tenant, "head")
        if self._server.of(tenant).head_text or self._server.of(tenant).head != at:
            return False
        self._grant(tenant, leases)
        return True

    def _grant(self, tenant: Tenant, leases: Sequence[Lease]) -> None:
        data, now = self._server.of(tenant), self._server.clock_ms()
        for lease in leases:
            data.leases[LeaseName(lease.service_id, lease.instance_id)] = now + lease.ttl_ms

    async def rearm(self, tenant: Tenant, leases: Sequence[Lease], going_on_ms: int = 0) -> bool:
        now = self._server.clock_ms()
        part = self._server.of(self.part(tenant))
        part.wrong.pop("rearming", None)  # it is overwritten
        if going_on_ms and now - part.rearmed > going_on_ms:
            return False
        part.rearmed = now
        self._grant(tenant, leases)
        return True

    async def remaining(self, tenant: Tenant, names: Sequence[LeaseName]) -> list[int]:
        data = self._server.of(tenant)
        now = self._server.clock_ms()
        return [data.leases[name] - now if self._alive(data, name) else -1 for name in names]

    async def renewed(self, tenant: Tenant, lease: Lease, ago_ms: int | None = None) -> Renewed:
        data, name = self._server.of(tenant), LeaseName(lease.service_id, lease.instance_id)
        if ago_ms is not None:
            self._need(tenant, "beats")
            at_ms, replica = data.beats.get(name, (0, ""))
            is_it = abs(self._server.clock_ms() - ago_ms - at_ms) <= RENEWED_ABOUT_MS
            left_ms = data.leases[name] - self._server.clock_ms() if self._alive(data, name) else -1
            return Renewed(left_ms, replica if is_it else "")
        if not self._alive(data, name):
            return Renewed(-1, "")
        self._need(tenant, "beats")
        at_ms, replica = data.beats.get(name, (0, ""))
        renewed_ms = data.leases[name] - lease.ttl_ms
        return Renewed(data.leases[name] - self._server.clock_ms(), replica if at_ms == renewed_ms else "")

    async def expire(
        self, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], outage_after_ms: int, applied: int = 0
    ) -> list[Position | None]:
        data = self._server.of(tenant)
        self._need(tenant, "head")
        if data.head_text or epoch != data.head.epoch or data.head.sequence < applied:
            raise HistoryChanged(f"this is not the log that was followed; its newest event is {data.head.text()}")
        now = self._server.clock_ms()
        pulse, run = self._server.of(self.part(tenant)).pulse or (0, 0)
        if run != self._server.run:
            raise OutageSuspected("the store was started anew, leases have to be re-armed first")
        silence = now - pulse
        if abs(silence) > outage_after_ms:
            raise OutageSuspected(f"no replica could write for {silence} ms")
        appended: list[Position | None] = []
        for proposal in proposals:
            remembered, until = data.lapses.get(proposal.name, ("", 0))
            known = remembered == proposal.registered and until > now
            if data.head == ORIGIN or known or self._alive(data, proposal.name):
                appended.append(None)
                continue
            self._need(tenant, "events")
            self._need_room(tenant)
            data.head = data.head.next()
            data.events.append((data.head, proposal.payload))
            data.lapses[proposal.name] = (proposal.registered, now + self._lapse_memory_ms)
            appended.append(data.head)
        if any(appended):
            self._server.wake()
        return appended

    async def pulse(self, tenant: Tenant, outage_after_ms: int, resume: bool) -> Pulse:
        data = self._server.of(self.part(tenant))
        if data.wrong.pop("pulse", None) is not None:
            data.pulse = None  # what stands in its place is overwritten
        now = self._server.clock_ms()
        began = now if data.head == ORIGIN else data.head.epoch
        last, run = data.pulse or (began, self._server.run if abs(now - began) <= outage_after_ms else 0)
        silence, restarted = now - last, run != self._server.run
        rearmed = resume and abs(now - data.rearmed) <= outage_after_ms
        if rearmed or (not restarted and abs(silence) <= outage_after_ms):
            data.pulse = (now, self._server.run)
        return Pulse(silence, restarted, str(self._server.run))

    async def resume_history(
        self, tenant: Tenant, head: Position, epoch: int, payloads: Sequence[bytes], seeded: bool = False
    ) -> None:
        data = self._server.of(tenant)
        self._need(tenant, "head")
        if data.head_text or data.head != head:
            raise HistoryChanged(f"the log's newest event is {data.head.text()}")
        if seeded:
            self._need(tenant, "snapshots")
            if Position(epoch, 1) not in data.snapshots.marks:
                raise HistoryChanged("the snapshot is gone")
        self._need(tenant, "events")
        data.events += [(Position(epoch, number), payload) for number, payload in enumerate(payloads, 1)]
        data.head = Position(epoch, len(payloads))
        self._server.wake()

    async def about(self) -> About:
        return About("memory", "", "memory", 1, 0, 0, 0, "none")

    async def cannot(self, tenant: Tenant, durability: Durability) -> str:
        return "" if durability in self._server.durabilities else f"this store has no {durability}"

    async def confirm(self, tenant: Tenant, durability: Durability, timeout_ms: int, at: Position) -> bytes | None:
        if durability not in self._server.durabilities:
            raise NotDurable(f"written, but not confirmed within {timeout_ms} ms")
        return await self.entry(tenant, at)

    async def lapses(self) -> AsyncIterator[tuple[Tenant, LeaseName]]:
        """No prompts: the sweep alone must do."""
        return
        yield
