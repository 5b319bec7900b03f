"""Watching where several replicas serve: each follows the same log, so it does not matter which one a client meets.

api-rules.md 3.9, D12, D13.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.support.api import Api, ids, ok, wanted
from tests.support.far_redis import far_redis
from tests.support.fleet import fleet
from tests.support.redis_server import redis_server
from tests.support.waiting import until_sync
from tests.support.websocket import TEXT, WebSocket, watch

pytestmark = pytest.mark.slow

BEHIND_S = 0.02
#: Until a lost log is put back, and until that is worked with (seconds); a few are usual.
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def two_apis(redis_url: str) -> Iterator[tuple[Api, Api]]:
    """Through two replicas, each over a connection of its own. The second is always a little behind the first."""
    prefix = ["--redis-prefix", f"watch-{uuid.uuid4().hex[:8]}:"]
    with (
        far_redis(redis_url.removeprefix("unix://"), BEHIND_S) as far_url,
        fleet(["--redis-url", redis_url, *prefix], ["--redis-url", far_url, *prefix]) as (one, two),
    ):
        yield one.api("any"), two.api("any")


@pytest.fixture
def here(two_apis: tuple[Api, Api]) -> Api:
    """A tenant of this test's own, through the first replica."""
    return Api(two_apis[0].connection, uuid.uuid4().hex)


@pytest.fixture
def there(two_apis: tuple[Api, Api], here: Api) -> Api:
    """The same tenant through the second replica."""
    return here.on(two_apis[1].connection)


def events_up_to(api: Api, watcher: WebSocket, position: str) -> list[tuple[str, str]]:
    """Action and instance of what the watcher was sent when its replica has reached the position."""
    ok(api.get("/version", {"X-Registry-Position": position}))
    return [(event["action"], event["instance"]["instanceId"]) for event in watcher.events()]


def test_change_through_one_replica_reaches_the_watchers_of_another(here: Api, there: Api) -> None:
    """Behind a load balancer a watch and a registration seldom meet on the same replica (3.9)."""
    service_id, consumer_id = here.service(), here.service("consumer")
    ok(here.find(consumer=consumer_id))
    with watch(there, consumer_id) as watcher:
        here.instance(service_id, instanceId="i")
        event = watcher.next_event()
        assert (event["action"], event["instance"]) == ("CREATE", here.read_instance(service_id, "i"))
        ok(here.delete(f"/microservices/{service_id}/instances/i"))
        event = watcher.next_event()
        assert (event["action"], event["instance"]["instanceId"]) == ("DELETE", "i")


def test_rev_is_new_on_the_replica_that_sent_the_event(here: Api, there: Api) -> None:
    """A client that pulls on the event gets the new list from where the event came, wherever the write went (D13)."""
    service_id, consumer_id = here.service(), here.service("consumer")
    ok(here.find(consumer=consumer_id))
    with watch(there, consumer_id) as watcher:
        for number in range(10):
            rev = there.find(consumer=consumer_id).rev
            here.instance(service_id, instanceId=f"i{number}")
            watcher.next_event()
            response = there.find(consumer=consumer_id, rev=rev)
            assert response.status == 200
            assert len(response.json()["instances"]) == number + 1


def test_find_through_one_replica_subscribes_the_socket_on_another(here: Api, there: Api) -> None:
    """The dependency is in the log, not in the replica that answered the find (3.12)."""
    service_id, consumer_id = here.service(), here.service("consumer")
    with watch(there, consumer_id) as watcher:
        ok(here.batch([wanted("*", "")], consumer=consumer_id))
        position = here.register(service_id, instanceId="i").position
        assert events_up_to(there, watcher, position) == [("CREATE", "i")]


def test_service_registered_elsewhere_a_moment_ago_can_be_watched(here: Api, there: Api) -> None:
    """A replica looks into the log before it calls a service unknown (D12)."""
    for number in range(10):
        service_id = here.service(f"consumer{number}")
        with watch(there, service_id) as watcher:
            assert watcher.events() == []


def test_what_was_written_elsewhere_before_the_handshake_is_not_told_after_it(here: Api, there: Api) -> None:
    """go-chassis found it there already: a CREATE now would give it the instance twice (clients.md 1.0.3)."""
    service_id, consumer_id = here.service(), here.service("consumer")
    ok(here.find(consumer=consumer_id))
    for number in range(10):
        response = ok(here.register(service_id, instanceId=f"i{number}"))
        with watch(there, consumer_id) as watcher:
            assert events_up_to(there, watcher, response.position) == []


def test_consumer_deleted_elsewhere_is_dropped_without_a_farewell(here: Api, there: Api) -> None:
    """Whichever replica it watches (3.9)."""
    consumer_id = here.service("consumer")
    with watch(there, consumer_id) as watcher:
        ok(here.delete(f"/microservices/{consumer_id}"))
        assert watcher.until_end() == []


def told_or_dropped(watcher: WebSocket, instance_id: str) -> list[tuple[str, str]]:
    """What the watcher is told up to the first event of that instance, or until its connection ends."""
    told: list[tuple[str, str]] = []
    while not told or told[-1][1] != instance_id:
        frame = watcher.receive()
        if frame is None:
            break
        if frame.opcode == TEXT:
            event = json.loads(frame.payload)
            told.append((event["action"], event["instance"]["instanceId"]))
    return told


def test_nobody_is_left_with_a_list_that_is_not_true_when_the_log_is_lost() -> None:
    """Redis has lost a tenant's data; a replica puts them back from memory, under a history of another name.

    A watcher may be dropped, after which a client comes back and pulls, or it may be left alone; but then it is told of
    whatever comes next. Nobody is told of instances that have gone and come back: they have never been away. And the
    watchers of other tenants do not notice.
    """
    with redis_server() as server, fleet(["--redis-url", server.url], ["--redis-url", server.url]) as (one, two):
        apis = here, there = one.api("tenant"), two.api("tenant")
        service_id, consumer_id = here.service(), here.service("consumer")
        here.instance(service_id, instanceId="old")
        position = ok(here.find(consumer=consumer_id)).position
        ok(there.get("/version", {"X-Registry-Position": position}))
        others = [one.api("another"), two.api("another")]
        other_id = others[0].service()
        ok(others[0].find(consumer=other_id))
        with ExitStack() as stack:
            watchers = [stack.enter_context(watch(api, consumer_id)) for api in apis]
            undisturbed = [stack.enter_context(watch(api, other_id)) for api in others]
            with redis.Redis.from_url(server.url) as client:
                client.delete(*client.scan_iter("registry:{tenant/*"))
                until_sync(
                    lambda: bool(client.exists("registry:{tenant/default}:head")), "the log to be put back", LIMIT_S
                )
            until_sync(
                lambda: there.register(service_id, instanceId="new").status == 200, "writes to work again", LIMIT_S
            )
            for api in apis:
                until_sync(lambda api=api: ids(api.find()) == ["new", "old"], "both to be found")  # type: ignore[misc]
            for watcher in watchers:
                assert told_or_dropped(watcher, "new") in ([], [("CREATE", "new")])
            others[1].instance(other_id, instanceId="theirs")
            for watcher in undisturbed:
                event = watcher.next_event()
                assert (event["action"], event["instance"]["instanceId"]) == ("CREATE", "theirs")
