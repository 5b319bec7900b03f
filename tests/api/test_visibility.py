"""Who may see whose instances: applications, environments, and what is shared with everyone.

api-rules.md 3.5, 3.6, 3.8, 3.2 (withShared), D4, 9.3-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok, wanted, wanted_instance
from tests.support.replica import replica
from tests.support.websocket import watch

# -- applications ------------------------------------------------------------------------------------------------------


def seen(api: Api, service_id: str, instance_id: str, consumer_id: str) -> dict[str, bool]:
    """Whether the consumer sees the instance, by each endpoint that shows instances."""
    batch = ok(api.batch([wanted()], [wanted_instance(service_id, instance_id)], consumer=consumer_id)).json()
    star = ok(api.batch([wanted("*", "")], consumer=consumer_id)).json()
    path = f"/microservices/{service_id}/instances"
    return {
        "find": instance_id in ids(api.find(consumer=consumer_id)),
        "list": api.instances_of(service_id, consumer=consumer_id).status == 200,
        "get": api.get(f"{path}/{instance_id}", {"X-ConsumerId": consumer_id}).status == 200,
        "batch services": "instances" in batch["services"]["updated"][0],
        "batch instances": "updated" in batch["instances"],
        "batch *": "instances" in star["services"]["updated"][0],
    }


@pytest.mark.parametrize("value", ["true", "TRUE", "True", "tRuE"])
def test_allow_cross_app_in_any_letter_case_opens_every_endpoint(api: Api, value: str) -> None:
    """Spring writes `true`, others `TRUE` (3.6)."""
    service_id = api.service(properties={"allowCrossApp": value})
    instance_id = api.instance(service_id)
    consumer_id = api.service("consumer", appId="desk")
    assert all(seen(api, service_id, instance_id, consumer_id).values())


@pytest.mark.parametrize("properties", [{}, {"allowCrossApp": ""}, {"allowCrossApp": "1"}, {"allowcrossapp": "true"}])
def test_anything_else_opens_none(api: Api, properties: dict[str, str]) -> None:
    """The property's name has its case, and only `true` is yes (3.6)."""
    service_id = api.service(properties=properties)
    instance_id = api.instance(service_id)
    consumer_id = api.service("consumer", appId="desk")
    assert not any(seen(api, service_id, instance_id, consumer_id).values())


def test_each_endpoint_denies_in_its_own_way(api: Api, service_id: str) -> None:
    """Find and batch silently, list with 400012, get-one with 400017 (3.5, 3.6, 3.8, 9.3-2)."""
    instance_id = api.instance(service_id)
    consumer_id = api.service("consumer", appId="desk")
    header = {"X-ConsumerId": consumer_id}
    assert ok(api.find(consumer=consumer_id)).body == b"{}"
    assert_refused(api.instances_of(service_id, consumer=consumer_id), 400012)
    assert_refused(api.get(f"/microservices/{service_id}/instances/{instance_id}", header), 400017)
    batch = ok(api.batch([wanted()], [wanted_instance(service_id, instance_id)], consumer=consumer_id)).json()
    assert batch["services"] == {"updated": [{"index": 0, "rev": batch["services"]["updated"][0]["rev"]}]}
    assert batch["instances"]["failed"][0]["error"]["errorCode"] == "400017"


def test_withdrawn_permission_is_seen_by_the_next_find(api: Api) -> None:
    """Answers are kept prepared; the property's change makes them anew, with another rev (3.6)."""
    service_id = api.service(properties={"allowCrossApp": "true"})
    instance_id = api.instance(service_id)
    consumer_id = api.service("consumer", appId="desk")
    rev = api.find(consumer=consumer_id).rev
    ok(api.put(f"/microservices/{service_id}/properties", {}))
    response = api.find(consumer=consumer_id, rev=rev)
    assert (response.status, response.body) == (200, b"{}")
    ok(api.put(f"/microservices/{service_id}/properties", {"properties": {"allowCrossApp": "true"}}))
    assert ids(api.find(consumer=consumer_id, rev=response.rev)) == [instance_id]


def test_answers_for_strangers_and_for_friends_are_kept_apart(api: Api, service_id: str) -> None:
    """Asked in turns, nobody gets the answer of the other (3.6)."""
    instance_id = api.instance(service_id)
    friend, stranger = api.service("friend"), api.service("stranger", appId="desk")
    for _ in range(2):
        assert ids(api.find(consumer=friend)) == ids(api.find()) == [instance_id]
        assert ids(api.find(consumer=stranger)) == []
    assert api.find(consumer=friend).rev != api.find(consumer=stranger).rev


# -- environments ------------------------------------------------------------------------------------------------------


def test_provider_of_another_environment_is_seen_by_no_endpoint(api: Api) -> None:
    """allowCrossApp does not open environments: test traffic never reaches production (3.5, 3.6)."""
    service_id = api.service(environment="production", properties={"allowCrossApp": "true"})
    instance_id = api.instance(service_id)
    consumer_id = api.service("consumer", environment="testing")
    assert_refused(api.find(consumer=consumer_id), 400012)
    assert_refused(api.instances_of(service_id, consumer=consumer_id), 400012)
    path = f"/microservices/{service_id}/instances/{instance_id}"
    assert_refused(api.get(path, {"X-ConsumerId": consumer_id}), 400017)
    batch = ok(api.batch([wanted()], [wanted_instance(service_id, instance_id)], consumer=consumer_id)).json()
    assert batch["services"]["failed"][0]["error"]["errorCode"] == "400012"
    assert batch["instances"]["failed"][0]["error"]["errorCode"] == "400017"
    star = ok(api.batch([wanted("*", "")], consumer=consumer_id)).json()
    assert "instances" not in star["services"]["updated"][0]


@pytest.mark.parametrize("environment", ["", "development", "testing", "acceptance", "production"])
def test_consumer_and_provider_of_one_environment_meet(api: Api, environment: str) -> None:
    """Also in none at all (3.6)."""
    instance_id = api.instance(api.service(environment=environment))
    consumer_id = api.service("consumer", environment=environment)
    assert ids(api.find(consumer=consumer_id)) == [instance_id]


def test_by_id_without_consumer_everything_is_seen(api: Api) -> None:
    """No permission is checked for who does not say who it is (3.5)."""
    service_id = api.service(environment="production", appId="desk")
    instance_id = api.instance(service_id)
    assert ids(api.instances_of(service_id)) == [instance_id]
    assert api.read_instance(service_id, instance_id)["instanceId"] == instance_id


# -- shared services ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharing(redis_url: str) -> Iterator[Api]:
    """The default tenant of a registry that shares `config` and `trace`; both stand in the registry's environment."""
    options = ("--redis-url", redis_url, "--redis-prefix", "sharing:")
    with replica(*options, environment={"CSE_SHARED_SERVICES": "config, trace"}) as process:
        yield process.api("default")


@pytest.fixture(scope="module")
def shared(sharing: Api) -> dict[str, Any]:
    """The only instance of default/config."""
    service_id = sharing.service("config", appId="default", environment="production")
    return sharing.read_instance(service_id, sharing.instance(service_id))


@pytest.fixture
def visitor(sharing: Api, key_prefix: str) -> Api:
    """A client of another tenant of that registry."""
    return Api(sharing.connection, f"visitor-{key_prefix}")


def test_shared_service_is_found_from_any_tenant_and_environment(visitor: Api, shared: dict[str, Any]) -> None:
    """With a consumer or without, even one that is unknown here (3.6: no consumer check, no permission check)."""
    consumer_id = visitor.service("consumer", environment="testing")
    for consumer in ("", consumer_id, "nobody"):
        response = ok(visitor.find("config", "default", consumer=consumer, env="testing"))
        assert response.json() == {"instances": [shared]}
        assert visitor.find("config", "default", consumer=consumer, rev=response.rev).status == 304


def test_shared_service_is_found_in_a_batch(visitor: Api, shared: dict[str, Any]) -> None:
    """Beside the tenant's own (3.8)."""
    own = visitor.instance(visitor.service())
    consumer_id = visitor.service("consumer")
    services = ok(visitor.batch([wanted("config", "default"), wanted()], consumer=consumer_id)).json()["services"]
    found = [[instance["instanceId"] for instance in updated["instances"]] for updated in services["updated"]]
    assert found == [[shared["instanceId"]], [own]]


def test_shared_service_is_not_visible_by_its_ids(visitor: Api, shared: dict[str, Any]) -> None:
    """Only finds cross tenants (3.8)."""
    service_id, instance_id = shared["serviceId"], shared["instanceId"]
    assert_refused(visitor.instances_of(service_id), 400012)
    batch = ok(visitor.batch(None, [wanted_instance(service_id, instance_id)])).json()
    assert batch["instances"]["failed"][0]["error"]["errorCode"] == "400012"


def test_finding_a_shared_service_records_no_dependency(visitor: Api, shared: dict[str, Any]) -> None:
    """3.6."""
    consumer_id = visitor.service("consumer")
    ok(visitor.find("config", "default", consumer=consumer_id))
    ok(visitor.batch([wanted("config", "default")], consumer=consumer_id))
    assert ok(visitor.get(f"/microservices/{consumer_id}/providers")).body == b"{}"
    with watch(visitor, consumer_id) as watcher:
        assert watcher.events() == []


def test_every_name_of_the_setting_is_shared(visitor: Api, sharing: Api) -> None:
    """White space around the commas is no part of a name."""
    instance_id = sharing.instance(sharing.service("trace", appId="default", environment="production"))
    assert ids(visitor.find("trace", "default")) == [instance_id]


def test_shared_name_is_an_alias_too(visitor: Api, sharing: Api, shared: dict[str, Any]) -> None:
    """The list holds names or aliases: what goes by one of them as alias is hidden from lists as well (3.2, 3.6)."""
    service_id = sharing.service("tracer", appId="default", environment="production", alias="trace", version="9.9")
    listed = {service["serviceId"] for service in ok(sharing.get("/microservices")).json().get("services", [])}
    assert not {service_id, shared["serviceId"]} & listed
    listed = {service["serviceId"] for service in ok(sharing.get("/microservices?withShared=1")).json()["services"]}
    assert {service_id, shared["serviceId"]} <= listed


def test_what_is_not_shared_stays_with_its_tenant(visitor: Api, sharing: Api, shared: dict[str, Any]) -> None:
    """Another application of the same name, another name of the same application, another environment (3.6)."""
    sharing.service("config", appId="shop", environment="production")
    sharing.service("private", appId="default", environment="production")
    for name, app in (("config", "shop"), ("private", "default")):
        assert_refused(visitor.find(name, app, env="production"), 400012)
    sharing.instance(sharing.service("config", appId="default", environment="testing"))
    assert visitor.find("config", "default", env="testing").json() == {"instances": [shared]}


def test_namesake_in_another_tenant_is_hidden_by_the_shared_one(visitor: Api, shared: dict[str, Any]) -> None:
    """The shared service is what the name means for everyone; the own one is still there by its id (3.6)."""
    service_id = visitor.service("config", appId="default")
    instance_id = visitor.instance(service_id)
    assert visitor.find("config", "default").json() == {"instances": [shared]}
    assert ids(visitor.instances_of(service_id)) == [instance_id]
    assert_empty(visitor.delete(f"/microservices/{service_id}?force=1"))
