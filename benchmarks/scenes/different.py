"""Closed loops in which every request is another one: who asks, for what, with which revs and which trace.

Real clients differ. A registry that remembers whole requests looks better in `closed` than it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks import replies, workload, wrk
from benchmarks.closed_loop import Load
from benchmarks.scenes.closed import STALE_REV, Closed, closed_scene
from benchmarks.scenes.scene import Scene
from benchmarks.setup import populate, rev_of, succeed
from benchmarks.wire import Address
from benchmarks.workload import PREFIX, SEED

CONNECTIONS: Final = 32
#: Services, consumers and different requests of the spread finds.
SERVICES: Final = 1_000
CONSUMERS: Final = 100
FINDS: Final = 20_000
#: Services, members and different bodies of the batch finds.
BATCH_SERVICES: Final = 200
MEMBERS: Final = 10
BODIES: Final = 50_000


def _find_traced(address: Address, service: str) -> Load:
    ids = populate(address, service, 1)
    request = workload.find(service, trace=f"00-{'0' * 22}{wrk.NUMBER}-00f067aa0ba902b7-01")
    parts = [f'"instanceId":"{ids[0]}"']
    return Load(wrk.numbered_request(request), request, partial(replies.has_instances, ids=ids), parts)


def _find_spread(address: Address, services: Sequence[str], unmodified: bool) -> Load:
    """Consumers that have found every service before ask in random order."""
    providers, consumers = services[:SERVICES], services[SERVICES:]
    ids = {service: populate(address, service, 1) for service in providers}
    for consumer in consumers:
        succeed(address, workload.create_service(consumer))
        succeed(address, workload.depend(consumer, providers))
    revs = {service: rev_of(address, service) if unmodified else "" for service in providers}
    chance = random.Random(SEED)
    requests = [
        workload.find(service, revs[service], chance.choice(consumers))
        for service in chance.choices(providers, k=FINDS)
    ]
    last = requests[-1].path
    sample = next(service for service in providers if f"serviceName={service}&" in last)
    check = partial(replies.is_304, rev=revs[sample]) if unmodified else partial(replies.has_instances, ids=ids[sample])
    parts = [] if unmodified else ['{"instances":[{']
    return Load(wrk.one_of_many(requests), requests[-1], check, parts, varies=not unmodified)


def _batch_spread(address: Address, services: Sequence[str], changed: int) -> Load:
    """Every client has providers of its own, of which some have changed since it asked last."""
    ids = {service: populate(address, service, 1) for service in services}
    revs = {service: rev_of(address, service) for service in services}
    chance = random.Random(SEED)
    stale = range(0, MEMBERS, MEMBERS // changed) if changed else range(0)
    requests = []
    members: list[str] = []
    for _ in range(BODIES):
        members = chance.sample(services, MEMBERS)
        asked = {member: STALE_REV if index in stale else revs[member] for index, member in enumerate(members)}
        requests.append(workload.batch_find(asked))
    check = partial(replies.is_batch, services=MEMBERS, changed={index: ids[members[index]][0] for index in stale})
    parts = ['"updated":'] if changed else ['"notModified":[0,1,2,3,4,5,6,7,8,9]']
    return Load(wrk.one_of_many(requests), requests[-1], check, parts, varies=bool(changed))


def _find_spread_scene(unmodified: bool) -> Scene:
    name = "find-304-spread" if unmodified else "find-spread"
    services = [f"{PREFIX}{name}-{number:04d}" for number in range(SERVICES)]
    services += [f"{PREFIX}{name}-consumer-{number:03d}" for number in range(CONSUMERS)]
    state = "with their current revs" if unmodified else "without rev"
    closed = Closed(CONNECTIONS, partial(_find_spread, services=services, unmodified=unmodified), services)
    return closed_scene(
        name, f"{SERVICES} services {state}, asked for by {CONSUMERS} consumers in random order", closed
    )


def _batch_spread_scene(changed: int) -> Scene:
    name = f"batch-{MEMBERS}-spread" + (f"-{changed}-changed" if changed else "")
    services = [f"{PREFIX}{name}-{number:03d}" for number in range(BATCH_SERVICES)]
    closed = Closed(CONNECTIONS, partial(_batch_spread, services=services, changed=changed), services)
    question = f"batch find of {MEMBERS} services of which {changed} have changed, {BODIES} different bodies"
    return closed_scene(name, question, closed)


_TRACED: Final = f"{PREFIX}find-traced"

SCENES: Final = (
    closed_scene(
        "find-1-traced",
        "find a service of 1 instance, each time with another traceparent",
        Closed(CONNECTIONS, partial(_find_traced, service=_TRACED), [_TRACED]),
    ),
    _find_spread_scene(unmodified=False),
    _find_spread_scene(unmodified=True),
    *(_batch_spread_scene(changed) for changed in (0, 1, MEMBERS)),
)
