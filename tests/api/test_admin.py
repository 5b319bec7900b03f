"""GET admin/dump, admin/clusters, GET and DELETE admin/alarms, and health while the store is away.

api-rules.md 3.15 and 3.1. The dump's keys are tested in tests/unit/test_dump.py, alarms in test_alarms.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from registry.http_api.operations import OPERATIONS
from registry.settings import Settings, variable
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


@pytest.mark.slow
def test_health_is_as_bad_as_readiness_though_nobody_writes(alarmed: Api, redis: RedisServer) -> None:
    """The registry asks the store by itself: at night nobody else would notice."""
    redis.pause()
    try:
        until_sync(lambda: alarmed.get("/health/readiness").status == 503, "readiness to say it", 20)
        until_sync(lambda: alarmed.get("/health").status == 400, "health to say it")
        assert_refused(alarmed.get("/health"), 400002)
    finally:
        redis.resume()
    until_sync(lambda: alarmed.get("/health").status == 200, "health to be good again")


# -- how everything is ------------------------------------------------------------------------------------------------


def test_replicas_tell_how_they_are(redis_url: str) -> None:
    """Any of them is asked, and tells it of all: a console stands behind one address."""
    options = ("--redis-url", redis_url, "--redis-prefix", "roster:")
    with replica(*options) as one, replica(*options) as other:
        addresses = {f"127.0.0.1:{process.port}" for process in (one, other)}
        api = one.api("default")

        def listed() -> list[dict[str, Any]]:
            found = ok(admin(api, "replicas")).json()["replicas"]
            assert isinstance(found, list)
            return found

        until_sync(lambda: {row["address"] for row in listed()} == addresses, "both replicas to be listed")
        api.instance(api.service("roster"))
        ok(api.find("roster"))
        own = listed()[0]
        assert own["address"] == f"127.0.0.1:{one.port}", "the one that answers comes first"
        assert (own["notReady"], own["lag"], own["differing"], own["finds"]) == ("", 0, 0, 1)
        assert own["memoryBytes"] > 10_000_000
        assert own["startedMs"] <= own["atMs"]
        until_sync(lambda: {row["position"] for row in listed()} == {own["position"]}, "both to be at one position")
        other.kill()
        until_sync(lambda: len(listed()) == 1, "the one that is gone to be listed no more", 20.0)


def test_the_store_tells_what_it_is(default_api: Api) -> None:
    about = ok(admin(default_api, "store")).json()
    assert about["program"] in ("Redis", "Valkey")
    assert about["version"][0].isdigit()
    assert (about["mode"], about["servers"], about["limitBytes"]) == ("server", 1, 0)
    assert about["usedBytes"] > 100_000
    assert "append-only file" in about["persistence"]


def test_settings_in_force_are_told_without_secrets(redis_url: str) -> None:
    """What runs is what counts, and a password in the store's URL is nobody's business."""
    url = redis_url + "?client_name=" + "hidden-here"
    with replica("--redis-url", url, "--redis-prefix", "told:", environment={"QUOTA_TAG": "7"}) as process:
        response = ok(admin(process.api("default"), "settings"))
        settings = {one["name"]: one for one in response.json()["settings"]}
    assert set(settings) == {variable(one.name) for one in fields(Settings)}
    assert (settings["QUOTA_TAG"]["value"], settings["QUOTA_TAG"]["isDefault"]) == ("7", False)
    assert (settings["REGISTRY_CONSOLE"]["value"], settings["REGISTRY_CONSOLE"]["isDefault"]) == ("on", True)
    assert settings["REGISTRY_REDIS_URL"]["value"] == "(set, not shown)"
    assert b"hidden-here" not in response.body


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_private_redis_is_no_setting_that_somebody_changed(tmp_path: Path, workers: str) -> None:
    with replica("--data-dir", str(tmp_path), "--workers", workers) as process:
        told = ok(admin(process.api("default"), "settings")).json()["settings"]
    changed = {one["name"]: one["value"] for one in told if not one["isDefault"]}
    assert "REGISTRY_REDIS_URL" not in changed
    assert changed["REGISTRY_DATA_DIR"] == str(tmp_path)


def test_tenants_are_told_to_the_default_one_only(api: Api, default_api: Api) -> None:
    api.instance(api.service())
    (row,) = [row for row in ok(admin(default_api, "tenants")).json()["tenants"] if row["domain"] == api.domain]
    assert (row["project"], row["services"], row["instances"], row["setAside"]) == ("default", 1, 1, False)
    assert row["bytes"] > 0
    assert_refused(admin(api, "tenants"), 403001)


# -- from where --------------------------------------------------------------------------------------------------------

ADMIN = [
    *(("GET", "dump"), ("GET", "dump?options=info"), ("GET", "clusters"), ("GET", "alarms"), ("DELETE", "alarms")),
    *(("GET", "replicas"), ("GET", "store"), ("GET", "settings"), ("GET", "tenants")),
]


@pytest.fixture(scope="module")
def elsewhere(redis_url: str) -> Iterator[Replica]:
    """A registry that is looked after from another network."""
    environment = {"REGISTRY_ADMIN_FROM": "192.0.2.0/24,2001:db8::/32"}
    with replica("--redis-url", redis_url, "--redis-prefix", "elsewhere:", environment=environment) as process:
        yield process


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_admin_is_refused_from_outside_its_networks(elsewhere: Replica, method: str, path: str) -> None:
    """A dump shows everything of all tenants to anyone who asks as the default one."""
    api = elsewhere.api("default")
    assert_refused(admin(api, path, method), 403001, "/admin may not be used from 127.0.0.1 (REGISTRY_ADMIN_FROM)")


def test_admin_is_known_by_its_operation_and_nothing_else_is_refused(elsewhere: Replica) -> None:
    """Another spelling of the path is no way in; and clients are not those who look after the registry."""
    api = elsewhere.api("default")
    head = api.connection.request("HEAD", "/v4/default/admin/dump", None, {})
    assert head.status == 403
    assert_refused(api.connection.request("GET", "/v4/default/%61dmin/dump", None, {}), 403001)
    ok(api.get("/microservices"))
    ok(api.connection.request("GET", "/metrics", None, {}))
    ok(api.connection.request("GET", "/v4/default/govern/microservices", None, {}))


@pytest.mark.parametrize("networks", ["127.0.0.1", "127.0.0.0/8,10.0.0.0/8"])
def test_admin_is_answered_inside_its_networks(redis_url: str, networks: str) -> None:
    environment = {"REGISTRY_ADMIN_FROM": networks}
    with replica("--redis-url", redis_url, "--redis-prefix", "inside:", environment=environment) as process:
        for method, path in ADMIN:
            assert admin(process.api("default"), path, method).status == 200


def test_every_path_below_admin_is_limited() -> None:
    """One that is added is not forgotten."""
    below = [operation.name for operation in OPERATIONS if operation.path.startswith("/v4/{project}/admin/")]
    assert below == [operation.name for operation in OPERATIONS if operation.is_admin]
    assert len(below) == 8
