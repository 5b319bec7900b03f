"""POST instances/action?type=query: many finds in one request.

Page "Querying Microservice Instances in Batches"; api-rules.md 3.8; D4, D5, D15.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ok, wanted, wanted_instance


def test_example_of_the_page_is_answered(api: Api) -> None:
    """Its two services with their made-up revs: every index once, with rev and instances."""
    for name in ("helloworld1", "helloworld2"):
        api.instance(api.service(name, appId="TestApp", version="1.0.0"))
    services = [
        {"service": {"appId": "TestApp", "serviceName": "helloworld1", "version": "0+"}, "rev": "1.0.0"},
        {"service": {"appId": "TestApp", "serviceName": "helloworld2", "version": "latest"}, "rev": "1.0.0"},
    ]
    result = ok(api.post("/instances/action?type=query", {"services": services})).json()
    assert set(result) == {"services"}
    assert set(result["services"]) == {"updated"}
    for index, updated in enumerate(result["services"]["updated"]):
        assert set(updated) == {"index", "rev", "instances"}
        assert (updated["index"], len(updated["instances"])) == (index, 1)


def test_answers_are_those_of_the_single_finds(api: Api, service_id: str) -> None:
    """The same instances and the same rev: clients mix both calls."""
    api.instance(service_id, instanceId="i")
    (updated,) = ok(api.batch([wanted()])).json()["services"]["updated"]
    single = api.find()
    assert updated["rev"] == single.rev
    assert updated["instances"] == single.json()["instances"]


def test_both_lists_are_answered(api: Api, service_id: str) -> None:
    """`services` and `instances` are present exactly when asked for (api-rules.md 3.8)."""
    api.instance(service_id, instanceId="i")
    services, instances = [wanted()], [wanted_instance(service_id, "i")]
    assert set(ok(api.batch(services, instances)).json()) == {"services", "instances"}
    assert set(ok(api.batch(services)).json()) == {"services"}
    assert set(ok(api.batch(None, instances)).json()) == {"instances"}
    assert set(ok(api.batch([], instances)).json()) == {"instances"}


def test_instance_element_is_answered_as_get_one(api: Api, service_id: str) -> None:
    """Exactly one element, with the rev of that instance alone (api-rules.md 3.8)."""
    api.instance(service_id, instanceId="i")
    api.instance(service_id, instanceId="j")
    (updated,) = ok(api.batch(None, [wanted_instance(service_id, "i")])).json()["instances"]["updated"]
    single = api.get(f"/microservices/{service_id}/instances/i")
    assert (updated["index"], updated["rev"]) == (0, single.rev)
    assert updated["instances"] == [single.json()["instance"]]


def test_current_revs_are_listed_as_not_modified(api: Api, service_id: str) -> None:
    """Only the indexes, ascending (api-rules.md 3.8)."""
    api.service("other")
    revs = api.find().rev, api.find("other").rev
    elements = [wanted(rev=revs[0]), wanted("other"), wanted("other", rev=revs[1])]
    result = ok(api.batch(elements)).json()["services"]
    assert result["notModified"] == [0, 2]
    assert [updated["index"] for updated in result["updated"]] == [1]


def test_unchanged_instance_is_not_modified(api: Api, service_id: str) -> None:
    """The rev of an `instances` element is that of get-one."""
    api.instance(service_id, instanceId="i")
    rev = api.get(f"/microservices/{service_id}/instances/i").rev
    assert ok(api.batch(None, [wanted_instance(service_id, "i", rev)])).body == b'{"instances":{"notModified":[0]}}'


def test_rev_of_another_service_is_not_current(api: Api) -> None:
    """sc-client sends one rev for every element (clients.md 0.7)."""
    api.service("one")
    api.service("two")
    rev = api.find("one").rev
    result = ok(api.batch([wanted("one", rev=rev), wanted("two", rev=rev)])).json()["services"]
    assert result["notModified"] == [0]
    assert [updated["index"] for updated in result["updated"]] == [1]


def test_updated_without_instances_has_index_and_rev_alone(api: Api, service_id: str) -> None:
    """`index` 0 and `rev` are always written, `instances` is left out when there are none (api-rules.md 1.3)."""
    rev = api.find().rev.encode()
    assert ok(api.batch([wanted()])).body == b'{"services":{"updated":[{"index":0,"rev":"%s"}]}}' % rev


def test_failures_are_grouped_by_code(api: Api, service_id: str) -> None:
    """One object per code, indexes ascending, the detail of the first; HTTP stays 200 (api-rules.md 3.8)."""
    api.instance(service_id, instanceId="i")
    instances = [
        wanted_instance(service_id, "first"),
        wanted_instance("nowhere", "i"),
        wanted_instance(service_id, "i"),
        wanted_instance(service_id, "second"),
    ]
    response = ok(api.batch([wanted("nobody"), wanted(), wanted("nowhere")], instances))
    result = response.json()
    (failed,) = result["services"]["failed"]
    assert failed["indexes"] == [0, 2]
    assert failed["error"]["errorCode"] == "400012"
    assert "nobody" in failed["error"]["detail"]
    by_code = {group["error"]["errorCode"]: group for group in result["instances"]["failed"]}
    assert {code: group["indexes"] for code, group in by_code.items()} == {"400017": [0, 3], "400012": [1]}
    assert "first" in by_code["400017"]["error"]["detail"]
    assert b'"errorCode":"400012"' in response.body


def test_every_index_is_answered_exactly_once(api: Api, service_id: str) -> None:
    """Whatever becomes of it."""
    rev = api.find().rev
    elements = [wanted("nobody"), wanted(), wanted(rev=rev), wanted("nobody", version="1+"), wanted(version="9")]
    result = ok(api.batch(elements)).json()["services"]
    indexes = [index for group in result["failed"] for index in group["indexes"]]
    indexes += result["notModified"] + [updated["index"] for updated in result["updated"]]
    assert sorted(indexes) == list(range(len(elements)))


# -- the consumer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-ConsumerId", "X-consumer_id"])
def test_consumer_of_either_header_is_used(api: Api, service_id: str, header: str) -> None:
    """The page calls it `X-consumer_id` (D5); an unknown one fails every element, not the request."""
    api.instance(service_id)
    stranger = api.service("consumer", appId="desk")
    body = {"services": [wanted()]}
    seen = ok(api.post("/instances/action?type=query", body, {header: stranger})).json()["services"]["updated"][0]
    assert "instances" not in seen
    unknown = ok(api.post("/instances/action?type=query", body, {header: "nobody"})).json()["services"]
    assert unknown["failed"][0]["error"]["errorCode"] == "400012"


def test_consumer_in_the_body_is_ignored(api: Api, service_id: str) -> None:
    """Only the header names the consumer (api-rules.md 1.1)."""
    api.instance(service_id)
    body = {"services": [wanted()], "consumerServiceId": "nobody"}
    (updated,) = ok(api.post("/instances/action?type=query", body)).json()["services"]["updated"]
    assert len(updated["instances"]) == 1


def test_environment_counts_without_a_consumer_only(api: Api) -> None:
    """A consumer brings its own (api-rules.md 3.8)."""
    api.service(environment="production")
    asked = [wanted(environment="production")]
    assert "updated" in ok(api.batch(asked)).json()["services"]
    consumer = api.service("consumer")
    assert "failed" in ok(api.batch(asked, consumer=consumer)).json()["services"]


# -- `*` ---------------------------------------------------------------------------------------------------------------


def star(**members: str) -> dict[str, Any]:
    return {"service": {"serviceName": "*", **members}}


def hosts(api: Api, element: dict[str, Any], consumer: str = "") -> list[str]:
    (updated,) = ok(api.batch([element], consumer=consumer)).json()["services"]["updated"]
    return sorted(instance["hostName"] for instance in updated.get("instances", []))


def test_star_finds_all_services_of_the_tenant(api: Api) -> None:
    """The page: "appId and version can be left blank" (D4)."""
    api.instance(api.service("cart"), hostName="a")
    api.instance(api.service("till", appId="desk"), hostName="b")
    assert hosts(api, star()) == hosts(api, star(appId="", version="")) == ["a", "b"]
    assert hosts(api, star(appId="desk")) == ["b"]


def test_star_leaves_out_what_the_consumer_may_not_see(api: Api) -> None:
    """Other applications unless they allow it, other environments never (D4)."""
    api.instance(api.service("cart"), hostName="same app")
    api.instance(api.service("till", appId="desk"), hostName="other app")
    api.instance(api.service("open", appId="desk", properties={"allowCrossApp": "true"}), hostName="open")
    api.instance(api.service("far", environment="production"), hostName="other environment")
    assert hosts(api, star(), api.service("consumer")) == ["open", "same app"]


def test_star_of_an_empty_tenant_finds_none(api: Api) -> None:
    """No service is no error: there is no name that could be unknown."""
    assert hosts(api, star()) == []


def test_star_honours_the_version_rule(api: Api) -> None:
    """Per name: `latest` is the newest of each."""
    for name, version in (("cart", "1.0"), ("cart", "2.0"), ("till", "1.5")):
        api.instance(api.service(name, version=version), hostName=f"{name}-{version}")
    assert hosts(api, star(version="latest")) == ["cart-2.0", "till-1.5"]


def test_star_rev_follows_every_service(api: Api, service_id: str) -> None:
    """A consumer of everything is told of anything, once."""
    first = ok(api.batch([star()])).json()["services"]["updated"][0]["rev"]
    again = {**star(), "rev": first}
    assert "notModified" in ok(api.batch([again])).json()["services"]
    api.instance(api.service("new"))
    assert "updated" in ok(api.batch([again])).json()["services"]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "type=", "type=delete", "type=Query"])
def test_type_must_be_query(api: Api, service_id: str, query: str) -> None:
    """Mandatory, and the only operation (the page, table 2)."""
    assert_refused(api.batch([wanted()], query=query), 400001, "`type`")


@pytest.mark.parametrize("body", [{}, {"services": []}, {"services": [], "instances": []}, {"services": None}], ids=str)
def test_something_must_be_asked(api: Api, body: Any) -> None:
    """Both lists empty or missing (api-rules.md 3.8)."""
    assert_refused(api.post("/instances/action?type=query", body), 400001, "$")


@pytest.mark.parametrize(
    ("services", "place"),
    [
        ([{}], "$.services[1]"),
        ([{"service": None}], "$.services[1]"),
        ([None], "$.services[1]"),
        ([5], "$.services[1]"),
        ([wanted("")], "$.services[1]"),
        ([wanted(app="")], "$.services[1]"),
        ([wanted("a b")], "$.services[1]"),
        ([wanted("**")], "$.services[1]"),
        ([wanted("c" * 290)], "$.services[1]"),
        ([wanted(app="a" * 161)], "$.services[1]"),
        ([wanted(version="v1")], "$.services[1]"),
        ([wanted(version=1)], "$.services[1]"),
        ([wanted(environment="moon")], "$.services[1]"),
        ([{**wanted(), "rev": 1}], "$.services[1]"),
    ],
)
def test_bad_service_element_refuses_the_whole_request(
    api: Api, service_id: str, services: list[Any], place: str
) -> None:
    """400001 with the element's place (api-rules.md 3.8)."""
    assert_refused(api.batch([wanted(), *services]), 400001, place)


@pytest.mark.parametrize(
    "element",
    [
        *(
            {},
            {"instance": None},
            None,
            wanted_instance("", "i"),
            wanted_instance("s", ""),
            wanted_instance("s", "a/b"),
        ),
        *(wanted_instance("s" * 65, "i"), wanted_instance("s", "i" * 65), wanted_instance("a b", "i")),
    ],
)
def test_bad_instance_element_refuses_the_whole_request(api: Api, service_id: str, element: Any) -> None:
    """400001 with the element's place (api-rules.md 3.8)."""
    assert_refused(api.batch([wanted()], [wanted_instance("s", "i"), element]), 400001, "$.instances[1]")


# -- what is ignored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["type=query&rev=0", "type=query&global=true", "type=query&noCache=1"])
def test_other_parameters_change_nothing(api: Api, service_id: str, query: str) -> None:
    """sc-client sends `rev=0` with the query; only the elements' revs count (D15, clients.md 0.7)."""
    current = wanted(rev=api.find().rev)
    assert ok(api.batch([current], query=query)).body == b'{"services":{"notModified":[0]}}'


def test_query_level_rev_makes_nothing_unmodified(api: Api, service_id: str) -> None:
    """Not even the right one (clients.md 0.7)."""
    result = ok(api.batch([wanted()], query=f"type=query&rev={api.find().rev}")).json()
    assert set(result["services"]) == {"updated"}


def test_batch_has_no_revision_header(api: Api, service_id: str) -> None:
    """It would be the revision of what? (api-rules.md 1.3)."""
    assert ok(api.batch([wanted()])).rev == ""
