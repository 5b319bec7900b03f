"""The live feed: nothing missed and nothing told twice, over reconnects, replicas, restarts and slow readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.test_past import events
from tests.support.api import Api, assert_refused, ok
from tests.support.feed import Feed
from tests.support.http import Response
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync


@pytest.fixture
def one(redis_url: str, key_prefix: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix) as process:
        yield process


@pytest.fixture
def two(redis_url: str, key_prefix: str, one: Replica) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix) as process:
        yield process


def follow(at: Replica, last_id: str = "", **query: str) -> Feed:
    return Feed((at.host, at.port), "fed", last_id, **query)


def poll(api: Api, **query: str) -> Response:
    target = f"/v1/default/events?{urlencode(query)}"
    return api.connection.request("GET", target, None, {"X-Domain-Name": api.domain})


def begin(api: Api) -> str:
    """A place before everything."""
    service = api.service()
    position = ok(api.get(f"/microservices/{service}")).header("X-Registry-Position")
    return position.partition("-")[0] + "-0"


def positions(found: list[Any]) -> list[str]:
    return [event["position"] for event in found]


def test_a_feed_tells_what_happens_as_history_tells_it(one: Replica) -> None:
    api = one.api("fed")
    service = api.service()
    with closing(follow(one)) as feed:
        assert feed.status == 200
        assert feed.headers[b"Content-Type"].startswith(b"text/event-stream")
        api.instance(service, instanceId="a")
        ok(api.put(f"/microservices/{service}/instances/a/status?value=DOWN"))
        first, second = feed.take(2)
        assert (first.event, second.event) == ("instance-registered", "instance-status-set")
        assert [first.data, second.data] == events(api, limit="2")[::-1]
        assert feed.last_id == second.id == second.data["position"]


def test_a_client_that_comes_back_misses_nothing_anywhere(one: Replica, two: Replica) -> None:
    """Ten times, to one replica and the other, while both write."""
    api, other = one.api("fed"), two.api("fed")
    place = begin(api)
    service = api.service()
    stop = threading.Event()

    def write(client: Api, name: str) -> None:
        number = 0
        while not stop.is_set():
            client.instance(service, instanceId=f"{name}{number}")
            number += 1

    writers = [threading.Thread(target=write, args=(c, n)) for c, n in ((api, "a"), (other, "b"))]
    for writer in writers:
        writer.start()
    told: list[Any] = []
    last_id = place
    for number in range(10):
        with closing(follow((one, two)[number % 2], last_id)) as feed:
            told += [sent.data for sent in feed.take(20)]
            last_id = told[-1]["position"]
    stop.set()
    for writer in writers:
        writer.join()
    reader = one.api("fed")
    page = ok(poll(reader, after=place, wait="0s")).json()
    whole: list[Any] = []
    while page["events"]:
        whole += page["events"]
        page = ok(poll(reader, after=page["position"], wait="0s")).json()
    assert positions(told) == positions(whole)[: len(told)]
    assert len(set(positions(told))) == len(told) == 200


def test_a_feed_goes_on_after_a_restart(redis_url: str, key_prefix: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options) as one:
        api = one.api("fed")
        service = api.service()
        with closing(follow(one)) as feed:
            api.instance(service, instanceId="a")
            feed.take(1)
            last_id = feed.last_id
            api.instance(service, instanceId="b")
            assert one.stop() == 0
            list(feed.blocks())  # a stop ends it in order, and soon
    with replica(*options) as again, closing(follow(again, last_id)) as feed:
        assert [sent.data["instanceId"] for sent in feed.take(1)] == ["b"]


def test_a_filtered_feed_tells_where_it_is_all_the_same(one: Replica) -> None:
    """Else it would have to begin far back after a break."""
    api = one.api("fed")
    place = begin(api)
    wanted, other = api.service("wanted"), api.service("other")
    with closing(follow(one, place, serviceName="wanted", kind="instance-registered")) as feed:
        api.instance(other, instanceId="a")
        api.instance(wanted, instanceId="b")
        (sent,) = feed.take(1)
        assert sent.data["instanceId"] == "b"
    page = ok(poll(api, after=sent.id, serviceId=wanted, wait="0s")).json()
    api.instance(other, instanceId="c")
    after = ok(poll(api, after=page["position"], serviceId=wanted, wait="0s")).json()
    assert after["events"] == []
    assert after["position"] != page["position"]


def test_a_long_poll_is_answered_as_soon_as_something_happens(one: Replica) -> None:
    api = one.api("fed")
    service = api.service()
    answers: list[Response] = []
    waiting = threading.Thread(target=lambda: answers.append(poll(one.api("fed"), wait="20s")))
    began = time.monotonic()
    waiting.start()
    until_sync(lambda: not waiting.is_alive() or _register(api, service), "the poll to be answered", 10)
    waiting.join()
    assert time.monotonic() - began < 10
    (answer,) = answers
    assert ok(answer).json()["events"][0]["kind"] == "instance-registered"
    assert ok(poll(api, wait="0s")).json()["events"] == []


def _register(api: Api, service: str) -> bool:
    """Something happens again and again, until somebody is told of it."""
    api.instance(service, instanceId=f"i{time.monotonic_ns()}")
    return False


def test_a_reader_that_falls_behind_reads_the_log(one: Replica) -> None:
    """More happens than is kept of it in memory, by bytes."""
    api = one.api("fed")
    service = api.service()
    content = {f"k{number}": "x" * 1000 for number in range(50)}
    with closing(follow(one)) as feed:
        for number in range(500):
            ok(api.put(f"/microservices/{service}/properties", {"properties": {**content, "number": str(number)}}))
        sent = feed.take(500)
    assert [s.data["after"]["number"] for s in sent] == [str(number) for number in range(500)]


def test_what_is_no_place_is_refused(one: Replica) -> None:
    api = one.api("fed")
    service = api.service()
    epoch = begin(api).partition("-")[0]
    for query, at in (({"after": "x"}, "after"), ({"wait": "x"}, "wait"), ({"wait": "2m"}, "wait")):
        assert_refused(poll(api, **query), 400001, at)
    assert_refused(poll(api, kind="x"), 400001, "kind")
    with closing(follow(one, "nonsense")) as feed:
        assert feed.status == 400
    assert_refused(poll(api, after=f"{epoch}-999999", wait="0s"), 500011)
    assert service


def test_a_place_that_is_not_kept_is_told_before_the_stream_begins(redis_url: str, key_prefix: str) -> None:
    environment = {"REGISTRY_SNAPSHOT_EVERY": "100", "REGISTRY_SNAPSHOTS_KEPT": "1", "REGISTRY_HISTORY_S": "0"}
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix, environment=environment) as one:
        api = one.api("fed")
        place = begin(api)
        service = api.service()
        for number in range(500):
            api.instance(service, instanceId=f"i{number}")

        def is_gone() -> bool:
            api.instance(service, instanceId="again", hostName=f"h{time.monotonic_ns()}")
            return poll(api, after=place, wait="0s").status == 410

        until_sync(is_gone, "the log to be trimmed", 30)
        assert_refused(poll(api, after=place, wait="0s"), 410001, "history is kept from")
        with closing(follow(one, place)) as feed:
            assert feed.status == 410


def test_a_thousand_feeds_hear_of_a_change_within_a_second(one: Replica) -> None:
    api = one.api("fed")
    service = api.service()
    feeds = [follow(one) for _ in range(1000)]
    try:
        api.instance(service, instanceId="a")
        began = time.monotonic()
        api.instance(service, instanceId="b")
        for feed in feeds:
            assert [sent.data["instanceId"] for sent in feed.take(2)] == ["a", "b"]
        took_s = time.monotonic() - began
        print(f"1,000 feeds were told within {took_s * 1000:.0f} ms")
        assert took_s < 5  # the target is one second; this much is never due to a busy machine
    finally:
        for feed in feeds:
            feed.close()
