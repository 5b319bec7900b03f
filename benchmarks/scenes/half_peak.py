"""Half peak: which latencies do clients see that do not wait for each other, at half of the rate that wrk reaches?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks import cpu, servers, workload
from benchmarks.checking import verify
from benchmarks.closed_loop import Contender, Load, Plan, bare_contender, take_turns
from benchmarks.load import ticks
from benchmarks.load.pacer import Stream, pace
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import finding, heartbeats, unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.stage import QUIET, Stage
from benchmarks.wire import Address, Request

CONNECTIONS: Final = 64
BEATEN: Final = 1000


@dataclass(frozen=True, slots=True)
class _Question:
    """One kind of request: as wrk sends it, and as our client does."""

    load: Load
    requests: list[Request]
    status: int = 200


@dataclass(frozen=True, slots=True)
class _Side:
    """The registry or the bare app: where it is, what it can do, what it is asked and how it answers."""

    prefix: str
    target: Target
    peak: float
    question: _Question
    body: bytes

    def stream(self, kind: str, rate: float, connections: int) -> Stream:
        address = self.target.address
        requests = [request.rendered(f"{address.host}:{address.port}") for request in self.question.requests]
        return Stream(kind, requests, self.question.status, self.body, rate, connections)


def _run(stage: Stage, outcome: Outcome) -> None:
    filled = stage.filled()
    outcome.setting |= {"instances": filled.population.instances, "connections": CONNECTIONS}
    for what, question in _questions(filled.target.address, filled.population).items():
        stage.say(f" {what}")
        _ask(stage, outcome, what, question, filled.target)


def _questions(address: Address, population: Population) -> dict[str, _Question]:
    members = population.some(BEATEN)
    not_modified = unmodified(address, QUIET)
    beats = [workload.heartbeat(service, instance_id) for service, instance_id in members]
    return {
        "find-1": _Question(finding(QUIET, [f"{QUIET}-0000"]), [workload.find(QUIET)]),
        "find-304": _Question(not_modified, [not_modified.sample], 304),
        "heartbeat": _Question(heartbeats(members), beats),
    }


def _ask(stage: Stage, outcome: Outcome, what: str, question: _Question, target: Target) -> None:
    """Find the peaks of the registry and of the bare app, then load each at half of its own."""
    reply = verify(target.address, question.load.sample, question.load.check)
    plan = Plan(CONNECTIONS, min(stage.options.seconds, 2), 1, stage.directory)
    with servers.bare(stage.directory, reply) as bare:
        contenders = [Contender("registry", target, question.load), bare_contender(bare, question.load, reply)]
        [ours], [theirs] = take_turns(contenders, plan, stage.say).values()
        body = b"x" * len(reply.body)
        _half(stage, outcome, _Side(f"{what} ", target, ours.counted.per_second, question, reply.body))
        _half(stage, outcome, _Side(f"{what} bare ", bare, theirs.counted.per_second, question, body))


def _half(stage: Stage, outcome: Outcome, side: _Side) -> None:
    """The open loop against one side, with ticks beside it."""
    options = stage.options
    rate = options.rate or side.peak / 2
    streams = [side.stream("request", rate, CONNECTIONS), side.stream("tick", ticks.RATE, ticks.CONNECTIONS)]
    before = cpu.read_usage(side.target.pids)
    record, ticked = pace(side.target.address, streams, options.seconds * options.rounds)
    used = cpu.read_usage(side.target.pids).since(before)
    found = {"rate": Number(rate, "/s"), "rate to peak": Number(rate / side.peak)}
    found |= record.summary().numbers("") | ticks.pauses(ticked)
    found |= used.numbers(record.answered + ticked.answered, record.elapsed_s)
    outcome.numbers |= {f"{side.prefix}{name}": number for name, number in found.items()}
    outcome.errors |= {f"{side.prefix}{error}": count for error, count in (record.errors + ticked.errors).items()}
    outcome.problem = outcome.problem or record.problem or ticked.problem


SCENE: Final = Scene(
    "half-peak",
    "open loop at half of the peak rate with --instances instances: latencies from the intended moment, longest pause",
    _run,
    filled=True,
)
