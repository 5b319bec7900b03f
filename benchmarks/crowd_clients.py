"""The clients of a crowd, as one process has them: they register, find each other, and say what they have seen."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.client_cost import resident_kib
from registry.client import AsyncRegistry, Change, Options, Provider
from registry.client.calls import steady

#: Instances of one service.
GROUP: Final = 10
POLL_S: Final = 15.0
#: Registrations, and ends, under way in one process.
AT_ONCE: Final = 20
LOOK_S: Final = 0.5
_NAMES: Final = re.compile(r"http://\S+|instance [0-9a-f]{32} of \S+:1\.0\.0|\d+(?= s\b)")
OPTIONS: Final = Options(poll_s=POLL_S, watch=False, learn=False)


class Begin(Struct, frozen=True):
    """What a process is told at its start: which clients it has, of how many services, and where the registry is."""

    numbers: range
    groups: int
    servers: list[str]
    locks: Path


class Ask(Struct, frozen=True):
    """`whole`: wait until every client sees what it should. `poll`: until each has polled. `end`. Seconds for it."""

    what: str
    limit_s: float


class Told(Struct, frozen=True):
    """What a process answers: how many it waited for in vain, and what it has seen since it was whole."""

    missing: int = 0
    seen: dict[str, int] = {}
    warnings: dict[str, int] = {}
    kib: int = 0
    cpu_s: float = 0.0


def crowd(begin: Begin, told: Connection) -> None:
    asyncio.run(Crowd(begin).run(told))


class Crowd:
    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._providers: list[Provider] = []
        self._clients: list[AsyncRegistry] = []
        self._seen: Counter[str] = Counter()
        self._said = Warnings()
        self._registered = 0

    async def run(self, told: Connection) -> None:
        loop = asyncio.get_running_loop()
        before = resident_kib()
        servers, locks = self._begin.servers, self._begin.locks
        # Half of them prefer the one replica, half the other.
        for number in self._begin.numbers:
            client = AsyncRegistry(servers[:: (-1) ** number], options=OPTIONS, lock_folder=locks)
            self._clients.append(await client.__aenter__())
        while True:
            asked: Ask = await loop.run_in_executor(None, told.recv)
            missing = await self._do(asked)
            told.send(
                Told(
                    missing=missing,
                    seen=dict(self._seen),
                    warnings=dict(self._said.number),
                    kib=resident_kib() - before,
                    cpu_s=time.process_time(),
                )
            )
            if asked.what == "end":
                return

    async def _do(self, asked: Ask) -> int:
        """The number of those who did not come to it in time."""
        match asked.what:
            case "register":
                await self._all(map(self._register, self._clients, self._begin.numbers), asked.limit_s)
                # Only a benchmark has thousands of clients in one process: a full collection stops them all for two
                # seconds.
                gc.collect()
                gc.freeze()
                return len(self._clients) - self._registered
            case "whole":
                await _until(lambda: not self._not_whole(), asked.limit_s)
                for provider in self._providers:
                    provider.on_change(partial(self._count, provider))
                return self._not_whole()
            case "poll":
                since = steady()
                await _until(lambda: not self._not_polled(since), asked.limit_s)
                return self._not_polled(since)
            case "end":
                return await self._all(map(self._end, self._clients), asked.limit_s)
        raise ValueError(asked.what)

    async def _register(self, client: AsyncRegistry, number: int) -> None:
        async with self._slots:
            own = number // GROUP
            registered = await client.register(f"crowd/s{own}:1.0.0", [f"rest://10.0.0.1:{number}"], wait_s=60.0)
            self._registered += registered.is_registered
            groups = self._begin.groups
            self._providers += [client.provider(f"crowd/s{one % groups}") for one in (own, own + 1)]

    async def _end(self, client: AsyncRegistry) -> None:
        async with self._slots:
            await client.close()

    async def _all(self, work: Iterable[object], limit_s: float) -> int:
        tasks = [asyncio.ensure_future(one) for one in work]  # type: ignore[call-overload]
        _, late = await asyncio.wait(tasks, timeout=limit_s)
        return len(late)

    def _not_whole(self) -> int:
        return sum(len(provider.instances) != GROUP for provider in self._providers)

    def _not_polled(self, since: float) -> int:
        return sum((provider.listing.confirmed_at or 0.0) <= since for provider in self._providers)

    def _count(self, provider: Provider, changes: list[Change]) -> None:
        self._seen.update(change.kind for change in changes)
        self._seen["empty"] += not provider.instances


class Warnings(logging.Handler):
    """Counts what the client's log says, by its text without names and addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.number: Counter[str] = Counter()
        logging.getLogger("registry.client").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.number[_NAMES.sub("…", record.getMessage())] += 1


async def _until(condition: Callable[[], bool], limit_s: float) -> None:
    """Look now and then; this process is here to be many clients, not to look."""
    ends = time.monotonic() + limit_s
    while not condition() and time.monotonic() < ends:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(LOOK_S)
