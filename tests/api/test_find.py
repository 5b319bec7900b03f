"""GET instances: find a microservice's instances by its name.

api-rules.md 3.6 and 5, clients.md 0.3, 0.7, 0.8. Version rules are in test_find_versions.py.
"""

from __future__ import annotations

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_refused, ids, ok


def test_find_answers_the_instances_of_all_versions(api: Api) -> None:
    """A consumer without a version rule gets every version."""
    old, new = api.service(version="1.0"), api.service(version="2.0")
    assert ids(api.find()) == []
    expected = sorted([api.instance(old), api.instance(new)])
    assert ids(api.find()) == expected


def test_found_instances_are_those_of_the_list(api: Api, service_id: str) -> None:
    """Java finds first and reads details by id later: both must show the same (api-rules.md 9.1-8)."""
    api.instance(service_id, **EXAMPLE_INSTANCE)
    assert api.find().json() == api.instances_of(service_id).json()


def test_find_without_instances_is_exactly_braces(api: Api, service_id: str) -> None:
    """200 `{}` with a revision: the name exists, nobody is up (clients.md 0.12)."""
    response = ok(api.find())
    assert response.body == b"{}"
    assert response.rev


def test_find_of_an_unknown_name_is_400012(api: Api, service_id: str) -> None:
    """sc-client searches the text for `"errorCode":"400012"`, so the JSON is compact (clients.md 0.1)."""
    response = api.find("nobody")
    assert_refused(response, 400012, "nobody")
    assert b'"errorCode":"400012"' in response.body


def test_find_in_another_application_is_400012(api: Api, service_id: str) -> None:
    """The application is part of the name."""
    assert_refused(api.find(app="desk"), 400012)


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("?serviceName=cart", "`appId`"),
        ("?appId=&serviceName=cart", "`appId`"),
        ("?appId=-shop&serviceName=cart", "`appId`"),
        ("?appId=" + "a" * 161 + "&serviceName=cart", "`appId`"),
        ("?appId=shop", "`serviceName`"),
        ("?appId=shop&serviceName=", "`serviceName`"),
        ("?appId=shop&serviceName=ca%20rt", "`serviceName`"),
        ("?appId=shop&serviceName=cart%0A", "`serviceName`"),
        ("?appId=shop&serviceName=" + "c" * 290, "`serviceName`"),
        ("?appId=shop&serviceName=cart&env=moon", "`env`"),
        ("?appId=shop&serviceName=cart&noCache=perhaps", "`noCache`"),
        ("?appId=shop&serviceName=cart&tags=9", "`tags`"),
        ("?appId=shop&serviceName=cart&serviceName=till", "`serviceName`"),
        ("?appId=shop&serviceName=%FF", "`serviceName`"),
    ],
)
def test_bad_parameter_is_refused_by_name(api: Api, service_id: str, query: str, place: str) -> None:
    """400001, and `detail` says which parameter it was (api-rules.md 3.6)."""
    assert_refused(api.get("/instances" + query), 400001, place)


@pytest.mark.parametrize(("app", "name"), [("a" * 160, "c"), ("a", "c" * 289), ("a", "app:cart"), ("a", "c_.-d")])
def test_parameter_at_its_limit_is_understood(api: Api, app: str, name: str) -> None:
    """160 characters of application, 289 of name, which may hold a colon (`app:name`)."""
    assert_refused(api.find(name, app), 400012)


def test_unknown_parameters_are_ignored(api: Api, service_id: str) -> None:
    """Java 2 sends `global=true` with every find (api-rules.md 1.1)."""
    assert ok(api.find(**{"global": "true", "x": "1"})).body == b"{}"


# -- revisions ---------------------------------------------------------------------------------------------------------


def test_find_carries_its_revision_in_exactly_this_case(api: Api, service_id: str) -> None:
    """The header's name is looked up case-sensitively by java clients (clients.md 0.8)."""
    assert b"\r\nX-Resource-Revision: " in ok(api.find()).head


def test_find_with_the_current_rev_is_304(api: Api, service_id: str) -> None:
    """No body and the same revision: the whole point of polling with one (api-rules.md 5.3)."""
    api.instance(service_id)
    rev = api.find().rev
    response = api.find(rev=rev)
    assert (response.status, response.body, response.rev) == (304, b"", rev)


def test_find_of_nothing_with_its_rev_is_304(api: Api, service_id: str) -> None:
    """No instances is a content too, with a revision that java 2.8 needs (clients.md 0.8)."""
    assert api.find(rev=api.find().rev).status == 304


@pytest.mark.parametrize("rev", ["", "0", "garbage", "f" * 40, "%"])
def test_find_with_any_other_rev_is_the_full_answer(api: Api, service_id: str, rev: str) -> None:
    """Blank, `0` and old revisions alike (clients.md 0.8)."""
    instance_id = api.instance(service_id)
    response = api.find(rev=rev)
    assert ids(response) == [instance_id]
    assert response.rev == api.find().rev


@pytest.mark.parametrize("value", ["1", "true", "TRUE"])
def test_no_cache_is_never_304(api: Api, service_id: str, value: str) -> None:
    """D15."""
    response = api.find(rev=api.find().rev, noCache=value)
    assert (response.status, response.body) == (200, b"{}")


@pytest.mark.parametrize("value", ["0", "false", ""])
def test_no_cache_switched_off_is_304(api: Api, service_id: str, value: str) -> None:
    """`noCache=false` is what clients send when they mean no (clients.md 0.22)."""
    assert api.find(rev=api.find().rev, noCache=value).status == 304


def test_two_empty_services_have_different_revs(api: Api) -> None:
    """sc-client up to 0.7 sends one rev for all services: equal ones would hide instances (clients.md 0.7)."""
    api.service("one")
    api.service("two")
    assert api.find("one").rev != api.find("two").rev


def test_two_services_with_equal_instances_have_different_revs(api: Api) -> None:
    """Also where everything that the instances say of themselves is equal (clients.md 0.7)."""
    for name in ("one", "two"):
        api.instance(api.service(name), instanceId="i")
    assert api.find("one").rev != api.find("two").rev


def test_rev_moves_when_the_content_does(api: Api, service_id: str) -> None:
    """Register, change, unregister: each time another revision, and each only once (api-rules.md 5.2)."""
    revs = [api.find().rev]
    instance = f"/microservices/{service_id}/instances/i"
    api.instance(service_id, instanceId="i")
    revs.append(api.find().rev)
    ok(api.put(f"{instance}/status?value=DOWN"))
    revs.append(api.find().rev)
    ok(api.put(f"{instance}/properties", {"properties": {"k": "v"}}))
    revs.append(api.find().rev)
    api.instance(service_id, instanceId="j")
    revs.append(api.find().rev)
    assert len(set(revs)) == len(revs)


def test_rev_stays_when_the_content_does(api: Api, service_id: str) -> None:
    """A beat, a new version without instances, another service's instance: no news (api-rules.md 5.2)."""
    api.instance(service_id, instanceId="i")
    rev = api.find().rev
    ok(api.put(f"/microservices/{service_id}/instances/i/heartbeat"))
    api.service(version="9.9")
    api.instance(api.service("other"))
    assert api.find(rev=rev).status == 304


def test_rev_returns_with_the_content(api: Api, service_id: str) -> None:
    """The rev is a digest of what is answered: the first answer's rev is valid again with the first content."""
    rev = api.find().rev
    instance_id = api.instance(service_id)
    ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
    assert api.find(rev=rev).status == 304


# -- who may see what --------------------------------------------------------------------------------------------------


def test_environment_is_part_of_the_name(api: Api) -> None:
    """`env` absent means services without one, not services of any (api-rules.md 3.6)."""
    plain = api.instance(api.service())
    production = api.instance(api.service(environment="production"))
    assert ids(api.find()) == [plain]
    assert ids(api.find(env="production")) == [production]
    assert_refused(api.find(env="testing"), 400012)


def test_consumer_brings_its_environment(api: Api) -> None:
    """With a consumer, `env` is not asked (api-rules.md 3.6)."""
    api.instance(api.service())
    production = api.instance(api.service(environment="production"))
    consumer = api.service("consumer", environment="production")
    assert ids(api.find(consumer=consumer)) == ids(api.find(consumer=consumer, env="testing")) == [production]


def test_find_for_an_unknown_consumer_is_400012(api: Api, service_id: str) -> None:
    """A consumer that was deleted must register itself again (clients.md 0.3)."""
    assert_refused(api.find(consumer="nobody"), 400012, "nobody")


@pytest.mark.parametrize("name", ["X-ConsumerId", "X-consumer_id", "x-consumerid", "X-CONSUMER_ID"])
def test_consumer_header_in_both_spellings_and_any_case(api: Api, service_id: str, name: str) -> None:
    """One page writes `X-consumer_id`; header names have no case (D5, api-rules.md 9.1-11)."""
    path = "/instances?appId=shop&serviceName=cart"
    assert_refused(api.get(path, {name: "nobody"}), 400012)
    ok(api.get(path, {name: service_id}))


def test_provider_of_another_application_is_left_out_silently(api: Api, service_id: str) -> None:
    """200 without instances: a denial is no error (api-rules.md 3.6)."""
    api.instance(service_id)
    assert ok(api.find(consumer=api.service("consumer", appId="desk"))).body == b"{}"


def test_provider_that_allows_cross_app_is_found(api: Api) -> None:
    """Per version: those that do not allow it are left out (api-rules.md 3.6)."""
    api.instance(api.service(version="1.0"))
    open_id = api.instance(api.service(version="2.0", properties={"allowCrossApp": "TRUE"}))
    assert ids(api.find(consumer=api.service("consumer", appId="desk"))) == [open_id]


def test_without_consumer_every_application_is_found(api: Api, service_id: str) -> None:
    """No permission is checked for who does not say who it is (api-rules.md 3.6)."""
    instance_id = api.instance(service_id)
    assert ids(api.find()) == [instance_id]


def test_services_without_the_tag_are_left_out(api: Api, service_id: str) -> None:
    """A missing tag is no error in find (api-rules.md 3.6)."""
    api.instance(service_id)
    assert ok(api.find(tags="zone")).body == b"{}"


# -- aliases -----------------------------------------------------------------------------------------------------------


def test_alias_finds_the_service(api: Api) -> None:
    """Consumers of another application call providers by `app:name` (api-rules.md 3.6)."""
    instance_id = api.instance(api.service("cart", alias="shop:cart"))
    assert ids(api.find("shop:cart")) == ids(api.find("cart")) == [instance_id]


def test_name_wins_over_alias(api: Api) -> None:
    """Aliases are looked at only when no service has the name (api-rules.md 3.6)."""
    named = api.instance(api.service("till"))
    api.instance(api.service("cart", alias="till", version="2.0"))
    assert ids(api.find("till")) == [named]


def test_alias_of_several_services_finds_them_all(api: Api) -> None:
    """An alias is no unique name: versions of two services may share it."""
    one = api.instance(api.service("one", alias="both", version="1.0"))
    two = api.instance(api.service("two", alias="both", version="2.0"))
    assert ids(api.find("both")) == sorted([one, two])
    assert ids(api.find("both", version="2.0")) == [two]


def test_alias_goes_with_its_service(api: Api) -> None:
    """After the service is deleted the alias is unknown again."""
    service_id = api.service("cart", alias="basket")
    ok(api.find("basket"))
    ok(api.delete(f"/microservices/{service_id}"))
    assert_refused(api.find("basket"), 400012)
