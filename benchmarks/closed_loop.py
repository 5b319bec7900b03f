"""Closed loop: wrk against several contenders in turn, and what a round of each has come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import cpu, wrk
from benchmarks.checking import Check, Watchdog, verify
from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Number, median_of
from benchmarks.servers import Target
from benchmarks.wire import Reply, Request

WARM_UP_S: Final = 1
#: By how much the mean size of the replies under load may differ from the checked one. A wrong answer of another size
#: shows even when its status is fine, for instance a 200 among 304s.
SIZE_TOLERANCE: Final = 0.02
#: A bare app that kept less of its core busy was held up by wrk or by somebody else: its ratio is marked with "?".
SATURATED: Final = 0.9

Say = Callable[[str], None]


def _nothing() -> None:
    """Nothing to do."""


def _no_audit(requests: int, connections: int) -> None:
    """Nothing in the registry's state tells how many requests there were."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent to a contender, and what must come back."""

    script: str
    """What wrk runs."""
    sample: Request
    """Sent from Python before, during and after the load; its first reply is also the size the bare app answers."""
    check: Check
    """Whether a reply to the sample is right."""
    parts: Sequence[str] = ()
    """What every body that is not the sample's must hold; none: each must be the sample's."""
    varies: bool = False
    """Whether each reply is another one, by `parts` only."""
    reset: Callable[[], None] = _nothing
    """Brings the state back to that of the start; called before every run of wrk."""
    audit: Callable[[int, int], None] = _no_audit
    """Given the requests and connections of the warm-up, compares the state with what it must have left."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is loaded in turn with others."""

    name: str
    target: Target
    load: Load


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
    def redis_us(self) -> float:
        """The part of it that Redis used."""
        return self.used.us_of("redis") / self.counted.requests

    @property
    def busy(self) -> float:
        """Cores the server kept busy."""
        return self.used.total_us / self.counted.duration_us

    @property
    def wrk_busy(self) -> float:
        """Cores wrk kept busy, of the one it can use."""
        return self.counted.wrk_cpu_us / self.counted.duration_us


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    connections: int
    seconds: int
    rounds: int
    directory: Path
    """For scripts."""


def take_turns(contenders: Sequence[Contender], plan: Plan, say: Say) -> dict[str, list[Run]]:
    """Check and warm up every contender, load them in turn, check them again; the runs of each by name.

    Raises:
        BenchmarkError: a reply was wrong, none came, or there is no wrk.
    """
    wrk.require()
    replies = {contender.name: _warm_up(contender, plan) for contender in contenders}
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(1, plan.rounds + 1):
        for contender in contenders:
            runs[contender.name].append(_load(contender, plan, replies[contender.name]))
        rates = ", ".join(f"{name} {done[-1].counted.per_second:,.0f}/s" for name, done in runs.items())
        say(f"  round {number}/{plan.rounds}: {rates}")
    for contender in contenders:
        verify(contender.target.address, contender.load.sample, contender.load.check)
    return runs


def bare_contender(target: Target, load: Load, like: Reply) -> Contender:
    """The bare app under the requests of a load; its own constant body is what must come back."""

    def check(reply: Reply) -> str | None:
        right = (reply.status, len(reply.body)) == (like.status, len(like.body))
        return None if right else f"expected status {like.status} and {len(like.body)} bytes; that is our mistake"

    return Contender("bare", target, Load(load.script, load.sample, check))


def numbers_of(runs: Sequence[Run], prefix: str = "") -> dict[str, Number]:
    """What the rounds of one contender have come to."""

    def over(value: Callable[[Run], float]) -> list[float]:
        return [value(run) for run in runs]

    found = {
        "req/s": median_of(over(lambda run: run.counted.per_second), "/s", "more"),
        "p50": median_of(over(lambda run: run.counted.p50_us / 1000), "ms", "less"),
        "p99": median_of(over(lambda run: run.counted.p99_us / 1000), "ms", "less"),
        "p99.9": median_of(over(lambda run: run.counted.p999_us / 1000), "ms", "less"),
        "wrk busy": median_of(over(lambda run: run.wrk_busy), "cores"),
    }
    if all(run.used.processes for run in runs):
        mark = "~" if _is_coarse(runs) else ""
        found |= {
            "CPU per request": median_of(over(lambda run: run.cpu_us), "µs", "less", mark),
            "of it redis": median_of(over(lambda run: run.redis_us), "µs", "less", mark),
            "busy": median_of(over(lambda run: run.busy), "cores"),
        }
    return {f"{prefix}{name}": number for name, number in found.items()}


def ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> Number:
    """Requests per second of one contender to another's: the medians' ratio, and each round's."""
    rounds = [a.counted.per_second / b.counted.per_second for a, b in zip(ours, theirs, strict=True)]
    value = median(run.counted.per_second for run in ours) / median(run.counted.per_second for run in theirs)
    mark = "?" if median(run.busy for run in theirs) < SATURATED else ""
    return Number(value, "", "more", tuple(rounds), mark)


def _is_coarse(runs: Sequence[Run]) -> bool:
    used = median(run.cpu_us for run in runs)
    return bool(used) and median(run.used.error_us / run.counted.requests for run in runs) > cpu.COARSE * used


def _warm_up(contender: Contender, plan: Plan) -> Reply:
    """Load it once with a script that looks at every reply; returns the sample's."""
    load, address = contender.load, contender.target.address
    reply = verify(address, load.sample, load.check)
    usual = None if load.varies else reply.body.decode()
    load.reset()
    expected = wrk.Expected(reply.status, usual, load.parts)
    counted = wrk.run(address, _written(plan, wrk.checked(load.script, expected)), plan.connections, WARM_UP_S)
    if problem := counted.problem():
        raise BenchmarkError(f"{_where(contender)} failed while every reply was checked: {problem}.", counted.errors)
    load.audit(counted.requests, plan.connections)
    return reply


def _load(contender: Contender, plan: Plan, expected: Reply) -> Run:
    load, target = contender.load, contender.target
    load.reset()
    script = _written(plan, load.script)
    before = cpu.read_usage(target.pids)
    with Watchdog(target.address, load.sample, load.check) as watchdog:
        counted = wrk.run(target.address, script, plan.connections, plan.seconds)
    used = cpu.read_usage(target.pids).since(before)
    problem = counted.problem() or _size_problem(counted, expected, plan.connections) or watchdog.problem
    if problem:
        seen = {f"status {status} beside the load": count for status, count in watchdog.statuses.items()}
        bad = {what: count for what, count in seen.items() if not what.startswith(f"status {expected.status} ")}
        message = f"{_where(contender)} failed under load: {problem} (replies checked beside it: {seen})."
        raise BenchmarkError(message, counted.errors | bad)
    return Run(counted, used)


def _written(plan: Plan, script: str) -> Path:
    path = plan.directory / "wrk.lua"
    path.write_text(script)
    return path


def _where(contender: Contender) -> str:
    request = contender.load.sample
    return f"{contender.name} at {contender.target.address.url} ({request.method} {request.path})"


def _size_problem(counted: wrk.Counted, expected: Reply, connections: int) -> str | None:
    """Compare sizes; on each connection wrk may have counted one reply and not its bytes, or the other way round."""
    allowed = expected.wire_bytes * (SIZE_TOLERANCE + connections / counted.requests)
    if abs(counted.bytes_per_reply - expected.wire_bytes) <= allowed:
        return None
    return f"replies had {counted.bytes_per_reply:.0f} bytes on average, the one that was checked {expected.wire_bytes}"
