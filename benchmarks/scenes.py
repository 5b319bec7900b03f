"""The scenes: which question each asks, what must exist before it, what it sends, and what must come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import workload, wrk
from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Reply, Request, call
from benchmarks.workload import PREFIX

#: Says what is wrong with a reply, or None.
Check = Callable[[Reply], str | None]


def _nothing() -> None:
    """Nothing to do."""


def _no_audit(requests: int, connections: int) -> None:
    """Nothing in the registry's state tells how many requests there were."""


@dataclass(frozen=True, slots=True)
class Load:
    """A scene that is set up: ready to be sent."""

    script: str
    """What wrk runs."""
    sample: Request
    """Sent from Python before and after the load; its first reply is also the size the bare app answers."""
    check: Check
    """Whether a reply to the sample is right."""
    reset: Callable[[], None] = _nothing
    """Brings the state back to that of the start; called before every run of wrk."""
    audit: Callable[[int, int], None] = _no_audit
    """Given the requests and connections of the warm-up, compares the state with what it must have left."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One question to a registry."""

    name: str
    question: str
    connections: int
    prepare: Callable[[Address], Load]
    services: Sequence[str]
    """What `prepare` makes; deleted before and after."""


def verify(address: Address, load: Load) -> Reply:
    """Send the sample and check its reply."""
    reply = call(address, load.sample)
    if problem := load.check(reply):
        body = reply.body[:200].decode(errors="replace")
        request = f"{load.sample.method} {load.sample.path}"
        raise BenchmarkError(f"{request} was answered wrongly: {problem} (status {reply.status}, {body!r}).")
    return reply


def clear(address: Address, services: Sequence[str]) -> None:
    """Delete what a scene makes; what does not exist is fine."""
    for name in services:
        reply = call(address, workload.delete_service(name))
        if reply.status != 200 and reply.json().get("errorCode") != "400012":
            raise BenchmarkError(f"service {name} could not be deleted: {reply.body!r}.")


# Set-up.


def _create(address: Address, service: str) -> None:
    _succeed(address, workload.create_service(service))


def _succeed(address: Address, request: Request) -> Reply:
    reply = call(address, request)
    if reply.status != 200:
        raise BenchmarkError(f"set-up failed: {request.method} {request.path} was answered {reply.body!r}.")
    return reply


def _populate(address: Address, service: str, instances: int) -> list[str]:
    """Make a service with so many instances; returns their ids."""
    _create(address, service)
    bodies = (workload.instance_body(service, number, f"{service}-{number:04d}") for number in range(instances))
    requests = (workload.register_instance(service, body) for body in bodies)
    return [str(_succeed(address, request).json()["instanceId"]) for request in requests]


def _rev_of(address: Address, service: str) -> str:
    rev = _succeed(address, workload.find(service)).headers.get("x-resource-revision", "")
    if not rev:
        raise BenchmarkError(f"a find of {service} carried no X-Resource-Revision.")
    return rev


def _recreate(address: Address, service: str) -> None:
    clear(address, [service])
    _create(address, service)


# What must come back.


def _is_empty(reply: Reply, status: int = 200) -> str | None:
    return None if (reply.status, reply.body) == (status, b"") else f"expected status {status} without a body"


def _is_id(reply: Reply, instance_id: str | None = None) -> str | None:
    if reply.status != 200:
        return "expected status 200"
    answered = reply.json().get("instanceId")
    if not answered or (instance_id is not None and answered != instance_id):
        return f"expected the instanceId {instance_id or 'of a new instance'}"
    return None


def _has_instances(reply: Reply, ids: set[str]) -> str | None:
    if reply.status != 200 or not reply.headers.get("x-resource-revision"):
        return "expected status 200 and an X-Resource-Revision"
    found = [instance["instanceId"] for instance in reply.json().get("instances", [])]
    return None if len(found) == len(ids) and set(found) == ids else f"expected {len(ids)} instances, got {len(found)}"


def _is_304(reply: Reply, rev: str) -> str | None:
    return _is_empty(reply, 304) or (
        None if reply.headers.get("x-resource-revision") == rev else "expected the same X-Resource-Revision"
    )


def _is_unmodified(reply: Reply, services: int) -> str | None:
    expected = {"services": {"notModified": list(range(services))}}
    return None if reply.status == 200 and reply.json() == expected else f"expected {services} notModified"


def _audit_count(address: Address, service: str, least: int, most: int) -> None:
    """Count a service's instances: none may be missing and none made up."""
    found = len(_succeed(address, workload.list_instances(service)).json().get("instances", []))
    if not least <= found <= most:
        raise BenchmarkError(f"{service} has {found} instances after the load, expected {least} to {most}.")


# The scenes.


def _register_growing(address: Address, service: str) -> Load:
    _create(address, service)

    def audit(requests: int, connections: int) -> None:
        # When wrk hangs up, each connection may have one request that was served and not counted.
        _audit_count(address, service, requests, requests + connections)

    body = workload.instance_body(service, 0)
    request = workload.register_instance(service, body)
    return Load(wrk.numbered_request(request), request, _is_id, partial(_recreate, address, service), audit)


def _register_same(address: Address, service: str) -> Load:
    [instance_id] = _populate(address, service, 1)
    request = workload.register_instance(service, workload.instance_body(service, 0, instance_id))
    return Load(
        wrk.same_request(request),
        request,
        partial(_is_id, instance_id=instance_id),
        audit=lambda _requests, _connections: _audit_count(address, service, 1, 1),
    )


def _heartbeat(address: Address, service: str, instances: int) -> Load:
    ids = _populate(address, service, instances)
    requests = [workload.heartbeat(service, instance_id) for instance_id in ids]
    script = wrk.same_request(requests[0]) if instances == 1 else wrk.one_of_many(requests)
    return Load(script, requests[-1], _is_empty)


def _find(address: Address, service: str, instances: int) -> Load:
    ids = _populate(address, service, instances)
    request = workload.find(service)
    return Load(wrk.same_request(request), request, partial(_has_instances, ids=set(ids)))


def _find_unmodified(address: Address, service: str) -> Load:
    _populate(address, service, 1)
    rev = _rev_of(address, service)
    request = workload.find(service, rev)
    return Load(wrk.same_request(request), request, partial(_is_304, rev=rev))


def _batch_find(address: Address, services: Sequence[str]) -> Load:
    for service in services:
        _populate(address, service, 1)
    request = workload.batch_find({service: _rev_of(address, service) for service in services})
    return Load(wrk.same_request(request), request, partial(_is_unmodified, services=len(services)))


def _scene(name: str, question: str, connections: int, prepare: Callable[[Address, str], Load]) -> Scene:
    service = PREFIX + name
    return Scene(name, question, connections, lambda address: prepare(address, service), [service])


def _batch_scene(count: int) -> Scene:
    services = [f"{PREFIX}batch-{count}-{number:03d}" for number in range(count)]
    question = f"batch find of {count} services that have not changed"
    return Scene(f"batch-{count}", question, 32, lambda address: _batch_find(address, services), services)


#: Growing comes last: what deleting its instances leaves behind in a registry then disturbs nobody.
SCENES: Final = (
    _scene("register-same", "register an instance that exists, unchanged", 64, _register_same),
    _scene("heartbeat-one", "heartbeats of one instance", 64, partial(_heartbeat, instances=1)),
    _scene("heartbeat-1000", "heartbeats of 1000 instances in turn", 64, partial(_heartbeat, instances=1000)),
    _scene("find-1", "find a service of 1 instance, without rev", 32, partial(_find, instances=1)),
    _scene("find-100", "find a service of 100 instances, without rev", 32, partial(_find, instances=100)),
    _scene("find-1000", "find a service of 1000 instances, without rev", 32, partial(_find, instances=1000)),
    _scene("find-304", "find with the current rev: not modified", 32, _find_unmodified),
    _batch_scene(10),
    _batch_scene(100),
    _scene("register-growing", "register new instances, each with endpoints of its own", 64, _register_growing),
)


def select(names: str) -> list[Scene]:
    """The scenes named in a comma list, in the order of `SCENES`; empty means all."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = set(wanted) - {scene.name for scene in SCENES}
    if unknown:
        known = ", ".join(scene.name for scene in SCENES)
        raise BenchmarkError(f"there is no scene {', '.join(sorted(unknown))}; there are {known}.")
    return [scene for scene in SCENES if not wanted or scene.name in wanted]
