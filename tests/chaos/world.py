"""World: one chaos run - Redis, replicas, clients and faults - and the history of what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.client import Run
from tests.chaos.clocks import Clock, faketime_library
from tests.chaos.consumers import Consumer, LastLooks
from tests.chaos.faults import Nemesis
from tests.chaos.fleet import ChaosReplica, now_ms
from tests.chaos.history_readers import FeedReader, PastReader
from tests.chaos.plan import CLOCK, REDIS_CLOCK, WITH_CLOCKS, WITH_COPY, draw, draw_two
from tests.chaos.providers import Provider, Slot, service_body
from tests.chaos.proxy import Proxy
from tests.chaos.store import ChaosStore
from tests.chaos.watchers import Watcher
from tests.support.history import OK, REGISTER_SERVICE, Entry, Failure, History, history_of

#: How often it is looked whether every replica still runs.
LOOK_EVERY_S: Final = 0.5
#: How long the replicas may take to agree at the end, and how often they are asked.
AGREE_WITHIN_S: Final = 5.0
AGREE_EVERY_S: Final = 0.3
#: The replica that is started at the end, and knows only what Redis holds.
FRESH: Final = "fresh"


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of. The seed decides the rest, except for what real time decides."""

    seed: int = 0
    #: Seconds with faults and changes, and afterwards without.
    seconds: float = 60.0
    settle_s: float = 24.0
    replicas: int = 3
    services: int = 4
    instances: int = 40
    consumers: int = 4
    watchers: int = 4
    #: Readers of the feed of events; one more asks about the past.
    feeds: int = 2
    #: Seconds between the polls of a consumer, at most.
    period_s: float = 1.0
    nemeses: Sequence[str] = ()
    #: Whether faults of replicas and faults of Redis happen at the same time, or one after another.
    overlap: bool = False
    #: Seconds between the heartbeats of an instance, and the `times` of the leases: lease = 5 s x (times + 1).
    beat_s: float = 4.0
    times: Sequence[int] = (1, 2)
    #: How long an instance stays before it leaves or falls silent, seconds.
    stay_s: tuple[float, float] = (3.0, 50.0)
    #: Of `registry serve`, for every replica.
    serve: tuple[str, ...] = ()
    #: Whether what is trimmed goes to an archive, and is trimmed as soon as it may be.
    archive: bool = False
    #: The bug to plant, from `tests.chaos.bugs`.
    bug: str = ""
    #: Where the logs of the replicas are put together, if anywhere.
    logs: Path | None = None
    say: Callable[[str], None] = lambda _: None


def run(options: Options) -> History:
    """Run it, and return when everything that it started has ended."""
    with tempfile.TemporaryDirectory(prefix="rc-", dir="/tmp") as folder:
        return asyncio.run(World(options, Path(folder)).live())


class World:
    """Everything of one run."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._random = Random(f"world {options.seed}")
        self._entries: list[Entry] = []
        self._services = [f"s{number}" for number in range(options.services)]
        self._begin_s = time.monotonic()
        nemeses = set(options.nemeses)
        assert faketime_library() or not nemeses & WITH_CLOCKS, "libfaketime is missing: apt-get install faketime"
        self._store_clock = Clock(folder / "redis.clock") if REDIS_CLOCK in nemeses else None
        self._store = ChaosStore(folder, bool(nemeses & WITH_COPY), self._store_clock)
        self._replicas: list[ChaosReplica] = []
        archive = ("--archive-dir", str(folder / "archive"), "--history-s", "0", "--snapshots-kept", "1")
        self._serve = (*options.serve, *archive, "--snapshot-every", "20") if options.archive else options.serve

    def _say(self, text: str) -> None:
        self._options.say(f"{time.monotonic() - self._begin_s:6.1f} s  {text}")

    def _record(self, entry: Entry) -> None:
        self._entries.append(entry)
        if isinstance(entry, Failure):
            self._say(f"FAILURE of {entry.replica}: {entry.text}")

    # -- the run -------------------------------------------------------------------------------------------------------

    async def live(self) -> History:
        async with self._system():
            drawn = self._options.seed, self._options.seconds, self._options.nemeses, self._options.replicas
            plans = draw_two(*drawn) if self._options.overlap else [draw(*drawn)]
            quiet_ms = now_ms() + int(self._options.seconds * 1000)
            settle_ms = int(self._options.settle_s * 1000)
            shared = Run(
                tuple(self._replicas),
                self._record,
                quiet_ms,
                quiet_ms + settle_ms,
                self._options.beat_s,
                self._options.times,
                self._options.stay_s,
            )
            await self._register_services(shared)
            feeds = [FeedReader(f"f{number}", self._chance(), shared) for number in range(self._options.feeds)]
            clients: list[Provider | Consumer | Watcher | FeedReader | PastReader] = [
                *self._providers(shared),
                *self._consumers(shared),
                *self._watchers(shared),
                *feeds,
                self._past_reader(shared),
            ]
            nemesis = Nemesis(self._store, self._replicas, self._store_clock, self._record, self._say)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.run()) for client in clients]
                tasks.append(group.create_task(self._look_after()))
                await asyncio.gather(*(nemesis.run(plan) for plan in plans))
                await asyncio.sleep(max(quiet_ms - now_ms(), 0) / 1000)
                self._say("quiet")
                # Starting replicas may have taken longer than planned.
                shared.quiet_ms = min(quiet_ms, now_ms())
                shared.end_ms = now_ms() + settle_ms
                await asyncio.sleep(settle_ms / 1000)
                await self._look_at_last(shared)
                for task in tasks:
                    task.cancel()
            await self._read_to_the_end(feeds)
            if self._options.archive:
                segments = [*self._folder.joinpath("archive").rglob("*.segment")]
                self._say(f"{len(segments)} segments are archived")
            for client in clients:
                client.close()
            for replica in self._replicas:
                for failure in replica.tracebacks():
                    self._record(failure)
        return history_of(self._entries)

    @contextlib.asynccontextmanager
    async def _system(self) -> AsyncIterator[None]:
        try:
            await self._store.start()
            for number in range(self._options.replicas):
                await self._add_replica(f"r{number}")
            await asyncio.gather(*(replica.start() for replica in self._replicas))
            self._say(f"{len(self._replicas)} replicas are ready")
            yield
        finally:
            if self._options.logs is not None:
                lines = [line for replica in self._replicas for line in replica.log_lines()]
                self._options.logs.write_text("\n".join(lines) + "\n")
            await asyncio.gather(*(asyncio.to_thread(replica.clean_up) for replica in self._replicas))
            for replica in self._replicas:
                await replica.proxy.close()
            await self._store.close()

    async def _add_replica(self, name: str) -> ChaosReplica:
        proxy = Proxy(lambda: self._store.main.socket)
        await proxy.start()
        clock = Clock(self._folder / f"{name}.clock") if CLOCK in self._options.nemeses else None
        replica = ChaosReplica(name, proxy, clock, self._serve, self._options.bug, self._record)
        self._replicas.append(replica)
        return replica

    async def _look_after(self) -> None:
        while True:
            for replica in self._replicas:
                replica.look_after()
            await asyncio.sleep(LOOK_EVERY_S)

    # -- clients -------------------------------------------------------------------------------------------------------

    def _chance(self) -> Random:
        return Random(self._random.getrandbits(64))

    async def _register_services(self, shared: Run) -> None:
        setup = Provider("setup", self._chance(), shared)
        for service in self._services:
            operation, _ = await setup.request(
                "POST", "/microservices", service_body(service), kind=REGISTER_SERVICE, service=service
            )
            assert operation.outcome == OK, operation
        setup.close()

    def _providers(self, shared: Run) -> list[Provider]:
        providers = []
        for number in range(self._options.instances):
            chance = self._chance()
            service = self._services[number % len(self._services)]
            chosen = f"i{number}" if chance.random() < 0.8 else ""
            provider = Provider(f"p{number}", chance, shared)
            provider.slot = Slot(service, f"rest://{service}-{number}:80", chosen, chance.choice(shared.times))
            providers.append(provider)
        return providers

    def _consumers(self, shared: Run) -> list[Consumer]:
        consumers = []
        for number in range(self._options.consumers):
            consumer = Consumer(f"c{number}", self._chance(), shared)
            consumer.services, consumer.period_s = self._services, self._options.period_s
            consumers.append(consumer)
        return consumers

    def _watchers(self, shared: Run) -> list[Watcher]:
        watchers = []
        for number in range(self._options.watchers):
            watcher = Watcher(f"w{number}", self._chance(), shared)
            watcher.service = self._services[number % len(self._services)]
            watchers.append(watcher)
        return watchers

    def _past_reader(self, shared: Run) -> PastReader:
        reader = PastReader("past", self._chance(), shared)
        reader.services, reader.keeps_all = self._services, self._options.archive
        return reader

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _read_to_the_end(self, feeds: Sequence[FeedReader]) -> None:
        """What the feeds have not told yet, and what the history tells, by the replica that knows only Redis."""
        fresh = self._replicas[-1]
        for feed in feeds:
            await feed.finish(fresh)
        for feed in feeds[:1]:
            await feed.record_log(fresh)

    async def _look_at_last(self, shared: Run) -> None:
        """What each replica holds, and one that is started now: at one position, if they ever are at one."""
        fresh = await self._add_replica(FRESH)
        await fresh.start()
        client = LastLooks("last look", self._chance(), shared)
        deadline = time.monotonic() + AGREE_WITHIN_S
        while True:
            looks = await client.look(self._replicas, self._services)
            if len({look.position for look in looks}) == 1 or time.monotonic() > deadline:
                break
            await asyncio.sleep(AGREE_EVERY_S)
        client.close()
        for look in looks:
            self._record(look)
        silent = {replica.life for replica in self._replicas} - {look.replica for look in looks}
        for life in silent:
            self._record(Failure(replica=life, at_ms=now_ms(), text="it does not serve, long after the last fault"))
