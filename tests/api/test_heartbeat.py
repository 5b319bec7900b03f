"""PUT …/heartbeat and PUT heartbeats: who is kept, and what a beat must not change.

Page "Sending Heartbeat Information"; api-rules.md 3.7. When leases end is told by tests/replicas.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ok


def beat(api: Api, service_id: str, instance_id: str) -> str:
    return f"/microservices/{service_id}/instances/{instance_id}/heartbeat"


def test_heartbeat_is_answered_without_a_byte_of_body(api: Api, service_id: str) -> None:
    """sc-client does not close the body of a successful heartbeat: one byte pins a connection each time (D16)."""
    response = api.put(beat(api, service_id, api.instance(service_id)))
    assert_empty(response)
    assert api.connection.surplus() == b""


def test_heartbeat_of_an_unknown_instance_is_400017(api: Api, service_id: str) -> None:
    """Clients register again on 400017 and on nothing else (clients.md 0.3)."""
    assert_refused(api.put(beat(api, service_id, "nobody")), 400017, "nobody")


def test_heartbeat_to_an_unknown_service_is_400017(api: Api) -> None:
    """Also when the service id is the unknown part (clients.md 0.3)."""
    assert_refused(api.put(beat(api, "nobody", "i")), 400017)


def test_heartbeat_of_an_unregistered_instance_is_400017(api: Api, service_id: str) -> None:
    """An instance that was taken out learns it with its next beat."""
    instance_id = api.instance(service_id)
    ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
    assert_refused(api.put(beat(api, service_id, instance_id)), 400017)


def test_heartbeat_through_another_service_is_400017(api: Api, service_id: str) -> None:
    """The instance belongs to its service: the pair is what is kept alive."""
    instance_id = api.instance(service_id)
    assert_refused(api.put(beat(api, api.service("other"), instance_id)), 400017)


def test_ids_of_the_path_are_checked(api: Api, service_id: str) -> None:
    """The instance: `^[A-Za-z0-9_.-]*$`, the service: no white space, both: 64 characters (page, table 1)."""
    assert_refused(api.put(beat(api, service_id, "a%20b")), 400001, "instanceId")
    assert_refused(api.put(beat(api, service_id, "i" * 65)), 400001, "instanceId")
    assert_refused(api.put(beat(api, service_id, "i" * 64)), 400017)
    assert_refused(api.put(beat(api, "s%09", "i")), 400001, "serviceId")
    assert_refused(api.put(beat(api, "s" * 65, "i")), 400001, "serviceId")


@pytest.mark.parametrize("body", [b"", b"{}", b"no json \xff", b"x" * 200_000], ids=["none", "{}", "garbage", "large"])
def test_body_of_a_heartbeat_is_ignored(api: Api, service_id: str, body: bytes) -> None:
    """Clients send none, `{}` or anything: it must neither be refused nor disturb the next request."""
    path = beat(api, service_id, api.instance(service_id))
    assert_empty(api.put(path, body))
    assert_empty(api.put(path))


def test_heartbeat_changes_neither_content_nor_rev_nor_log(api: Api, service_id: str) -> None:
    """Ten thousand beats a second must not make one consumer pull (api-rules.md 5.2)."""
    instance_id = api.instance(service_id, status="STARTING")
    before = api.find()
    assert_empty(api.put(beat(api, service_id, instance_id)))
    after = api.find()
    assert (after.rev, after.body, after.position) == (before.rev, before.body, before.position)
    assert api.find(rev=before.rev).status == 304


# -- the set -----------------------------------------------------------------------------------------------------------


def element(service_id: str, instance_id: str) -> dict[str, str]:
    return {"serviceId": service_id, "instanceId": instance_id}


def test_heartbeat_set_answers_each_element(api: Api, service_id: str) -> None:
    """200 even where some fail, with the reason beside each that did (api-rules.md 3.7)."""
    good = element(service_id, api.instance(service_id))
    unknown, stray = element(service_id, "nobody"), element("nowhere", "i")
    response = ok(api.put("/heartbeats", {"instances": [good, unknown, stray]}))
    answers = {(a["serviceId"], a["instanceId"]): a.get("errMessage") for a in response.json()["instances"]}
    assert answers.pop((service_id, good["instanceId"])) is None
    assert len(answers) == 2
    assert all(reason for reason in answers.values())


def test_heartbeat_set_is_200_when_all_fail(api: Api) -> None:
    """A client that reads the elements must not see an HTTP error first (api-rules.md 3.7)."""
    response = ok(api.put("/heartbeats", {"instances": [element("a", "b")]}))
    assert response.json()["instances"][0]["errMessage"]


def test_heartbeat_set_names_a_repeated_pair_once(api: Api, service_id: str) -> None:
    """One entry per distinct pair (api-rules.md 3.7)."""
    one = element(service_id, api.instance(service_id))
    assert ok(api.put("/heartbeats", {"instances": [one, one]})).json() == {"instances": [one]}


@pytest.mark.parametrize("body", [{}, {"instances": []}, {"instances": None}, []], ids=str)
def test_heartbeat_set_needs_an_element(api: Api, body: Any) -> None:
    """An empty set is a mistake of the client (api-rules.md 3.7)."""
    assert_refused(api.put("/heartbeats", body), 400001, "$")


@pytest.mark.parametrize("bad", [5, [], "x", {"serviceId": 5}], ids=str)
def test_heartbeat_set_refuses_a_bad_element_by_place(api: Api, bad: Any) -> None:
    """An element that is no pair of ids; the reference fell over `null` here (api-rules.md 1.5)."""
    response = api.put("/heartbeats", {"instances": [element("a", "b"), bad]})
    assert_refused(response, 400001, "$.instances[1]")


def test_heartbeat_set_survives_null(api: Api) -> None:
    """`null` as an element made the reference answer 200 with no body: it is refused, or named as unknown."""
    response = api.put("/heartbeats", {"instances": [None]})
    assert_refused(response, 400001, "$.instances[0]")


def test_heartbeat_set_has_a_limit(api: Api) -> None:
    """10,000 elements are answered; one more is refused instead of occupying the replica."""
    elements = [element("a", "b")] * 10_001
    assert_refused(api.put("/heartbeats", {"instances": elements}), 400001, "10000")
    ok(api.put("/heartbeats", {"instances": elements[:-1]}))
