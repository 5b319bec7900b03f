"""Filling: register a whole population, count it, take it away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import workload
from benchmarks.errors import BenchmarkError
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Check, Driver, drive
from benchmarks.load.record import Record
from benchmarks.population import Population
from benchmarks.wire import Address, Request

Say = Callable[[str], None]

#: Connections that register and delete at the same time: enough to keep a registry busy.
CONNECTIONS: Final = 64
SAY_EVERY_S: Final = 5.0


def fill(address: Address, population: Population, say: Say) -> Record:
    """Register all services, then all instances, as fast as the registry takes them; the record is of the instances.

    Raises:
        BenchmarkError: a registration was refused, or answered with something else than its id.
    """
    names = [population.service(number) for number in range(population.services)]
    services = (call(address, "service", workload.create_service(name), has_service_id) for name in names)
    send_all(address, services, len(names), "services registered", say)
    instances = (registration(address, population, number) for number in range(population.instances))
    return send_all(address, instances, population.instances, "instances registered", say)


def remove(address: Address, population: Population, say: Say) -> None:
    """Delete all services together with their instances."""
    names = [population.service(number) for number in range(population.services)]
    deletions = (call(address, "delete", workload.delete_service(name), is_empty) for name in names)
    send_all(address, deletions, len(names), "services deleted", say)


@dataclass(slots=True)
class Census:
    """Who of a population is still listed."""

    lost: int = 0
    """Instances that are not."""
    problem: str = ""
    """Which services have not exactly the instances they must have; empty when all have."""

    def look(self, service: bytes, count: int, head: bytes, body: bytes) -> str | None:
        """Count the instances in one service's list."""
        found = body.count(b'"instanceId":"%b-' % service)
        self.lost += max(count - found, 0)
        return None if found == count else f"expected {count} instances, got {found}"


def take_census(address: Address, population: Population, say: Say) -> Census:
    """List every service and count."""
    census = Census()

    def listing(number: int) -> Call:
        name = population.service(number)
        check = partial(census.look, name.encode(), population.size_of(number))
        return call(address, "list", workload.list_instances(name), check)

    listings = (listing(number) for number in range(population.services))
    census.problem = _send(address, listings, population.services, "services counted", say).problem
    return census


def call(address: Address, kind: str, request: Request, check: Check, status: int = 200) -> Call:
    """A request, ready to be sent to a server."""
    return Call(kind, request.rendered(f"{address.host}:{address.port}"), check, status)


def registration(address: Address, population: Population, number: int, build: str = "1") -> Call:
    """Register an instance; it must be answered with its id."""
    _, instance_id = population.member(number)
    check = partial(_is_registered, b'"%b"' % instance_id.encode())
    return call(address, "register", population.registration(number, build), check)


def send_all(address: Address, calls: Iterator[Call], total: int, what: str, say: Say) -> Record:
    """Send calls in a closed loop; anything but good answers ends the run."""
    record = _send(address, calls, total, what, say)
    if record.problem:
        raise BenchmarkError(f"of {total:,} {what} not all were: {record.problem}.")
    return record


def _send(address: Address, calls: Iterator[Call], total: int, what: str, say: Say) -> Record:
    return drive(Driver(address, min(CONNECTIONS, total), schedules.closed(calls), progress(say, total, what)))


def progress(say: Say, total: int, what: str, kind: str = "") -> Callable[[Record], None]:
    """For a driver to call every second: says how far it is, every few seconds.

    Args:
        kind: of the answers that count; empty counts all.
    """
    said_s = time.monotonic()

    def tell(record: Record) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= SAY_EVERY_S:
            said_s = time.monotonic()
            done = len(record.samples[kind].due_s) if kind in record.samples else 0 if kind else record.answered
            say(f"  {done:,} of {total:,} {what}")

    return tell


def has_service_id(head: bytes, body: bytes) -> str | None:
    """A service's registration is answered with its id."""
    return None if b'"serviceId":"' in body else "expected a serviceId"


def is_empty(head: bytes, body: bytes) -> str | None:
    """Success without content."""
    return "expected no body" if body else None


def _is_registered(quoted_id: bytes, head: bytes, body: bytes) -> str | None:
    return None if quoted_id in body else f"expected the instanceId {quoted_id.decode()}"
