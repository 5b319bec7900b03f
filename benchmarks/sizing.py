"""How much memory and processor does a number of instances take that do what instances do?

`python -m benchmarks.sizing 1000 10000 100000` registers them at one replica with a Redis of its own. Each of them
beats every 30 s and polls 10 providers every 15 s, as `mixed` has it; one in a hundred changes each minute. It prints a
row of a table for each number. Not shown: more replicas (each takes the same memory, and its share of the requests),
TLS, watchers, a large history (a day of events takes what REGISTRY_LOG_MAX_BYTES lets it), and latencies, which the
other benchmarks measure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import clients, cpu, filling, machine, memory, servers
from benchmarks.clients import Part
from benchmarks.load import fleet
from benchmarks.load.record import merged
from benchmarks.population import Population
from benchmarks.scenes.closed import unmodified
from benchmarks.servers import Target
from benchmarks.setup import populate
from benchmarks.stage import QUIET

PER_SERVICE: Final = 20
CONNECTIONS: Final = 64
#: So long that nobody lapses while the others are registered.
TIMES: Final = 40
#: Until the generators have started.
HEAD_START_S: Final = 0.5
CHURN_PER_MINUTE: Final = 0.01
_MB: Final = 1e6
COLUMNS: Final = (
    "instances",
    "replica",
    "Redis",
    "requests/s",
    "replica's CPU per request",
    "Redis's",
)


@dataclass(frozen=True, slots=True)
class Size:
    """What a number of instances takes: bytes, requests per second, and processor time per request."""

    instances: int
    replica_bytes: int
    redis_bytes: int
    requests: float
    replica_us: float
    redis_us: float

    def row(self) -> str:
        """Of the table."""
        cells = (
            f"{self.instances:,}",
            f"{self.replica_bytes / _MB:,.0f} MB",
            f"{self.redis_bytes / _MB:,.0f} MB",
            f"{self.requests:,.0f}",
            f"{self.replica_us:.0f} µs",
            f"{self.redis_us:.0f} µs",
        )
        return f"| {' | '.join(cells)} |"


def measure(instances: int, seconds: float, folder: Path) -> Size:
    """Raises BenchmarkError when anything was answered wrongly."""
    population = Population(instances, PER_SERVICE, "sizing", TIMES)
    with servers.registry(folder, []) as target:
        filling.fill(target.address, population, _say)
        populate(target.address, QUIET, 1)
        requests, used, lasted_s = _play(target, population, seconds)
        held = memory.read(target.pids)
        redis_us = used.us_of("redis")
        return Size(
            instances,
            held.registry_bytes("rss"),
            memory.redis_bytes(target.redis_url),
            requests / lasted_s,
            (used.total_us - redis_us) / requests,
            redis_us / requests,
        )


def _play(target: Target, population: Population, seconds: float) -> tuple[int, cpu.Usage, float]:
    """How many requests were answered, what that took, and how long (s)."""
    revs = clients.revs_of(target.address, population, _say)
    calls = clients.first_polls(target.address, population, revs)
    filling.send_all(target.address, calls, population.services, "services polled for the first time", _say)
    part = Part(
        name="client 1",
        address=target.address,
        population=population,
        first=0,
        last=population.instances,
        connections=CONNECTIONS,
        seconds=seconds,
        start_s=time.monotonic() + HEAD_START_S,
        revs=revs,
        churn=population.instances * CHURN_PER_MINUTE / 60,
        tick=unmodified(target.address, QUIET).sample,
    )
    before = cpu.read_usage(target.pids)
    played = fleet.run(clients.play, [part])
    used = cpu.read_usage(target.pids).since(before)
    record = merged([record for record, _ in played])
    if record.problem:
        raise SystemExit(f"sizing: {record.problem}")
    return record.answered, used, record.elapsed_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("instances", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they beat and poll")
    given = parser.parse_args(arguments)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for instances in given.instances:
        with tempfile.TemporaryDirectory(prefix="sizing-") as folder:
            print(measure(instances, given.seconds, Path(folder)).row(), flush=True)
    print(f"\n{machine.sentence(machine.machine() | machine.versions())}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
