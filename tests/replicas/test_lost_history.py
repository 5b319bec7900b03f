"""A Redis that comes back as another one: what the replicas do, and what no client may be told."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.api import ids, ok
from tests.support.redis_server import RedisServer, redis_program, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

LIMIT_S = 20.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder, redis_server(Path(folder), True) as server:
        yield server


def test_replicas_agree_after_a_backup_was_restored(server: RedisServer) -> None:
    """The lost tail's positions are issued again with other content: a client that holds the old one must see it."""
    with replica("--redis-url", server.url) as a, replica("--redis-url", server.url) as b:
        api = a.api("team")
        api.service("cart", serviceId="cart")
        backup = server.directory.with_name(server.directory.name + "-backup")
        Redis.from_url(server.url).config_set("appendfsync", "always")
        server.stop()
        shutil.copytree(server.directory, backup)
        server.start()
        until_sync(lambda: api.register("cart", instanceId="lost0").status == 200, "writes to work", LIMIT_S)
        for number in range(1, 4):
            api.instance("cart", instanceId=f"lost{number}")
        position = api.instances_of("cart").position
        until_sync(lambda: b.api("team").instances_of("cart").position == position, "both to hold it", LIMIT_S)
        server.kill()
        shutil.rmtree(server.directory)
        backup.rename(server.directory)
        server.start()
        for number in range(6):
            until_sync(lambda n=number: _registers(a, f"new{n}"), "writes to work", LIMIT_S)  # type: ignore[misc]
        with replica("--redis-url", server.url) as fresh:
            expected = ids(fresh.api("team").instances_of("cart"))
            assert {f"new{number}" for number in range(6)} <= set(expected)
            assert {f"lost{number}" for number in range(1, 4)} <= set(expected), "what was acknowledged is put back"
            assert len(expected) == len(set(expected))
            for lane in (a, b):
                until_sync(
                    lambda lane=lane: ids(lane.api("team").instances_of("cart")) == expected,  # type: ignore[misc]
                    "the replica to follow the log that there is",
                    LIMIT_S,
                )
                revs = {r.api("team").instances_of("cart").rev for r in (lane, fresh)}
                assert len(revs) == 1


def _registers(lane: Replica, instance_id: str) -> bool:
    try:
        return lane.api("team").register("cart", instanceId=instance_id).status == 200
    except OSError:
        return False


def test_an_emptied_redis_is_seeded_from_memory(server: RedisServer) -> None:
    """FLUSHALL under two replicas: nobody is gone, no list is empty for a moment, no rev moves; the dead still go."""
    with replica("--redis-url", server.url) as a, replica("--redis-url", server.url) as b:
        api = a.api("team")
        api.service("cart", serviceId="cart")
        for number in range(20):
            api.instance("cart", instanceId=f"i{number}")
        api.register("cart", instanceId="dead", healthCheck={"mode": "push", "interval": 5, "times": 0})
        before = api.find("cart")
        until_sync(lambda: b.api("team").find("cart").rev == before.rev, "both to hold it", LIMIT_S)
        place = before.header("X-Registry-Position")
        assert api.find("cart", asOf=place).body == before.body
        redis = Redis.from_url(server.url)
        redis.flushall()
        seen: list[int] = []

        def seeded() -> bool:
            seen.append(len(ids(api.instances_of("cart"))))
            # What has been is not said never to have been: it cannot be read now, or is not kept.
            past = api.find("cart", asOf=place)
            assert past.body == before.body or past.json()["errorCode"] in ("500011", "410001")
            return bool(redis.exists("registry:{team/default}:head", "registry:{default/default}:head") == 2)

        until_sync(seeded, "the log to be seeded", LIMIT_S)
        assert min(seen) >= 20
        until_sync(lambda: _registers(b, "after"), "writes to work again", LIMIT_S)
        assert api.put("/microservices/cart/instances/i3/heartbeat").status == 200
        living = {"after", *(f"i{number}" for number in range(20))}
        # Not their number: as long as this replica has not heard of `after`, the dead one takes its place in that.
        until_sync(lambda: set(ids(api.instances_of("cart"))) == living, "the dead one to go", LIMIT_S)
        with replica("--redis-url", server.url) as fresh:
            expected = fresh.api("team").find("cart")
            assert set(ids(expected)) == living
            for lane in (a, b):
                until_sync(lambda lane=lane: lane.api("team").find("cart").rev == expected.rev, "to agree", LIMIT_S)  # type: ignore[misc]


def test_what_a_lagging_replica_does_not_know_it_neither_denies_nor_confirms(server: RedisServer) -> None:
    """While the log cannot be read "does not exist" and "nothing to do" would be guesses."""
    with replica("--redis-url", server.url) as a:
        api = a.api("team")
        api.service("cart", serviceId="cart")
        server.pause()
        try:
            began = time.monotonic()
            assert api.find("nobody").status == 500
            assert api.put("/microservices/cart/instances/unknown/heartbeat").status == 500
            known = api.find("cart", rev="another")
            assert (known.status, known.body) == (200, b"{}")
            assert time.monotonic() - began < LIMIT_S
        finally:
            server.resume()


def test_many_late_heartbeats_at_once_are_all_answered_truthfully(server: RedisServer) -> None:
    """After an outage longer than the leases all of them are late; not one may be refused for the crowd (D17)."""
    with replica("--redis-url", server.url) as a:
        api = a.api("team")
        api.service("cart", serviceId="cart")
        names = [f"i{number}" for number in range(300)]
        for name in names:
            api.instance("cart", instanceId=name)
        client = Redis.from_url(server.url)
        for key in client.scan_iter("*:lease:cart/*"):
            client.delete(key)
        answer = api.put("/heartbeats", {"instances": [{"serviceId": "cart", "instanceId": name} for name in names]})
        assert [element for element in ok(answer).json()["instances"] if "errMessage" in element] == []


def test_a_private_redis_that_dies_is_started_again() -> None:
    """Without an operator, and with its data."""
    with tempfile.TemporaryDirectory() as folder, replica("--data-dir", folder) as a:
        api = a.api("team")
        api.service("cart", serviceId="cart")
        pids = [int(p.name) for p in Path("/proc").glob("[0-9]*") if _is_redis_of(p, a.process.pid)]
        assert len(pids) == 1
        os.kill(pids[0], signal.SIGKILL)
        until_sync(lambda: _registers(a, "after"), "writes to work again", LIMIT_S)
        assert ids(api.instances_of("cart")) == ["after"]


def _is_redis_of(process: Path, parent: int) -> bool:
    try:
        stat = (process / "stat").read_text().rsplit(")", 1)
        return Path(redis_program().path).name in stat[0] and int(stat[1].split()[1]) == parent
    except OSError:
        return False
