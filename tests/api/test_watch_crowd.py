"""Many watchers of one replica: how soon do all of them hear of one change?

api-rules.md 3.9. The figure is printed (`pytest -rP`): reader and registry share this machine's cores, so it is an
upper bound for this machine and says nothing about sockets across a network.
"""

from __future__ import annotations

import resource
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.api import Api, ok
from tests.support.replica import replica
from tests.support.websocket import WebSocket, watch

WATCHERS = 2500
CONSUMERS = 25
WITHIN_S = 1.0


@pytest.fixture
def many_files() -> Iterator[None]:
    """Enough file descriptors for both ends; the registry is started with the same limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WATCHERS + 1000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} open files, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def api(many_files: None, redis_url: str, key_prefix: str) -> Iterator[Api]:
    """A tenant of a registry of its own, which no other test has to share with the crowd."""
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix) as process:
        yield process.api("tenant")


def gather(watchers: list[WebSocket]) -> dict[str, int]:
    """Read one event from each; how often each action came."""
    actions: dict[str, int] = {}
    with selectors.DefaultSelector() as selector:
        for watcher in watchers:
            selector.register(watcher, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=20)
            assert ready, f"{len(selector.get_map())} watchers were told nothing"
            for key, _ in ready:
                assert isinstance(key.fileobj, WebSocket)
                action = str(key.fileobj.next_event()["action"])
                actions[action] = actions.get(action, 0) + 1
                selector.unregister(key.fileobj)
    return actions


@pytest.mark.slow
def test_2500_watchers_of_one_replica_hear_of_a_change_within_a_second(api: Api) -> None:
    """A provider that crashes is called for as long as its callers do not know (3.9)."""
    service_id = api.service()
    consumers = [api.service(f"consumer{number}") for number in range(CONSUMERS)]
    for consumer_id in consumers:
        ok(api.find(consumer=consumer_id))
    with ExitStack() as stack:
        watchers = [stack.enter_context(watch(api, consumers[n % CONSUMERS])) for n in range(WATCHERS)]
        start = time.monotonic()
        instance_id = api.instance(service_id)
        assert gather(watchers) == {"CREATE": WATCHERS}
        created_s = time.monotonic() - start
        start = time.monotonic()
        ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
        assert gather(watchers) == {"DELETE": WATCHERS}
        deleted_s = time.monotonic() - start
    print(f"{WATCHERS} watchers: CREATE heard by all after {created_s:.3f} s, DELETE after {deleted_s:.3f} s")
    assert max(created_s, deleted_s) < WITHIN_S
