"""POST, GET, DELETE microservices: what consumers and providers are (api-rules.md 3.2, clients.md 0.13, 0.14)."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok


def post(api: Api, **members: Any) -> Any:
    return api.post("/microservices", {"service": members})


def test_defaults_are_filled_in(api: Api) -> None:
    """Application `default`, version 0.0.1, level BACK, status UP; empty members are left out (clients.md 0.11)."""
    service_id = ok(post(api, serviceName="cart")).json()["serviceId"]
    service = api.read_service(service_id)
    assert service.pop("timestamp") == service.pop("modTimestamp")
    assert service == {
        "serviceId": service_id,
        "appId": "default",
        "serviceName": "cart",
        "version": "0.0.1",
        "level": "BACK",
        "status": "UP",
    }


def test_everything_sent_is_stored(api: Api) -> None:
    """And comes back under the documented names (api-rules.md 3.0)."""
    sent = {
        "environment": "testing",
        "appId": "shop",
        "serviceName": "cart",
        "alias": "shop:cart",
        "version": "1.2.3.4",
        "description": "carts",
        "level": "FRONT",
        "schemas": ["one", "two"],
        "paths": [{"path": "/rest/cart", "property": {"checksession": "false"}}],
        "status": "DOWN",
        "properties": {"k": "v"},
        "registerBy": "SDK",
        "framework": {"name": "java-chassis", "version": "3.3.0"},
    }
    service = api.read_service(ok(post(api, **sent)).json()["serviceId"])
    assert {name: service.get(name) for name in sent} == sent


def test_members_of_null_are_absent(api: Api) -> None:
    """Java clients write out every null that they hold (clients.md 0.10)."""
    nulls = (
        "serviceId",
        "alias",
        "level",
        "registerBy",
        "timestamp",
        "modTimestamp",
        "environment",
        "schemas",
        "paths",
    )
    sent = {**dict.fromkeys(nulls), "serviceName": "cart", "framework": {"name": None, "version": None}}
    body = {"service": sent, "rules": None, "tags": None, "instances": None}
    service = api.read_service(ok(api.post("/microservices", body)).json()["serviceId"])
    assert None not in service.values()
    assert (service["level"], service["appId"]) == ("BACK", "default")


@pytest.mark.parametrize("environment", ["", "production"])
def test_generated_id_is_the_sha_1_of_the_reference(api: Api, environment: str) -> None:
    """Clients that cached an id survive a wiped store or a change of registry (D19, clients.md 0.14)."""
    service_id = api.service("cart", environment=environment, version="1.0")
    key = f"/cse-sr/ms/indexes/{api.domain}/{api.project}/{environment}/shop/cart/1.0"
    assert service_id == sha1(key.encode(), usedforsecurity=False).hexdigest()


def test_generated_id_survives_deletion(api: Api) -> None:
    """Delete and register again: the same id (api-rules.md 3.2)."""
    service_id = api.service()
    ok(api.delete(f"/microservices/{service_id}"))
    assert_refused(api.get(f"/microservices/{service_id}"), 400012)
    assert api.service() == service_id


def test_registering_again_is_the_same_service_and_changes_nothing(api: Api) -> None:
    """kitex, hertz and kratos always POST without asking first (clients.md 0.13)."""
    service_id = api.service(properties={"k": "v"})
    before = api.get(f"/microservices/{service_id}")
    assert api.service(properties={"k": "other"}, schemas=["new"], alias="a") == service_id
    after = api.get(f"/microservices/{service_id}")
    assert (after.body, after.position) == (before.body, before.position)


@pytest.mark.parametrize(
    "other", [{"environment": "testing"}, {"appId": "desk"}, {"name": "till"}, {"version": "1.0"}], ids=str
)
def test_another_key_is_another_service(api: Api, other: dict[str, str]) -> None:
    """Environment, application, name and version are the identity (api-rules.md 3.2)."""
    assert api.service() != api.service(**other)


def test_chosen_id_is_honoured_and_idempotent(api: Api) -> None:
    """The reference's load tests choose `test3` (clients.md 0.13)."""
    assert api.service(serviceId="test3") == "test3"
    assert api.service(serviceId="test3") == "test3"
    assert api.service() == "test3"


def test_another_chosen_id_for_a_known_key_is_400010(api: Api) -> None:
    """Two ids for one service would split its consumers (api-rules.md 3.2)."""
    api.service(serviceId="one")
    assert_refused(post(api, serviceName="cart", appId="shop", serviceId="two"), 400010, "one")


def test_known_id_for_another_key_is_400010(api: Api) -> None:
    """An id belongs to one service (api-rules.md 3.2)."""
    api.service(serviceId="one")
    assert_refused(post(api, serviceName="till", appId="shop", serviceId="one"), 400010, "one")


def test_alias_and_version_taken_answer_the_holder(api: Api) -> None:
    """Same application, alias and version is the same service under another name (api-rules.md 3.2)."""
    holder = api.service("cart", alias="both")
    assert api.service("till", alias="both") == holder
    assert_refused(post(api, serviceName="till", appId="shop", alias="both", serviceId="mine"), 400010)


ACCEPTED: dict[str, dict[str, Any]] = {
    "name of 1": {"serviceName": "c"},
    "name of 128": {"serviceName": "c" * 128},
    "name of every character": {"serviceName": "aZ0_.-9"},
    "application of 160": {"appId": "a" * 160},
    "version of four parts": {"version": "1.2.3.32767"},
    "version of one part": {"version": "0"},
    "environments": {"environment": "acceptance"},
    "id of 64": {"serviceId": "s" * 64},
    "alias of 128": {"alias": "a:" + "b" * 126},
    "description of 256 characters": {"description": "ü" * 256},
    "100 schemas": {"schemas": [f"s{n}" for n in range(100)]},
    "schema of 160": {"schemas": ["s" * 160]},
    "level": {"level": "MIDDLE"},
    "status": {"status": "DOWN"},
    "framework of 64": {"framework": {"name": "f" * 64, "version": "v" * 64}},
    "path": {"paths": [{"path": "/a/{b}?c=d&e#f"}]},
    "registered by nobody": {"registerBy": ""},
    "any property": {"properties": {"": "", "k": None}},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "name missing": ({"serviceName": None}, "$.service.serviceName"),
    "name empty": ({"serviceName": ""}, "$.service.serviceName"),
    "name of 129": ({"serviceName": "c" * 129}, "$.service.serviceName"),
    "name that ends in a dot": ({"serviceName": "cart."}, "$.service.serviceName"),
    "name that begins with a hyphen": ({"serviceName": "-cart"}, "$.service.serviceName"),
    "name of `*`": ({"serviceName": "*"}, "$.service.serviceName"),
    "name with a colon": ({"serviceName": "a:b"}, "$.service.serviceName"),
    "application of 161": ({"appId": "a" * 161}, "$.service.appId"),
    "version of five parts": ({"version": "1.2.3.4.5"}, "$.service.version"),
    "version beyond 32767": ({"version": "32768"}, "$.service.version"),
    "version with letters": ({"version": "v1"}, "$.service.version"),
    "version with a final line feed": ({"version": "1.0\n"}, "$.service.version"),
    "version of other digits": ({"version": "١"}, "$.service.version"),
    "a rule": ({"version": "1.0+"}, "$.service.version"),
    "environment unknown": ({"environment": "moon"}, "$.service.environment"),
    "id of 65": ({"serviceId": "s" * 65}, "$.service.serviceId"),
    "id with a space": ({"serviceId": "a b"}, "$.service.serviceId"),
    "alias of 129": ({"alias": "a" * 129}, "$.service.alias"),
    "alias with a slash": ({"alias": "a/b"}, "$.service.alias"),
    "description of 257": ({"description": "d" * 257}, "$.service.description"),
    "101 schemas": ({"schemas": ["s"] * 101}, "$.service.schemas"),
    "schema of 161": ({"schemas": ["ok", "s" * 161]}, "$.service.schemas[1]"),
    "schema with a space": ({"schemas": ["a b"]}, "$.service.schemas[0]"),
    "schema empty": ({"schemas": [""]}, "$.service.schemas[0]"),
    "level": ({"level": "TOP"}, "$.service.level"),
    "status": ({"status": "STARTING"}, "$.service.status"),
    "registered by whom": ({"registerBy": "HAND"}, "$.service.registerBy"),
    "framework name": ({"framework": {"name": "f" * 65}}, "$.service.framework.name"),
    "framework version": ({"framework": {"version": "v" * 65}}, "$.service.framework.version"),
    "path with a space": ({"paths": [{"path": "/a b"}]}, "$.service.paths[0].path"),
    "property a number": ({"properties": {"k": 1}}, "$.service.properties"),
}


@pytest.mark.parametrize("members", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_within_its_limits_it_is_registered(api: Api, members: dict[str, Any]) -> None:
    """What the documents allow must not be refused (api-rules.md 3.2)."""
    service_id = ok(post(api, **{"serviceName": "cart", **members})).json()["serviceId"]
    service = api.read_service(service_id)
    for name, value in members.items():
        if isinstance(value, str) and value:
            assert service[name] == value


@pytest.mark.parametrize(("members", "place"), REFUSED.values(), ids=REFUSED.keys())
def test_beyond_its_limits_it_is_refused_by_place(api: Api, members: dict[str, Any], place: str) -> None:
    """400001 with the place, and nothing is registered (api-rules.md 3.2)."""
    assert_refused(post(api, **{"serviceName": "cart", **members}), 400001, place)
    assert ok(api.get("/microservices")).body == b"{}"


@pytest.mark.parametrize("body", [{}, {"service": None}], ids=str)
def test_service_is_mandatory(api: Api, body: Any) -> None:
    """Missing or null (api-rules.md 3.2)."""
    assert_refused(api.post("/microservices", body), 400001, "$.service")


def test_get_of_the_unknown_is_400012(api: Api) -> None:
    """400 with 400012, never 404; an id that cannot be one is 400001 (api-rules.md 3.2)."""
    assert_refused(api.get("/microservices/nobody"), 400012, "nobody")
    assert_refused(api.get("/microservices/a%20b"), 400001, "serviceId")
    assert_refused(api.get("/microservices/" + "s" * 65), 400001, "serviceId")


def test_list_holds_all_services_of_the_tenant(api: Api) -> None:
    """Each as get-one shows it; with none it is exactly `{}` (clients.md 0.12)."""
    assert ok(api.get("/microservices")).body == b"{}"
    expected = sorted([api.service("one"), api.service("two", environment="testing"), api.service("two", appId="desk")])
    services = ok(api.get("/microservices")).json()["services"]
    assert sorted(service["serviceId"] for service in services) == expected
    assert all(service == api.read_service(service["serviceId"]) for service in services)


# -- deletion ----------------------------------------------------------------------------------------------------------


def test_service_without_instances_is_deleted(api: Api) -> None:
    """Gone from every answer; 200 without a body (D16)."""
    service_id = api.service()
    assert_empty(api.delete(f"/microservices/{service_id}"))
    assert_refused(api.get(f"/microservices/{service_id}"), 400012)
    assert_refused(api.find(), 400012)
    assert_refused(api.instances_of(service_id), 400012)
    assert_refused(api.delete(f"/microservices/{service_id}"), 400012)


@pytest.mark.parametrize("query", ["", "?force=", "?force=0", "?force=false"])
def test_service_with_instances_is_not_deleted(api: Api, query: str) -> None:
    """400013, and it serves on (api-rules.md 3.2)."""
    service_id = api.service()
    instance_id = api.instance(service_id)
    assert_refused(api.delete(f"/microservices/{service_id}{query}"), 400013)
    assert ids(api.find()) == [instance_id]


@pytest.mark.parametrize("query", ["?force=1", "?force=true"])
def test_force_deletes_the_instances_too(api: Api, query: str) -> None:
    """And they do not come back with a service of the same name (api-rules.md 3.2)."""
    service_id = api.service()
    instance_id = api.instance(service_id)
    assert_empty(api.delete(f"/microservices/{service_id}{query}"))
    heartbeat = f"/microservices/{service_id}/instances/{instance_id}/heartbeat"
    assert_refused(api.put(heartbeat), 400017)
    assert api.service() == service_id
    assert ids(api.find()) == []
    assert_refused(api.put(heartbeat), 400017)


@pytest.mark.parametrize("value", ["yes", "2", "-1"])
def test_any_other_force_is_refused(api: Api, value: str) -> None:
    """A typing mistake must not delete (api-rules.md 3.2)."""
    service_id = api.service()
    assert_refused(api.delete(f"/microservices/{service_id}?force={value}"), 400001, "`force`")
    api.read_service(service_id)


def test_deleting_one_version_leaves_the_others(api: Api) -> None:
    """The name goes with its last version."""
    old, new = api.service(version="1.0"), api.service(version="2.0")
    instance_id = api.instance(old)
    ok(api.delete(f"/microservices/{new}"))
    assert ids(api.find()) == ids(api.find(version="latest")) == [instance_id]
