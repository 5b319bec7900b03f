"""Set-up: the few services that a scene makes for itself, and takes away again."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import workload
from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Reply, Request, call


def clear(address: Address, services: Sequence[str]) -> None:
    """Delete what a scene makes; what does not exist is fine."""
    for name in services:
        reply = call(address, workload.delete_service(name))
        if reply.status != 200 and reply.json().get("errorCode") != "400012":
            raise BenchmarkError(f"service {name} could not be deleted: {reply.body!r}.")


def succeed(address: Address, request: Request) -> Reply:
    """Send a request of the set-up; a refusal ends the run."""
    reply = call(address, request)
    if reply.status != 200:
        raise BenchmarkError(f"set-up failed: {request.method} {request.path} was answered {reply.body!r}.")
    return reply


def populate(address: Address, service: str, instances: int) -> list[str]:
    """Make a service with a number of instances; returns their ids."""
    succeed(address, workload.create_service(service))
    bodies = (workload.instance_body(service, number, f"{service}-{number:04d}") for number in range(instances))
    requests = (workload.register_instance(service, body) for body in bodies)
    return [str(succeed(address, request).json()["instanceId"]) for request in requests]


def rev_of(address: Address, service: str) -> str:
    """The rev that a find of a service carries now."""
    rev = succeed(address, workload.find(service)).headers.get("x-resource-revision", "")
    if not rev:
        raise BenchmarkError(f"a find of {service} carried no X-Resource-Revision.")
    return rev
