"""FaultyStore: one replica's connection to the store, over a network that delays, loses and breaks.

A call has two ways to go. What is lost on the first never happens; what is lost on the second has happened, though
the caller is told that the store does not answer.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.lease import LeaseName
from registry.store.memory_store import MemoryStore
from registry.store.port import Tail
from tests.simulation.recorder import Recorder
from tests.simulation.store_host import StoreHost
from tests.simulation.virtual_time import VirtualLoop

#: As REGISTRY_REDIS_TIMEOUT_S.
TIMEOUT_S: Final = 5.0
#: The usual way to the store and back, seconds; now and then it takes longer.
QUICK_S: Final = (0.0002, 0.002)
LATE_S: Final = (0.002, 0.1)
#: A connection that is refused is refused soon.
REFUSED_S: Final = 0.001


@dataclass(slots=True)
class Link:
    """The network between one replica and the store."""

    random: Random
    #: How often a message is late, and how often a connection breaks around a call.
    late: float = 0.05
    breaks: float = 0.0
    partitioned: bool = False
    #: Seconds that every message takes longer while the link is slow.
    slow_s: float = 0.0
    #: Told of every connection that breaks.
    broken: Callable[[], None] = lambda: None

    def delay_s(self) -> float:
        random = self.random
        return random.uniform(*(LATE_S if random.random() < self.late else QUICK_S)) + self.slow_s * random.random()


class FaultyStore:
    """A `Store`: every method of `MemoryStore`, executed at the host after the way there, answered after the way back.

    Two methods are its own: a read waits at the host, and lapses are never told of. What is no question is no call.
    """

    def __init__(self, loop: VirtualLoop, host: StoreHost, link: Link, recorder: Recorder, name: str) -> None:
        self._loop = loop
        self._host = host
        self._link = link
        self._recorder = recorder
        self._name = name
        self._store = MemoryStore(host.server)
        #: Messages under way belong to no process: they arrive whatever becomes of their sender.
        self._network = contextvars.Context()

        self.key = self._store.key
        self.on_damage = self._store.on_damage
        self._methods = _Methods(self._store, self._send)
        self.snapshots = _Methods(self._store.snapshots, self._send)
        self.leftovers = _Methods(self._store.leftovers, self._send)
        self.notes = _Methods(self._store.notes, self._send)
        self.upkeep = _Methods(self._store.upkeep, self._send)

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method: Callable[..., Coroutine[Any, Any, Any]] = getattr(self._methods, name)
        setattr(self, name, method)
        return method

    async def _send(
        self, work: Callable[[], Coroutine[Any, Any, Any]], name: str, args: tuple[Any, ...], block_ms: int = 0
    ) -> Any:
        call = _Call(self._loop, self._host, self._link, self._network, work, block_ms)
        if not self._recorder.keep_trace:
            return await call.run()
        self._recorder.trace(f"{self._name} > {name}{args}")
        try:
            result = await call.run()
        except Exception as error:
            self._recorder.trace(f"{self._name} < {name} {error!r}")
            raise
        self._recorder.trace(f"{self._name} < {name} {result}")
        return result

    @property
    def followed_max(self) -> int:
        return self._store.followed_max

    def part(self, tenant: Tenant) -> Tenant:
        return self._store.part(tenant)

    async def open(self) -> None:
        await self.head(Tenant("", ""))

    async def close(self) -> None:
        return None

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        tail: Tail = await self._send(
            lambda: self._store.read(after, tenants_after, 0), "read", (after, tenants_after, block_ms), block_ms
        )
        return tail

    def lapses(self) -> _NoPrompts:
        """No prompts: the sweep alone must do."""
        return _NoPrompts(self._loop)


class _Methods:
    """The methods of an object in the store, each called by sending the call."""

    def __init__(self, of: object, send: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._of = of
        self._send = send

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._of, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._send(lambda: method(*args, **kwargs), name, args)

        setattr(self, name, call)
        return call


class _NoPrompts:
    """Notifications that never come. No generator: Python would want to close it when its process is dead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def __aiter__(self) -> _NoPrompts:
        return self

    async def __anext__(self) -> tuple[Tenant, LeaseName]:
        never: asyncio.Future[tuple[Tenant, LeaseName]] = self._loop.create_future()
        return await never


class _Call:
    """One request to the store, and its answer."""

    def __init__(
        self,
        loop: VirtualLoop,
        host: StoreHost,
        link: Link,
        network: contextvars.Context,
        work: Callable[[], Coroutine[Any, Any, Any]],
        block_ms: int = 0,
    ) -> None:
        self._loop = loop
        self._host = host
        self._link = link
        self._network = network
        self._work = work
        self._block_ms = block_ms
        #: A connection ends with the server's process: what was on its way to an earlier one never arrives.
        self._server_run = host.server.run
        self._answer: asyncio.Future[Any] = loop.create_future()

    async def run(self) -> Any:
        host, link = self._host, self._link
        if not host.up:
            await asyncio.sleep(REFUSED_S)
            raise StoreUnavailable("connection refused")
        host.connect(self, self._broken)
        if link.partitioned:
            self._give_up_later()
        elif link.breaks and link.random.random() < link.breaks:
            # Either the request is lost with the connection, or its answer.
            self._link.broken()
            if link.random.random() < 0.5:
                self._later(link.delay_s(), self._arrive)
            self._later(link.delay_s() * 2, self._broken)
        else:
            self._later(link.delay_s(), self._arrive)
            if link.slow_s:
                self._give_up_later()
        return await self._answer

    def _later(self, delay_s: float, what: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, what, context=self._network)

    def _give_up_later(self) -> None:
        self._later(TIMEOUT_S + self._block_ms / 1000, self._broken)

    def _arrive(self) -> None:
        if self._server_run != self._host.server.run:
            return
        if self._link.partitioned:
            self._give_up_later()
            return
        if self._host.stalled:
            self._give_up_later()
        self._host.arrive(self._execute)

    def _execute(self) -> None:
        result, error = _now(self._work)
        if self._block_ms and error is None and not (result.events or result.tenants):
            self._host.block(self, self._look_again)
            self._later(self._block_ms / 1000, lambda: self._answer_later(result, None))
            return
        self._answer_later(result, error)

    def _look_again(self) -> None:
        result, error = _now(self._work)
        if error is not None or result.events or result.tenants:
            self._answer_later(result, error)

    def _answer_later(self, result: Any, error: Exception | None) -> None:
        self._host.disconnect(self)
        if self._answer.done():
            return
        if self._link.partitioned:
            self._host.connect(self, self._broken)
            self._give_up_later()
            return
        self._host.connect(self, self._broken)
        self._later(self._link.delay_s(), lambda: self._settle(result, error))

    def _settle(self, result: Any, error: Exception | None) -> None:
        self._host.disconnect(self)
        if self._answer.done():
            return
        if error is not None:
            self._answer.set_exception(error)
            self._answer.exception()  # looked at: the caller may be dead
        else:
            self._answer.set_result(result)

    def _broken(self) -> None:
        self._settle(None, StoreUnavailable("the connection broke, or the store did not answer in time"))


def _now(work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, Exception | None]:
    """Execute a method of the store in memory, which never waits."""
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value, None
    except StoreUnavailable as refusal:
        return None, refusal
    raise AssertionError(f"{coroutine} waits inside the store")
