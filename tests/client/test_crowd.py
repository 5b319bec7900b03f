"""Many clients of two replicas, through a rolling restart of both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
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


async def test_no_instance_is_lost_and_no_empty_list_is_seen_in_a_rolling_restart(
    redis_url: str, started: list[Replica], tmp_path: Path
) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", f"crowd-{os.getpid()}:")
    started += [Replica(*options).start(), Replica(*options).start()]
    servers = [f"http://127.0.0.1:{one.port}" for one in started]
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
        for one in started[:2]:
            await asyncio.to_thread(one.stop)
            again = await asyncio.to_thread(Replica(*options, port=one.port).start)
            started.append(again)
            before = [provider.listing.confirmed_at or 0.0 for provider in providers]
            await until(partial(all_confirmed, before, providers), "a poll of everybody", 30)
        assert [change for change in seen if change.kind != "changed"] == []
        assert len(ids(started[-1].api("default").find())) == CLIENTS
    # The last of them may have said it to the other replica.
    await asyncio.to_thread(until_sync, lambda: ids(started[-1].api("default").find()) == [], "all to be gone")


async def all_see(number: int, seen: list[int]) -> bool:
    return set(seen) == {number}


async def all_confirmed(before: list[float], providers: list[Provider]) -> bool:
    after = [provider.listing.confirmed_at or 0.0 for provider in providers]
    return all(new > old for new, old in zip(after, before, strict=True))
