"""Do many clients lose anything in a rolling restart: instances, or what they have found? And what memory do they take?

    python -m benchmarks.crowd --clients 10000 --processes 4

Two replicas on one private Redis. Each client registers one instance, beats every 30 s, and polls every 15 s for two
services of ten instances each. When all of them see everything, each replica is stopped and started again, one after
the other, and every client has polled in between. Counted are instances that a client saw leave, lists that it saw
empty, the instances that the registry has at the end, and warnings that clients wrote. Memory is what the processes of
the clients grew by. How fast anything is, this does not say: registry and clients share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from benchmarks.client_cost import resident_kib
from benchmarks.machine import machine
from benchmarks.servers import STORE
from registry.client import AsyncRegistry, Change, Options, Provider
from registry.client.calls import steady
from registry.client.errors import ClientError
from registry.running.private_redis import PrivateRedis
from tests.support.replica import Replica

GROUP: Final = 10
POLL_S: Final = 15.0
#: Registrations, and ends, under way in one process.
AT_ONCE: Final = 20
#: Seconds for one step of the whole.
LIMIT_S: Final = 1200.0
_NAMES: Final = re.compile(r"http://\S+|instance [0-9a-f]{32} of \S+:1\.0\.0|\d+(?= s\b)")
OPTIONS: Final = Options(poll_s=POLL_S, watch=False, learn=False, timeout_s=30.0)


class Crowd:
    """The clients of one process."""

    def __init__(self) -> None:
        self.providers: list[Provider] = []
        self.seen: Counter[str] = Counter()
        self.said = Warnings()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self, numbers: range, groups: int, servers: list[str], locks: Path, told: Connection) -> None:
        loop = asyncio.get_running_loop()
        before = resident_kib()
        # Half of them prefer the one replica, half the other.
        clients = [AsyncRegistry(servers[:: (-1) ** n], options=OPTIONS, lock_folder=locks) for n in numbers]
        for client in clients:
            await client.__aenter__()

        async def begin(client: AsyncRegistry, number: int) -> None:
            async with self._slots:
                own = number // GROUP
                await client.register(f"crowd/s{own}:1.0.0", [f"rest://10.0.0.1:{number}"], wait_s=LIMIT_S)
                self.providers += [client.provider(f"crowd/s{one % groups}") for one in (own, own + 1)]

        await asyncio.gather(*map(begin, clients, numbers))
        # Only a benchmark has thousands of clients in one process: a full collection stops them all for two seconds,
        # after which their connections have timed out.
        gc.collect()
        gc.freeze()
        told.send("registered")
        await loop.run_in_executor(None, told.recv)
        for provider in self.providers:
            await until(partial(_is_whole, provider))
            provider.on_change(partial(self._count, provider))
        told.send({"kib": resident_kib() - before, "clients": len(clients)})
        while await loop.run_in_executor(None, told.recv) == "poll":
            await until(partial(self._have_polled, steady()))
            told.send(dict(self.seen))
        await asyncio.gather(*map(self._end, clients))
        told.send(dict(self.said.number))

    async def _end(self, client: AsyncRegistry) -> None:
        async with self._slots:
            await client.close()

    def _have_polled(self, since: float) -> bool:
        return all((provider.listing.confirmed_at or 0.0) > since for provider in self.providers)

    def _count(self, provider: Provider, changes: list[Change]) -> None:
        self.seen.update(change.kind for change in changes)
        self.seen["empty"] += not provider.instances


class Warnings(logging.Handler):
    """Counts what the client's log says, by its text without names and addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.number: Counter[str] = Counter()
        logging.getLogger("registry.client").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.number[_NAMES.sub("…", record.getMessage())] += 1


def _is_whole(provider: Provider) -> bool:
    return len(provider.instances) == GROUP


async def until(condition: Callable[[], bool]) -> None:
    """Look now and then; this process is here to be many clients, not to look."""
    while not condition():  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0.5)


def crowd(numbers: range, groups: int, servers: list[str], locks: Path, told: Connection) -> None:
    _many_files()
    asyncio.run(Crowd().run(numbers, groups, servers, locks, told))


def _many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def instances(server: str) -> int:
    """What one replica has, of the crowd."""
    async with AsyncRegistry(server, timeout_s=60.0, learn=False, watch=False) as client:
        try:
            details = await client.api.all_details("instances")
        except ClientError as exc:
            raise SystemExit(f"{server}: {exc}") from exc
    return sum(len(one.instances) for one in details if one.micro_service.app_id == "crowd")


def run(clients: int, processes: int) -> dict[str, Any]:
    _many_files()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        store = PrivateRedis(str(Path(folder) / "data"), STORE)
        store.start()
        replicas: list[Replica] = []
        try:
            replicas += [Replica("--redis-url", store.url).start() for _ in range(2)]
            servers = [f"http://127.0.0.1:{one.port}" for one in replicas]
            share = clients // processes
            pipes = []
            for index in range(processes):
                here, there = context.Pipe()
                numbers = range(index * share, (index + 1) * share)
                args = (numbers, share * processes // GROUP, servers, Path(folder), there)
                context.Process(target=crowd, args=args, daemon=True).start()
                pipes.append(here)
            return _through(replicas, servers, pipes, store.url)
        finally:
            for one in replicas:
                one.clean_up()
            store.stop()


def _through(replicas: list[Replica], servers: list[str], pipes: list[Connection], redis_url: str) -> dict[str, Any]:
    begun = time.monotonic()
    _hear(pipes)
    registered = round(time.monotonic() - begun)
    sizes = _ask(pipes, "go")
    number = sum(size["clients"] for size in sizes)
    there = [asyncio.run(instances(server)) for server in servers]
    assert there == [number, number], there
    for index in range(2):
        assert replicas[index].stop() == 0
        replicas.append(Replica("--redis-url", redis_url, port=replicas[index].port).start())
        seen = sum((Counter(told) for told in _ask(pipes, "poll")), Counter[str]())
    after = [asyncio.run(instances(server)) for server in servers]
    warnings = sum((Counter(told) for told in _ask(pipes, "end")), Counter[str]())
    return {
        "machine": machine(),
        "clients": number,
        "processes": len(pipes),
        "seconds_to_register": registered,
        "kib_per_client": round(sum(size["kib"] for size in sizes) / number),
        "seen_removed": seen["removed"],
        "seen_empty": seen["empty"],
        "instances_after_restarts": after,
        "instances_after_end": [asyncio.run(instances(server)) for server in servers],
        "warnings": dict(warnings.most_common()),
        "seconds": round(time.monotonic() - begun),
    }


def _hear(pipes: list[Connection]) -> list[Any]:
    for pipe in pipes:
        if not pipe.poll(LIMIT_S):
            raise SystemExit(f"a process of clients said nothing for {LIMIT_S:.0f} s")
    return [pipe.recv() for pipe in pipes]


def _ask(pipes: list[Connection], what: str) -> list[Any]:
    for pipe in pipes:
        pipe.send(what)
    return _hear(pipes)


if __name__ == "__main__":
    # What was started is ended also when this process is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    given = parser.parse_args()
    print(json.dumps(run(given.clients, given.processes), indent=2))
