"""The store on Redis: streams for the logs, TTL keys for the leases, Lua scripts for what must be atomic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store import redis_about, redis_durability
from registry.store.address import parse_address
from registry.store.cluster_connections import ClusterConnections
from registry.store.connections import Connections, Pools, one_server
from registry.store.damage import Damaged, KeyName
from registry.store.keys import Keys, TenantKeys, decode_name, encode_name, lease_name
from registry.store.lease import RENEWED_ABOUT_MS, Lease, LeaseName, Proposal, Renewed, Write
from registry.store.port import About, Durability, Pulse, Tail
from registry.store.redis_check import check, wait_loaded
from registry.store.redis_diagnosis import Diagnosis, meaning
from registry.store.redis_leftovers import RedisLeftovers
from registry.store.redis_limits import RedisLimits
from registry.store.redis_notes import RedisNotes
from registry.store.redis_reads import RedisReads
from registry.store.redis_scripts import read_scripts
from registry.store.redis_snapshots import RedisSnapshots
from registry.store.redis_upkeep import RedisUpkeep
from registry.store.round_trips import RoundTrips
from registry.store.sentinel import NamedMaster
from registry.store.soundness import read_position

#: Tenants whose key names are remembered for single questions; reads of tenants that do not exist must grow nothing.
TENANT_KEYS_MAX: Final = 4096
_pack = msgspec.msgpack.Encoder().encode


class RedisStore:
    """Store over Redis, in each way in which it is deployed (`registry.store.connections`).

    Raises:
        BadAddress: the URL is of another form.
    """

    def __init__(self, url: str, limits: RedisLimits | None = None) -> None:
        self._limits = limits or RedisLimits()
        self.round_trips = RoundTrips()
        self._keys = Keys(self._limits.prefix)
        self._tenant_keys = lru_cache(TENANT_KEYS_MAX)(TenantKeys.of)
        self._mode = parse_address(url).mode
        self._connections = _connections(url, self._limits)
        self._scripts = read_scripts(self._connections.wake_channel)
        self.notes = RedisNotes(self._run, self._keys)
        self.upkeep = RedisUpkeep(self._run, self._servers, self._keys)
        self._diagnosis = Diagnosis(self._keys, self.upkeep.condition, self._type_of)
        self._reads = RedisReads(self._connections, self._keys, self._diagnosis, self._limits)
        self.leftovers = RedisLeftovers(self._run, self._keys, self._reads.announced)

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, wait while Redis loads its data, load the scripts, refuse a Redis that would lose data by design.

        Raises:
            StoreUnavailable: no answer.
            StoreRefused: a server is older than 6.2, may evict keys, cannot have the durability that every write must
                have, or is deployed otherwise than the URL says.
        """
        for server in await self._ask(self._connections.servers()):
            await wait_loaded(server, self._ask)
            await check(server, self._ask, self._mode == "cluster", self._limits.durability)
            await self._load_scripts(server)

    async def close(self) -> None:
        await self._connections.close()

    async def _load_scripts(self, redis: Redis) -> None:
        for script in self._scripts.values():
            await self._ask(redis.script_load(script.text))

    async def _ask(self, call: Awaitable[Any] | Any, key: str = "") -> Any:
        """The answer to a command, which may be about a key."""
        try:
            return await call
        except (RedisError, OSError, TimeoutError) as exc:
            raise (await self._diagnosis.cause(exc, key) if key else meaning(exc)) from exc

    async def _query(self, command: str, key: str, *arguments: str) -> Any:
        """The answer to a question about a key."""
        with self.round_trips.timed(command.lower()):
            return await self._ask(self._connections.ask(command, key, *arguments), key)

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        with self.round_trips.timed(script):
            return await self._run_script(script, keys, arguments)

    async def _run_script(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        digest = self._scripts[script].digest
        try:
            return await self._connections.run(digest, keys, arguments)
        except NoScriptError:
            # This server does not know our scripts: it was restarted or flushed, or has just become the one to ask.
            # A script that was not found did nothing.
            await self._load_scripts(await self._ask(self._connections.server_of(keys[0])))
            return await self._ask(self._connections.run(digest, keys, arguments), keys[0])
        except (RedisError, OSError, TimeoutError) as exc:
            raise await self._diagnosis.cause(exc, keys[0]) from exc

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        return self._keys.key(tenant, name)

    def on_damage(self, listener: Callable[[Damaged], None]) -> None:
        self._diagnosis.listeners.append(listener)

    async def inspect(self, tenant: Tenant) -> None:
        await self._diagnosis.inspect(tenant)

    # -- the log -------------------------------------------------------------------------------------------------------

    async def add_tenant(self, tenant: Tenant, most: int = 0) -> bool:
        arguments = (encode_name(tenant.domain), encode_name(tenant.project), most)
        return bool(await self._run("tenant", (self._keys.tenants, self._keys.tenants_stream), arguments))

    async def forget_tenant(self, tenant: Tenant, at: Position) -> bool:
        arguments = (encode_name(tenant.domain), encode_name(tenant.project), at.text())
        return bool(await self._run("leave", (self._keys.tenants, self._keys.tenants_stream), arguments))

    async def tenants(self) -> list[Tenant]:
        names = await self._query("SMEMBERS", self._keys.tenants)
        pairs = (bytes(name).decode("utf-8", "replace").partition("/") for name in names)
        return [Tenant(decode_name(domain), decode_name(project)) for domain, slash, project in pairs if slash]

    async def head(self, tenant: Tenant) -> Position:
        key = self._names(tenant).head
        text = await self._query("GET", key)
        return self._diagnosis.position(tenant, text) if text is not None else ORIGIN

    async def heads(self, tenants: Sequence[Tenant]) -> list[Position | None]:
        with self.round_trips.timed("mget"):
            found = await self._ask(self._connections.get([self._keys.head(tenant) for tenant in tenants]))
        # What holds another type comes as nothing.
        return [read_position(text) if text else ORIGIN for text in found]

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        if not after and tenants_after is None:
            # There is nothing that can be read; a sign of life all the same.
            await asyncio.sleep(block_ms / 1000)
            await self._query("EXISTS", self._keys.tenants_stream)
            return Tail({}, [], "")
        streams = {self._keys.events(tenant): (tenant, position) for tenant, position in after.items()}
        return await self._reads.read(streams, tenants_after, block_ms, follow)

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        key, text = self._names(tenant).events, position.text()
        entries = await self._query("XRANGE", key, text, text)
        return _event_of(entries[0][1]) if entries else None

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None:
        key = self._names(tenant).events
        entries = await self._query("XRANGE", key, "-", "+", "COUNT", "1")
        return (parse_position(entries[0][0]), _event_of(entries[0][1])) if entries else None

    async def commit(
        self, tenant: Tenant, epoch: int, writes: Sequence[Write], applied: int = 0
    ) -> list[Position | None]:
        names = self._names(tenant)
        arguments: list[Any] = [epoch, applied]
        for write in writes:
            assert write.payload != b"", "an event has at least one byte"
            arguments += (write.payload or b"", len(write.grants) + len(write.drops))
            for grant in write.grants:
                arguments += (lease_name(grant.service_id, grant.instance_id), grant.ttl_ms)
            for drop in write.drops:
                arguments += (lease_name(*drop), 0)
        position = parse_position(await self._run("commit", (names.events, names.head, names.leases), arguments))
        positions: list[Position | None] = []
        for write in writes:
            if write.payload is None:
                positions.append(None)
            else:
                position = position.next()
                positions.append(position)
        return positions

    async def resume_history(
        self, tenant: Tenant, head: Position, epoch: int, payloads: Sequence[bytes], seeded: bool = False
    ) -> None:
        names = self._names(tenant)
        keys = (names.events, names.head, self._keys.snapshots(tenant))
        await self._run("resume", keys, (head.text(), epoch, int(seeded), *payloads))

    @property
    def snapshots(self) -> RedisSnapshots:
        return RedisSnapshots(self._run, self._keys)

    @property
    def followed_max(self) -> int:
        return self._connections.followed_max

    def part(self, tenant: Tenant) -> Tenant:
        # A cluster's servers hold slots that move from one to the other, so there each tenant is a part of its own.
        return tenant if self._mode == "cluster" else DEFAULT_TENANT

    async def about(self) -> About:
        return await redis_about.about(await self._servers(), self._ask, self._mode)

    async def _servers(self) -> Sequence[Redis]:
        servers: Sequence[Redis] = await self._ask(self._connections.servers())
        return servers

    async def _type_of(self, key: str) -> str:
        return str((await self._ask(self._connections.ask("TYPE", key))).decode())

    # -- the leases ----------------------------------------------------------------------------------------------------

    async def beat(self, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        names = self._names(tenant)
        arguments = (_pack_leases(leases), self._limits.beats_max_bytes, replica)
        missing: list[int] = await self._run("beat", (names.beats, names.leases), arguments)
        return missing

    async def revive(self, tenant: Tenant, at: Position, leases: Sequence[Lease]) -> bool:
        names = self._names(tenant)
        return bool(await self._run("revive", (names.head, names.leases), (at.text(), _pack_leases(leases))))

    async def rearm(self, tenant: Tenant, leases: Sequence[Lease], going_on_ms: int = 0) -> bool:
        keys = (self._names(tenant).leases, self._names(self.part(tenant)).rearming)
        return bool(await self._run("rearm", keys, (_pack_leases(leases), going_on_ms)))

    async def remaining(self, tenant: Tenant, names: Sequence[LeaseName]) -> list[int]:
        packed = _pack([lease_name(*name) for name in names])
        left: list[int] = await self._run("remaining", (self._names(tenant).leases,), (packed,))
        return [max(ms, -1) for ms in left]

    async def renewed(self, tenant: Tenant, lease: Lease, ago_ms: int | None = None) -> Renewed:
        names = self._names(tenant)
        about = (0, 0) if ago_ms is None else (ago_ms, RENEWED_ABOUT_MS)
        arguments = (lease_name(lease.service_id, lease.instance_id), lease.ttl_ms, *about)
        left, replica = await self._run("renewed", (names.beats, names.leases), arguments)
        return Renewed(max(left, -1), replica.decode())

    async def expire(
        self, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], outage_after_ms: int, applied: int = 0
    ) -> list[Position | None]:
        names = self._names(tenant)
        arguments: list[Any] = [epoch, applied, outage_after_ms, self._limits.lapse_memory_ms]
        for proposal in proposals:
            arguments += (lease_name(*proposal.name), proposal.registered, proposal.payload)
        keys = (names.events, names.head, names.leases, self._names(self.part(tenant)).pulse, names.lapses)
        appended: list[int] = await self._run("expire", keys, arguments)
        return [Position(epoch, sequence) if sequence else None for sequence in appended]

    async def pulse(self, tenant: Tenant, outage_after_ms: int, resume: bool) -> Pulse:
        names = self._names(self.part(tenant))
        keys = (names.pulse, names.head, names.rearming)
        silence, restarted, run = await self._run("pulse", keys, (outage_after_ms, int(resume)))
        return Pulse(silence, bool(restarted), run.decode())

    # -- durability ----------------------------------------------------------------------------------------------------

    async def cannot(self, tenant: Tenant, durability: Durability) -> str:
        server = await self._ask(self._connections.server_of(self._names(tenant).head))
        return await redis_durability.cannot(server, self._ask, durability)

    async def confirm(self, tenant: Tenant, durability: Durability, timeout_ms: int, at: Position) -> bytes | None:
        events = self._names(tenant).events
        server = await self._ask(self._connections.server_of(events))
        place = redis_durability.Place(events, at.text(), self._keys.marker(tenant))
        with self.round_trips.timed("confirm"):
            return await redis_durability.confirm(server, self._ask, place, durability, timeout_ms)

    async def lapses(self) -> AsyncIterator[tuple[Tenant, LeaseName]]:
        try:
            async for key in self._connections.expirations():
                lease = self._keys.parse_lease(key.decode("utf-8", "replace"))
                if lease is not None:
                    yield lease
        except NoPermissionError as exc:
            raise StoreUnavailable(
                f"Redis does not allow its user to subscribe; registry/docs/production.md has the ACL line: {exc}"
            ) from exc
        except (RedisError, OSError) as exc:
            raise StoreUnavailable(f"Redis ended the notifications: {exc}") from exc

    def _names(self, tenant: Tenant) -> TenantKeys:
        return self._tenant_keys(self._keys, tenant)


def _connections(url: str, limits: RedisLimits) -> Connections:
    address = parse_address(url)
    pools = Pools(limits.connections_max, limits.asking_max, limits.timeout_s)
    match address.mode:
        case "server":
            return one_server(address, pools)
        case "sentinel":
            return NamedMaster(address, pools)
        case "cluster":
            return ClusterConnections(address, pools, f"{limits.prefix}wake")


def _event_of(fields: Any) -> bytes:
    """The event in an entry of a log, b"" if there is none."""
    if not isinstance(fields, dict):
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    return bytes(fields.get(b"e", b""))


def _pack_leases(leases: Sequence[Lease]) -> bytes:
    flat: list[str | int] = []
    for lease in leases:
        flat += (f"{lease.service_id}/{lease.instance_id}", lease.ttl_ms)
    return _pack(flat)
