"""GET admin/dump, admin/clusters, GET and DELETE admin/alarms, and health while the store is away.

api-rules.md 3.15 and 3.1. The dump's keys are tested in tests/unit/test_dump.py, alarms in test_alarms.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ok
from tests.support.http import Response
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync


def admin(api: Api, path: str, method: str = "GET") -> Response:
    target = f"/v4/{api.project}/admin/{path}"
    return api.connection.request(method, target, None, {"X-Domain-Name": api.domain})


def test_dump_holds_the_registrys_own_service(default_api: Api) -> None:
    """The reference's suite expects at least one service (clients.md 0.19)."""
    cache = ok(admin(default_api, "dump")).json()["cache"]
    own = [entry for entry in cache["services"] if entry["value"]["serviceName"] == "SERVICECENTER"]
    assert own[0]["key"] == f"/cse-sr/ms/files/default/default/{own[0]['value']['serviceId']}"
    assert own[0]["cluster"] == "default"
    assert isinstance(own[0]["rev"], int)


def test_dump_holds_all_tenants(api: Api, default_api: Api, service_id: str) -> None:
    instance_id = api.instance(service_id)
    keys = [entry["key"] for entry in ok(admin(default_api, "dump")).json()["cache"]["instances"]]
    assert f"/cse-sr/inst/files/{api.domain}/default/{service_id}/{instance_id}" in keys


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ("", {"cache"}),
        ("cache", {"cache"}),
        ("info", {"info"}),
        ("info,cache", {"info", "cache"}),
        ("all", {"info", "cache"}),
        ("nonsense", set()),
    ],
)
def test_dump_options(default_api: Api, options: str, members: set[str]) -> None:
    """A comma list; the cache when nothing is asked for."""
    assert set(ok(admin(default_api, f"dump?options={options}")).json()) == members


def test_dump_info_is_the_version(default_api: Api) -> None:
    info = ok(admin(default_api, "dump?options=info")).json()["info"]
    version = ok(default_api.get("/version")).json()
    assert version == {**info, "apiVersion": "4.0.0"}


def test_dump_is_for_the_default_tenant_only(api: Api, default_api: Api) -> None:
    """It shows every tenant's data."""
    assert_refused(admin(api, "dump"), 403001)
    assert_refused(admin(Api(default_api.connection, "default", "other"), "dump"), 403001)


def test_clusters_name_the_replicas(api: Api, registry: Replica) -> None:
    """The registry's replicas are the one cluster, whatever tenant asks."""
    assert ok(admin(api, "clusters")).json() == {"clusters": {"default": [f"rest://{registry.host}:{registry.port}/"]}}


# -- alarms ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis that the test may pause."""
    with redis_server() as server:
        yield server


@pytest.fixture
def alarmed(redis: RedisServer) -> Iterator[Api]:
    """A client of a registry of its own, which soon gives up on a silent Redis."""
    with replica("--redis-url", redis.url, "--redis-timeout-s", "0.2") as process:
        yield process.api("default")


def test_no_alarms_are_exactly_braces(alarmed: Api) -> None:
    """A client's mistake is none."""
    assert_refused(alarmed.put("/microservices/nobody/instances/nobody/heartbeat"), 400017)
    assert ok(admin(alarmed, "alarms")).body == b"{}"


@pytest.mark.slow
def test_a_silent_store_raises_alarms_until_it_answers(alarmed: Api, redis: RedisServer) -> None:
    """And `health` says so meanwhile: 400002 (api-rules.md 3.1). The internal error stays until it is deleted."""
    service_id = alarmed.service()
    ok(alarmed.get("/health"))
    redis.pause()
    assert_refused(alarmed.register(service_id), 500011)
    alarms = {alarm["id"]: alarm for alarm in ok(admin(alarmed, "alarms")).json()["alarms"]}
    assert {id: alarm["status"] for id, alarm in alarms.items()} == {
        "InternalError": "ACTIVATED",
        "BackendConnectionRefuse": "ACTIVATED",
    }
    assert alarms["BackendConnectionRefuse"]["fields"]["detail"]
    assert_refused(alarmed.get("/health"), 400002)

    redis.resume()
    until_sync(lambda: alarmed.get("/health").status == 200, "health to be good again")
    statuses = {alarm["id"]: alarm["status"] for alarm in ok(admin(alarmed, "alarms")).json()["alarms"]}
    assert statuses == {"InternalError": "ACTIVATED", "BackendConnectionRefuse": "CLEARED"}

    assert_empty(admin(alarmed, "alarms", "DELETE"))
    assert ok(admin(alarmed, "alarms")).body == b"{}"
