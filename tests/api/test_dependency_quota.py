"""The quota of what one consumer depends on, which is 2 here: finds are never refused for it, other writes are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ids, ok, wanted
from tests.support.http import Response
from tests.support.replica import Replica, replica

FULL = "quota: 2 of 2 in use, 1 more wanted"


@pytest.fixture(scope="module")
def small(redis_url: str) -> Iterator[Replica]:
    environment = {"QUOTA_DEPENDENCY": "2"}
    with replica("--redis-url", redis_url, "--redis-prefix", "depend:", environment=environment) as process:
        yield process


@pytest.fixture
def api(small: Replica, key_prefix: str) -> Api:
    """A client of a tenant of its own, with the services `a` to `d`, each with an instance of the same id."""
    api = small.api(key_prefix)
    for name in "abcd":
        api.instance(api.service(name), instanceId=name)
    return api


@pytest.fixture
def consumer_id(api: Api) -> str:
    return api.service("consumer", version="1.0")


def providers(api: Api, consumer_id: str) -> list[str]:
    services = ok(api.get(f"/microservices/{consumer_id}/providers")).json().get("providers", [])
    return sorted(service["serviceName"] for service in services)


def left_out(small: Replica) -> float:
    """How many dependencies the registry has not recorded."""
    lines = ok(small.connect().request("GET", "/metrics")).body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("registry_dependencies_left_out_total"))


def depend(api: Api, method: str, *lists: str) -> Response:
    """Write dependencies: one entry for each list of provider names."""
    consumer = {"appId": "shop", "serviceName": "consumer", "version": "1.0"}
    entries = [
        {
            "consumer": consumer,
            "providers": [{"appId": "shop", "serviceName": name, "version": "0+"} for name in names],
        }
        for names in lists
    ]
    return api.call(method, "/dependencies", {"dependencies": entries})


# Hot requests with an `Origin` go the other way.
@pytest.mark.parametrize("headers", [{}, {"Origin": "http://console"}], ids=["fast lane", "app"])
def test_find_beyond_the_quota_is_answered_and_its_record_left_out_and_counted(
    api: Api, small: Replica, consumer_id: str, headers: dict[str, str]
) -> None:
    """A consumer that finds is answered: only its watchers miss what they are not told."""
    for name in "ab":
        ok(api.find(name, consumer=consumer_id))
    before = left_out(small)
    for _ in range(2):
        path = "/instances?appId=shop&serviceName=c&version=0%2B"
        assert ids(api.get(path, {"X-ConsumerId": consumer_id, **headers})) == ["c"]
    assert providers(api, consumer_id) == ["a", "b"]
    assert left_out(small) == before + 2
    assert small.said("dependency_not_recorded") == []


def test_batch_find_with_nothing_new_counts_what_it_leaves_out_each_time(
    api: Api, small: Replica, consumer_id: str
) -> None:
    for name in "ab":
        ok(api.find(name, consumer=consumer_id))
    path = "/instances?appId=shop&serviceName=c&version=0%2B"
    rev = ok(api.get(path)).header("X-Resource-Revision")
    before = left_out(small)
    for number in range(1, 4):
        answer = ok(api.batch([{**wanted("c"), "rev": rev}], consumer=consumer_id)).json()
        assert answer["services"]["notModified"] == [0]
        assert left_out(small) == before + number


def test_batch_find_records_as_many_as_fit(api: Api, small: Replica, consumer_id: str) -> None:
    """And answers them all."""
    ok(api.find("a", consumer=consumer_id))
    before = left_out(small)
    for _ in range(2):
        answer = ok(api.batch([wanted(name) for name in "abcd"], consumer=consumer_id)).json()
        assert [element["index"] for element in answer["services"]["updated"]] == [0, 1, 2, 3]
    assert providers(api, consumer_id) == ["a", "b"]
    assert left_out(small) > before


@pytest.mark.parametrize("lists", [("abc",), ("ab", "c"), ("ab", "bc")], ids=["at once", "in two", "overlapping"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_dependencies_beyond_the_quota_are_refused_and_none_is_written(
    api: Api, consumer_id: str, method: str, lists: tuple[str, ...]
) -> None:
    """However many entries they come in. `PUT` replaces: its last entry for the consumer stands."""
    assert providers(api, consumer_id) == []
    response = depend(api, method, *lists)
    if method == "PUT" and len(lists) > 1:
        assert_empty_and_deprecated(response)
        return
    assert_refused(response, 400100, f"dependency of consumer {consumer_id} quota: 0 of 2 in use, 3 more wanted")
    assert "QUOTA_DEPENDENCY" in response.json()["detail"]
    assert providers(api, consumer_id) == []


def assert_empty_and_deprecated(response: Response) -> None:
    assert_empty(response)
    assert response.header("Deprecation")


def test_dependencies_that_are_there_are_written_again_at_a_full_quota(api: Api, consumer_id: str) -> None:
    """And others in their place, or fewer."""
    assert_empty_and_deprecated(depend(api, "POST", "ab"))
    assert_empty_and_deprecated(depend(api, "POST", "ab"))
    assert_refused(depend(api, "POST", "c"), 400100, FULL)
    assert_empty_and_deprecated(depend(api, "PUT", "cd"))
    assert providers(api, consumer_id) == ["c", "d"]
    assert_empty_and_deprecated(depend(api, "PUT", "a"))
    ok(api.find("b", consumer=consumer_id))
    assert providers(api, consumer_id) == ["a", "b"]
