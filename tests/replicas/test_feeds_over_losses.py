"""The live feed while Redis fails over, loses its tail, or is emptied: no gap, nothing twice, and mending is told."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis

from registry.domain.position import Position, parse_position
from tests.support.api import Api, ok
from tests.support.far_redis import Line
from tests.support.feed import BROKEN, Feed
from tests.support.feed_copy import FeedCopy
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
HEAD = "registry:{fed/default}:head"


class Follower:
    """Follows the feed in a thread, on one replica after another, and comes back with the last id when it breaks."""

    def __init__(self, *replicas: Replica) -> None:
        self._replicas = itertools.cycle(replicas)
        self._over = False
        self._last_id = ""
        self.told: list[Any] = []
        #: What was answered instead of a stream.
        self.refused: list[int] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until_sync(lambda: bool(self._last_id), "the feed to begin", LIMIT_S)

    def _run(self) -> None:
        while not self._over:
            at = next(self._replicas)
            with (
                contextlib.suppress(*BROKEN),
                contextlib.closing(Feed((at.host, at.port), "fed", self._last_id)) as feed,
            ):
                self._follow(feed)

    def _follow(self, feed: Feed) -> None:
        if feed.status != 200:
            self.refused.append(feed.status)
            return
        for fields in feed.blocks():
            self._last_id = feed.last_id
            if "data" in fields:
                self.told.append(fields)

    def close(self) -> None:
        """It ends with the stream that it reads, at the latest with its replica."""
        self._over = True

    @property
    def positions(self) -> list[Position]:
        return [parse_position(fields["id"]) for fields in self.told]

    @property
    def kinds(self) -> list[str]:
        return [fields["event"] for fields in self.told]

    def await_instance(self, instance_id: str) -> None:
        until_sync(
            lambda: any(f'"instanceId":"{instance_id}"' in fields["data"] for fields in self.told),
            f"the feed to tell of {instance_id}",
            LIMIT_S,
        )


class Scene:
    """Two replicas on a Redis that has a copy, which can take its place."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.first: RedisServer = stack.enter_context(redis_server(None, True))
        self.second: RedisServer = stack.enter_context(redis_server(None, True))
        self.line = self._line()
        self.to_copy = self._line()
        options = ("--redis-url", self.line.url)
        self.one, self.two = (stack.enter_context(replica(*options)) for _ in range(2))
        self.api = self.one.api("fed")
        self.api.service("cart", serviceId="cart")

    def _line(self) -> Line:
        line = Line(self.first.socket)
        self._stack.callback(line.close)
        return line

    def follow(self, *replicas: Replica) -> Follower:
        follower = Follower(*replicas)
        self._stack.callback(follower.close)
        return follower

    def write(self, names: str) -> None:
        for name in names:
            self.api.instance("cart", instanceId=name)

    def copy(self) -> None:
        """The copy has all there is."""
        with Redis.from_url(self.second.url) as copy, Redis.from_url(self.first.url) as main:
            copy.replicaof("127.0.0.1", self.to_copy.port)
            until_sync(lambda: copy.get(HEAD) == main.get(HEAD) is not None, "the copy to be in step", LIMIT_S)

    def fail_over(self) -> None:
        self.first.kill()
        self.to_copy.cut()
        with Redis.from_url(self.second.url) as copy:
            copy.replicaof("no", "one")
        self.line.cut()
        self.line.mend(self.second.socket)
        self.await_writes()

    def await_writes(self) -> None:
        for at in (self.one, self.two):
            until_sync(lambda at=at: _tags(at.api("fed")), "writes to work", LIMIT_S)  # type: ignore[misc]


def _tags(api: Api) -> bool:
    return api.post("/microservices/cart/tags", {"tags": {"a": "b"}}).status == 200


@pytest.fixture
def scene() -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(stack)


def history_behind(api: Api, place: Position) -> list[Any]:
    found: list[Any] = []
    after = place.text()
    while after:
        target = f"/v1/default/history?order=oldest&limit=1000&after={after}"
        page = ok(api.connection.request("GET", target, None, {"X-Domain-Name": api.domain})).json()
        found += page["events"]
        after = page["next"]
    return found


def test_a_failover_that_loses_nothing_is_not_seen(scene: Scene) -> None:
    followers = [scene.follow(scene.one), scene.follow(scene.two, scene.one)]
    scene.write("abc")
    scene.copy()
    scene.fail_over()
    scene.write("de")
    for follower in followers:
        follower.await_instance("e")
        assert "history-resumed" not in follower.kinds
        assert not follower.refused
        first, *_, last = follower.positions
        assert follower.positions == [Position(first.epoch, n) for n in range(first.sequence, last.sequence + 1)]


def test_a_lost_tail_is_told_with_what_is_put_back(scene: Scene) -> None:
    """One feed has been told of what is lost then, and goes on; one stood where nothing was lost."""
    scene.write("abc")
    followers = [scene.follow(scene.one), scene.follow(scene.two, scene.one)]
    scene.write("d")
    scene.copy()
    scene.to_copy.hang()
    scene.write("xyz")
    for follower in followers:
        follower.await_instance("z")
    lost = followers[0].positions[-3:]
    scene.fail_over()
    scene.write("e")
    for follower in followers:
        follower.await_instance("e")
        assert follower.positions == sorted(set(follower.positions))
        assert not follower.refused
        index = follower.kinds.index("history-resumed")
        assert follower.positions[:index][-3:] == lost
        behind = follower.told[index:]
        put_back = [fields for fields in behind if any(f'"instanceId":"{name}"' in fields["data"] for name in "xyz")]
        assert [fields["event"] for fields in put_back] == ["instance-registered"] * 3
        assert f'"mended":["{lost[-1].text()}"]' in behind[0]["data"]
        assert f'"forkedAt":"{Position(lost[0].epoch, lost[0].sequence - 1).text()}"' in behind[0]["data"]
        held = history_behind(scene.api, lost[-1])
        assert [fields["id"] for fields in behind] == [event["position"] for event in held[: len(behind)]]


def test_who_has_missed_nothing_goes_on_when_an_emptied_log_is_seeded(scene: Scene) -> None:
    scene.write("abc")
    followers = [scene.follow(scene.one), scene.follow(scene.two)]
    scene.write("d")
    for follower in followers:
        follower.await_instance("d")
    with Redis.from_url(scene.first.url) as redis:
        redis.flushall()
    scene.await_writes()
    scene.write("e")
    for follower in followers:
        follower.await_instance("e")
        assert not follower.refused
        assert "history-resumed" in follower.kinds
        assert follower.positions == sorted(set(follower.positions))


def test_who_comes_back_to_the_other_replica_mends_its_copy(scene: Scene) -> None:
    """It left when it had been told of what was lost then; others have changed and removed the same since."""
    scene.write("abc")
    copies = [Copy(scene, wait) for wait in ("", "0s")]
    scene.copy()
    scene.to_copy.hang()
    scene.write("xyz")
    assert scene.api.put("/microservices/cart/instances/a/status?value=DOWN").status == 200
    assert scene.api.delete("/microservices/cart/instances/b").status == 200
    for copy in copies:
        copy.read_on(scene.one)
        assert "b" not in copy.ids
    scene.fail_over()
    scene.write("e")
    for copy in copies:
        for at in (scene.two, scene.one):
            copy.read_on(at)
            assert (copy.ids, copy.status("a")) == (sorted("acexyz"), "DOWN")
            assert copy.is_right
        assert "history-resumed" in copy.kinds
        assert copy.positions == sorted(set(copy.positions))


def test_who_was_behind_when_a_log_was_emptied_mends_its_copy(scene: Scene) -> None:
    scene.write("abc")
    copies = [Copy(scene, wait) for wait in ("", "0s")]
    scene.write("de")
    assert scene.api.delete("/microservices/cart/instances/a").status == 200
    with Redis.from_url(scene.first.url) as redis:
        redis.flushall()
    scene.await_writes()
    scene.write("f")
    for copy, at in zip(copies, (scene.one, scene.two), strict=True):
        copy.read_on(at)
        assert copy.ids == sorted("bcdef")
        assert copy.is_right
        assert copy.positions == sorted(set(copy.positions))


class Copy:
    """A client that read the registry once, and changes what it holds by what the feed tells.

    Args:
        wait: of its long polls; "" for server-sent events.
    """

    def __init__(self, scene: Scene, wait: str) -> None:
        self._scene = scene
        self._wait = wait
        self._place = self._now()
        self._copy = FeedCopy()
        for instance in ok(scene.api.get("/microservices/cart/instances")).json()["instances"]:
            self._copy.instances["cart", instance["instanceId"]] = instance
        self.positions: list[Position] = []
        self.kinds: list[str] = []

    def _now(self) -> str:
        return str(self._poll(self._scene.one, wait="0s")["position"])

    def _poll(self, at: Replica, **query: str) -> Any:
        target = f"/v1/default/events?{urlencode(query)}"
        answer = at.api("fed").connection.request("GET", target, None, {"X-Domain-Name": "fed"})
        return ok(answer).json()

    def read_on(self, at: Replica) -> None:
        """To the end of the log, by this replica."""
        end = parse_position(self._now())
        while parse_position(self._place) < end:
            if self._wait:
                page = self._poll(at, wait=self._wait, after=self._place)
                self._take(page["events"])
                self._place = page["position"]
                continue
            with contextlib.closing(Feed((at.host, at.port), "fed", self._place)) as feed:
                assert feed.status == 200
                for fields in feed.blocks():
                    self._take([json.loads(fields["data"])] if "data" in fields else [])
                    self._place = feed.last_id
                    if parse_position(self._place) >= end:
                        break

    def _take(self, events: list[Any]) -> None:
        for told in events:
            self.positions.append(parse_position(told["position"]))
            self.kinds.append(told["kind"])
            assert self._copy.apply(told), told

    @property
    def ids(self) -> list[str]:
        return sorted(instance_id for _, instance_id in self._copy.instances)

    def status(self, instance_id: str) -> Any:
        return self._copy.instances["cart", instance_id]["status"]

    @property
    def is_right(self) -> bool:
        held = ok(self._scene.api.get("/microservices/cart/instances")).json()["instances"]
        return {("cart", one["instanceId"]): one for one in held} == self._copy.instances
