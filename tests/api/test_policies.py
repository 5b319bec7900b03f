"""Traffic policies: /v1/{project}/gov/{kind}, kept by the registry itself instead of a config server.

api-rules.md 3.14.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ok
from tests.support.http import Response
from tests.support.replica import replica

#: kind -> the least spec of it.
SPECS: dict[str, dict[str, Any]] = {
    "match-group": {
        "matches": [{"name": "m", "apiPath": {"exact": "/a"}, "method": ["GET", "PATCH"]}],
        "alias": "scene",
    },
    "retry": {"maxAttempts": 3},
    "rate-limiting": {"rate": "10"},
    "loadbalance": {"rule": "Random"},
    "circuit-breaker": {"minimumNumberOfCalls": 0},
    "instance-isolation": {"minimumNumberOfCalls": 10},
    "fault-injection": {"percentage": 0},
    "bulkhead": {"maxConcurrentCalls": 5},
}


class Gov:
    """Calls below `/v1/{project}/gov`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def call(self, method: str, path: str, body: Any = None) -> Response:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        target = f"/v1/{self._api.project}/gov/{path}"
        return self._api.connection.request(method, target, content, {"X-Domain-Name": self._api.domain})

    def get(self, path: str) -> Any:
        return ok(self.call("GET", path)).json()

    def save(self, kind: str, **members: Any) -> str:
        """Save a policy with the least spec; its id."""
        return str(ok(self.call("POST", kind, {"spec": SPECS[kind], **members})).json()["id"])


@pytest.fixture
def gov(api: Api) -> Gov:
    return Gov(api)


@pytest.mark.parametrize("kind", SPECS)
def test_policy_of_each_kind_is_kept_as_sent(gov: Gov, kind: str) -> None:
    """With its id, kind, status and times; `creatTime` is the API's spelling (3.14)."""
    selector = {"app": "shop", "environment": "production"}
    body = {"name": "p", "selector": selector, "spec": {**SPECS[kind], "more": {"deep": [1, "x", None]}}}
    created = ok(gov.call("POST", kind, body))
    assert created.json().keys() == {"id"}
    policy = gov.get(f"{kind}/{created.json()['id']}")
    assert isinstance(policy["creatTime"], int)
    assert policy == {
        **body,
        "id": created.json()["id"],
        "kind": kind,
        "status": policy["status"],
        "creatTime": policy["creatTime"],
        "updateTime": policy["creatTime"],
    }


def test_answers_are_pretty_printed(gov: Gov) -> None:
    """As the config server behind the reference does (3.14)."""
    policy_id = gov.save("retry", name="p")
    assert b'\n  "name": "p",\n' in gov.call("GET", f"retry/{policy_id}").body
    assert b'\n    "name": "p",\n' in gov.call("GET", "retry").body


def test_list_is_of_one_kind_and_an_array_always(gov: Gov) -> None:
    """3.14."""
    assert ok(gov.call("GET", "retry")).body == b"[]"
    ids = {gov.save("retry", name="a"), gov.save("retry", name="b")}
    gov.save("bulkhead")
    assert {policy["id"] for policy in gov.get("retry")} == ids


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abc"),
        ("?app=shop", "ab"),
        ("?environment=production", "a"),
        ("?env=production", "a"),
        ("?app=shop&environment=all", "ab"),
        ("?app=desk&environment=production", ""),
    ],
)
def test_list_is_filtered_by_selector(gov: Gov, query: str, names: str) -> None:
    """`all` is no filter; openapi calls it `env` (3.14)."""
    gov.save("retry", name="a", selector={"app": "shop", "environment": "production"})
    gov.save("retry", name="b", selector={"app": "shop", "environment": "testing"})
    gov.save("retry", name="c", selector={"app": "desk"})
    assert "".join(sorted(policy["name"] for policy in gov.get(f"retry{query}"))) == names


def test_put_changes_the_policy_and_keeps_its_origin(gov: Gov) -> None:
    """200 without content; name, status and selector stay where they are not sent (3.14)."""
    policy_id = gov.save("retry", name="p", status="disabled", selector={"app": "shop"})
    before = gov.get(f"retry/{policy_id}")
    assert_empty(gov.call("PUT", f"retry/{policy_id}", {"spec": {"maxAttempts": 9}}))
    after = gov.get(f"retry/{policy_id}")
    assert (after["name"], after["status"], after["spec"]) == ("p", "disabled", {"maxAttempts": 9})
    assert (after["id"], after["creatTime"], after["selector"]) == (before["id"], before["creatTime"], {"app": "shop"})
    assert_empty(gov.call("PUT", f"retry/{policy_id}", {"spec": {"maxAttempts": 9}, "selector": {}}))
    assert "selector" not in gov.get(f"retry/{policy_id}")


def test_delete_takes_one_policy(gov: Gov) -> None:
    """3.14."""
    policy_id, other = gov.save("retry", name="p"), gov.save("retry", name="p")
    assert_empty(gov.call("DELETE", f"retry/{policy_id}"))
    assert [policy["id"] for policy in gov.get("retry")] == [other]


def test_match_group_takes_the_policies_of_its_name_with_it(gov: Gov) -> None:
    """Without their scene they would apply to nothing (3.14)."""
    group = gov.save("match-group", name="scene")
    gov.save("retry", name="scene")
    gov.save("bulkhead", name="scene")
    kept = gov.save("retry", name="another")
    assert_empty(gov.call("DELETE", f"match-group/{group}"))
    assert gov.get("match-group") == gov.get("bulkhead") == []
    assert [policy["id"] for policy in gov.get("retry")] == [kept]


def test_match_group_without_a_name_gets_one(gov: Gov) -> None:
    """`scene-` and four characters (3.14); other kinds stay without."""
    group = gov.get(f"match-group/{gov.save('match-group')}")
    assert re.fullmatch(r"scene-[0-9a-z]{4}", group["name"])
    assert "name" not in gov.get(f"retry/{gov.save('retry')}")


def test_display_groups_policies_by_their_match_group(gov: Gov) -> None:
    """What the console shows (3.14)."""
    assert gov.get("display") == []
    group = gov.save("match-group", name="scene", selector={"app": "shop"})
    retry = gov.save("retry", name="scene", selector={"app": "shop"})
    gov.save("retry", name="another", selector={"app": "shop"})
    empty = gov.save("match-group", name="empty", selector={"app": "desk"})
    shown = gov.get("display?app=shop")
    assert shown == [{"policies": [gov.get(f"retry/{retry}")], "matchGroup": gov.get(f"match-group/{group}")}]
    assert {item["matchGroup"]["id"] for item in gov.get("display")} == {group, empty}


def test_policies_stay_within_their_tenant(gov: Gov, api: Api) -> None:
    """Of domain and project (1.1)."""
    policy_id = gov.save("retry")
    for other in (Gov(Api(api.connection, api.domain + "-other")), Gov(Api(api.connection, api.domain, "another"))):
        assert other.get("retry") == []
        assert_refused(other.call("GET", f"retry/{policy_id}"), 400001)


# -- refusals ----------------------------------------------------------------------------------------------------------

BAD_SPECS: list[tuple[str, Any, str]] = [
    *((kind, {}, "$.spec.") for kind in SPECS),
    ("match-group", {"matches": [], "alias": "a"}, "$.spec.matches"),
    ("match-group", {"matches": [{}], "alias": "a"}, "$.spec.matches[0].name"),
    ("match-group", {"matches": [{"name": "a"}, "b"], "alias": "a"}, "$.spec.matches"),
    ("match-group", {"matches": {"name": "a"}, "alias": "a"}, "$.spec.matches"),
    ("match-group", {"matches": [{"name": "a"}], "alias": ""}, "$.spec.alias"),
    ("match-group", {"matches": [{"name": "a", "method": ["HEAD"]}], "alias": "a"}, "$.spec.matches[0].method"),
    ("circuit-breaker", {"minimumNumberOfCalls": -1}, "$.spec.minimumNumberOfCalls"),
    ("circuit-breaker", {"minimumNumberOfCalls": "x"}, "$.spec.minimumNumberOfCalls"),
    ("fault-injection", {"percentage": -1}, "$.spec.percentage"),
    ("bulkhead", {"maxConcurrentCalls": True}, "$.spec.maxConcurrentCalls"),
]


@pytest.mark.parametrize(("kind", "spec", "place"), BAD_SPECS)
def test_bad_spec_is_refused_by_place(gov: Gov, kind: str, spec: Any, place: str) -> None:
    """When a policy is made and when it is changed (3.14)."""
    assert_refused(gov.call("POST", kind, {"spec": spec}), 400001, place)
    policy_id = gov.save(kind)
    assert_refused(gov.call("PUT", f"{kind}/{policy_id}", {"spec": spec}), 400001, place)
    assert [policy["spec"] for policy in gov.get(kind)] == [SPECS[kind]]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_unknown_kind_and_unknown_policy_are_400001(gov: Gov, method: str) -> None:
    """3.14."""
    body = {"spec": SPECS["retry"]} if method in ("POST", "PUT") else None
    if method in ("GET", "POST"):
        assert_refused(gov.call(method, "nothing", body), 400001, "nothing")
    if method != "POST":
        assert_refused(gov.call(method, "retry/nobody", body), 400001, "nobody")


def test_policy_is_not_reached_through_another_kind(gov: Gov) -> None:
    """3.14."""
    policy_id = gov.save("retry")
    for method, body in (("GET", None), ("PUT", {"spec": SPECS["bulkhead"]}), ("DELETE", None)):
        assert_refused(gov.call(method, f"bulkhead/{policy_id}", body), 400001)
    assert gov.get(f"retry/{policy_id}")["kind"] == "retry"


@pytest.mark.parametrize("body", [b"", b"{", [], {"spec": []}, {"spec": {"maxAttempts": 1}, "name": "n" * 129}])
def test_bad_policy_is_refused(gov: Gov, body: Any) -> None:
    """3.14."""
    assert_refused(gov.call("POST", "retry", body), 400001)
    assert gov.get("retry") == []


def test_id_kind_and_times_of_the_body_are_ignored(gov: Gov) -> None:
    """They are the registry's to set (3.14, D9)."""
    body = {"id": "mine", "kind": "bulkhead", "creatTime": 1, "updateTime": 1, "spec": SPECS["retry"]}
    policy_id = ok(gov.call("POST", "retry", body)).json()["id"]
    policy = gov.get(f"retry/{policy_id}")
    assert (policy["id"], policy["kind"]) == (policy_id, "retry")
    assert policy_id != "mine"
    assert policy["creatTime"] > 1


def test_groups_that_share_their_policies_are_not_told_beyond_the_limit(redis_url: str) -> None:
    """Each group of a name shows all policies of it: a few megabytes of both would be an answer of gigabytes."""
    environment = {"REGISTRY_ANSWER_MAX_BYTES": str(256 * 1024)}
    with replica("--redis-url", redis_url, "--redis-prefix", "groups:", environment=environment) as process:
        api = process.api("t")

        def path(kind: str) -> str:
            return f"/v1/default/gov/{kind}"

        def call(method: str, kind: str, body: dict[str, Any] | None = None) -> Response:
            content = json.dumps(body).encode() if body is not None else None
            return api.connection.request(method, path(kind), content, {"X-Domain-Name": api.domain})

        for _ in range(40):
            for kind in ("match-group", "retry"):
                ok(call("POST", kind, {"name": "same", "selector": {}, "spec": SPECS[kind]}))
        assert len(ok(call("GET", "match-group")).json()) == 40
        assert_refused(call("GET", "display"), 400001, "bytes or more, 262144 at most (REGISTRY_ANSWER_MAX_BYTES)")
