"""Tags of a microservice: replace, set one, get, delete, and what they are for.

api-rules.md 3.3; 3.5 and 3.6 for finding by tag; clients.md 0.12.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok


def tags_of(api: Api, service_id: str) -> Any:
    return ok(api.get(f"/microservices/{service_id}/tags")).json()


def put_tags(api: Api, service_id: str, **tags: str) -> None:
    assert_empty(api.post(f"/microservices/{service_id}/tags", {"tags": tags}))


def test_service_without_tags_answers_exactly_braces(api: Api, service_id: str) -> None:
    """The reference's test compares with `{}` (clients.md 0.12)."""
    assert ok(api.get(f"/microservices/{service_id}/tags")).body == b"{}"


def test_tags_are_answered_as_they_were_set(api: Api, service_id: str) -> None:
    """3.3."""
    put_tags(api, service_id, zone="north", lane="fast-1")
    assert tags_of(api, service_id) == {"tags": {"zone": "north", "lane": "fast-1"}}


def test_post_replaces_the_whole_set(api: Api, service_id: str) -> None:
    """Named "add tags", yet what is not sent is gone (3.3)."""
    put_tags(api, service_id, zone="north", lane="fast")
    put_tags(api, service_id, lane="slow")
    assert tags_of(api, service_id) == {"tags": {"lane": "slow"}}


@pytest.mark.parametrize("body", [{}, {"tags": {}}, {"tags": None}])
def test_post_without_tags_clears_them(api: Api, service_id: str, body: Any) -> None:
    """3.3."""
    put_tags(api, service_id, zone="north")
    assert_empty(api.post(f"/microservices/{service_id}/tags", body))
    assert tags_of(api, service_id) == {}


def test_put_changes_one_tag_and_keeps_the_others(api: Api, service_id: str) -> None:
    """3.3."""
    put_tags(api, service_id, zone="north", lane="fast")
    assert_empty(api.put(f"/microservices/{service_id}/tags/zone?value=south"))
    assert tags_of(api, service_id) == {"tags": {"zone": "south", "lane": "fast"}}


def test_put_of_a_tag_that_is_not_set_is_400018(api: Api, service_id: str) -> None:
    """PUT changes and does not add (3.3)."""
    assert_refused(api.put(f"/microservices/{service_id}/tags/zone?value=south"), 400018, "zone")
    assert tags_of(api, service_id) == {}


def test_delete_takes_the_named_tags(api: Api, service_id: str) -> None:
    """A comma list in the path (3.3)."""
    put_tags(api, service_id, a="x", b="x", c="x")
    assert_empty(api.delete(f"/microservices/{service_id}/tags/a,c"))
    assert tags_of(api, service_id) == {"tags": {"b": "x"}}


def test_delete_with_one_unknown_tag_deletes_nothing(api: Api, service_id: str) -> None:
    """400018, all or none (3.3)."""
    put_tags(api, service_id, a="x", b="x")
    assert_refused(api.delete(f"/microservices/{service_id}/tags/a,nobody"), 400018, "nobody")
    assert tags_of(api, service_id) == {"tags": {"a": "x", "b": "x"}}


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a" * 64, "Z", "a0_.-"])
def test_tag_within_its_limits_is_kept(api: Api, service_id: str, text: str) -> None:
    """A letter, then up to 63 more; keys and values alike (3.3, 7)."""
    put_tags(api, service_id, **{text: text})
    assert_empty(api.put(f"/microservices/{service_id}/tags/{text}?value={text}"))
    assert tags_of(api, service_id) == {"tags": {text: text}}
    assert_empty(api.delete(f"/microservices/{service_id}/tags/{text}"))


@pytest.mark.parametrize("text", ["", "9a", "_a", "a b", "a,b", "ä", "a\n", "a" * 65])
def test_tag_of_another_form_is_refused(api: Api, service_id: str, text: str) -> None:
    """As key and as value, in the body (3.3, 7)."""
    for tags in ({text: "value"}, {"key": text}):
        assert_refused(api.post(f"/microservices/{service_id}/tags", {"tags": tags}), 400001, "$.tags")
    assert tags_of(api, service_id) == {}


@pytest.mark.parametrize("text", ["9a", "_a", "a%20b", "%C3%A4", "a%0A", "a" * 65])
def test_tag_of_another_form_in_the_path_is_refused(api: Api, service_id: str, text: str) -> None:
    """400001, not 400018: such a tag can never be set (3.3)."""
    put_tags(api, service_id, key="value")
    path = f"/microservices/{service_id}/tags"
    assert_refused(api.put(f"{path}/{text}?value=other"), 400001, "the path")
    assert_refused(api.put(f"{path}/key?value={text}"), 400001, "`value`")
    assert_refused(api.delete(f"{path}/key,{text}"), 400001, "the path")
    assert tags_of(api, service_id) == {"tags": {"key": "value"}}


@pytest.mark.parametrize("query", ["", "?value=", "?other=x"])
def test_put_needs_a_value(api: Api, service_id: str, query: str) -> None:
    """A tag's value cannot be empty (3.3)."""
    put_tags(api, service_id, key="value")
    assert_refused(api.put(f"/microservices/{service_id}/tags/key{query}"), 400001, "`value`")


@pytest.mark.parametrize("keys", [",", "a,", ",a"])
def test_delete_of_a_blank_tag_is_refused(api: Api, service_id: str, keys: str) -> None:
    """3.3."""
    put_tags(api, service_id, a="x")
    assert_refused(api.delete(f"/microservices/{service_id}/tags/{keys}"), 400001)
    assert tags_of(api, service_id) == {"tags": {"a": "x"}}


@pytest.mark.parametrize("body", [[], {"tags": []}, {"tags": {"a": 1}}, {"tags": {"a": {}}}, b"", b"{"])
def test_undecodable_tags_are_refused(api: Api, service_id: str, body: Any) -> None:
    """3.3."""
    assert_refused(api.post(f"/microservices/{service_id}/tags", body), 400001)


def test_hundred_tags_are_the_most(api: Api, service_id: str) -> None:
    """One more is 400001; so is a delete that names more (3.3, 7)."""
    hundred = {f"t{number}": "x" for number in range(100)}
    put_tags(api, service_id, **hundred)
    assert_refused(api.post(f"/microservices/{service_id}/tags", {"tags": {**hundred, "more": "x"}}), 400001, "$.tags")
    assert tags_of(api, service_id) == {"tags": hundred}
    keys = ",".join(hundred)
    assert_refused(api.delete(f"/microservices/{service_id}/tags/{keys},more"), 400001)
    assert_empty(api.delete(f"/microservices/{service_id}/tags/{keys}"))
    assert tags_of(api, service_id) == {}


@pytest.mark.parametrize(("service_id", "code"), [("nobody", 400012), ("x" * 65, 400001), ("no%20body", 400001)])
def test_tags_of_an_unknown_service_are_refused(api: Api, service_id: str, code: int) -> None:
    """Also where a key is asked for: the service is missed first (3.3)."""
    path = f"/microservices/{service_id}/tags"
    assert_refused(api.post(path, {"tags": {"a": "x"}}), code)
    assert_refused(api.get(path), code)
    assert_refused(api.put(f"{path}/a?value=x"), code)
    assert_refused(api.delete(f"{path}/a"), code)


# -- what they are for -------------------------------------------------------------------------------------------------


def test_find_leaves_out_services_that_lack_one_of_the_tags(api: Api) -> None:
    """A tag is asked for by its key; all of them are needed, and the rev tells the difference (3.6)."""
    plain, both = api.service(version="1.0"), api.service(version="2.0")
    put_tags(api, plain, zone="north")
    put_tags(api, both, zone="south", lane="fast")
    plain_id, both_id = api.instance(plain), api.instance(both)
    assert ids(api.find(tags="zone")) == sorted([plain_id, both_id])
    assert ids(api.find(tags="zone,lane")) == [both_id]
    assert api.find(tags="zone").rev != api.find(tags="zone,lane").rev


def test_tags_are_asked_for_on_one_service_too(api: Api, service_id: str) -> None:
    """List refuses with 400012, get-one with 400017 (3.5)."""
    instance_id = api.instance(service_id)
    path = f"/microservices/{service_id}/instances"
    assert_refused(api.get(f"{path}?tags=zone"), 400012)
    assert_refused(api.get(f"{path}/{instance_id}?tags=zone"), 400017)
    put_tags(api, service_id, zone="north")
    assert ids(api.get(f"{path}?tags=zone")) == [instance_id]
    ok(api.get(f"{path}/{instance_id}?tags=zone"))


def test_tag_that_changes_is_seen_by_the_next_find(api: Api, service_id: str) -> None:
    """Answers are kept prepared; a tag that comes or goes makes them anew (3.6)."""
    instance_id = api.instance(service_id)
    assert ids(api.find(tags="zone")) == []
    put_tags(api, service_id, zone="north")
    assert ids(api.find(tags="zone")) == [instance_id]
    ok(api.delete(f"/microservices/{service_id}/tags/zone"))
    assert ids(api.find(tags="zone")) == []


def test_tags_go_with_their_service(api: Api, service_id: str) -> None:
    """Registered again under the same id it has none (3.2: delete removes tags)."""
    put_tags(api, service_id, zone="north")
    ok(api.delete(f"/microservices/{service_id}"))
    assert api.service() == service_id
    assert tags_of(api, service_id) == {}
