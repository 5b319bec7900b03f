"""World: one run - replicas, clients and faults from one seed, and the history of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random as random_module
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Any, Final, TypeVar
from unittest.mock import patch

from registry.domain.commands import MicroserviceBody
from registry.domain.find import FindQuery
from registry.domain.snapshot import PartDigest, rest_section, service_sections
from registry.domain.view import DEFAULT_TENANT, Tenant
from registry.projection.projector import Projector
from tests.simulation.client import Client
from tests.simulation.consumers import APP, ConsumerClient, described
from tests.simulation.faults import PROFILES, FaultPlan
from tests.simulation.instances import InstanceClient, Slot
from tests.simulation.process import ConnectionLost
from tests.simulation.recorder import Recorder
from tests.simulation.replica import SimReplica, seeded_link
from tests.simulation.store_host import StoreHost
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.watchers import WatcherClient
from tests.support.history import REFUSED, REGISTER_SERVICE, UNKNOWN, History, LastLook

C = TypeVar("C", bound=Client)

#: Virtual seconds with faults and changes, and afterwards without: every lease that somebody let go has lapsed then.
BUSY_S: Final = (20.0, 60.0)
SETTLE_S: Final = 27.0
#: `times` of the leases: 10 and 15 seconds. One that beats exactly once per lease is excepted from most promises.
TIMES: Final = (1, 2)
#: The wall clocks of the replicas differ by so much (ms).
SKEW_MS: Final = 1500


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to."""

    seed: int
    profile: str
    history: History
    trace: list[str]
    digest: str
    callbacks: int
    virtual_s: float


def run(seed: int, profile: str, keep_trace: bool = False) -> Run:
    """Run one seed. The same seed does the same, callback by callback."""
    loop = VirtualLoop()
    try:
        with _seeded(seed):
            world = World(loop, seed, profile, keep_trace)
            loop.run_until_complete(world.live())
            world.end()
    finally:
        loop.close()
    recorder = world.recorder
    return Run(
        seed, profile, recorder.history(), recorder.lines, recorder.digest(), loop.callbacks, world.passed_s
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Take all chance from the seed: names of replicas, generated ids, and whatever else asks for it."""
    chance = Random(f"chance {seed}")
    state = random_module.getstate()
    random_module.seed(seed)
    logger = logging.getLogger("registry")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with (
            patch.object(os, "urandom", chance.randbytes),
            patch.object(secrets, "token_hex", lambda count=32: chance.randbytes(count).hex()),
            patch.object(secrets, "token_bytes", lambda count=32: chance.randbytes(count)),
            patch.object(socket, "gethostname", lambda: "host"),
            # The HTTP application is not part of the simulation, and building it takes longer than a virtual second.
            patch("registry.bootstrap.create_app", lambda api: None),
        ):
            yield
    finally:
        random_module.setstate(state)
        logger.setLevel(level)


class World:
    """Everything of one run."""

    def __init__(self, loop: VirtualLoop, seed: int, profile: str, keep_trace: bool) -> None:
        self._loop = loop
        self._random = random = Random(f"world {seed}")
        faults = PROFILES[profile]
        self.recorder = Recorder(loop, keep_trace)
        self.host = StoreHost(loop)
        late = random.choice((0.0, 0.05, 0.3))
        self.replicas = [
            SimReplica(
                name,
                loop,
                self.host,
                seeded_link(random, late, faults.breaks),
                self.recorder,
                random.randint(-SKEW_MS, SKEW_MS),
            )
            for name in "abcd"[: random.choice((2, 3, 3, 4))]
        ]
        self.tenant = random.choice((DEFAULT_TENANT, DEFAULT_TENANT, Tenant("team", "p")))
        self.services = [f"s{number}" for number in range(random.choice((1, 2, 3)))]
        self.busy_s = random.uniform(*BUSY_S)
        self._begin_s = loop.time()
        loop.set_exception_handler(lambda _, context: self.recorder.failure("", str(context)))
        self._faults = FaultPlan(loop, Random(f"faults {seed}"), faults, self.host, self.replicas, self.recorder)

    @property
    def passed_s(self) -> float:
        return self._loop.time() - self._begin_s

    # -- the run -------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        for replica in self.replicas:
            replica.start()
        await self._register_services()
        begin_ms = self._loop.now_ms()
        quiet_ms = begin_ms + int(self.busy_s * 1000)
        end_ms = quiet_ms + int(SETTLE_S * 1000)
        clients = [*self._instances(quiet_ms), *self._consumers(end_ms), *self._watchers(end_ms)]
        tasks = [self._loop.create_task(client.run()) for client in clients]
        await self._faults.run(1.0, self.busy_s)
        rest_s = max(quiet_ms - self._loop.now_ms(), 0) / 1000 + SETTLE_S
        await asyncio.sleep(rest_s)
        for task in tasks:
            if task.done():
                task.result()
        await self._look()

    def end(self) -> None:
        """Nothing runs any more; what was under way is put away, or Python would complain of each."""
        for replica in self.replicas:
            replica.kill()
        self._loop.bury()

    def _client(self, kind: type[C], name: str) -> C:
        return kind(name, self._loop, Random(self._random.getrandbits(64)), self.replicas, self.recorder, self.tenant)

    async def _register_services(self) -> None:
        client = self._client(Client, "setup")
        for service in self.services:
            body = MicroserviceBody(service_name=service, service_id=service, app_id=APP, version="1.0.0")
            outcome = UNKNOWN
            while outcome == UNKNOWN:
                await client.pause(0.05, 0.2)
                operation, _ = await client.request(
                    lambda api, body=body: api.microservices.register(self.tenant, body, "setup"),  # type: ignore[misc]
                    lambda result: {},
                    kind=REGISTER_SERVICE,
                    service=service,
                )
                outcome = operation.outcome
            assert outcome != REFUSED, operation

    def _instances(self, quiet_ms: int) -> list[InstanceClient]:
        clients = []
        for service in self.services:
            for number in range(self._random.randint(1, 4)):
                endpoint = f"rest://{service}-{number}:80"
                client = self._client(InstanceClient, f"{service}-{number}")
                chosen = f"i{number}" if self._random.random() < 0.6 else ""
                client.slot = Slot(service, endpoint, chosen, self._random.choice(TIMES))
                client.quiet_ms = quiet_ms
                clients.append(client)
        return clients

    def _consumers(self, end_ms: int) -> list[ConsumerClient]:
        clients = []
        for number in range(self._random.randint(1, 3)):
            client = self._client(ConsumerClient, f"consumer{number}")
            client.services, client.end_ms = self.services, end_ms
            clients.append(client)
        return clients

    def _watchers(self, end_ms: int) -> list[WatcherClient]:
        clients = []
        for number in range(self._random.randint(0, 2)):
            client = self._client(WatcherClient, f"watcher{number}")
            client.service, client.end_ms = self._random.choice(self.services), end_ms
            clients.append(client)
        return clients

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """What each replica holds at last, after it has caught up."""
        for replica in self.replicas:
            for service in self.services:
                try:
                    answer, position = await replica.ask(lambda api, name=service: _last(api, self.tenant, name), self.tenant)  # type: ignore[misc]
                except ConnectionLost:
                    self.recorder.failure(replica.process.name, "it does not serve, long after the last fault")
                    break
                fields = described(answer, "")
                self.recorder.add(
                    LastLook(
                        replica=replica.process.name,
                        at_ms=self._loop.now_ms(),
                        service=service,
                        position=position,
                        state_hash=_state_hash(replica.replica.projector, self.tenant),
                        **fields,
                    )
                )


async def _last(api: Any, tenant: Tenant, service: str) -> Any:
    await api.discovery.catch_up(tenant)
    return await api.discovery.find(tenant, FindQuery(APP, service))


def _state_hash(projector: Projector, tenant: Tenant) -> str:
    """A digest of everything that the replica's view holds."""
    view, whole = projector.view(tenant), sha1()
    for service_id in sorted(view.services):
        part = PartDigest()
        for section in service_sections(view.services[service_id]):
            part.add(section)
        whole.update(part.digest())
    part = PartDigest()
    part.add(rest_section(view))
    whole.update(part.digest())
    return whole.hexdigest()
