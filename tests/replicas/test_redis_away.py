"""Redis stops answering for a while: reads go on, writes say whose failure it is, and then everything goes on.

clients.md 0.5, 0.18; D17.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_refused, ids, ok
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def registry(server: RedisServer) -> Iterator[Replica]:
    """A registry that waits half a second for Redis."""
    with replica("--redis-url", server.url, "--redis-timeout-s", "0.5") as one:
        yield one


@pytest.fixture(scope="module")
def api(registry: Replica) -> Api:
    """A tenant with one instance, and another that tests write to without knowing whether it happens."""
    api = registry.api("away")
    api.instance(api.service(serviceId="s"), instanceId="i", **EXAMPLE_INSTANCE)
    api.instance(api.service("unsure", serviceId="unsure"), instanceId="u")
    return api


@pytest.fixture
def away(api: Api, server: RedisServer) -> Iterator[None]:
    """While the test runs Redis answers nobody."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
        until_sync(lambda: api.put("/microservices/s/instances/i/heartbeat").status == 200, "Redis to be back")


def test_reads_are_answered_from_the_view(api: Api, away: None) -> None:
    """Consumers keep finding their providers, also with a rev. What the view does not hold is not denied unread."""
    assert ids(api.find()) == ["i"]
    assert api.find(rev=api.find().rev).status == 304
    assert ids(api.find(rev="old")) == ["i"]
    assert_refused(api.find("nobody"), 500011)
    ok(api.batch([{"service": {"serviceName": "*"}}]))


def test_writes_fail_as_ours(api: Api, away: None) -> None:
    """500 with a code, in bounded time: the client may try again, and is not told that it was wrong."""
    assert_refused(api.register("unsure", instanceId="new"), 500011)
    assert_refused(api.put("/microservices/unsure/instances/u/status?value=DOWN"), 500011)
    assert_refused(api.delete("/microservices/unsure/instances/u"), 500011)


def test_heartbeat_is_neither_429_nor_503_nor_400017(api: Api, away: None) -> None:
    """kitex and hertz stop beating after one refusal, the others register anew on 400017 (clients.md 0.18)."""
    assert_refused(api.put("/microservices/s/instances/i/heartbeat"), 500011)


def test_repeated_registration_with_equal_content_waits_for_the_lease(api: Api, away: None) -> None:
    """It is a heartbeat; 200 would promise a lease that nobody granted."""
    assert_refused(api.register("s", instanceId="i", **EXAMPLE_INSTANCE), 500011)


def test_readiness_tells_after_a_while_and_takes_it_back(api: Api, server: RedisServer) -> None:
    """A balancer sends requests elsewhere: non-2xx and not 404, then 200 again (clients.md 0.5)."""
    server.pause()
    try:
        until_sync(lambda: api.get("/health/readiness").status == 503, "readiness to tell")
        assert ids(api.find()) == ["i"]
    finally:
        server.resume()
    until_sync(lambda: api.get("/health/readiness").status == 200, "readiness to take it back")
    ok(api.put("/microservices/s/instances/i/heartbeat"))


def test_write_that_failed_as_ours_may_be_repeated(api: Api) -> None:
    """It may have happened or not; sent again it leads to what was wanted either way."""
    ok(api.register("unsure", instanceId="new"))
    response = api.delete("/microservices/unsure/instances/u")
    assert response.status == 200 or response.json()["errorCode"] == "400017"
    assert ids(api.instances_of("unsure")) == ["new"]
    ok(api.put("/microservices/unsure/instances/new/heartbeat"))
