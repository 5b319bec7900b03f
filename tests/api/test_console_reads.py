"""What the console reads and every client may: catalog, explained finds, leases, schemas as documents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ok
from tests.support.http import Response


def own(api: Api, path: str, headers: dict[str, str] | None = None) -> Response:
    target = f"/v1/{api.project}/{path}"
    return api.connection.request("GET", target, None, {"X-Domain-Name": api.domain, **(headers or {})})


# -- catalog -----------------------------------------------------------------------------------------------------------


def test_the_catalog_tells_what_has_changed_since(api: Api) -> None:
    cart, till = api.service("cart"), api.service("till")
    api.instance(cart, status="UP")
    before = ok(own(api, "catalog"))
    rows = {row["service"]["serviceId"]: row for row in before.json()["services"]}
    assert {id: row.get("instances", {}) for id, row in rows.items()} == {cart: {"UP": 1}, till: {}}
    position = before.header("X-Registry-Position")
    assert own(api, f"catalog?since={position}").status == 304
    api.instance(till, status="DOWN")
    after = ok(own(api, f"catalog?since={position}")).json()
    assert [row["service"]["serviceId"] for row in after["services"]] == [till]
    assert (after["services"][0]["instances"], after["total"], after["next"]) == ({"DOWN": 1}, 2, 0)


@pytest.mark.parametrize(
    ("query", "at"), [("since=yesterday", "`since`"), ("offset=-1", "`offset`"), ("offset=9999999999", "`offset`")]
)
def test_a_bad_place_in_the_catalog_is_refused(api: Api, query: str, at: str) -> None:
    assert_refused(own(api, f"catalog?{query}"), 400001, at)


# -- finds explained ---------------------------------------------------------------------------------------------------


def test_an_explained_find_is_the_find_and_records_nothing(api: Api) -> None:
    """To try something must not change who depends on whom."""
    cart = api.service("cart", version="1.0.0")
    newer = api.service("cart", version="2.0.0")
    till = api.service("till")
    api.instance(cart)
    consumer = {"X-ConsumerId": till}
    explained: dict[str, Any] = ok(own(api, "find/explain?appId=shop&serviceName=cart&version=1.0.0", consumer)).json()
    against = {one["serviceId"]: one.get("against", []) for one in explained["candidates"]}
    assert against == {cart: [], newer: ["version"]}
    assert ok(api.get(f"/microservices/{till}/providers")).json() == {}
    found = ok(api.find("cart", consumer=till, version="1.0.0"))
    assert (explained["rev"], explained["answer"]) == (found.rev, found.json())


def test_an_explained_refusal_names_the_code_and_the_candidates(api: Api) -> None:
    cart = api.service("cart", environment="production")
    explained = ok(own(api, "find/explain?appId=shop&serviceName=cart")).json()
    assert explained["refused"]["errorCode"] == "400012"
    assert [(one["serviceId"], one["against"]) for one in explained["candidates"]] == [(cart, ["environment"])]
    assert_refused(own(api, "find/explain?appId=shop&serviceName=cart", {"X-ConsumerId": "nobody"}), 400012)
    assert_refused(own(api, "find/explain?appId=shop"), 400001, "serviceName")


# -- search ------------------------------------------------------------------------------------------------------------


def test_instances_are_found_by_a_part_of_their_host_or_address(api: Api) -> None:
    """Somebody has an address from a log, and asks whose it is."""
    cart, till = api.service("cart"), api.service("till")
    api.instance(cart, instanceId="a", hostName="Node-7.prod", endpoints=["rest://10.0.3.17:8080"], status="UP")
    api.instance(till, instanceId="b", hostName="node-8.prod", endpoints=["rest://10.0.3.170:8080"], status="DOWN")

    def found(query: str) -> list[str]:
        answer = ok(own(api, f"instances?{query}")).json()
        assert answer["total"] == len(answer["instances"])
        return [one["instanceId"] for one in answer["instances"]]

    assert found("text=node") == ["a", "b"]
    assert found("text=10.0.3.17:") == ["a"]
    assert found("text=prod+NODE-8") == ["b"]
    assert found("text=node&status=DOWN") == ["b"]
    assert found("text=cart") == []
    assert ok(own(api, "instances?text=10.0.3.17:")).json()["instances"] == [api.read_instance(cart, "a")]
    assert_refused(own(api, "instances?text=+"), 400001, "`text`")
    assert_refused(own(api, f"instances?text={257 * 'a'}"), 400001, "`text`")


# -- leases ------------------------------------------------------------------------------------------------------------


def test_a_lease_tells_what_is_left_of_it(api: Api) -> None:
    cart = api.service()
    health = {"mode": "push", "interval": 100, "times": 2}
    instance_id = api.instance(cart, healthCheck=health)
    lease = ok(own(api, f"leases/{cart}/{instance_id}")).json()
    assert lease["ttlMs"] == 300_000
    assert 290_000 < lease["leftMs"] <= 300_000
    assert lease["lastBeatThrough"] == "", "nobody has renewed it"
    ok(api.put(f"/microservices/{cart}/instances/{instance_id}/heartbeat"))
    [event] = ok(own(api, f"history?instanceId={instance_id}")).json()["events"]
    assert ok(own(api, f"leases/{cart}/{instance_id}")).json()["lastBeatThrough"] == event["replica"] != ""
    assert_refused(own(api, f"leases/{cart}/nobody"), 400017)
    assert_refused(own(api, f"leases/nobody/{instance_id}"), 400017)


# -- schemas as documents ----------------------------------------------------------------------------------------------


def test_a_schema_is_told_as_a_document_or_why_not(api: Api) -> None:
    cart = api.service("cart", schemas=["good", "bad", "large", "none"])
    texts = {"good": "paths: {/a: {}}", "bad": "a: [", "large": "#" * 600_000}
    for schema_id, text in texts.items():
        ok(api.put(f"/microservices/{cart}/schemas/{schema_id}", {"schema": text, "summary": "s"}))
    good, bad, large = (ok(own(api, f"schemas/{cart}/{schema_id}")).json() for schema_id in texts)
    assert good == {"schemaId": "good", "summary": "s", "schema": texts["good"], "document": {"paths": {"/a": {}}}}
    assert (bad["schema"], bad["problem"]) == (texts["bad"], "it is no YAML (line 2)")
    assert "more than 524288 bytes" in large["problem"]
    assert_refused(own(api, f"schemas/{cart}/none"), 400016)
