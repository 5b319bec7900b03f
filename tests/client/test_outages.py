"""A registry that is killed, and one that comes back without its data, under a provider and a consumer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import AsyncRegistry, Change, HealthCheck, Instance, Options, watching
from tests.support.api import ids
from tests.support.replica import Replica
from tests.support.waiting import until

pytestmark = pytest.mark.slow

QUICK = Instance(health_check=HealthCheck("push", 0, 1, 3))


@pytest.fixture
def restarts(redis_url: str) -> Iterator[list[Replica]]:
    """Every registry that the test has started."""
    started: list[Replica] = []
    yield started
    for one in started:
        one.clean_up()


@pytest.mark.parametrize("keeps_its_data", [True, False])
async def test_registry_is_killed_and_started_again(
    redis_url: str, restarts: list[Replica], tmp_path: Path, keeps_its_data: bool
) -> None:
    """The instance is in it again, under its id; the consumer never sees it go."""
    prefixes = [f"outage-{uuid.uuid4().hex[:8]}:" for _ in range(2)]
    first = Replica("--redis-url", redis_url, "--redis-prefix", prefixes[0]).start()
    restarts.append(first)
    url = f"http://127.0.0.1:{first.port}"
    options = Options(url, poll_s=1.0, timeout_s=1.0, lock_folder=tmp_path)
    async with AsyncRegistry(options=options) as provider, AsyncRegistry(options=options) as consumer:
        one = await provider.register("shop/cart:1.0.0", ["rest://10.0.0.1:1"], instance=QUICK)
        cart = consumer.provider("shop/cart")
        await cart.ready()
        seen: list[Change] = []
        cart.on_change(seen.extend)
        first.kill()
        prefix = prefixes[0] if keeps_its_data else prefixes[1]
        second = Replica("--redis-url", redis_url, "--redis-prefix", prefix, port=first.port).start()
        restarts.append(second)
        api = second.api("default")
        await until(lambda: is_there(api.find), "the instance to be registered", 30.0)
        assert ids(api.find()) == [one.instance_id]
        confirmed = cart.listing.confirmed_at
        await until(lambda: said(cart.listing.confirmed_at != confirmed and not cart.listing.doubts), "two polls", 30.0)
        assert [change for change in seen if change.kind == "removed"] == []
        assert cart.pick().instance_id == one.instance_id
    assert ids(api.find()) == []


async def test_a_watch_that_was_lost_is_opened_anew(
    redis_url: str, restarts: list[Replica], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sometime in a while, so that the clients of a registry that was restarted do not come together."""
    monkeypatch.setattr(watching, "AGAIN_WITHIN_S", 0.4)
    options = ("--redis-url", redis_url, "--redis-prefix", f"outage-{uuid.uuid4().hex[:8]}:")
    restarts.append(Replica(*options).start())
    port = restarts[0].port
    async with AsyncRegistry(f"http://127.0.0.1:{port}", poll_s=600.0, lock_folder=tmp_path, learn=False) as client:
        await client.register("shop/cart:1.0.0", ["rest://10.0.0.1:1"], instance=QUICK)
        client.provider("shop/cart")
        await until(lambda: said(client.is_watching), "the watch")
        restarts[0].stop()
        await until(lambda: said(not client.is_watching), "the watch to be lost")
        restarts.append(Replica(*options, port=port).start())
        await until(lambda: said(client.is_watching), "the watch again")


async def is_there(find: object) -> bool:
    answer = find()  # type: ignore[operator]
    return answer.status == 200 and bool(ids(answer))


async def said(condition: bool) -> bool:
    return condition
