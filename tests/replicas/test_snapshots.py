"""Snapshots: a start costs the newest of them and the events after it, however long the log has been.

One Redis, on which four registries run under prefixes of their own: a pair that writes, and a pair of which one replica
stands still. What is to be damaged is damaged in copies of their keys.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from redis import Redis

from registry.domain.marks import Mark, decode_mark, encode_mark
from registry.domain.position import Position, parse_position
from tests.support.api import Api, assert_refused, ids, ok
from tests.support.fleet import fleet
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync
from tests.support.websocket import watch

#: A node of a stream, the least that Redis drops; `stream-node-max-entries`.
NODE = 100
EVERY = 250
#: Looks for snapshots come every five seconds, agreement's rounds every four.
LIMIT_S = 20.0
TENANT = "team/default"


class Written:
    """The keys of a registry's tenant in Redis."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self.redis = redis
        self.prefix = prefix
        self._tag = f"{prefix}{{{TENANT}}}"

    def marks(self) -> list[Mark]:
        """Newest first."""
        marks = [decode_mark(data) for data in self._hash("snapshots").values()]
        return sorted((mark for mark in marks if mark), key=lambda mark: mark.position, reverse=True)

    def put_mark(self, mark: Mark) -> None:
        self.redis.hset(f"{self._tag}:snapshots", mark.position.text(), encode_mark(mark))

    def chunk(self, mark: Mark, index: int) -> str:
        return f"{self._tag}:snapshot:{mark.position.text()}:{index}"

    def first(self) -> Position:
        """The eldest event in the log."""
        entries: Any = self.redis.xrange(f"{self._tag}:events", count=1)
        return parse_position(entries[0][0])

    def head(self) -> Position:
        head: Any = self.redis.get(f"{self._tag}:head")
        return parse_position(head)

    def states(self) -> dict[bytes, tuple[int, Position]]:
        """What the replicas have said of themselves last: when (Unix ms), and how far they were."""
        found = {}
        for name, said in self._hash("states").items():
            at_ms, _, state = said.partition(b" ")
            found[name] = (int(at_ms), parse_position(msgspec.msgpack.decode(state)[1]))
        return found

    def _hash(self, name: str) -> dict[bytes, bytes]:
        values: Any = self.redis.hgetall(f"{self._tag}:{name}")
        return dict(values)

    def copy(self, prefix: str) -> Written:
        """The same registry below another prefix."""
        for key in list(self.redis.scan_iter(f"{self.prefix}*", count=1000)):
            self.redis.copy(key.decode(), prefix + key.decode().removeprefix(self.prefix))
        return Written(self.redis, prefix)


def fill(api: Api, events: int) -> None:
    """Write something of every kind, and then a number of events."""
    api.service("cart", serviceId="cart", properties={"a": "b"})
    api.service("till", serviceId="till", alias="shop:till", environment="testing")
    consumer = api.service("consumer", serviceId="consumer")
    ok(api.post("/microservices/cart/tags", {"tags": {"k": "v"}}))
    schema = {"summary": "sum", "schema": "content"}
    ok(api.put("/microservices/cart/schemas/s1", schema))
    for number in range(30):
        api.instance("cart", instanceId=f"i{number}", endpoints=[f"rest://h{number % 20}:1"])
    ok(api.delete("/microservices/cart/instances/i29"))
    ok(api.find("cart", consumer=consumer))
    move(api, events)


def move(api: Api, events: int) -> None:
    """Write a number of events that change one instance."""
    for number in range(events):
        status = ("DOWN", "UP")[number % 2]
        ok(api.put(f"/microservices/cart/instances/i0/status?value={status}"))


def everything(api: Api) -> list[tuple[int, str, bytes]]:
    """All that a client can ask, as (status, rev, body)."""
    paths = ["/microservices", "/microservices/cart", "/microservices/till", "/microservices/cart/tags"]
    paths += ["/microservices/cart/schemas?withSchema=1", "/microservices/cart/consumers"]
    paths += ["/microservices/consumer/providers", "/microservices/cart/instances", "/microservices/cart/instances/i3"]
    answers = [api.get(path) for path in paths] + [api.find("cart"), api.find("till", env="testing")]
    return [(answer.status, answer.rev, answer.body) for answer in answers]


class Pair:
    """Two replicas on one prefix, and what they have written."""

    def __init__(self, replicas: list[Replica], written: Written) -> None:
        self.one, self.other = replicas
        self.written = written

    @property
    def api(self) -> Api:
        return self.one.api("team")

    def snapshots(self) -> list[str]:
        """Where both have written one, by their logs."""
        records = self.one.said("snapshot_written") + self.other.said("snapshot_written")
        return [record["message"].split(" at ")[1].split(":")[0] for record in records if record["tenant"] == TENANT]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(options=("--stream-node-max-entries", str(NODE))) as server:
        yield server


@pytest.fixture(scope="module")
def redis(server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def pairs(server: RedisServer, redis: Redis) -> Iterator[tuple[Pair, Pair]]:
    """A pair that has written two snapshots and trimmed its log; one with a reader that stands still; their clients."""
    working = ["--redis-url", server.url, "--redis-prefix", "working:", "--snapshot-every", str(EVERY)]
    working += ["--history-s", "0"]
    halted = ["--redis-url", server.url, "--redis-prefix", "halted:", "--snapshot-every", "10"]
    halted += ["--snapshots-kept", "1", "--history-s", "0"]
    with fleet(working, working, halted, halted) as started:
        pair = Pair(started[:2], Written(redis, "working:"))
        slow = Pair(started[2:], Written(redis, "halted:"))
        try:
            fill(pair.api, EVERY)
            slow.api.service("cart", serviceId="cart")
            slow.api.instance("cart", instanceId="i0")
            halt_the_other(slow)
            fill(slow.api, 3 * NODE)
            until_sync(lambda: len(pair.written.marks()) == 1, "a first snapshot", LIMIT_S)
            move(pair.api, EVERY)
            until_sync(lambda: len(pair.written.marks()) == 2, "a second snapshot", LIMIT_S)
            until_sync(lambda: pair.written.first().sequence > NODE, "the log to be trimmed", LIMIT_S)
            move(pair.api, 20)
            until_sync(lambda: bool(slow.snapshots()), "a snapshot of the other pair", LIMIT_S)
            yield pair, slow
        finally:
            let_go(slow.other)


def halt_the_other(pair: Pair) -> None:
    """Stop one replica's process once the first one has heard how far it is."""

    def is_known() -> bool:
        states = pair.written.states()
        # Each takes what the others say in the step in which it speaks itself: the one that spoke last has heard.
        return len(states) == 2 and {at for _, at in states.values()} == {pair.written.head()}

    until_sync(is_known, "both to say how far they are", LIMIT_S)
    heard = max(at_ms for at_ms, _ in pair.written.states().values())
    until_sync(
        lambda: sum(at_ms > heard for at_ms, _ in pair.written.states().values()) == 2, "both to speak again", LIMIT_S
    )
    pair.other.process.send_signal(signal.SIGSTOP)


def let_go(replica: Replica) -> None:
    with contextlib.suppress(ProcessLookupError):
        replica.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def pair(pairs: tuple[Pair, Pair]) -> Pair:
    return pairs[0]


@pytest.fixture(scope="module")
def slow(pairs: tuple[Pair, Pair]) -> Pair:
    return pairs[1]


@pytest.fixture(scope="module")
def before(pair: Pair) -> list[tuple[int, str, bytes]]:
    return everything(pair.api)


class Later(NamedTuple):
    """A replica that was started when everything had been written, and what it answered then."""

    replica: Replica
    answers: list[tuple[int, str, bytes]]


@pytest.fixture(scope="module")
def started_later(server: RedisServer, pair: Pair, before: list[tuple[int, str, bytes]]) -> Iterator[dict[str, Later]]:
    """Replicas that have nothing but what is written: as it is, and damaged in two ways."""
    damaged, unmarked = pair.written.copy("damaged:"), pair.written.copy("unmarked:")
    damaged.redis.setrange(damaged.chunk(damaged.marks()[0], 0), 40, b"\xff" * 8)
    unmarked.redis.delete(unmarked.chunk(unmarked.marks()[0], 0))
    names = ["working", "damaged", "unmarked"]
    with fleet(*[["--redis-url", server.url, "--redis-prefix", f"{name}:"] for name in names]) as started:
        later = [Later(one, everything(one.api("team"))) for one in started]
        yield dict(zip(names, later, strict=True))


def test_one_replica_writes_each_snapshot(pair: Pair) -> None:
    """Both see that one is due; only one does the work at a time, and none does it again."""
    until_sync(lambda: len(pair.snapshots()) == 2, "two to be said")
    snapshots = pair.snapshots()
    assert {mark.position.text() for mark in pair.written.marks()} == set(snapshots)
    assert len(set(snapshots)) == 2


def test_log_is_trimmed_behind_the_eldest_snapshot_that_is_kept(pair: Pair) -> None:
    """By whole nodes, and never beyond it: the eldest one can still be started from."""
    eldest = pair.written.marks()[-1].position
    first = pair.written.first()
    assert first <= eldest.next()
    assert first.sequence > eldest.sequence - 2 * NODE


@pytest.mark.parametrize("how", ["working", "damaged", "unmarked"])
def test_replica_that_starts_from_a_snapshot_answers_alike(
    started_later: dict[str, Later], how: str, before: list[tuple[int, str, bytes]]
) -> None:
    """The same bytes and revs: services, instances, tags, schemas, dependencies; also from an older snapshot."""
    assert started_later[how].answers == before
    assert [status for status, _, _ in before].count(200) >= 8


@pytest.mark.parametrize("how", ["damaged", "unmarked"])
def test_unreadable_snapshot_is_passed_over_with_a_warning(started_later: dict[str, Later], how: str) -> None:
    """One line names it and says why."""
    warning = started_later[how].replica.tells("snapshot_unreadable")
    assert started_later[how].replica.said("snapshot_unreadable") == [warning]
    assert warning["level"] == "warning"
    assert "is passed over" in warning["message"]
    assert started_later["working"].replica.said("snapshot_unreadable") == []


def test_consumers_go_on_at_a_replica_that_started_from_a_snapshot(pair: Pair, started_later: dict[str, Later]) -> None:
    """Their rev is known there, and who watches is told of the next change: dependencies are in the snapshot."""
    fresh = started_later["working"].replica.api("team")
    assert fresh.find("cart", rev=pair.api.find("cart").rev).status == 304
    assert_refused(fresh.get("/microservices/cart/instances/i29"), 400017)
    with watch(fresh, "consumer") as watcher:
        ok(pair.api.put("/microservices/cart/instances/i5/status?value=DOWN"))
        event = watcher.next_event()
        assert (event["action"], event["instance"]["instanceId"]) == ("UPDATE", "i5")
    # The endpoints' index is rebuilt: the same endpoints are the same instance.
    assert fresh.instance("cart", endpoints=["rest://h3:1"]) == pair.api.instance("cart", endpoints=["rest://h3:1"])


def test_snapshots_that_nobody_can_read_and_a_trimmed_log_set_the_tenant_aside(server: RedisServer, pair: Pair) -> None:
    """What is missing is said; it is not written to, and what can be read says that it is a part of the truth."""
    unknown = pair.written.copy("unknown:")
    for mark in unknown.marks():
        unknown.put_mark(msgspec.structs.replace(mark, format=99))
    with replica("--redis-url", server.url, "--redis-prefix", "unknown:") as one:
        refused = one.api("team").register("cart", instanceId="new")
        assert_refused(refused, 500011)
        assert "no snapshot that can be read reaches it" in refused.json()["detail"]
        assert refused.header("X-Registry-Set-Aside") != ""
        assert one.api("other").service("cart")
        assert "Traceback" not in one.output()

        def warnings() -> set[str]:
            return {record["message"] for record in one.said("snapshot_unreadable")}

        until_sync(lambda: len(warnings()) == 2, "a line about each")
        assert all("has format 99, this version reads format" in warning for warning in warnings())


def test_log_is_kept_for_a_reader_that_is_behind(slow: Pair) -> None:
    """The first replica has written its snapshot; what the halted one has not read is still there when it goes on."""
    assert slow.written.marks()[0].position.sequence > 2 * NODE
    assert slow.written.first().sequence < NODE
    let_go(slow.other)
    until_sync(lambda: everything(slow.other.api("team")) == everything(slow.api), "it to catch up", LIMIT_S)
    assert slow.other.said("log_changed") == []


def test_a_stop_writes_a_snapshot_when_a_thousand_events_are_new(redis_url: str, key_prefix: str) -> None:
    """The next start is short; after fewer events, it is so anyway."""
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options) as one:
        api = one.api("team")
        api.service("cart", serviceId="cart")
        for number in range(100):
            api.instance("cart", instanceId=f"i{number}")
        move(api, 1000 - 101)
        other = one.api("little")
        other.instance(other.service(serviceId="s"), instanceId="i")
        found = api.find("cart")
        assert one.said("snapshot_written") == []
        assert one.stop() == 0
        assert [record["tenant"] for record in one.said("snapshot_written")] == ["team/default"]
    with replica(*options) as again:
        assert again.api("team").find("cart", rev=found.rev).status == 304
        assert len(ids(again.api("team").find("cart"))) == 100
        assert again.said("snapshot_unreadable") == []
