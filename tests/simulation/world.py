"""World: one run - replicas, clients and faults from one seed, and the history of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import random as random_module
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha1
from random import Random
from typing import Final, TypeVar
from unittest.mock import patch

from registry.domain.find import FindQuery
from registry.domain.request_bodies import MicroserviceBody
from registry.domain.sections import PartDigest, rest_sections, service_sections
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import Answer
from registry.http_api.api import Api
from registry.projection.projector import Projector
from tests.simulation.archive import SimArchive
from tests.simulation.client import Client, Ended
from tests.simulation.consumers import APP, ConsumerClient, described
from tests.simulation.faults import PROFILES, FaultPlan
from tests.simulation.history_readers import FeedReader, PastReader, logged
from tests.simulation.instances import InstanceClient, Slot
from tests.simulation.process import ConnectionLost
from tests.simulation.recorder import Recorder
from tests.simulation.replica import RESTART_S, SETTINGS, Refusal, SimReplica, seeded_link
from tests.simulation.store_host import StoreHost
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.watchers import WatcherClient
from tests.support.history import CRASH, REFUSED, REGISTER_SERVICE, UNKNOWN, Fault, History, LastLook

C = TypeVar("C", bound=Client)

#: A lease of `times` 1 is 10 seconds long, one of 2 is 15. One that beats exactly once per lease is excepted from most
#: promises.
SHORT_TIMES: Final = (1,)
LONG_TIMES: Final = (1, 2)
#: Virtual seconds with faults and changes, and afterwards without: every lease that somebody let go has lapsed then.
SHORT_S: Final = (6.0, 20.0)
LONG_S: Final = (20.0, 60.0)
SHORT_SETTLE_S: Final = 20.0
LONG_SETTLE_S: Final = 27.0
#: Looks at the end, until no event comes between the first replica's and the last one's.
LOOKS_MAX: Final = 8
#: The share of runs that are long ones.
LONG_SHARE: Final = 0.2
#: How much the wall clocks of the replicas differ (ms).
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
    collects = gc.isenabled()
    gc.disable()  # it would cost a tenth of the time, and nothing here must depend on when it happens
    try:
        with _seeded(seed):
            world = World(loop, seed, profile, keep_trace)
            with world.archive.folder():
                loop.run_until_complete(world.live())
                world.end()
    finally:
        loop.close()
        if collects:
            gc.enable()
    recorder = world.recorder
    return Run(seed, profile, recorder.history(), recorder.lines, recorder.digest(), loop.callbacks, world.passed_s)


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
            patch("registry.bootstrap.Door", lambda *_: None),
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
        # Logs that are trimmed as soon as they may be, or never.
        self._settings = replace(SETTINGS, history_s=Random(f"settings {seed}").choice((0, 10, SETTINGS.history_s)))
        self.archive = SimArchive(seed, faults, self._kill)
        self.replicas = [
            SimReplica(
                name,
                loop,
                self.host,
                seeded_link(random, late, faults.breaks),
                self.recorder,
                random.randint(-SKEW_MS, SKEW_MS),
                self._settings,
            )
            for name in "abcd"[: random.choice((2, 3, 3, 4))]
        ]
        self.tenant = random.choice((DEFAULT_TENANT, DEFAULT_TENANT, Tenant("team", "p")))
        self.services = [f"s{number}" for number in range(random.choice((1, 2, 3)))]
        self._is_long = random.random() < LONG_SHARE
        self.busy_s = random.uniform(*(LONG_S if self._is_long else SHORT_S))
        self.settle_s = LONG_SETTLE_S if self._is_long or faults.loses else SHORT_SETTLE_S
        self._begin_s = loop.time()
        loop.set_exception_handler(lambda _, context: self.recorder.failure("", str(context)))
        self._faults = FaultPlan(loop, Random(f"faults {seed}"), faults, self.host, self.replicas, self.recorder)

    @property
    def passed_s(self) -> float:
        return self._loop.time() - self._begin_s

    # -- the run -------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        settings = replace(self._settings, **self.archive.settings())
        for replica in self.replicas:
            replica.settings = settings
        for replica in self.replicas:
            replica.start()
        await self._register_services()
        begin_ms = self._loop.now_ms()
        quiet_ms = begin_ms + int(self.busy_s * 1000)
        end_ms = quiet_ms + int(self.settle_s * 1000)
        clients = [*self._instances(quiet_ms), *self._consumers(), *self._watchers(end_ms), *self._readers()]
        tasks = [self._loop.create_task(_live(client)) for client in clients]
        await self._faults.run(1.0, self.busy_s)
        await asyncio.sleep(max(quiet_ms - self._loop.now_ms(), 0) / 1000)
        self.archive.is_quiet = True
        await asyncio.sleep(self.settle_s)
        for client in clients:
            client.end_ms = self._loop.now_ms()
        while any(client.is_asking for client in clients):  # noqa: ASYNC110  # an instant of virtual time
            await asyncio.sleep(0.01)
        for task in tasks:
            if task.done():
                task.result()
        await self._look()
        await self._read_to_the_end([client for client in clients if isinstance(client, FeedReader)])
        for client in clients:
            if isinstance(client, PastReader):
                await client.finish()

    def _kill(self, process: str) -> None:
        """The process dies where it stands, and another one takes its place after a while."""
        replica = next(replica for replica in self.replicas if replica.process.name == process)
        now_ms = self._loop.now_ms()
        replica.kill()
        self.recorder.add(
            Fault(kind=CRASH, start_ms=now_ms, end_ms=now_ms + int(RESTART_S * 1000), target=replica.name)
        )
        self._loop.call_later(RESTART_S, replica.revive, context=contextvars.Context())

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
                client.slot = Slot(
                    service, endpoint, chosen, self._random.choice(LONG_TIMES if self._is_long else SHORT_TIMES)
                )
                client.quiet_ms = quiet_ms
                clients.append(client)
        return clients

    def _consumers(self) -> list[ConsumerClient]:
        clients = []
        for number in range(self._random.randint(1, 3)):
            client = self._client(ConsumerClient, f"consumer{number}")
            client.services = self.services
            clients.append(client)
        return clients

    def _watchers(self, end_ms: int) -> list[WatcherClient]:
        clients = []
        for number in range(self._random.randint(0, 2)):
            client = self._client(WatcherClient, f"watcher{number}")
            client.service, client.end_ms = self._random.choice(self.services), end_ms
            clients.append(client)
        return clients

    def _readers(self) -> list[FeedReader | PastReader]:
        feeds = [self._client(FeedReader, f"feed{number}") for number in range(self._random.randint(1, 2))]
        past = self._client(PastReader, "past")
        past.services, past.keeps_all = self.services, self.archive.is_on
        return [*feeds, past]

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """What each replica holds at last, after it has caught up; all at one position, if there is one."""
        for _ in range(LOOKS_MAX):
            looks = [await self._look_at(replica, service) for replica in self.replicas for service in self.services]
            if len({look.position for look in looks if look is not None}) == 1:
                break
            await asyncio.sleep(1)
        for look in looks:
            if look is not None:
                self.recorder.add(look)

    async def _read_to_the_end(self, readers: list[FeedReader]) -> None:
        """What the feeds have not told yet, and what the history tells, by a replica each."""
        for reader in readers:
            await reader.finish()
        for _ in range(LOOKS_MAX):
            with contextlib.suppress(Refusal):  # a connection may break at any time
                for entry in await logged(readers[0], self._random.choice(self.replicas)):
                    self.recorder.add(entry)
                return
        self.recorder.failure("", "the log cannot be read, long after the last fault")

    async def _look_at(self, replica: SimReplica, service: str) -> LastLook | None:
        try:
            answer, position = await replica.ask(partial(_last, self.tenant, service), self.tenant)
        except ConnectionLost:
            self.recorder.failure(replica.process.name, "it does not serve, long after the last fault")
            return None
        return LastLook(
            replica=replica.process.name,
            at_ms=self._loop.now_ms(),
            service=service,
            position=position,
            state_hash=_state_hash(replica.replica.projector, self.tenant),
            **described(answer, ""),
        )


async def _live(client: Client) -> None:
    with contextlib.suppress(Ended):
        await client.run()


async def _last(tenant: Tenant, service: str, api: Api) -> Answer:
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
    for other in rest_sections(view):
        part.add(other)
    whole.update(part.digest())
    return whole.hexdigest()
