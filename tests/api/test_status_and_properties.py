"""PUT …/status and both PUT …/properties: changes of what is registered.

Page "Modifying Status of a Microservice Instance"; api-rules.md 3.2 and 3.7; D8, D9, D16.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok


def status_path(service_id: str, instance_id: str, query: str) -> str:
    return f"/microservices/{service_id}/instances/{instance_id}/status{query}"


@pytest.mark.parametrize("status", ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"])
def test_each_status_can_be_set(api: Api, service_id: str, status: str) -> None:
    """The page, table 2: all five; the answer has no body (D8, D16)."""
    instance_id = api.instance(service_id, status="DOWN" if status == "UP" else "UP")
    assert_empty(api.put(status_path(service_id, instance_id, f"?value={status}")))
    assert api.read_instance(service_id, instance_id)["status"] == status


@pytest.mark.parametrize("query", ["", "?value=", "?value=up", "?value=SLEEPING", "?value=UP%0A", "?status=UP"])
def test_any_other_value_is_refused(api: Api, service_id: str, query: str) -> None:
    """Mandatory and exact; a refused value changes nothing."""
    instance_id = api.instance(service_id)
    assert_refused(api.put(status_path(service_id, instance_id, query)), 400001, "`value`")
    assert api.read_instance(service_id, instance_id)["status"] == "UP"


def test_status_change_moves_the_rev(api: Api, service_id: str) -> None:
    """Consumers that poll must see that an instance went OUTOFSERVICE (api-rules.md 5.2)."""
    instance_id = api.instance(service_id)
    rev = api.find().rev
    api.put(status_path(service_id, instance_id, "?value=OUTOFSERVICE"))
    found = api.find(rev=rev)
    assert found.status == 200
    assert found.rev != rev
    assert found.json()["instances"][0]["status"] == "OUTOFSERVICE"


def test_setting_the_same_status_changes_nothing(api: Api, service_id: str) -> None:
    """Equal content, equal rev: a script that sets UP every minute makes nobody pull."""
    instance_id = api.instance(service_id)
    before = api.find()
    assert_empty(api.put(status_path(service_id, instance_id, "?value=UP")))
    assert api.find().rev == before.rev


def test_status_is_all_that_changes(api: Api, service_id: str) -> None:
    """Endpoints, properties and creation time stay as they were."""
    instance_id = api.instance(service_id, endpoints=["rest://a:1"], properties={"k": "v"})
    before = api.read_instance(service_id, instance_id)
    api.put(status_path(service_id, instance_id, "?value=DOWN"))
    after = api.read_instance(service_id, instance_id)
    assert after | {"status": "UP", "modTimestamp": before["modTimestamp"]} == before


@pytest.mark.parametrize("way", ["by id", "by endpoints", "inline", "v3", "durable"])
@pytest.mark.parametrize("silent", [{}, {"status": None}, {"status": ""}], ids=["left out", "null", "blank"])
def test_registration_that_names_no_status_keeps_it(api: Api, way: str, silent: dict[str, None]) -> None:
    """What an operator has set outlives the client's next registration; a status that is named is set."""
    service = {"serviceName": "cart", "appId": "shop", "serviceId": "cart"}
    ok(api.post("/microservices", {"service": service}))
    instance = {"hostName": "h", "endpoints": ["rest://a:1"]} | ({} if way == "by endpoints" else {"instanceId": "i"})
    instance_id = api.instance("cart", **instance)
    assert_empty(api.put(f"/microservices/cart/instances/{instance_id}/status?value=OUTOFSERVICE"))

    def register(**members: str | None) -> str:
        body = {"instance": {**instance, **members}}
        if way == "inline":
            ok(api.post("/microservices", {"service": service, "instances": [body["instance"]]}))
        elif way == "v3":
            content, headers = json.dumps(body).encode(), {"X-Domain-Name": api.domain}
            ok(api.connection.request("POST", "/registry/v3/microservices/cart/instances", content, headers))
        else:
            headers = {"X-Registry-Durability": "memory"} if way == "durable" else {}
            ok(api.post("/microservices/cart/instances", body, headers))
        assert ids(api.find()) == [instance_id]
        return str(api.read_instance("cart", instance_id)["status"])

    rev = api.find().rev
    assert (register(**silent), api.find().rev) == ("OUTOFSERVICE", rev)
    assert register(hostName="moved", **silent) == "OUTOFSERVICE"
    assert register(status="UP") == "UP"


@pytest.mark.parametrize("status", ["DOWN", "OUTOFSERVICE"])
def test_instance_that_is_not_up_is_still_found(api: Api, service_id: str, status: str) -> None:
    """Every status is returned: consumers decide themselves (api-rules.md 3.6)."""
    instance_id = api.instance(service_id)
    api.put(status_path(service_id, instance_id, f"?value={status}"))
    assert ids(api.find()) == ids(api.instances_of(service_id)) == [instance_id]


def test_status_of_the_unknown_is_400017(api: Api, service_id: str) -> None:
    """Unknown instance or unknown service alike (clients.md 0.3)."""
    assert_refused(api.put(status_path(service_id, "nobody", "?value=UP")), 400017)
    assert_refused(api.put(status_path("nobody", "nobody", "?value=UP")), 400017)


def test_status_value_given_twice_is_refused(api: Api, service_id: str) -> None:
    """Which of two values was meant is not ours to guess."""
    instance_id = api.instance(service_id)
    assert_refused(api.put(status_path(service_id, instance_id, "?value=UP&value=DOWN")), 400001, "`value`")


# -- properties of an instance -----------------------------------------------------------------------------------------


def properties_path(service_id: str, instance_id: str = "") -> str:
    return f"/microservices/{service_id}" + (f"/instances/{instance_id}" if instance_id else "") + "/properties"


def test_instance_properties_are_replaced(api: Api, service_id: str) -> None:
    """All of them: what is not sent is gone (api-rules.md 3.7)."""
    instance_id = api.instance(service_id, properties={"old": "1", "kept": "1"})
    assert_empty(api.put(properties_path(service_id, instance_id), {"properties": {"kept": "2", "new": "3"}}))
    assert api.read_instance(service_id, instance_id)["properties"] == {"kept": "2", "new": "3"}


@pytest.mark.parametrize("body", [{}, {"properties": {}}, {"properties": None}], ids=str)
def test_missing_instance_properties_clear_them(api: Api, service_id: str, body: Any) -> None:
    """Missing, empty and null are the same: none (api-rules.md 3.7)."""
    instance_id = api.instance(service_id, properties={"old": "1"})
    assert_empty(api.put(properties_path(service_id, instance_id), body))
    assert "properties" not in api.read_instance(service_id, instance_id)


def test_null_as_a_property_is_an_empty_text(api: Api, service_id: str) -> None:
    """As Go decodes null into a string map (api-rules.md 1.2)."""
    instance_id = api.instance(service_id)
    api.put(properties_path(service_id, instance_id), {"properties": {"k": None}})
    assert api.read_instance(service_id, instance_id)["properties"] == {"k": ""}


def test_changed_properties_move_the_rev_and_equal_ones_do_not(api: Api, service_id: str) -> None:
    """The rev follows the content, in any order of the members (api-rules.md 5.2)."""
    instance_id = api.instance(service_id, properties={"a": "1", "b": "2"})
    first = api.find().rev
    api.put(properties_path(service_id, instance_id), {"properties": {"b": "2", "a": "1"}})
    assert api.find().rev == first
    api.put(properties_path(service_id, instance_id), {"properties": {"a": "1"}})
    assert api.find().rev != first


def test_ids_in_a_properties_body_are_ignored(api: Api, service_id: str) -> None:
    """In the reference they override the path, so one could change another's properties: not here (D9)."""
    mine, other = api.instance(service_id, instanceId="mine"), api.instance(service_id, instanceId="other")
    body = {"serviceId": service_id, "instanceId": other, "properties": {"k": "v"}}
    api.put(properties_path(service_id, mine), body)
    assert api.read_instance(service_id, mine)["properties"] == {"k": "v"}
    assert "properties" not in api.read_instance(service_id, other)


@pytest.mark.parametrize(("properties", "place"), [([], "$.properties"), ({"k": 1}, "$.properties")], ids=str)
def test_bad_instance_properties_are_refused(api: Api, service_id: str, properties: Any, place: str) -> None:
    """Values are texts."""
    instance_id = api.instance(service_id, properties={"k": "v"})
    assert_refused(api.put(properties_path(service_id, instance_id), {"properties": properties}), 400001, place)
    assert api.read_instance(service_id, instance_id)["properties"] == {"k": "v"}


def test_properties_of_an_unknown_instance_are_400017(api: Api, service_id: str) -> None:
    """Unknown instance or unknown service alike (clients.md 0.3)."""
    assert_refused(api.put(properties_path(service_id, "nobody"), {}), 400017)
    assert_refused(api.put(properties_path("nobody", "nobody"), {}), 400017)


# -- properties of a microservice --------------------------------------------------------------------------------------


def test_service_properties_are_replaced(api: Api, service_id: str) -> None:
    """All of them, and the rest of the service stays (api-rules.md 3.2)."""
    api.put(properties_path(service_id), {"properties": {"old": "1"}})
    assert_empty(api.put(properties_path(service_id), {"properties": {"new": "2"}}))
    service = api.read_service(service_id)
    assert (service["properties"], service["serviceName"]) == ({"new": "2"}, "cart")
    assert_empty(api.put(properties_path(service_id), {}))
    assert "properties" not in api.read_service(service_id)


def test_framework_beside_service_properties_is_accepted(api: Api, service_id: str) -> None:
    """java-chassis 3.x sends it, and starts its registration over when the call fails (api-rules.md 9.1-7)."""
    body = {"properties": {"k": "v"}, "framework": {"name": "java", "version": None}, "serviceId": "other"}
    assert_empty(api.put(properties_path(service_id), body))
    assert api.read_service(service_id)["properties"] == {"k": "v"}


def test_properties_of_an_unknown_service_are_400012(api: Api) -> None:
    """400, not 404 (clients.md 0.3)."""
    assert_refused(api.put(properties_path("nobody"), {}), 400012)


def test_service_properties_do_not_move_the_rev_of_its_instances(api: Api, service_id: str) -> None:
    """They are no part of what a find answers (api-rules.md 5.2)."""
    api.instance(service_id)
    rev = api.find().rev
    api.put(properties_path(service_id), {"properties": {"k": "v"}})
    assert api.find(rev=rev).status == 304
