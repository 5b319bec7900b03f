"""SimReplica: one replica's lives - started, stalled, killed and started again - without HTTP around it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar, cast

from registry.bootstrap import Replica, build_replica
from registry.clock import Clock
from registry.domain.errors import RegistryError, StoreUnavailable
from registry.domain.tenant import Tenant
from registry.http_api.api import Api
from registry.settings import Settings
from registry.store.port import Store
from tests.simulation.faulty_store import FaultyStore, Link
from tests.simulation.process import ConnectionLost, Process
from tests.simulation.recorder import Recorder
from tests.simulation.store_host import StoreHost
from tests.simulation.virtual_time import VirtualLoop
from tests.support.history import BREAK, Fault

R = TypeVar("R")

#: Snapshots often enough that a run of some hundred events takes and trims some.
SETTINGS: Final = Settings(snapshot_every=30)
#: How long a broken connection may be felt (ms): the projector reads again within a second.
BREAK_MS: Final = 1200

#: A replica that could not start, or ended by itself, is started again after this time (seconds).
RESTART_S: Final = 1.0


class SimReplica:
    """What stands at one address."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        host: StoreHost,
        link: Link,
        recorder: Recorder,
        clock_offset_ms: int,
        settings: Settings = SETTINGS,
    ) -> None:
        self.name = name
        self.settings = settings
        self.link = link
        link.broken = self._note_break
        self._loop = loop
        self._host = host
        self._recorder = recorder
        self._lives = 0
        self._clock = Clock(lambda: loop.now_ms() + clock_offset_ms, loop.now_ms)
        self.process = Process(f"{name}.0", loop)
        self.process.kill()
        self.serving = False
        self.replica: Replica

    # -- lives ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a new life; requests are served once the logs have been replayed."""
        assert not self.process.alive, "one life at a time"
        self._lives += 1
        self.serving = False
        self.process = Process(f"{self.name}.{self._lives}", self._loop)
        self.process.start(self._live(self.process))

    async def _live(self, process: Process) -> None:
        try:
            faulty = FaultyStore(self._loop, self._host, self.link, self._recorder, process.name)
            store = cast("Store", faulty)  # every method by __getattr__
            replica = build_replica(self.settings, store, f"{self.name}.example:30100", self._clock)
            await _serve(replica, lambda: self._serves(replica))
        except (RegistryError, OSError) as error:
            self._recorder.trace(f"{process.name} could not start: {error!r}")
        except Exception as error:
            self._recorder.failure(process.name, f"the replica ended: {error!r}")
        else:
            self._recorder.failure(process.name, "the replica ended")
        self.kill()
        # In a context of its own: what belongs to the dead process never runs.
        self._loop.call_later(RESTART_S, self._start_again, process, context=contextvars.Context())

    def _start_again(self, ended: Process) -> None:
        if self.process is ended:
            self.start()

    def revive(self) -> None:
        """Begin a new life, unless there is one already."""
        if not self.process.alive:
            self.start()

    def _serves(self, replica: Replica) -> None:
        self.replica = replica
        self.serving = True
        self._recorder.trace(f"{self.process.name} serves")

    def kill(self) -> None:
        self._loop.keep()
        self.serving = False
        self.process.kill()

    def _note_break(self) -> None:
        now_ms = self._loop.now_ms()
        self._recorder.add(Fault(kind=BREAK, start_ms=now_ms, end_ms=now_ms + BREAK_MS, target=self.name))

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def api(self) -> Api:
        return self.replica.api

    async def ask(self, work: Callable[[Api], Awaitable[R]], tenant: Tenant) -> tuple[R, tuple[int, int]]:
        """Have a request handled; also the position that its answer, or its refusal, is made at.

        Raises:
            ConnectionLost: nobody listens, or the replica died.
            Refusal: a RegistryError and the position at which it was raised.
        """
        if not self.serving:
            raise ConnectionLost(self.process.name)
        api = self.api

        async def handle() -> tuple[R, tuple[int, int]]:
            try:
                result = await work(api)
            except RegistryError as error:
                raise Refusal(error, _position(api, tenant)) from error
            return result, _position(api, tenant)

        return await self.process.ask(handle)


class Refusal(Exception):
    """A request was refused, at this position."""

    def __init__(self, error: RegistryError, position: tuple[int, int]) -> None:
        super().__init__(str(error))
        self.error = error
        self.position = position


def _position(api: Api, tenant: Tenant) -> tuple[int, int]:
    epoch, _, sequence = api.discovery.position_text(tenant).partition(b"-")
    return int(epoch), int(sequence)


async def _serve(replica: Replica, serves: Callable[[], None]) -> None:
    """What `registry.running.replica` runs beside the HTTP server, in its order; returns when a part ends."""
    await replica.store.open()
    await replica.projector.start()
    await replica.pulses.pulse()
    projector = asyncio.create_task(replica.projector.reading.run())
    try:
        await replica.registration.register()
    except StoreUnavailable:
        projector.cancel()
        raise
    parts = [projector, *(asyncio.create_task(work) for work in replica.loops().values())]
    serves()
    await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in parts:
        if part.done():
            part.result()


def seeded_link(random: Random, late: float, breaks: float) -> Link:
    """A link with a stream of chances of its own."""
    return Link(Random(random.getrandbits(64)), late, breaks)
