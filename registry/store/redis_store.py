"""The store on Redis: streams for the logs, TTL keys for the leases, Lua scripts for what must be atomic."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.view import Tenant
from registry.store.keys import Keys, decode_name, encode_name, lease_name
from registry.store.port import HistoryChanged, Lease, LeaseName, OutageSuspected, Proposal, Pulse, Tail, Write
from registry.store.redis_snapshots import RedisSnapshots

logger = logging.getLogger(__name__)

REDIS_OLDEST: Final = (6, 2)
#: Events per tenant asked for by the first read; later ones adapt to their size, but never below the least.
READ_FIRST: Final = 64
READ_LEAST: Final = 4
#: Tenants whose key names are remembered; reads of tenants that do not exist must not grow anything.
TENANT_KEYS_MAX: Final = 4096
SCRIPTS: Final = (
    *("beat", "commit", "expire", "pulse", "rearm", "remaining", "resume", "revive", "tenant"),
    *("drop", "exchange", "fetch", "hold", "mark", "marks", "stow", "trim"),
)

_pack = msgspec.msgpack.Encoder().encode


class StoreRefused(Exception):
    """This Redis cannot be relied on; the message says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """Every limit of the adapter, with its unit."""

    #: Keys are below this prefix.
    prefix: str = "registry:"
    #: Events per tenant and read.
    read_max: int = 2000
    #: Seconds until a command counts as unanswered.
    timeout_s: float = 5.0
    #: Heartbeat batches kept as evidence, per tenant.
    beats_max: int = 10_000
    #: How long an expiry is remembered so that no second replica appends it, in ms.
    lapse_memory_ms: int = 60_000
    #: Connections for scripts, and for questions.
    connections_max: int = 48
    asking_max: int = 16
    #: Bytes of one read above which the next asks for fewer events.
    read_bytes_max: int = 8 * 1024 * 1024


class RedisStore:
    """Store over one Redis server, Sentinel-less and without a cluster."""

    def __init__(self, url: str, limits: RedisLimits | None = None) -> None:
        self._limits = limits or RedisLimits()
        self._keys = Keys(self._limits.prefix)
        self._tenant_keys = lru_cache(TENANT_KEYS_MAX)(_TenantKeys.of)
        # Scripts and questions each have their own connections, so that clients who ask for what is not there cannot
        # hold up heartbeats and pulses. One more than the limit waits for a connection.
        self._redis = self._client(url, self._limits.connections_max, self._limits.timeout_s)
        self._asking = self._client(url, self._limits.asking_max, self._limits.timeout_s)
        # The reader and the notifications wait on purpose; their calls bring their own time limits.
        self._waiting = self._client(url, 4, None)
        self._database = int(self._redis.connection_pool.connection_kwargs.get("db") or 0)
        self._scripts: dict[str, bytes] = {name: _script_text(name) for name in SCRIPTS}
        self._hashes: dict[str, str] = {}
        self._read_count = min(READ_FIRST, self._limits.read_max)

    def _client(self, url: str, connections: int, timeout_s: float | None) -> Redis:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=self._limits.timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=self._limits.timeout_s,
            # A commit that failed may have happened: never send it twice behind our back.
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        return Redis(connection_pool=pool)

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, load the scripts, refuse a Redis that would lose data by design.

        Raises:
            StoreUnavailable: no answer.
            StoreRefused: older than 6.2, or it may evict keys.
        """
        server = await self._ask(self._redis.info("server"))
        version = tuple(int(part) for part in str(server["redis_version"]).split(".")[:2])
        if version < REDIS_OLDEST:
            raise StoreRefused(f"Redis {server['redis_version']} is too old: the registry needs 6.2 or newer")
        memory = await self._ask(self._redis.info("memory"))
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            raise StoreRefused(
                f"Redis may evict the registry's data: its maxmemory-policy is {policy}, it must be noeviction"
            )
        await self._load_scripts()

    async def close(self) -> None:
        for client in (self._redis, self._asking, self._waiting):
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
                await client.connection_pool.disconnect()

    async def _load_scripts(self) -> None:
        for name, text in self._scripts.items():
            self._hashes[name] = await self._ask(self._redis.script_load(text))

    async def _ask(self, call: Awaitable[Any] | Any) -> Any:
        try:
            return await call
        except (RedisError, OSError, TimeoutError) as exc:
            if isinstance(exc, ResponseError) and not isinstance(exc, BusyLoadingError):
                raise _meaning(exc) from exc
            raise StoreUnavailable(f"Redis did not answer: {exc}") from exc

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await self._redis.evalsha(self._hashes[script], len(keys), *keys, *arguments)
        except (NoScriptError, KeyError):
            # Redis forgot its scripts: it was restarted or flushed. A script that was not found did nothing.
            await self._load_scripts()
            return await self._ask(self._redis.evalsha(self._hashes[script], len(keys), *keys, *arguments))
        except (RedisError, OSError, TimeoutError) as exc:
            if isinstance(exc, ResponseError) and not isinstance(exc, BusyLoadingError):
                raise _meaning(exc) from exc
            raise StoreUnavailable(f"Redis did not answer: {exc}") from exc

    # -- the log -------------------------------------------------------------------------------------------------------

    async def add_tenant(self, tenant: Tenant) -> None:
        names = (encode_name(tenant.domain), encode_name(tenant.project))
        await self._run("tenant", (self._keys.tenants, self._keys.tenants_stream), names)

    async def head(self, tenant: Tenant) -> Position:
        text = await self._ask(self._asking.get(self._names(tenant).head))
        return parse_position(text) if text else ORIGIN

    async def read(self, after: Mapping[Tenant, Position], tenants_after: str, block_ms: int) -> Tail:
        streams: dict[Any, Any] = {self._keys.tenants_stream: tenants_after or "0-0"}
        by_key: dict[bytes, Tenant] = {}
        for tenant, position in after.items():
            stream = self._names(tenant).events
            streams[stream] = position.text()
            by_key[stream.encode()] = tenant
        reader = self._waiting if block_ms else self._asking
        try:
            async with asyncio.timeout(block_ms / 1000 + self._limits.timeout_s):
                reply = await reader.xread(streams, count=self._read_count, block=block_ms or None)
        except (RedisError, OSError, TimeoutError) as exc:
            # Perhaps it was too much to send in the time.
            self._read_count = max(self._read_count // 2, READ_LEAST)
            raise StoreUnavailable(f"Redis did not answer: {exc}") from exc
        events: dict[Tenant, Sequence[tuple[Position, bytes]]] = {}
        tenants: list[Tenant] = []
        for key, entries in _stream_entries(reply):
            if key in by_key:
                events[by_key[key]] = [(parse_position(entry_id), fields[b"e"]) for entry_id, fields in entries]
                continue
            for entry_id, fields in entries:
                tenants.append(Tenant(decode_name(fields[b"d"].decode()), decode_name(fields[b"p"].decode())))
                tenants_after = entry_id.decode()
        self._adapt(sum(len(payload) for entries in events.values() for _, payload in entries))
        return Tail(events, tenants, tenants_after)

    def _adapt(self, read_bytes: int) -> None:
        """Ask for fewer events when they are large, for more when they are small."""
        if read_bytes > self._limits.read_bytes_max:
            self._read_count = max(self._read_count // 2, READ_LEAST)
        elif read_bytes:
            self._read_count = min(self._read_count * 2, self._limits.read_max)

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        text = position.text()
        entries = await self._ask(self._asking.xrange(self._names(tenant).events, text, text))
        return bytes(entries[0][1][b"e"]) if entries else None

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

    async def resume_history(self, tenant: Tenant, head: Position, epoch: int, payloads: Sequence[bytes]) -> None:
        names = self._names(tenant)
        await self._run("resume", (names.events, names.head), (head.text(), epoch, *payloads))

    @property
    def snapshots(self) -> RedisSnapshots:
        return RedisSnapshots(self._run, self._keys)

    # -- the leases ----------------------------------------------------------------------------------------------------

    async def beat(self, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        names = self._names(tenant)
        arguments = (_pack_leases(leases), self._limits.beats_max, replica)
        missing: list[int] = await self._run("beat", (names.beats, names.leases), arguments)
        return missing

    async def revive(self, tenant: Tenant, at: Position, leases: Sequence[Lease]) -> bool:
        names = self._names(tenant)
        return bool(await self._run("revive", (names.head, names.leases), (at.text(), _pack_leases(leases))))

    async def rearm(self, tenant: Tenant, leases: Sequence[Lease], going_on_ms: int = 0) -> bool:
        names = self._names(tenant)
        return bool(await self._run("rearm", (names.leases, names.rearming), (_pack_leases(leases), going_on_ms)))

    async def remaining(self, tenant: Tenant, names: Sequence[LeaseName]) -> list[int]:
        packed = _pack([lease_name(*name) for name in names])
        left: list[int] = await self._run("remaining", (self._names(tenant).leases,), (packed,))
        return [max(ms, -1) for ms in left]

    async def expire(
        self, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], outage_after_ms: int, applied: int = 0
    ) -> list[Position | None]:
        names = self._names(tenant)
        arguments: list[Any] = [epoch, applied, outage_after_ms, self._limits.lapse_memory_ms]
        for proposal in proposals:
            arguments += (lease_name(*proposal.name), proposal.registered, proposal.payload)
        keys = (names.events, names.head, names.leases, names.pulse, names.lapses)
        appended: list[int] = await self._run("expire", keys, arguments)
        return [Position(epoch, sequence) if sequence else None for sequence in appended]

    async def pulse(self, tenant: Tenant, outage_after_ms: int, resume: bool) -> Pulse:
        names = self._names(tenant)
        keys = (names.pulse, names.head, names.rearming)
        silence, head, restarted = await self._run("pulse", keys, (outage_after_ms, int(resume)))
        return Pulse(silence, parse_position(head), bool(restarted))

    async def lapses(self) -> AsyncIterator[tuple[Tenant, LeaseName]]:
        async with self._waiting.pubsub() as subscription:
            try:
                await subscription.subscribe(f"__keyevent@{self._database}__:expired")
                async for message in subscription.listen():
                    if message["type"] == "message":
                        lease = self._keys.parse_lease(message["data"].decode("utf-8", "replace"))
                        if lease is not None:
                            yield lease
            except (RedisError, OSError) as exc:
                raise StoreUnavailable(f"Redis ended the notifications: {exc}") from exc

    def _names(self, tenant: Tenant) -> _TenantKeys:
        return self._tenant_keys(self._keys, tenant)


@dataclass(frozen=True, slots=True)
class _TenantKeys:
    events: str
    head: str
    beats: str
    pulse: str
    leases: str
    lapses: str
    rearming: str

    @staticmethod
    def of(keys: Keys, tenant: Tenant) -> _TenantKeys:
        return _TenantKeys(
            keys.events(tenant),
            keys.head(tenant),
            keys.beats(tenant),
            keys.pulse(tenant),
            keys.lease_prefix(tenant),
            keys.lapse_prefix(tenant),
            keys.rearming(tenant),
        )


def _script_text(name: str) -> bytes:
    return files("registry.store").joinpath("scripts", f"{name}.lua").read_bytes()


def _pack_leases(leases: Sequence[Lease]) -> bytes:
    flat: list[str | int] = []
    for service_id, instance_id, ttl_ms in leases:
        flat += (f"{service_id}/{instance_id}", ttl_ms)
    return _pack(flat)


def _stream_entries(reply: Any) -> list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]:
    """XREAD's reply as (key, entries) pairs, whether it came by RESP2 (pairs) or RESP3 (a map of lists of lists)."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return [(key, [entry for chunk in chunks for entry in chunk]) for key, chunks in reply.items()]
    return [(key, entries) for key, entries in reply]


def _meaning(exc: ResponseError) -> StoreUnavailable:
    """What a refusal of Redis or of a script means. Scripts begin their own with a word in capitals."""
    text = str(exc)
    if text.startswith("EPOCH"):
        return HistoryChanged(f"the log is not the one followed so far; its newest event is {text.partition(' ')[2]}")
    if text.startswith("OUTAGE"):
        return OutageSuspected(text.partition(" ")[2])
    return StoreUnavailable(f"Redis refused: {text}")
