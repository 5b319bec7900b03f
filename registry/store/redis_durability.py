"""Durability on Redis: what a server can promise, and proof that it has kept it, both asked of the server itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from registry.domain.errors import StoreUnavailable
from registry.store.port import Durability, NotDurable

#: From this version on a server says what it has fsynced.
WAITAOF_SINCE: Final = (7, 2)
#: After how many ms the marker that a confirmation writes is forgotten.
MARKER_KEPT_MS: Final = 60_000

Ask = Callable[[Awaitable[Any]], Awaitable[Any]]


async def cannot(redis: Redis, ask: Ask, durability: Durability) -> str:
    """See `store.port.Store.cannot`."""
    if durability == "disk":
        return await _cannot_sync(redis, ask)
    if durability == "replica" and not int((await ask(redis.info("replication"))).get("connected_slaves", 0)):
        return "Redis has no replica"
    return ""


async def _cannot_sync(redis: Redis, ask: Ask) -> str:
    found = await ask(redis.info("persistence"))
    if not int(found.get("aof_enabled", 0)):
        return "Redis keeps no append-only file (appendonly is no)"
    if str(found.get("aof_last_write_status", "ok")) != "ok":
        raise NotDurable("Redis cannot write its append-only file; make room on its disk, or look at its log")
    says_what_is_synced = await _says_what_is_synced(redis, ask)
    try:
        policy = str((await ask(redis.config_get("appendfsync"))).get("appendfsync", ""))
    except StoreUnavailable as error:
        # One that has to prove each write need not tell.
        return "" if says_what_is_synced else f"Redis does not tell its appendfsync: {error.detail}"
    if policy == "no":
        return "Redis leaves it to the system when its append-only file is on disk (appendfsync is no)"
    if policy != "always" and not says_what_is_synced:
        return "this Redis can only confirm it with appendfsync always, or from version 7.2 on"
    return ""


class Place(NamedTuple):
    """An entry of a stream, and the key of the marker to write beside that."""

    stream: str
    entry: str
    marker: str


async def confirm(redis: Redis, ask: Ask, place: Place, durability: Durability, timeout_ms: int) -> bytes | None:
    """Prove that everything written to this server before the call has that durability. Returns the event there.

    A marker is written on the same connection behind it all, and its durability is that of everything before.

    Raises:
        NotDurable: not within the time.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.xrange(place.stream, place.entry, place.entry)
    pipeline.set(place.marker, b"1", px=MARKER_KEPT_MS)
    synced = durability == "disk" and await _says_what_is_synced(redis, ask)
    if durability == "replica":
        pipeline.execute_command("WAIT", 1, timeout_ms)
    elif synced:
        pipeline.execute_command("WAITAOF", 1, 0, timeout_ms)
    held, *told = await ask(pipeline.execute(raise_on_error=False))
    for refusal in (one for one in (held, *told) if isinstance(one, ResponseError)):
        # Of the proof, e.g. because there is no append-only file any more: the write itself was done.
        raise NotDurable(f"written, but Redis refuses to confirm it: {refusal}")
    _, *waited = told
    if durability == "replica" and int(waited[0]) < 1:
        raise NotDurable(f"written, but no replica of Redis has confirmed it within {timeout_ms} ms")
    if synced and int(waited[0][0]) < 1:
        raise NotDurable(f"written, but Redis has not confirmed within {timeout_ms} ms that it is on disk")
    if durability == "disk" and not synced:
        # With appendfsync always a reply is sent after the fsync; that it is so is asked once more, behind the write.
        try:
            reason = await cannot(redis, ask, durability)
        except NotDurable as failure:
            reason = failure.detail
        if reason:
            raise NotDurable(f"written, but not known to be on disk: {reason}")
    return bytes(held[0][1].get(b"e", b"")) if held else None


async def _says_what_is_synced(redis: Redis, ask: Ask) -> bool:
    version = str((await ask(redis.info("server")))["redis_version"]).split(".")
    return tuple(int(part) for part in version[:2]) >= WAITAOF_SINCE
