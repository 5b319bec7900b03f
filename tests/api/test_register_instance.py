"""POST microservices/{serviceId}/instances: which instance a registration makes or changes.

Page "Registering a Microservice Instance"; decisions D1, D2, D9, D19.
"""

from __future__ import annotations

import re
import time

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_refused, ids, ok
from tests.support.waiting import until_sync


def test_example_of_the_page_registers(api: Api, service_id: str) -> None:
    """Anyone who copies the documented example, unknown member `stage` and odd addresses included, is registered."""
    instance_id = api.instance(service_id, **EXAMPLE_INSTANCE)
    instance = api.read_instance(service_id, instance_id)
    documented = {name: value for name, value in EXAMPLE_INSTANCE.items() if name != "stage"}
    assert {name: instance[name] for name in documented} == documented
    assert "stage" not in instance


def test_answer_is_the_instance_id_alone(api: Api, service_id: str) -> None:
    """Clients decode `{"instanceId":…}` and nothing else (the page, table 7)."""
    response = ok(api.register(service_id))
    assert list(response.json()) == ["instanceId"]
    assert response.header("Content-Type") == "application/json; charset=UTF-8"


def test_generated_id_is_32_lower_case_hex(api: Api, service_id: str) -> None:
    """The integration suite of the reference checks the form of a generated id (D19)."""
    assert re.fullmatch("[0-9a-f]{32}", api.instance(service_id))


def test_generated_ids_differ(api: Api, service_id: str) -> None:
    """Two processes that name no id and no endpoints are two instances (D2: an empty set is no match)."""
    assert api.instance(service_id) != api.instance(service_id)


def test_chosen_id_is_kept(api: Api, service_id: str) -> None:
    """java-chassis 3.x always chooses the id and goes on with it (clients.md 0.13)."""
    assert api.instance(service_id, instanceId="Mine_1.a-b") == "Mine_1.a-b"


def test_same_id_may_stand_in_two_services(api: Api, service_id: str) -> None:
    """An instance id is unique within its service: another service's instance is not overwritten."""
    other = api.service("other")
    api.instance(service_id, instanceId="i", hostName="one")
    api.instance(other, instanceId="i", hostName="two")
    assert api.read_instance(service_id, "i")["hostName"] == "one"


def test_registration_with_known_id_overwrites_all_content(api: Api, service_id: str) -> None:
    """The page: "all contents are overwritten upon re-registration". What is left out now is gone (D1)."""
    api.instance(service_id, instanceId="i", **EXAMPLE_INSTANCE)
    before = api.read_instance(service_id, "i")
    assert api.instance(service_id, instanceId="i", hostName="new") == "i"
    after = api.read_instance(service_id, "i")
    for gone in ("endpoints", "properties", "dataCenterInfo"):
        assert gone not in after
    assert (after["hostName"], after["status"], after["timestamp"]) == ("new", "UP", before["timestamp"])


def test_overwriting_changes_the_rev(api: Api, service_id: str) -> None:
    """A consumer that polls with its old rev is sent the new content."""
    api.instance(service_id, instanceId="i", endpoints=["rest://a:1"])
    rev = api.find().rev
    api.instance(service_id, instanceId="i", endpoints=["rest://b:2"])
    found = api.find(rev=rev)
    assert ok(found).rev != rev
    assert found.json()["instances"][0]["endpoints"] == ["rest://b:2"]


def test_equal_content_changes_neither_rev_nor_log(api: Api, service_id: str) -> None:
    """A fleet that registers again after a network fault must not make every consumer pull again (D1)."""
    api.instance(service_id, instanceId="i", **EXAMPLE_INSTANCE)
    before = api.find()
    assert api.instance(service_id, instanceId="i", **EXAMPLE_INSTANCE) == "i"
    after = api.find()
    assert (after.rev, after.body, after.position) == (before.rev, before.body, before.position)


def test_members_in_another_order_are_equal_content(api: Api, service_id: str) -> None:
    """A client's map has no order; neither the order of members nor that of properties is a change (D1)."""
    api.instance(service_id, instanceId="i", status="UP", properties={"a": "1", "b": "2"})
    rev = api.find().rev
    api.instance(service_id, properties={"b": "2", "a": "1"}, instanceId="i")
    assert api.find().rev == rev


@pytest.mark.slow
def test_mod_timestamp_moves_with_the_content_only(api: Api, service_id: str) -> None:
    """Consoles show `modTimestamp` as the time of the last change; `timestamp` stays that of the creation (D1)."""
    api.instance(service_id, instanceId="i", hostName="one")
    created = api.read_instance(service_id, "i")
    assert created["timestamp"] == created["modTimestamp"]
    assert abs(int(created["timestamp"]) - time.time()) < 60
    until_sync(lambda: int(time.time()) > int(created["timestamp"]), "the next second")
    api.instance(service_id, instanceId="i", hostName="one")
    assert api.read_instance(service_id, "i") == created
    api.instance(service_id, instanceId="i", hostName="two")
    changed = api.read_instance(service_id, "i")
    assert changed["timestamp"] == created["timestamp"]
    assert int(changed["modTimestamp"]) > int(created["modTimestamp"])


def test_same_endpoints_keep_the_original_id(api: Api, service_id: str) -> None:
    """The page: "If the endpoint content is duplicate, the original ID is used", so a restart leaves no twin (D2)."""
    first = api.instance(service_id, endpoints=["rest://a:1", "grpc://a:2"], hostName="one")
    assert api.instance(service_id, endpoints=["rest://a:1", "grpc://a:2"], hostName="two") == first
    assert ids(api.find()) == [first]
    assert api.read_instance(service_id, first)["hostName"] == "two"


def test_order_of_endpoints_does_not_matter(api: Api, service_id: str) -> None:
    """Endpoints are compared as a set (D2); repetition counts for nothing."""
    first = api.instance(service_id, endpoints=["rest://a:1", "grpc://a:2"])
    assert api.instance(service_id, endpoints=["grpc://a:2", "rest://a:1", "grpc://a:2"]) == first


def test_same_endpoints_with_the_same_content_change_no_rev(api: Api, service_id: str) -> None:
    """A client without a stable id that registers again is no news to consumers (D1, D2)."""
    api.instance(service_id, endpoints=["rest://a:1"])
    rev = api.find().rev
    api.instance(service_id, endpoints=["rest://a:1"])
    assert api.find().rev == rev


def test_some_of_the_endpoints_are_another_instance(api: Api, service_id: str) -> None:
    """Only equal sets are one instance: two processes may share one of their addresses (D2)."""
    first = api.instance(service_id, endpoints=["rest://a:1", "grpc://a:2"])
    assert api.instance(service_id, endpoints=["rest://a:1"]) != first


def test_endpoints_are_compared_within_the_service(api: Api, service_id: str) -> None:
    """Two microservices in one process share an address and stay two instances (D2)."""
    first = api.instance(service_id, endpoints=["rest://a:1"])
    assert api.instance(api.service("other"), endpoints=["rest://a:1"]) != first


def test_chosen_id_wins_over_equal_endpoints(api: Api, service_id: str) -> None:
    """Who names an id gets it, also on an address that another instance has (D1 before D2)."""
    first = api.instance(service_id, endpoints=["rest://a:1"])
    assert api.instance(service_id, endpoints=["rest://a:1"], instanceId="mine") == "mine"
    assert ids(api.find()) == sorted([first, "mine"])


def test_endpoints_of_an_unregistered_instance_are_free(api: Api, service_id: str) -> None:
    """The original id is that of a live instance only (D2)."""
    first = api.instance(service_id, endpoints=["rest://a:1"])
    ok(api.delete(f"/microservices/{service_id}/instances/{first}"))
    assert api.instance(service_id, endpoints=["rest://a:1"]) != first


def test_endpoints_given_up_by_a_change_are_free(api: Api, service_id: str) -> None:
    """After an overwrite the instance is known by its new endpoints, not by the old ones."""
    api.instance(service_id, instanceId="i", endpoints=["rest://a:1"])
    api.instance(service_id, instanceId="i", endpoints=["rest://b:2"])
    assert api.instance(service_id, endpoints=["rest://a:1"]) != "i"
    assert api.instance(service_id, endpoints=["rest://b:2"]) == "i"


def test_service_id_of_the_path_wins(api: Api, service_id: str) -> None:
    """The page: "the service ID in the URL instead of the service ID here is used" (D9)."""
    other = api.service("other")
    instance_id = api.instance(service_id, serviceId=other)
    assert api.read_instance(service_id, instance_id)["serviceId"] == service_id
    assert ids(api.instances_of(other)) == []


def test_version_and_timestamps_of_the_body_are_ignored(api: Api) -> None:
    """`version` is the service's, the timestamps are the registry's (api-rules.md 3.5)."""
    service_id = api.service(version="1.2.3")
    sent = {"version": "9.9", "timestamp": "1", "modTimestamp": "2"}
    instance = api.read_instance(service_id, api.instance(service_id, **sent))
    assert instance["version"] == "1.2.3"
    assert int(instance["timestamp"]) > 1_600_000_000
    assert int(instance["modTimestamp"]) > 1_600_000_000


def test_unknown_service_is_400012(api: Api) -> None:
    """HTTP 400 with 400012, never 404: clients then register the service (clients.md 0.3)."""
    assert_refused(api.register("nobody"), 400012, "nobody")


def test_service_id_beyond_its_limits_is_refused(api: Api) -> None:
    """The path's serviceId has 1 to 64 characters and no white space."""
    assert_refused(api.register("s" * 65), 400001, "serviceId")
    assert_refused(api.register("a%20b"), 400001, "serviceId")
    assert_refused(api.register("s" * 64), 400012)


def test_registration_is_found_at_once(api: Api, service_id: str) -> None:
    """A provider is visible to the next find on the replica that answered it (D12)."""
    assert ids(api.find()) == []
    instance_id = api.instance(service_id)
    assert ids(api.find()) == [instance_id]


def test_unregistration_is_seen_by_the_next_find(api: Api, service_id: str) -> None:
    """A provider that left is not called any more: gone from find, list and get at once (D14)."""
    instance_id = api.instance(service_id)
    response = api.delete(f"/microservices/{service_id}/instances/{instance_id}")
    assert (response.status, response.body, response.header("Content-Length")) == (200, b"", "0")
    assert ids(api.find()) == ids(api.instances_of(service_id)) == []
    assert_refused(api.get(f"/microservices/{service_id}/instances/{instance_id}"), 400017)


def test_unregistering_what_is_unknown_is_400017(api: Api, service_id: str) -> None:
    """Also when it is the service that is unknown (clients.md 0.3)."""
    assert_refused(api.delete(f"/microservices/{service_id}/instances/nobody"), 400017)
    assert_refused(api.delete("/microservices/nobody/instances/nobody"), 400017)
    assert_refused(api.delete(f"/microservices/{service_id}/instances/a%20b"), 400001)
