"""GET microservices/{serviceId}/instances and GET …/instances/{instanceId}.

Page "Querying a Microservice Instance Based on service_id"; api-rules.md 3.5 and 5; D10.
"""

from __future__ import annotations

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_refused, ids, ok


def one(service_id: str, instance_id: str, query: str = "") -> str:
    return f"/microservices/{service_id}/instances/{instance_id}{query}"


def test_list_holds_the_documented_members(api: Api) -> None:
    """The page, table 5 and example: every member under its documented name, timestamps as texts."""
    service_id = api.service(version="1.0.0")
    instance_id = api.instance(service_id, **EXAMPLE_INSTANCE)
    (instance,) = ok(api.instances_of(service_id)).json()["instances"]
    assert set(instance) == {
        *("instanceId", "serviceId", "version", "hostName", "endpoints", "status", "properties"),
        *("healthCheck", "dataCenterInfo", "timestamp", "modTimestamp"),
    }
    assert (instance["instanceId"], instance["serviceId"], instance["version"]) == (instance_id, service_id, "1.0.0")


def test_list_is_of_this_version_only(api: Api) -> None:
    """Two versions are two services with two lists."""
    old, new = api.service(version="1.0"), api.service(version="2.0")
    one, two = api.instance(old), api.instance(new)
    assert ids(api.instances_of(old)) == [one]
    assert ids(api.instances_of(new)) == [two]


def test_list_without_instances_is_exactly_braces(api: Api, service_id: str) -> None:
    """Empty members are left out, so none is `{}`, never null (clients.md 0.12)."""
    assert ok(api.instances_of(service_id)).body == b"{}"


def test_list_of_an_unknown_service_is_400012(api: Api) -> None:
    """400 with 400012, never 404 nor an empty list (clients.md 0.3)."""
    assert_refused(api.instances_of("nobody"), 400012, "nobody")
    assert_refused(api.instances_of("s" * 65), 400001)


def test_list_carries_its_revision_in_exactly_this_case(api: Api, service_id: str) -> None:
    """Java looks `X-Resource-Revision` up case-sensitively: else every poll is a full list (clients.md 0.8)."""
    response = ok(api.instances_of(service_id))
    assert b"\r\nX-Resource-Revision: " in response.head
    assert response.rev


def test_list_with_the_current_rev_is_304(api: Api, service_id: str) -> None:
    """No body, and the header again (api-rules.md 5.3)."""
    api.instance(service_id)
    rev = api.instances_of(service_id).rev
    response = api.instances_of(service_id, rev=rev)
    assert (response.status, response.body, response.rev) == (304, b"", rev)


@pytest.mark.parametrize("rev", ["", "0", "garbage", "f" * 40, "ü"])
def test_list_with_any_other_rev_is_the_full_list(api: Api, service_id: str, rev: str) -> None:
    """Whatever the client holds, it gets what is current (api-rules.md 5.3)."""
    instance_id = api.instance(service_id)
    response = api.instances_of(service_id, rev=rev)
    assert ids(response) == [instance_id]
    assert response.rev == api.instances_of(service_id).rev


def test_list_rev_follows_this_service_only(api: Api) -> None:
    """An instance of another version is no news here."""
    old, new = api.service(version="1.0"), api.service(version="2.0")
    rev = api.instances_of(old).rev
    api.instance(new)
    assert api.instances_of(old, rev=rev).status == 304
    api.instance(old)
    assert api.instances_of(old, rev=rev).status == 200


def test_list_with_no_cache_is_never_304(api: Api, service_id: str) -> None:
    """`noCache` asks for the answer itself (clients.md 0.8)."""
    rev = api.instances_of(service_id).rev
    assert api.instances_of(service_id, rev=rev, noCache="1").status == 200


def test_list_for_an_unknown_consumer_is_400012(api: Api, service_id: str) -> None:
    """The page, table 3: X-ConsumerId names a registered service (clients.md 0.3)."""
    assert_refused(api.instances_of(service_id, consumer="nobody"), 400012, "nobody")


@pytest.mark.parametrize("consumer", ["s" * 65, "a b"])
def test_consumer_id_beyond_its_limits_is_refused(api: Api, service_id: str, consumer: str) -> None:
    """1 to 64 characters, no white space."""
    assert_refused(api.instances_of(service_id, consumer=consumer), 400001, "X-ConsumerId")


def test_blank_consumer_is_no_consumer(api: Api, service_id: str) -> None:
    """sc-client sends the header blank before it knows its id (clients.md 0.3)."""
    headers = {"X-ConsumerId": ""}
    assert ok(api.get(f"/microservices/{service_id}/instances", headers)).body == b"{}"


def test_consumer_of_the_same_application_sees_the_list(api: Api, service_id: str) -> None:
    """The usual case."""
    instance_id = api.instance(service_id)
    assert ids(api.instances_of(service_id, consumer=api.service("consumer"))) == [instance_id]


def test_consumer_of_another_application_is_told_400012(api: Api, service_id: str) -> None:
    """Applications are separate: what a consumer may not see does not exist for it (api-rules.md 3.5)."""
    stranger = api.service("consumer", appId="desk")
    api.instance(service_id, instanceId="i")
    assert_refused(api.instances_of(service_id, consumer=stranger), 400012)
    assert_refused(api.get(one(service_id, "i"), {"X-ConsumerId": stranger}), 400017)


@pytest.mark.parametrize("value", ["true", "TRUE", "True"])
def test_allow_cross_app_opens_the_list(api: Api, value: str) -> None:
    """`allowCrossApp` of the provider, in any letter case (api-rules.md 3.6)."""
    service_id = api.service(properties={"allowCrossApp": value})
    instance_id = api.instance(service_id)
    assert ids(api.instances_of(service_id, consumer=api.service("consumer", appId="desk"))) == [instance_id]


def test_allow_cross_app_withdrawn_closes_the_list(api: Api) -> None:
    """A change of the provider's properties counts at once."""
    service_id = api.service(properties={"allowCrossApp": "true"})
    stranger = api.service("consumer", appId="desk")
    ok(api.instances_of(service_id, consumer=stranger))
    ok(api.put(f"/microservices/{service_id}/properties", {"properties": {"allowCrossApp": "false"}}))
    assert_refused(api.instances_of(service_id, consumer=stranger), 400012)


def test_consumer_of_another_environment_is_told_400012(api: Api) -> None:
    """Not even allowCrossApp reaches over environments (api-rules.md 3.5)."""
    service_id = api.service(environment="production", properties={"allowCrossApp": "true"})
    api.instance(service_id)
    assert_refused(api.instances_of(service_id, consumer=api.service("consumer")), 400012)
    ok(api.instances_of(service_id, consumer=api.service("consumer", environment="production")))


def test_tag_that_the_service_lacks_is_400012(api: Api, service_id: str) -> None:
    """The page, table 2: `tags` narrows to services that have all of them (api-rules.md 3.5)."""
    api.instance(service_id, instanceId="i")
    assert_refused(api.instances_of(service_id, tags="zone"), 400012, "zone")
    assert_refused(api.get(one(service_id, "i", "?tags=zone")), 400017)


@pytest.mark.parametrize("tags", ["1zone", "zone,9", "a b", "ä", "t" * 65])
def test_tag_of_another_form_is_refused(api: Api, service_id: str, tags: str) -> None:
    """`^[a-zA-Z][a-zA-Z0-9_-.]{0,63}$` for each (the page, table 2)."""
    assert_refused(api.instances_of(service_id, tags=tags), 400001, "`tags`")


def test_blank_tags_are_no_tags(api: Api, service_id: str) -> None:
    """Clients send parameters that they have no value for."""
    assert ok(api.instances_of(service_id, tags="")).body == b"{}"


# -- one instance ------------------------------------------------------------------------------------------------------


def test_get_answers_the_instance_of_the_list(api: Api, service_id: str) -> None:
    """The same content in both, with a revision of its own (api-rules.md 5.3)."""
    instance_id = api.instance(service_id, **EXAMPLE_INSTANCE)
    response = ok(api.get(one(service_id, instance_id)))
    assert list(response.json()) == ["instance"]
    assert response.json()["instance"] == api.instances_of(service_id).json()["instances"][0]
    assert b"\r\nX-Resource-Revision: " in response.head


def test_get_with_the_current_rev_is_304(api: Api, service_id: str) -> None:
    """And 200 again after a change of this instance, not after that of another one."""
    instance_id = api.instance(service_id)
    rev = api.get(one(service_id, instance_id)).rev
    api.instance(service_id)
    response = api.get(one(service_id, instance_id, f"?rev={rev}"))
    assert (response.status, response.body, response.rev) == (304, b"", rev)
    assert api.get(one(service_id, instance_id, f"?rev={rev}&noCache=true")).status == 200
    ok(api.put(one(service_id, instance_id) + "/status?value=DOWN"))
    assert api.get(one(service_id, instance_id, f"?rev={rev}")).status == 200


def test_get_matches_the_whole_id_only(api: Api, service_id: str) -> None:
    """The reference answers for a prefix of the id; a clipped id must not find somebody else's instance (D10)."""
    instance_id = api.instance(service_id)
    assert_refused(api.get(one(service_id, instance_id[:-1])), 400017)
    assert_refused(api.get(one(service_id, instance_id + "x")), 400017)


def test_get_of_the_unknown(api: Api, service_id: str) -> None:
    """Unknown instance 400017, unknown service or consumer 400012 (api-rules.md 3.5)."""
    instance_id = api.instance(service_id)
    assert_refused(api.get(one(service_id, "nobody")), 400017)
    assert_refused(api.get(one("nobody", instance_id)), 400012)
    assert_refused(api.get(one(service_id, instance_id), {"X-ConsumerId": "nobody"}), 400012)
    assert_refused(api.get(one(service_id, "a%20b")), 400001, "instanceId")
