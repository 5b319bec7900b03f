"""Clients: a population as a registry meets it in production - every instance beats, and polls its providers by batch.

Each instance remembers the revs that it was answered, as real clients do, and checks what it is told against them.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec

from benchmarks import filling, workload
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Driver, Schedule
from benchmarks.load.record import Record
from benchmarks.load.ticks import drive_beside
from benchmarks.population import Population
from benchmarks.wire import Address, Request

BEAT_EVERY_S: Final = 30.0
POLL_EVERY_S: Final = 15.0
PROVIDERS: Final = 10
SAY_EVERY_S: Final = 10.0
_REV: Final = re.compile(rb"\r\nx-resource-revision: *([^\r]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """The instances that one process plays."""

    name: str
    address: Address
    population: Population
    first: int
    last: int
    """The first that is not played."""
    connections: int
    seconds: float
    start_s: float
    """`time.monotonic()`, which all processes of a machine share."""
    revs: Mapping[str, str]
    """Of every service, as its consumers know it at the start."""
    churn: float
    """Changes per second to make beside the load."""
    tick: Request
    """What shows how long the registry pauses; must be answered 304."""


def play(part: Part) -> tuple[Record, Record]:
    """Play the part; what became of its requests, and of the ticks beside them."""
    clients = Clients(part)
    driver = Driver(part.address, part.connections, clients.schedule(), _Progress(part.name, part.seconds))
    tick = filling.call(part.address, "tick", part.tick, filling.is_empty, 304)
    [record], ticks = drive_beside(part.address, tick, driver, start_s=part.start_s)
    return record, ticks


def first_polls(address: Address, population: Population, revs: Mapping[str, str]) -> Iterator[Call]:
    """One poll per consumer: its first makes a registry write down its dependencies, which belongs to the set-up."""
    every = Part("", address, population, 0, population.instances, 0, 0, 0, revs, 0, Request("GET", "/"))
    clients = Clients(every)
    return (clients.poll(number * population.per_service) for number in range(population.services))


def revs_of(address: Address, population: Population, say: filling.Say) -> dict[str, str]:
    """What consumers know when a load begins: the current rev of every service."""
    revs: dict[str, str] = {}

    def found(name: str, head: bytes, body: bytes) -> str | None:
        rev = _REV.search(head)
        if rev is None:
            return "expected an X-Resource-Revision"
        revs[name] = rev[1].decode()
        return None

    def find(number: int) -> Call:
        name = population.service(number)
        return filling.call(address, "find", workload.find(name), partial(found, name))

    calls = (find(number) for number in range(population.services))
    filling.send_all(address, calls, population.services, "services found", say)
    return revs


class _Progress:
    """One line every few seconds."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._started_s = self._said_s = time.monotonic()

    def __call__(self, record: Record) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now_s
        errors = f", errors {dict(record.errors)}" if record.errors else ""
        passed = f"{now_s - self._started_s:.0f} of {self._seconds:.0f} s"
        print(f"  {self._name}: {passed}, {record.answered:,} answers{errors}", file=sys.stderr, flush=True)


class _Updated(msgspec.Struct):
    """One service of a batch find's answer that has changed."""

    index: int
    rev: str
    instances: list[msgspec.Raw] = []


class _Found(msgspec.Struct, rename="camel"):
    """What a batch find's answer says of the services asked for."""

    updated: list[_Updated] = []
    not_modified: list[int] = []


class _Answer(msgspec.Struct):
    """A batch find's answer."""

    services: _Found


class Clients:
    """What the instances of a part send, and what they know."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._host = f"{part.address.host}:{part.address.port}"
        population = part.population
        self._providers = [_providers(population, number) for number in range(population.services)]
        at_start = [tuple(part.revs[name] for name in names) for names in self._providers]
        self._known = [at_start[number // population.per_service] for number in range(part.first, part.last)]
        # The instances of a service mostly know the same: their polls are rendered once.
        self._polls: dict[int, tuple[tuple[str, ...], bytes]] = {}
        count = len(self._providers[0])
        self.unchanged = json.dumps({"services": {"notModified": list(range(count))}}, separators=(",", ":")).encode()
        self._chance = random.Random(f"{workload.SEED}:churn:{part.first}")

    def schedule(self) -> Schedule:
        """Everything that the instances send, in order of time."""
        part, members = self._part, self._part.last - self._part.first
        beats = schedules.periodic(members, BEAT_EVERY_S, part.seconds, self._beat, f"{part.first}:beat")
        polls = schedules.periodic(members, POLL_EVERY_S, part.seconds, self.poll, f"{part.first}:poll")
        changes = schedules.at_rate(part.churn, part.seconds, self._change)
        return schedules.together([beats, polls, changes])

    def _beat(self, member: int) -> Call:
        service, instance_id = self._part.population.member(self._part.first + member)
        return Call("heartbeat", workload.heartbeat(service, instance_id).rendered(self._host), filling.is_empty)

    def poll(self, member: int) -> Call:
        """One instance asks what has become of its providers."""
        number = (self._part.first + member) // self._part.population.per_service
        known = self._known[member]
        cached = self._polls.get(number)
        if cached is None or cached[0] != known:
            revs = dict(zip(self._providers[number], known, strict=True))
            request = workload.batch_find(revs, consumer=self._part.population.service(number))
            cached = self._polls[number] = known, request.rendered(self._host)
        return Call("poll", cached[1], partial(self._polled, member, number, known))

    def _change(self, number: int) -> Call:
        service, instance_id = self._part.population.member(self._chance.randrange(self._part.population.instances))
        request = workload.set_properties(service, instance_id, {"change": f"{self._part.first}-{number}"})
        return Call("change", request.rendered(self._host), filling.is_empty)

    def _polled(self, member: int, number: int, asked: tuple[str, ...], head: bytes, body: bytes) -> str | None:
        """Check a poll's answer and remember the new revs."""
        if body == self.unchanged:
            return None
        try:
            found = msgspec.json.decode(body, type=_Answer).services
        except msgspec.DecodeError as exc:
            return f"expected a batch find's answer: {exc}"
        return self._learn(member, number, asked, found)

    def _learn(self, member: int, number: int, asked: tuple[str, ...], found: _Found) -> str | None:
        names, known = self._providers[number], self._known[member]
        updated = {element.index: element for element in found.updated}
        if sorted([*updated, *found.not_modified]) != list(range(len(names))):
            return f"expected each of {len(names)} services once"
        for index, element in updated.items():
            expected = self._part.population.size_of(_number(names[index]))
            if len(element.instances) != expected:
                return f"expected {expected} instances of {names[index]}, got {len(element.instances)}"
            if element.rev == asked[index]:
                return f"{names[index]} was called updated, with the rev that was asked for"
        self._known[member] = tuple(updated[index].rev if index in updated else rev for index, rev in enumerate(known))
        return None


def _providers(population: Population, number: int) -> list[str]:
    """The services that the instances of a service depend on: the next ones in a circle."""
    count = min(PROVIDERS, population.services)
    return [population.service((number + 1 + step) % population.services) for step in range(count)]


def _number(service: str) -> int:
    return int(service.rpartition("-")[2])
