"""How fast is the past told, and what does telling it cost those who ask about the present?

`python -m benchmarks.past --instances 20000 --changes 100000` fills a registry of its own by its log, asks each kind of
question about the past, at random moments, and asks finds of the present all the while: in windows in which the past is
asked about, and in windows between them in which it is not, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.servers import registry
from benchmarks.wire import Address, Reply, Request, send
from registry.archive import segment
from registry.domain.events import (
    Event,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    ServiceRegistered,
    encode_event,
)
from registry.domain.model import DEFAULT_HEALTH_CHECK, Instance, Microservice
from registry.domain.position import ORIGIN
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, LeaseName, Write
from registry.store.redis_store import RedisStore

#: In the default one replicas register themselves: its log begins now, and no moment in it is before that.
TENANT: Final = Tenant("default", "bench")
SERVICES: Final = 100
BATCH: Final = 500
LEASE_MS: Final = 86_400_000
#: The share of changes by which an instance leaves; each that has left comes back with its next change.
LEAVING_SHARE: Final = 0.25
#: An instance has left lately if it did within this number of events.
LATELY: Final = 100_000
#: Events by which the registry may be behind while the log is written.
AHEAD_MAX: Final = 50_000
#: With an archive: a snapshot after this number of events, and bytes of the log, more than there ever are.
SNAPSHOT_EVERY: Final = 50_000
LOG_MAX_BYTES: Final = 4 * 2**30
#: ... and events that may be behind the newest snapshot: in a month no log outruns its snapshots.
UNSAVED_MAX: Final = SNAPSHOT_EVERY
#: Questions of each kind, and windows of each sort with their length (seconds).
ASKED: Final = 40
WINDOWS: Final = 6
WINDOW_S: Final = 4.0
FIND: Final = "/v4/bench/registry/instances?appId=bench&serviceName=s{service}"
HISTORY: Final = "/v1/bench/history"


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
        #: From when on there is every microservice.
        self.served_ms = 0

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


async def fill(url: str, address: Address, filling: Filling) -> float:
    """Write the log, with leases, never far ahead of the registry that reads it; events per second."""
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
                written - _reached(address) > AHEAD_MAX or await _unsaved(store, written) > UNSAVED_MAX
            ):
                await asyncio.sleep(0.2)
            rate = written / (time.perf_counter() - began)
            left = (filling.total - written) / rate
            say(f"{written:,} of {filling.total:,} events, {rate:,.0f}/s, {left:.0f} s to go")
    while _reached(address) < written:  # noqa: ASYNC110  # another process
        await asyncio.sleep(0.2)
    await store.close()
    return written / (time.perf_counter() - began)


def say(text: str) -> None:
    """To people, who wait."""
    print(f"past: {text}", file=sys.stderr, flush=True)


async def _unsaved(store: RedisStore, written: int) -> int:
    """How many of the events are behind the newest snapshot."""
    marks = await store.snapshots.marks(TENANT)
    return written - (marks[0].sequence if marks else 0)


def _reached(address: Address) -> int:
    """How many events the registry has applied."""
    reply = ask(address, "/v4/bench/registry/microservices?limit=1")
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
        health_check=DEFAULT_HEALTH_CHECK,
    )


def ask(address: Address, target: str) -> Reply:
    reply = send(address, Request("GET", target), timeout_s=120)
    if reply.status not in (200, 304):
        raise SystemExit(f"past: {target} was answered {reply.status}: {reply.body[:300]!r}")
    return reply


def timed(address: Address, target: str) -> float:
    """Milliseconds of one question."""
    began = time.perf_counter()
    ask(address, target)
    return (time.perf_counter() - began) * 1000


def percentile(sample: list[float], share: float) -> float:
    return sorted(sample)[min(int(len(sample) * share), len(sample) - 1)] if sample else 0.0


def questions(address: Address, filling: Filling, ended_ms: int, asked: int) -> dict[str, object]:
    """Milliseconds of each kind of question, warm: p50, p95, the slowest; and of the first one, which is not."""

    seed, instances = filling.seed, filling.instances
    lately = [n for n, number in filling.left.items() if filling.number - number < LATELY] or [0]
    before = [n for n, number in filling.left.items() if filling.number - number >= LATELY] or [0]

    def moment() -> int:
        return seed.randint(filling.served_ms, ended_ms)

    def instance(of: Sequence[int] = range(instances)) -> str:
        n = seed.choice(of)
        return f"serviceId=s{n % SERVICES}&instanceId=i{n}"

    kinds: dict[str, Callable[[], str]] = {
        "one service asOf": lambda: FIND.format(service=seed.randrange(SERVICES)) + f"&asOf={moment()}",
        "all services asOf": lambda: f"/v4/bench/govern/microservices?options=instances&countOnly=1&asOf={moment()}",
        "explain, left lately": lambda: f"{HISTORY}/explain?{instance(lately)}",
        "explain, left before": lambda: f"{HISTORY}/explain?{instance(before)}",
        "explain, any": lambda: f"{HISTORY}/explain?{instance()}",
        "page of 100": lambda: f"{HISTORY}?limit=100",
        "page of 100 of one service": lambda: f"{HISTORY}?limit=100&serviceId=s{seed.randrange(SERVICES)}",
        "diff of one service": lambda: f"{HISTORY}/diff?serviceId=s{seed.randrange(SERVICES)}&from={moment()}",
    }
    found: dict[str, object] = {}
    for name, target in kinds.items():
        first, *took = [timed(address, target()) for _ in range(asked + 1)]
        found[name] = {
            "p50 ms": round(percentile(took, 0.5), 1),
            "p95 ms": round(percentile(took, 0.95), 1),
            "max ms": round(max(took), 1),
            "first ms": round(first, 1),
        }
        say(f"{name}: {found[name]}")
    return found


def finds(address: Address, seconds: float) -> list[float]:
    """Milliseconds of finds, one after the other."""
    took, until = [], time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < until:
        number += 1
        began = time.perf_counter()
        ask(address, FIND.format(service=number % SERVICES) + "&rev=x")
        took.append((time.perf_counter() - began) * 1000)
    return took


def beside(address: Address, began_ms: int, ended_ms: int) -> dict[str, object]:
    """Finds of the present, alone and while the past is asked about without a pause."""
    alone: list[list[float]] = []
    along: list[list[float]] = []
    asked = 0
    for _ in range(WINDOWS):
        alone.append(finds(address, WINDOW_S))
        stop = threading.Event()

        def work(stop: threading.Event = stop) -> None:
            nonlocal asked
            seed = random.Random()
            while not stop.is_set():
                ask(address, FIND.format(service=1) + f"&asOf={seed.randint(began_ms, ended_ms)}")
                asked += 1

        working = threading.Thread(target=work)
        working.start()
        along.append(finds(address, WINDOW_S))
        stop.set()
        working.join()

    def told(windows: list[list[float]]) -> dict[str, float]:
        return {
            "p50 ms": round(statistics.median(percentile(window, 0.5) for window in windows), 2),
            "p99 ms": round(statistics.median(percentile(window, 0.99) for window in windows), 2),
        }

    return {"alone": told(alone), "while the past is asked": told(along), "questions about the past": asked}


def _archived(folder: Path) -> dict[str, object]:
    """What the archive has come to."""
    segments = [_head(path) for path in folder.rglob("*.segment")]
    events = sum(head.events for head in segments)
    size = sum(path.stat().st_size for path in folder.rglob("*.segment"))
    snapshots = [path.stat().st_size for path in folder.rglob("*.snapshot")]
    return {
        "events": events,
        "segments": len(segments),
        "bytes an event": round(size / max(events, 1), 1),
        "snapshots": len(snapshots),
        "MB with snapshots": round((size + sum(snapshots)) / 1e6),
    }


def _head(path: Path) -> segment.Head:
    with path.open("rb") as file:
        prefix = file.read(segment.PREFIX_BYTES)
        return segment.decode_head(prefix, file.read(segment.head_bytes(prefix)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--archive", action="store_true", help="keep what is behind the newest snapshots in an archive")
    parser.add_argument("--days", type=float, default=0.0, help="over which the events are spread")
    parser.add_argument("--asked", type=int, default=ASKED, help="questions of each kind")
    given = parser.parse_args()
    filling = Filling(given.instances, given.changes, given.days, random.Random(1))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        options = ["--past-max-bytes", str(2**32)]
        if given.archive:
            options += ["--archive-dir", str(archive), "--archive-s", "0", "--history-s", "0"]
            options += ["--snapshot-every", str(SNAPSHOT_EVERY), "--log-max-bytes", str(LOG_MAX_BYTES)]
        with registry(Path(folder), options) as target:
            rate = asyncio.run(fill(target.redis_url, target.address, filling))
            ended_ms = time.time_ns() // 1_000_000
            say(f"filled, {rate:,.0f} events/s")
            time.sleep(10)  # the snapshot that is due is written within five seconds
            found = {
                "filled, events/s": round(rate),
                **({"archive": _archived(archive)} if given.archive else {}),
                **questions(target.address, filling, ended_ms, given.asked),
                "finds": beside(target.address, filling.served_ms, ended_ms),
            }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
