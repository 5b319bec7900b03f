"""A log of some weeks, with its archive, that is made to be asked about: `benchmarks.past` does."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.wire import Address, Request, send
from registry.domain.events import (
    Event,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    ServiceRegistered,
    encode_event,
)
from registry.domain.model import HealthCheck, Instance, Microservice
from registry.domain.position import ORIGIN
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, LeaseName, Write
from registry.store.redis_store import RedisStore

#: In the default one replicas register themselves: its log begins now, and no moment in it is before that.
TENANT: Final = Tenant("default", "bench")
SERVICES: Final = 100
BATCH: Final = 500
LEASE_MS: Final = 86_400_000
#: As long as the lease: after an outage leases begin anew with it, and one that ended would tell a moment of today in
#: the midst of the month, behind which no moment before it can be asked about.
HEALTH_CHECK: Final = HealthCheck(mode="push", interval=LEASE_MS // 1000, times=0)
#: The share of changes by which an instance leaves; each that has left comes back with its next change.
LEAVING_SHARE: Final = 0.25
#: Events by which the registry may be behind while the log is written.
AHEAD_MAX: Final = 50_000
#: Of a filling, what is saved beside what left.
SAVED: Final = ("instances", "number", "began_ms", "served_ms", "ended_ms", "rate")
#: With an archive: a snapshot after this number of events, and bytes of the log, more than there ever are.
SNAPSHOT_EVERY: Final = 50_000
LOG_MAX_BYTES: Final = 4 * 2**30
#: ... and events that may be behind the newest snapshot: in a month no log outruns its snapshots.
UNSAVED_MAX: Final = SNAPSHOT_EVERY
#: ... nor its archive, which is up to five snapshots behind, and may be slow.
UNTRIMMED_MAX: Final = 8 * SNAPSHOT_EVERY


class Filling:
    """A log of instances that register, and of changes: 60 % of a status, 40 % leave and come back.

    Args:
        days: over which the events are spread, until now; 0: each is of the moment at which it is written.
    """

    def __init__(self, instances: int, changes: int, days: float, seed: random.Random) -> None:
        self.instances, self.changes, self.seed = instances, changes, seed
        self.total = SERVICES + instances + changes
        self.began_ms = time.time_ns() // 1_000_000 - round(days * 86_400_000)
        self.apart_ms = days * 86_400_000 / self.total
        #: Of the instances that have left: the number of the event by which they did.
        self.left: dict[int, int] = {}
        self.number = 0
        #: From when on there is every microservice, until when anything is, and events written in a second.
        self.served_ms = self.ended_ms = 0
        self.rate = 0.0

    def save(self, path: Path) -> None:
        """What has to be known to ask the store that was filled, later."""
        path.write_text(json.dumps({name: getattr(self, name) for name in SAVED} | {"left": list(self.left.items())}))

    def load(self, path: Path) -> None:
        told: dict[str, Any] = json.loads(path.read_text())
        self.left = dict(told.pop("left"))
        for name in SAVED:
            setattr(self, name, told[name])

    def _moment_ms(self) -> int:
        return self.began_ms + int(self.number * self.apart_ms) if self.apart_ms else time.time_ns() // 1_000_000

    def _stamp(self) -> dict[str, object]:
        self.number += 1
        return {"at_ms": self._moment_ms(), "replica": "filler", "number": self.number, "actor": "10.0.0.1"}

    def writes(self) -> Iterator[Write]:
        for n in range(SERVICES):
            yield _write(ServiceRegistered(service=_service(n), chosen=True, **self._stamp()))  # type: ignore[arg-type]
        self.served_ms = self._moment_ms() + 1
        for n in range(self.instances):
            yield self._register(n)
        for _ in range(self.changes):
            yield self._change(self.seed.randrange(self.instances))

    def _register(self, n: int) -> Write:
        lease = Lease(f"s{n % SERVICES}", f"i{n}", LEASE_MS)
        return _write(InstanceRegistered(instance=_instance(n), chosen=True, **self._stamp()), lease)  # type: ignore[arg-type]

    def _change(self, n: int) -> Write:
        if n in self.left:
            del self.left[n]
            return self._register(n)
        names = {"service_id": f"s{n % SERVICES}", "instance_id": f"i{n}"}
        if self.seed.random() < LEAVING_SHARE:
            self.left[n] = self.number
            left = InstanceUnregistered(**names, **self._stamp())  # type: ignore[arg-type]
            return Write(encode_event(left), (), (LeaseName(names["service_id"], names["instance_id"]),))
        status = self.seed.choice(["UP", "DOWN", "OUTOFSERVICE"])
        return _write(InstanceStatusSet(**names, status=status, **self._stamp()))  # type: ignore[arg-type]


async def fill(url: str, address: Address, filling: Filling, archived: bool) -> None:
    """Write the log, with leases, never far ahead of the registry that reads it, and archives it."""
    store = RedisStore(url)
    await store.open()
    began, writes, written = time.perf_counter(), filling.writes(), 1
    await store.add_tenant(TENANT)
    await store.resume_history(TENANT, ORIGIN, filling.began_ms, [next(writes).payload or b""])
    while batch := list(islice(writes, BATCH)):
        await store.commit(TENANT, filling.began_ms, batch)
        written += len(batch)
        if written % AHEAD_MAX == 1:
            while (  # noqa: ASYNC110  # another process
                written - _reached(address) > AHEAD_MAX
                or await _unsaved(store, written) > UNSAVED_MAX
                or (archived and await _untrimmed(store, written) > UNTRIMMED_MAX)
            ):
                await asyncio.sleep(0.2)
            rate = written / (time.perf_counter() - began)
            left = (filling.total - written) / rate
            say(f"{written:,} of {filling.total:,} events, {rate:,.0f}/s, {left:.0f} s to go")
    while _reached(address) < written:  # noqa: ASYNC110  # another process
        await asyncio.sleep(0.2)
    await store.close()
    filling.rate, filling.ended_ms = written / (time.perf_counter() - began), time.time_ns() // 1_000_000


def say(text: str) -> None:
    """To people, who wait."""
    print(f"past: {text}", file=sys.stderr, flush=True)


async def _unsaved(store: RedisStore, written: int) -> int:
    """How many of the events are behind the newest snapshot."""
    marks = await store.snapshots.marks(TENANT)
    return written - (marks[0].sequence if marks else 0)


async def _untrimmed(store: RedisStore, written: int) -> int:
    """How many of the events the store has still."""
    eldest = await store.eldest(TENANT)
    return written - (eldest[0].sequence if eldest is not None else 0)


def _reached(address: Address) -> int:
    """How many events the registry has applied."""
    reply = send(address, Request("GET", "/v4/bench/registry/microservices?limit=1"), timeout_s=120)
    return int(reply.headers["x-registry-position"].partition("-")[2])


def _write(event: Event, *grants: Lease) -> Write:
    return Write(encode_event(event), grants)


def _service(n: int) -> Microservice:
    return Microservice(service_id=f"s{n}", app_id="bench", service_name=f"s{n}", version="1.0.0", status="UP")


def _instance(n: int) -> Instance:
    return Instance(
        instance_id=f"i{n}",
        service_id=f"s{n % SERVICES}",
        host_name=f"host-{n}",
        endpoints=[f"rest://10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:8080"],
        status="UP",
        properties={"zone": f"z{n % 3}", "build": "20261129"},
        health_check=HEALTH_CHECK,
    )
