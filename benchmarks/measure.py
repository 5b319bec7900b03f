"""Measure one scene: the registry and the bare app in turn, and what a round of each has come to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import cpu, servers, wrk
from benchmarks.errors import BenchmarkError
from benchmarks.scenes import Load, Scene, clear, verify
from benchmarks.wire import Address, Reply, Request, call

WARM_UP_S: Final = 1
#: By how much the mean size of the replies under load may differ from the checked one. A wrong answer of another size
#: shows even when its status is fine, for instance a 200 among 304s.
SIZE_TOLERANCE: Final = 0.02

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    rounds: int
    seconds: int
    connections: int | None
    """None: what each scene asks for."""
    directory: Path
    """For scripts and logs."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load."""

    address: Address
    pids: Sequence[int]
    """The roots of its process trees; empty when nobody told us."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of wrk against one server."""

    counted: wrk.Counted
    used: cpu.Usage

    @property
    def cpu_us(self) -> float:
        """Processor time per request, of all processes of the server."""
        return self.used.total_us / self.counted.requests

    @property
    def busy(self) -> float:
        """Cores the server kept busy."""
        return self.used.total_us / self.counted.duration_us

    @property
    def wrk_busy(self) -> float:
        """Cores wrk kept busy, of the one it can use."""
        return self.counted.wrk_cpu_us / self.counted.duration_us

    def cpu_us_of(self, name: str) -> float:
        """Processor time per request of the processes with a name that begins so."""
        return sum(us for process, us in self.used.by_name.items() if process.startswith(name)) / self.counted.requests


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one scene."""

    scene: Scene
    connections: int
    body_bytes: int
    registry: list[Run]
    bare: list[Run]

    @property
    def ratio(self) -> float:
        """Requests per second, median of the registry to median of the bare app."""
        return per_second(self.registry) / per_second(self.bare)

    @property
    def ratios(self) -> list[float]:
        """The same by round, ascending: how far the rounds agree is how far to trust the ratio."""
        pairs = zip(self.registry, self.bare, strict=True)
        return sorted(ours.counted.per_second / theirs.counted.per_second for ours, theirs in pairs)


def per_second(runs: Sequence[Run]) -> float:
    """Median requests per second."""
    return median(run.counted.per_second for run in runs)


def measure(scene: Scene, registry: Target, plan: Plan, say: Say) -> Result:
    """Set a scene up, check it, load it, check it again, take it away."""
    clear(registry.address, scene.services)
    try:
        result = _measure_prepared(scene, registry, plan, say)
    except BenchmarkError as exc:
        with contextlib.suppress(BenchmarkError):  # The first failure is the one to tell.
            clear(registry.address, scene.services)
        raise BenchmarkError(f"{scene.name}: {exc}") from exc
    clear(registry.address, scene.services)
    return result


def _measure_prepared(scene: Scene, registry: Target, plan: Plan, say: Say) -> Result:
    load = scene.prepare(registry.address)
    reply = verify(registry.address, load)
    with servers.bare(plan.directory, reply) as (address, pid):
        return _rounds(scene, load, reply, registry, Target(address, [pid]), plan, say)


def _rounds(scene: Scene, load: Load, reply: Reply, registry: Target, bare: Target, plan: Plan, say: Say) -> Result:
    connections = plan.connections or scene.connections
    script = plan.directory / f"{scene.name}.lua"
    script.write_text(load.script)
    bare_reply = _verify_bare(bare.address, load.sample, reply)

    def once(target: Target, expected: Reply, seconds: int) -> Run:
        return _run(target, script, connections, seconds, expected)

    load.reset()
    warm = once(registry, reply, WARM_UP_S)
    load.audit(warm.counted.requests, connections)
    once(bare, bare_reply, WARM_UP_S)
    result = Result(scene, connections, len(reply.body), [], [])
    for number in range(1, plan.rounds + 1):
        load.reset()
        result.registry.append(once(registry, reply, plan.seconds))
        result.bare.append(once(bare, bare_reply, plan.seconds))
        ours, theirs = (runs[-1].counted.per_second for runs in (result.registry, result.bare))
        say(f"{scene.name:<17} round {number}/{plan.rounds}: registry {ours:>9,.0f}/s, bare {theirs:>9,.0f}/s")
    verify(registry.address, load)
    return result


def _verify_bare(address: Address, sample: Request, like: Reply) -> Reply:
    reply = call(address, sample)
    if (reply.status, len(reply.body)) != (like.status, len(like.body)):
        raise BenchmarkError(f"the bare app answered {reply.status} with {len(reply.body)} bytes; that is our mistake.")
    return reply


def _run(target: Target, script: Path, connections: int, seconds: int, expected: Reply) -> Run:
    before = cpu.read_usage(target.pids)
    counted = wrk.run(target.address, script, connections, seconds)
    used = cpu.read_usage(target.pids).since(before)
    problem = counted.problem() or _size_problem(counted, expected)
    if problem:
        raise BenchmarkError(f"{target.address.url} failed under load: {problem}.")
    return Run(counted, used)


def _size_problem(counted: wrk.Counted, expected: Reply) -> str | None:
    """Compare sizes; a run is also allowed one reply that wrk began to read and did not count."""
    allowed = expected.wire_bytes * SIZE_TOLERANCE
    if abs(counted.bytes_per_reply - expected.wire_bytes) <= allowed:
        return None
    return f"replies had {counted.bytes_per_reply:.0f} bytes on average, the one that was checked {expected.wire_bytes}"
