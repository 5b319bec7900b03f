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
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import processes
from benchmarks.cpu import TICK_US
from benchmarks.past_log import LOG_MAX_BYTES, SERVICES, SNAPSHOT_EVERY, Filling, fill, say
from benchmarks.servers import Target, registry
from benchmarks.wire import Address, Reply, Request, send
from registry.archive import segment

#: An instance has left lately if it did within this number of events.
LATELY: Final = 100_000
#: Questions of each kind, and windows of each sort with their length (seconds).
ASKED: Final = 40
WINDOWS: Final = 6
WINDOW_S: Final = 4.0
FIND: Final = "/v4/bench/registry/instances?appId=bench&serviceName=s{service}"
HISTORY: Final = "/v1/bench/history"


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


def past_cpu_ms(target: Target) -> float:
    """What the process that reads the past has used of the processor; 0 while there is none."""
    found = processes.tree(target.pids)
    past = [process for pid, process in found.items() if b"past_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return sum(process.ticks for process in past) * TICK_US / 1000


def percentile(sample: list[float], share: float) -> float:
    return sorted(sample)[min(int(len(sample) * share), len(sample) - 1)] if sample else 0.0


def questions(target: Target, filling: Filling, asked: int) -> dict[str, object]:
    """Milliseconds of each kind of question, warm: p50, p95, the slowest, of the processor on average; and of the first
    one, which is not warm.
    """
    address, ended_ms = target.address, filling.ended_ms
    seed, instances = filling.seed, filling.instances
    lately = [n for n, number in filling.left.items() if filling.number - number < LATELY] or [0]
    earlier = [n for n, number in filling.left.items() if filling.number - number >= LATELY] or [0]

    def moment() -> int:
        return seed.randint(filling.served_ms, ended_ms)

    def instance(of: Sequence[int] = range(instances)) -> str:
        n = seed.choice(of)
        return f"serviceId=s{n % SERVICES}&instanceId=i{n}"

    kinds: dict[str, Callable[[], str]] = {
        "one service asOf": lambda: FIND.format(service=seed.randrange(SERVICES)) + f"&asOf={moment()}",
        "all services asOf": lambda: f"/v4/bench/govern/microservices?options=instances&countOnly=1&asOf={moment()}",
        "explain, left lately": lambda: f"{HISTORY}/explain?{instance(lately)}",
        "explain, left before": lambda: f"{HISTORY}/explain?{instance(earlier)}",
        "explain, any": lambda: f"{HISTORY}/explain?{instance()}",
        "page of 100": lambda: f"{HISTORY}?limit=100",
        "page of 100 of one service": lambda: f"{HISTORY}?limit=100&serviceId=s{seed.randrange(SERVICES)}",
        "diff of one service": lambda: f"{HISTORY}/diff?serviceId=s{seed.randrange(SERVICES)}&from={moment()}",
    }
    found: dict[str, object] = {}
    for name, question in kinds.items():
        first = timed(address, question())
        before = past_cpu_ms(target)
        took = [timed(address, question()) for _ in range(asked)]
        found[name] = {
            "p50 ms": round(percentile(took, 0.5), 1),
            "p95 ms": round(percentile(took, 0.95), 1),
            "max ms": round(max(took), 1),
            "processor ms": round((past_cpu_ms(target) - before) / asked, 1),
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
    parser.add_argument(
        "--folder", type=Path, help="where the store is made, and stays; one that is there is asked again"
    )
    given = parser.parse_args()
    filling = Filling(given.instances, given.changes, given.days, random.Random(1))
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        archive, filled = folder / "archive", folder / "filling.json"
        options = ["--past-max-bytes", str(2**32)]
        if given.archive:
            options += ["--archive-dir", str(archive), "--archive-s", "0", "--history-s", "0"]
            options += ["--snapshot-every", str(SNAPSHOT_EVERY), "--log-max-bytes", str(LOG_MAX_BYTES)]
        with registry(folder, options) as target:
            if filled.exists():
                filling.load(filled)
            else:
                asyncio.run(fill(target.redis_url, target.address, filling, given.archive))
                filling.save(filled)
                say(f"filled, {filling.rate:,.0f} events/s")
                time.sleep(10)  # the snapshot that is due is written within five seconds
            found = {
                "filled, events/s": round(filling.rate),
                **({"archive": _archived(archive)} if given.archive else {}),
                **questions(target, filling, given.asked),
                "finds": beside(target.address, filling.served_ms, filling.ended_ms),
            }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
