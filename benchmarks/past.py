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
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.servers import registry
from benchmarks.wire import Address, Reply, Request, send
from registry.domain.events import Event, InstanceRegistered, InstanceStatusSet, ServiceRegistered, encode_event
from registry.domain.model import DEFAULT_HEALTH_CHECK, Instance, Microservice
from registry.domain.tenant import DEFAULT_TENANT
from registry.store.lease import Lease, Write
from registry.store.redis_store import RedisStore

SERVICES: Final = 100
BATCH: Final = 500
LEASE_MS: Final = 86_400_000
#: Questions of each kind, and windows of each sort with their length (seconds).
ASKED: Final = 40
WINDOWS: Final = 6
WINDOW_S: Final = 4.0
FIND: Final = "/v4/default/registry/instances?appId=bench&serviceName=s{service}"
HISTORY: Final = "/v1/default/history"


async def fill(url: str, instances: int, changes: int, seed: random.Random) -> float:
    """Write the log, with leases; events per second."""
    store = RedisStore(url)
    await store.open()
    head = await store.head(DEFAULT_TENANT)
    began, number = time.perf_counter(), 0

    def stamp() -> dict[str, object]:
        nonlocal number
        number += 1
        return {"at_ms": time.time_ns() // 1_000_000, "replica": "filler", "number": number, "actor": "10.0.0.1"}

    def write(event: Event, *grants: Lease) -> Write:
        return Write(encode_event(event), grants)

    writes = [
        write(ServiceRegistered(service=_service(n), chosen=True, **stamp()))  # type: ignore[arg-type]
        for n in range(SERVICES)
    ]
    for n in range(instances):
        lease = Lease(f"s{n % SERVICES}", f"i{n}", LEASE_MS)
        writes.append(write(InstanceRegistered(instance=_instance(n), chosen=True, **stamp()), lease))  # type: ignore[arg-type]
    for _ in range(changes):
        n, status = seed.randrange(instances), seed.choice(["UP", "DOWN", "OUTOFSERVICE"])
        names = {"service_id": f"s{n % SERVICES}", "instance_id": f"i{n}", "status": status}
        writes.append(write(InstanceStatusSet(**names, **stamp())))  # type: ignore[arg-type]
    for start in range(0, len(writes), BATCH):
        await store.commit(DEFAULT_TENANT, head.epoch, writes[start : start + BATCH])
    await store.close()
    return len(writes) / (time.perf_counter() - began)


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


def percentile(sample: list[float], share: float) -> float:
    return sorted(sample)[min(int(len(sample) * share), len(sample) - 1)] if sample else 0.0


def questions(address: Address, began_ms: int, ended_ms: int, instances: int, seed: random.Random) -> dict[str, object]:
    """Milliseconds of each kind of question, warm: p50, p95."""

    def moment() -> int:
        return seed.randint(began_ms, ended_ms)

    def instance() -> str:
        n = seed.randrange(instances)
        return f"serviceId=s{n % SERVICES}&instanceId=i{n}"

    kinds: dict[str, Callable[[], str]] = {
        "one service asOf": lambda: FIND.format(service=seed.randrange(SERVICES)) + f"&asOf={moment()}",
        "all services asOf": lambda: f"/v4/default/govern/microservices?options=instances&countOnly=1&asOf={moment()}",
        "explain": lambda: f"{HISTORY}/explain?{instance()}",
        "page of 100": lambda: f"{HISTORY}?limit=100",
        "page of 100 of one service": lambda: f"{HISTORY}?limit=100&serviceId=s{seed.randrange(SERVICES)}",
        "diff of one service": lambda: f"{HISTORY}/diff?serviceId=s{seed.randrange(SERVICES)}&from={moment()}",
    }
    found: dict[str, object] = {}
    for name, target in kinds.items():
        ask(address, target())
        took = []
        for _ in range(ASKED):
            began = time.perf_counter()
            ask(address, target())
            took.append((time.perf_counter() - began) * 1000)
        found[name] = {"p50 ms": round(percentile(took, 0.5), 1), "p95 ms": round(percentile(took, 0.95), 1)}
        print(f"past: {name}: {found[name]}", file=sys.stderr)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000)
    parser.add_argument("--changes", type=int, default=100_000)
    given = parser.parse_args()
    seed = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, registry(Path(folder), ["--past-max-bytes", str(2**32)]) as target:
        began_ms = time.time_ns() // 1_000_000
        rate = asyncio.run(fill(target.redis_url, given.instances, given.changes, seed))
        ended_ms = time.time_ns() // 1_000_000
        time.sleep(10)  # the snapshot that is due is written within five seconds
        found = {
            "filled, events/s": round(rate),
            **questions(target.address, began_ms, ended_ms, given.instances, seed),
            "finds": beside(target.address, began_ms, ended_ms),
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
