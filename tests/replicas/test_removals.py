"""Removals: who removed what, from where and through which replica, stands in the log of that replica, and only there.

By every way in; an expiry's line is held by test_expiry.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from registry.log_bursts import SAID_MAX, WITHIN_S
from tests.support.api import Api, ids, ok
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

ACTOR = "127.0.0.1"
MANY = 300


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def api(replicas: list[Replica], tenant: str) -> Api:
    """Shop/cart 0.0.1 (`cart`) with two instances."""
    api = replicas[0].api(tenant)
    api.service(serviceId="cart")
    for name in ("a", "b"):
        api.instance("cart", instanceId=name)
    return api


def removals(one: Replica, tenant: str) -> list[dict[str, Any]]:
    """The lines about this tenant's removals."""
    actions = ("instance_unregistered", "service_unregistered")
    return [r for action in actions for r in one.said(action) if r.get("tenant") == f"{tenant}/default"]


def line(replicas: list[Replica], tenant: str) -> dict[str, Any]:
    """The one line that there is on all of them, which is the first one's, that was asked."""
    until_sync(lambda: bool(removals(replicas[0], tenant)), "the line")
    (record,) = removals(replicas[0], tenant)
    for one in replicas[1:]:
        ok(one.api(tenant).get("/microservices", {"X-Registry-Position": record["position"]}))
    assert [removals(one, tenant) for one in replicas[1:]] == [[], []]
    assert (record["actor"], record["through"]) == (ACTOR, f"127.0.0.1:{replicas[0].port}")
    return record


def v4(api: Api, path: str) -> None:
    ok(api.delete(path))


def v3(api: Api, path: str) -> None:
    headers = {"X-Tenant-Name": api.domain}
    ok(api.connection.request("DELETE", f"/registry/v3{path}", headers=headers))


@pytest.mark.parametrize("delete", [v4, v3])
def test_a_deregistration_leaves_a_line(
    replicas: list[Replica], api: Api, tenant: str, delete: Callable[[Api, str], None]
) -> None:
    """What it was for a person, where it stands in the tenant's log for who wants to look it up."""
    delete(api, "/microservices/cart/instances/a")
    record = line(replicas, tenant)
    assert record["message"] == (
        f"instance a of service cart (shop/cart/0.0.1) was unregistered by {ACTOR} through {record['through']}"
    )
    assert record["position"] == api.find().position


@pytest.mark.parametrize("delete", [v4, v3])
def test_a_forced_deletion_says_what_went_with_it(
    replicas: list[Replica], api: Api, tenant: str, delete: Callable[[Api, str], None]
) -> None:
    delete(api, "/microservices/cart?force=true")
    record = line(replicas, tenant)
    assert record["message"] == (
        f"service cart (shop/cart/0.0.1) was unregistered by {ACTOR} through {record['through']}, with 2 instances"
    )
    assert record["instances"] == ["a", "b"]


def test_a_batch_deletion_leaves_a_line_for_each(replicas: list[Replica], api: Api, tenant: str) -> None:
    """Not for those that it did not remove."""
    api.service("other", serviceId="other")
    kept = api.service("kept")
    api.instance(kept)
    ok(api.call("DELETE", "/microservices", {"serviceIds": ["other", kept, "nobody"]}))
    assert line(replicas, tenant)["message"].startswith("service other (shop/other/0.0.1) was unregistered by")
    ok(api.call("DELETE", "/microservices", {"serviceIds": ["cart", kept], "force": True}))
    until_sync(lambda: len(removals(replicas[0], tenant)) == 3, "both lines")


def test_what_is_refused_leaves_no_line(replicas: list[Replica], api: Api, tenant: str) -> None:
    assert api.delete("/microservices/cart").status == 400
    assert api.delete("/microservices/cart/instances/nobody").status == 400
    ok(api.delete("/microservices/cart/instances/a"))
    assert " a of " in line(replicas, tenant)["message"]


def test_a_forced_deletion_of_many_is_one_line(replicas: list[Replica], api: Api, tenant: str) -> None:
    """With their number, and some of them."""
    body = {"service": {"serviceName": "large", "serviceId": "large", "appId": "shop"}}
    for part in range(MANY // 100):
        instances = [{"hostName": "h", "instanceId": f"i{part}-{number}"} for number in range(100)]
        ok(api.post("/microservices", {**body, "instances": instances}))
    ok(api.delete("/microservices/large?force=true"))
    record = line(replicas, tenant)
    assert record["message"].endswith(f"with {MANY} instances")
    assert 0 < len(record["instances"]) < 20


def test_many_removals_at_once_are_a_few_lines_and_a_number(redis_url: str, tenant: str) -> None:
    """With what is needed to see the others: whose they are, and where they stand in the log."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"many-{tenant}:") as one:
        api = one.api(tenant)
        api.service(serviceId="cart")
        for number in range(MANY):
            api.instance("cart", instanceId=f"i{number}")
        for number in range(MANY):
            ok(api.delete(f"/microservices/cart/instances/i{number}"))
        assert ids(api.find()) == []

        def is_complete() -> bool:
            counted: int = sum(r.get("unsaid", 1) for r in one.said("instance_unregistered"))
            return counted == MANY

        until_sync(is_complete, "the number of the others", 2 * WITHIN_S)
        *_, last = one.said("instance_unregistered")
        assert len(one.said("instance_unregistered")) < MANY / 2 + SAID_MAX
        assert f" of {tenant}/default, positions " in last["message"]


def test_who_leaves_by_itself_is_the_registry(redis_url: str, tenant: str) -> None:
    """A replica that stops takes itself out of the list."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"own-{tenant}:") as one:
        assert one.stop() == 0
        (record,) = one.said("instance_unregistered")
        assert record["actor"] == "registry"
        assert "(default/SERVICECENTER/" in record["message"]
