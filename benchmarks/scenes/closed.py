"""Closed loops: one kind of request, repeated by wrk over connections that wait for each answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks import replies, servers, workload, wrk
from benchmarks.checking import verify
from benchmarks.closed_loop import Contender, Load, Plan, bare_contender, numbers_of, ratio, take_turns
from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Outcome
from benchmarks.scenes.scene import Scene
from benchmarks.setup import clear, populate, rev_of, succeed
from benchmarks.stage import Stage
from benchmarks.wire import Address
from benchmarks.workload import PREFIX

#: A rev that no answer has ever carried.
STALE_REV: Final = "0" * 40
#: One service in this number has changed in the scenes of that name.
CHANGED_EVERY: Final = 10
#: Instances over which heartbeats are spread, and those of one heartbeat set.
SPREAD: Final = 1000
SET: Final = 100


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closed loop needs beside its name."""

    connections: int
    prepare: Callable[[Address], Load]
    services: Sequence[str]
    """What `prepare` makes; deleted before and after."""


def _run(closed: Closed, stage: Stage, outcome: Outcome) -> None:
    target = stage.shared()
    clear(target.address, closed.services)
    try:
        _measure(closed, stage, outcome)
    finally:
        with contextlib.suppress(BenchmarkError):  # A failure before this one is the one to tell.
            clear(target.address, closed.services)


def _measure(closed: Closed, stage: Stage, outcome: Outcome) -> None:
    target, options = stage.shared(), stage.options
    load = closed.prepare(target.address)
    reply = verify(target.address, load.sample, load.check)
    connections = options.connections or closed.connections
    outcome.setting |= {"connections": connections, "body bytes": len(reply.body)}
    plan = Plan(connections, options.seconds, options.rounds, stage.directory)
    with servers.bare(stage.directory, reply) as bare:
        contenders = [Contender("registry", target, load), bare_contender(bare, load, reply)]
        runs = take_turns(contenders, plan, stage.say)
    outcome.numbers |= numbers_of(runs["registry"]) | numbers_of(runs["bare"], "bare ")
    outcome.numbers["ratio"] = ratio(runs["registry"], runs["bare"])


def _recreate(address: Address, service: str) -> None:
    clear(address, [service])
    succeed(address, workload.create_service(service))


def _audit_count(address: Address, service: str, least: int, most: int) -> None:
    """Count a service's instances: none may be missing and none made up."""
    found = len(succeed(address, workload.list_instances(service)).json().get("instances", []))
    if not least <= found <= most:
        raise BenchmarkError(f"{service} has {found} instances after the load, expected {least} to {most}.")


# What is sent.


def _register_growing(address: Address, service: str) -> Load:
    succeed(address, workload.create_service(service))

    def audit(requests: int, connections: int) -> None:
        # When wrk hangs up, each connection may have one request that was served and not counted.
        _audit_count(address, service, requests, requests + connections)

    request = workload.register_instance(service, workload.instance_body(service, 0))
    script, reset = wrk.numbered_request(request), partial(_recreate, address, service)
    return Load(script, request, replies.is_id, ('{"instanceId":"',), varies=True, reset=reset, audit=audit)


def _register_same(address: Address, service: str) -> Load:
    [instance_id] = populate(address, service, 1)
    request = workload.register_instance(service, workload.instance_body(service, 0, instance_id))

    def audit(requests: int, connections: int) -> None:
        _audit_count(address, service, 1, 1)

    return Load(wrk.same_request(request), request, partial(replies.is_id, instance_id=instance_id), audit=audit)


def _heartbeat(address: Address, service: str, instances: int) -> Load:
    return heartbeats([(service, instance_id) for instance_id in populate(address, service, instances)])


def _heartbeat_set(address: Address, service: str) -> Load:
    members = [(service, instance_id) for instance_id in populate(address, service, SET)]
    request = workload.heartbeat_set(members)
    # The order of the members is nowhere promised.
    parts = [f'"{instance_id}"' for _, instance_id in members]
    return Load(wrk.same_request(request), request, partial(replies.is_heartbeat_set, members=members), parts)


def _find(address: Address, service: str, instances: int) -> Load:
    return finding(service, populate(address, service, instances))


def _find_unmodified(address: Address, service: str) -> Load:
    populate(address, service, 1)
    return unmodified(address, service)


def _batch_find(address: Address, services: Sequence[str], changed: bool) -> Load:
    updated = {}
    for index, service in enumerate(services):
        [instance_id] = populate(address, service, 1)
        if changed and index % CHANGED_EVERY == 0:
            updated[index] = instance_id
    revs = {
        service: STALE_REV if index in updated else rev_of(address, service) for index, service in enumerate(services)
    }
    request = workload.batch_find(revs)
    check = partial(replies.is_batch, services=len(services), changed=updated)
    return Load(wrk.same_request(request), request, check)


def heartbeats(members: Sequence[tuple[str, str]]) -> Load:
    """Heartbeats of instances in turn."""
    requests = [workload.heartbeat(service, instance_id) for service, instance_id in members]
    script = wrk.same_request(requests[0]) if len(requests) == 1 else wrk.one_of_many(requests)
    return Load(script, requests[-1], replies.is_empty)


def finding(service: str, ids: Sequence[str]) -> Load:
    """Finds without rev of a service with these instances; in which order is nowhere promised."""
    request = workload.find(service)
    parts = [f'"instanceId":"{instance_id}"' for instance_id in ids]
    return Load(wrk.same_request(request), request, partial(replies.has_instances, ids=ids), parts)


def unmodified(address: Address, service: str) -> Load:
    """Finds with the current rev."""
    rev = rev_of(address, service)
    request = workload.find(service, rev)
    return Load(wrk.same_request(request), request, partial(replies.is_304, rev=rev))


# The scenes.


def closed_scene(name: str, question: str, closed: Closed) -> Scene:
    return Scene(name, question, partial(_run, closed))


def _scene(name: str, question: str, connections: int, prepare: Callable[[Address, str], Load]) -> Scene:
    service = PREFIX + name
    return closed_scene(name, question, Closed(connections, lambda address: prepare(address, service), [service]))


def _batch_scene(count: int, changed: bool) -> Scene:
    name = f"batch-{count}" + ("-changed" if changed else "")
    services = [f"{PREFIX}{name}-{number:03d}" for number in range(count)]
    state = "of which 10 % have changed" if changed else "that have not changed"
    closed = Closed(32, lambda address: _batch_find(address, services, changed), services)
    return closed_scene(name, f"batch find of {count} services {state}", closed)


def _spread_scene(connections: int) -> Scene:
    name, question = f"heartbeat-spread-{connections}", f"heartbeats of {SPREAD} instances, {connections} connections"
    return _scene(name, question, connections, partial(_heartbeat, instances=SPREAD))


#: Growing comes last: what deleting its instances leaves behind in a registry then disturbs nobody.
SCENES: Final = (
    _scene("register-same", "register an instance that exists, unchanged", 64, _register_same),
    _scene("heartbeat-one", "heartbeats of one instance", 64, partial(_heartbeat, instances=1)),
    *(_spread_scene(connections) for connections in (10, 64, 256)),
    _scene("heartbeat-set", f"heartbeat sets of {SET} instances", 32, _heartbeat_set),
    _scene("find-1", "find a service of 1 instance, without rev", 32, partial(_find, instances=1)),
    _scene("find-100", "find a service of 100 instances, without rev", 32, partial(_find, instances=100)),
    _scene("find-1000", "find a service of 1000 instances, without rev", 32, partial(_find, instances=1000)),
    _scene("find-304", "find with the current rev: not modified", 32, _find_unmodified),
    *(_batch_scene(count, changed) for count in (10, 100) for changed in (False, True)),
    _scene("register-growing", "register new instances, each with endpoints of its own", 64, _register_growing),
)
