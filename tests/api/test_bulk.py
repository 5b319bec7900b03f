"""Many at once: batch delete of microservices, bulk status of instances, and registration with parts inline.

api-rules.md 3.2, 3.7, 9.3-10, 9.3-12.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_empty, assert_refused, ids, ok

# -- batch delete ------------------------------------------------------------------------------------------------------


def delete_many(api: Api, *service_ids: str, **members: Any) -> dict[str, str]:
    """Delete microservices; the error message of each, "" where there is none."""
    response = ok(api.call("DELETE", "/microservices", {"serviceIds": list(service_ids), **members}))
    elements = response.json()["services"]
    assert len({element["serviceId"] for element in elements}) == len(elements)
    return {element["serviceId"]: element.get("errMessage", "") for element in elements}


def test_batch_delete_deletes_each(api: Api) -> None:
    """One entry per id, without `errMessage` where it worked (3.2)."""
    one, two, kept = api.service("one"), api.service("two"), api.service("kept")
    response = ok(api.call("DELETE", "/microservices", {"serviceIds": [one, two]}))
    assert response.json() == {"services": [{"serviceId": one}, {"serviceId": two}]}
    assert [service["serviceId"] for service in api.get("/microservices").json()["services"]] == [kept]


def test_batch_delete_is_200_even_when_all_fail(api: Api, service_id: str) -> None:
    """With the reason beside each (3.2, 9.3-12)."""
    api.instance(service_id)
    errors = delete_many(api, service_id, "nobody")
    assert errors[service_id].startswith("Micro-service has deployed instance(s)(")
    assert errors["nobody"].startswith("Micro-service does not exist(")
    ok(api.get(f"/microservices/{service_id}"))


def test_batch_delete_with_force_deletes_what_has_instances_and_consumers(api: Api, service_id: str) -> None:
    """Without, each refuses as a single delete does (3.2)."""
    consumer_id = api.service("consumer")
    ok(api.find(consumer=consumer_id))
    api.instance(service_id)
    assert "consumed" in delete_many(api, service_id, force=False)[service_id]
    assert delete_many(api, service_id, consumer_id, force=True) == {service_id: "", consumer_id: ""}
    assert ok(api.get("/microservices")).body == b"{}"


def test_batch_delete_goes_on_after_a_failure(api: Api) -> None:
    """What can be deleted is (3.2)."""
    first, last = api.service("first"), api.service("last")
    assert delete_many(api, first, "nobody", last).keys() == {first, "nobody", last}
    assert ok(api.get("/microservices")).body == b"{}"


def test_repeated_ids_collapse(api: Api, service_id: str) -> None:
    """Else the second would fail (3.2)."""
    assert delete_many(api, service_id, service_id) == {service_id: ""}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "$.serviceIds"),
        ({"serviceIds": []}, "$.serviceIds"),
        ({"serviceIds": None}, "$.serviceIds"),
        ({"serviceIds": "s"}, "$.serviceIds"),
        ({"serviceIds": [""]}, "$.serviceIds[0]"),
        ({"serviceIds": ["s", "no body"]}, "$.serviceIds[1]"),
        ({"serviceIds": ["x" * 65]}, "$.serviceIds[0]"),
        ({"serviceIds": [None]}, "$.serviceIds[0]"),
        ({"serviceIds": ["s"], "force": "yes"}, "$.force"),
        ([], "$"),
        (b"", "$"),
    ],
)
def test_bad_batch_delete_is_refused_and_deletes_nothing(api: Api, body: Any, place: str) -> None:
    """3.2."""
    api.service(serviceId="s")
    assert_refused(api.call("DELETE", "/microservices", body), 400001, place)
    ok(api.get("/microservices/s"))


def test_registry_itself_is_not_deleted_in_a_batch(default_api: Api) -> None:
    """Not even by force (3.2)."""
    services = ok(default_api.get("/microservices?withShared=1")).json()["services"]
    own = next(service["serviceId"] for service in services if service["serviceName"] == "SERVICECENTER")
    assert "own service" in delete_many(default_api, own, force=True)[own]


# -- bulk status -------------------------------------------------------------------------------------------------------


def statuses(api: Api) -> dict[str, str]:
    found = ok(api.batch([{"service": {"serviceName": "*"}}])).json()["services"]["updated"][0].get("instances", [])
    return {instance["instanceId"]: instance["status"] for instance in found}


def set_statuses(api: Api, status: str, matches: Any = None) -> None:
    body = {"status": status} if matches is None else {"status": status, "matches": matches}
    assert_empty(api.put("/instances/status", body))


@pytest.fixture
def three(api: Api) -> None:
    """Instances `a` and `b` of one service and `c` of another, with properties in common."""
    one, two = api.service("one"), api.service("two")
    api.instance(one, instanceId="a", properties={"zone": "north", "lane": "1"})
    api.instance(one, instanceId="b", properties={"zone": "south", "lane": "1"})
    api.instance(two, instanceId="c", properties={"zone": "north"})


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("properties", "matched"),
    [
        ({"zone": "north"}, "ac"),
        ({"zone": "north", "lane": "1"}, "a"),
        ({"zone": "west"}, ""),
        ({"other": ""}, ""),
        ({}, "abc"),
        (None, "abc"),
    ],
)
def test_bulk_status_is_of_all_instances_that_hold_all_pairs(api: Api, properties: Any, matched: str) -> None:
    """Across services; no pairs match every instance, no match is no error (3.7, 9.3-13)."""
    set_statuses(api, "DOWN", {"properties": properties})
    assert statuses(api) == {name: "DOWN" if name in matched else "UP" for name in "abc"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("status", ["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"])
def test_bulk_status_may_be_any_status(api: Api, status: str) -> None:
    """D8; without `matches` all instances are meant (3.7)."""
    set_statuses(api, status)
    assert set(statuses(api).values()) == {status}


@pytest.mark.usefixtures("three")
def test_bulk_status_stays_within_its_tenant(api: Api) -> None:
    """An operator takes down one project, not all (3.7)."""
    other = Api(api.connection, api.domain, "another")
    other.instance(other.service(), instanceId="d")
    set_statuses(api, "DOWN")
    assert statuses(other) == {"d": "UP"}


def test_bulk_status_of_an_empty_tenant_is_done(api: Api) -> None:
    """3.7."""
    set_statuses(api, "DOWN")


def test_bulk_status_moves_revs_only_where_it_changes_something(api: Api) -> None:
    """Consumers are not sent the list again for nothing (5.2)."""
    one, two = api.service("one"), api.service("two")
    api.instance(one, status="DOWN")
    api.instance(two)
    revs = [api.find("one").rev, api.find("two").rev]
    set_statuses(api, "DOWN")
    assert api.find("one", rev=revs[0]).status == 304
    assert api.find("two", rev=revs[1]).status == 200


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "$.status"),
        ({"status": ""}, "$.status"),
        ({"status": None}, "$.status"),
        ({"status": "down"}, "$.status"),
        ({"status": "DOWN\n"}, "$.status"),
        ({"status": "DOWN", "matches": []}, "$.matches"),
        ({"status": "DOWN", "matches": {"properties": {"a": 1}}}, "$.matches.properties"),
        ([], "$"),
        (b"", "$"),
    ],
)
def test_bad_bulk_status_is_refused_and_changes_nothing(api: Api, body: Any, place: str) -> None:
    """3.7."""
    assert_refused(api.put("/instances/status", body), 400001, place)
    assert set(statuses(api).values()) == {"UP"}


@pytest.mark.slow
def test_bulk_status_of_many_instances(api: Api, service_id: str) -> None:
    """More than are changed at once, over several batches."""
    for number in range(600):
        api.instance(service_id, instanceId=f"i{number}")
    set_statuses(api, "DOWN")
    assert list(statuses(api).values()) == ["DOWN"] * 600


# -- registration with parts inline ------------------------------------------------------------------------------------


def register(api: Api, **parts: Any) -> Any:
    return api.post("/microservices", {"service": {"serviceName": "cart", "appId": "shop"}, **parts})


def test_tags_and_instances_are_registered_with_their_service(api: Api) -> None:
    """One request instead of three (3.2)."""
    parts = {"tags": {"zone": "north"}, "instances": [EXAMPLE_INSTANCE, {"hostName": "other", "instanceId": "i2"}]}
    service_id = ok(register(api, **parts)).json()["serviceId"]
    assert ok(api.get(f"/microservices/{service_id}/tags")).json() == {"tags": {"zone": "north"}}
    found = {i["hostName"]: i for i in ok(api.instances_of(service_id)).json()["instances"]}
    assert found.keys() == {"localhost", "other"}
    assert found["localhost"]["endpoints"] == EXAMPLE_INSTANCE["endpoints"]
    assert found["other"]["instanceId"] == "i2"


def test_parts_are_added_to_a_service_that_exists(api: Api, service_id: str) -> None:
    """Tags replace the whole set, instances join the others (3.2)."""
    ok(api.post(f"/microservices/{service_id}/tags", {"tags": {"old": "x"}}))
    old = api.instance(service_id)
    parts = {"tags": {"new": "x"}, "instances": [{"hostName": "h", "instanceId": "i"}]}
    assert ok(register(api, **parts)).json() == {"serviceId": service_id}
    assert ok(api.get(f"/microservices/{service_id}/tags")).json() == {"tags": {"new": "x"}}
    assert ids(api.find()) == sorted([old, "i"])


@pytest.mark.parametrize("parts", [{"tags": None, "instances": None}, {"tags": {}, "instances": []}, {}])
def test_no_parts_change_nothing(api: Api, service_id: str, parts: Any) -> None:
    """Java writes out every null: it must not clear the tags (3.2, clients.md 0.10)."""
    ok(api.post(f"/microservices/{service_id}/tags", {"tags": {"old": "x"}}))
    assert ok(register(api, **parts)).json() == {"serviceId": service_id}
    assert ok(api.get(f"/microservices/{service_id}/tags")).json() == {"tags": {"old": "x"}}


@pytest.mark.parametrize("rules", [[], [{"ruleType": "BLACK", "attribute": "x", "pattern": "y"}], None, "x"])
def test_rules_are_ignored(api: Api, rules: Any) -> None:
    """And alone they do not leave the client without an answer (3.2, 9.3-10)."""
    assert ok(register(api, rules=rules)).json().keys() == {"serviceId"}


def test_instance_that_fails_is_named_and_the_rest_is_registered(api: Api) -> None:
    """400001 with a combined detail, though the service stays registered (3.2)."""
    parts = [{"hostName": "h", "instanceId": "first"}, {"instanceId": "bad"}, {"hostName": "h", "instanceId": "last"}]
    response = register(api, tags={"zone": "north"}, instances=parts)
    assert_refused(response, 400001, "instances[1]")
    assert "hostName" in response.json()["detail"]
    assert ids(api.find()) == ["first", "last"]
    service_id = api.service()
    assert ok(api.get(f"/microservices/{service_id}/tags")).json() == {"tags": {"zone": "north"}}


def test_too_many_tags_fail_as_a_part(api: Api) -> None:
    """More than the quota of tags: the service and its instances are registered all the same (3.2, 7)."""
    tags = {f"t{number}": "x" for number in range(101)}
    assert_refused(register(api, tags=tags, instances=[{"hostName": "h", "instanceId": "i"}]), 400001, "QUOTA_TAG")
    assert ids(api.find()) == ["i"]


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"tags": {"9": "x"}}, "$.tags"),
        ({"tags": []}, "$.tags"),
        ({"instances": {}}, "$.instances"),
        ({"instances": [None]}, "$.instances[0]"),
        ({"instances": [{"hostName": 1}]}, "$.instances[0].hostName"),
    ],
)
def test_parts_that_cannot_be_read_refuse_the_whole_request(api: Api, parts: Any, place: str) -> None:
    """Nothing is registered (3.2)."""
    assert_refused(register(api, **parts), 400001, place)
    assert ok(api.get("/microservices")).body == b"{}"


def test_equal_inline_instances_are_one(api: Api) -> None:
    """Inline or not, the same endpoints are the same instance (D2)."""
    ok(register(api, instances=[EXAMPLE_INSTANCE, EXAMPLE_INSTANCE]))
    assert len(ids(api.find())) == 1
