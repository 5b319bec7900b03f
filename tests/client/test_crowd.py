"""Many clients of two replicas, which are restarted, away, or hang."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from registry.client import AsyncRegistry, Change, HealthCheck, Instance, Options, Provider
from tests.support.api import ids
from tests.support.replica import Replica
from tests.support.waiting import until, until_sync

pytestmark = pytest.mark.slow

#: CROWD_CLIENTS=1000 for a look by hand.
CLIENTS = int(os.environ.get("CROWD_CLIENTS", "30"))
BEATING = Instance(health_check=HealthCheck("push", 0, 2, 3))


@pytest.fixture
def started() -> Iterator[list[Replica]]:
    """Every replica that the test has started."""
    replicas: list[Replica] = []
    yield replicas
    for one in replicas:
        one.clean_up()


class Pair:
    """Two replicas of one store."""

    def __init__(self, started: list[Replica], *options: str) -> None:
        self._started = started
        self._options = options
        self.replicas = [self._start(), self._start()]

    def _start(self, port: int = 0) -> Replica:
        self._started.append(Replica(*self._options, port=port).start())
        return self._started[-1]

    def restart(self, *indexes: int, away_s: float = 0.0) -> None:
        for index in indexes:
            self.replicas[index].stop()
        time.sleep(away_s)
        for index in indexes:
            self.replicas[index] = self._start(self.replicas[index].port)


Polled = Callable[[], Awaitable[None]]


async def rolling_restart(pair: Pair, polled: Polled) -> None:
    for index in range(2):
        await asyncio.to_thread(pair.restart, index)
        await polled()


async def both_away(pair: Pair, polled: Polled) -> None:
    await asyncio.to_thread(pair.restart, 0, 1, away_s=2.0)
    await polled()


async def one_hangs(pair: Pair, polled: Polled) -> None:
    """It takes connections, and answers nothing."""
    process = pair.replicas[1].process
    process.send_signal(signal.SIGSTOP)
    try:
        await polled()
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("fault", [rolling_restart, both_away, one_hangs])
async def test_no_instance_is_lost_and_no_empty_list_is_seen(
    redis_url: str, started: list[Replica], tmp_path: Path, fault: Callable[[Pair, Polled], Awaitable[None]]
) -> None:
    pair = Pair(started, "--redis-url", redis_url, "--redis-prefix", f"crowd-{uuid.uuid4().hex[:8]}:")
    servers = [f"http://127.0.0.1:{one.port}" for one in pair.replicas]
    seen: list[Change] = []
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(CLIENTS):
            # Half of them prefer the one replica, half the other.
            given = Options(servers[:: (-1) ** number], poll_s=1.0, timeout_s=5.0, lock_folder=tmp_path, learn=False)
            clients.append(await stack.enter_async_context(AsyncRegistry(options=given)))
        await asyncio.gather(
            *(c.register("shop/cart:1.0.0", [f"rest://10.0.0.1:{n}"], instance=BEATING) for n, c in enumerate(clients))
        )
        providers = [client.provider("shop/cart") for client in clients]
        await until(lambda: all_see(CLIENTS, [len(p.instances) for p in providers]), "everybody to see everybody", 30)
        for provider in providers:
            provider.on_change(seen.extend)

        async def polled() -> None:
            before = [provider.listing.confirmed_at or 0.0 for provider in providers]
            await until(partial(all_confirmed, before, providers), "a poll of everybody", 30)

        await fault(pair, polled)
        assert [change for change in seen if change.kind != "changed"] == []
        assert len(ids(started[-1].api("default").find())) == CLIENTS
    # The last of them may have said it to the other replica.
    await asyncio.to_thread(until_sync, lambda: ids(started[-1].api("default").find()) == [], "all to be gone")


async def all_see(number: int, seen: list[int]) -> bool:
    return set(seen) == {number}


async def all_confirmed(before: list[float], providers: list[Provider]) -> bool:
    after = [provider.listing.confirmed_at or 0.0 for provider in providers]
    return all(new > old for new, old in zip(after, before, strict=True))
