"""RedisLimits: every limit of the store on Redis."""

from __future__ import annotations

from dataclasses import dataclass

from registry.store.port import Durability


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """Every limit of the adapter, with its unit."""

    #: Keys are below this prefix.
    prefix: str = "registry:"
    #: Events per tenant and read.
    read_max: int = 2000
    #: Seconds until a command counts as unanswered.
    timeout_s: float = 5.0
    #: Bytes of the newest heartbeats that are kept as evidence, per tenant.
    beats_max_bytes: int = 4 * 1024 * 1024
    #: How long an expiry is remembered so that no second replica appends it, in ms.
    lapse_memory_ms: int = 60_000
    #: Connections for scripts, to each server of a cluster, and for questions, to each server.
    connections_max: int = 48
    asking_max: int = 16
    #: What every write must have: a server that is configured otherwise is refused.
    durability: Durability = "memory"
    #: Bytes of one read above which the next asks for fewer events.
    read_bytes_max: int = 8 * 1024 * 1024
