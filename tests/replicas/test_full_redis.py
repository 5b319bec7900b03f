"""A Redis that answers reads and refuses writes is one fact in the log: its beginning, with the reason, and its end."""

from __future__ import annotations

import time

from redis import Redis

from tests.support.api import assert_refused, ids, ok
from tests.support.redis_server import redis_server
from tests.support.replica import replica
from tests.support.waiting import until_sync

FULL_S = 6.0
#: What else an operator should hear of it.
ALSO = {"beats_remembered", "beats_delivered", "leases_rearmed"}


def test_a_redis_that_takes_no_writes_is_two_lines() -> None:
    with redis_server() as server, replica("--redis-url", server.url) as one, Redis.from_url(server.url) as redis:
        api = one.api("team")
        api.service(serviceId="cart")
        api.instance("cart", instanceId="i")
        ok(api.find())
        redis.config_set("maxmemory", "1")
        full_s = time.monotonic()

        def has_lasted() -> bool:
            ok(api.put("/microservices/cart/instances/i/heartbeat"))
            assert ids(api.find()) == ["i"]
            assert_refused(api.register("cart", instanceId="j"), 500011)
            return time.monotonic() > full_s + FULL_S and bool(one.said("writes_refused"))

        until_sync(has_lasted, "it to have lasted", 3 * FULL_S)
        redis.config_set("maxmemory", "0")
        until_sync(lambda: bool(one.said("writes_taken")), "its end to be said")
        (begun,), (over,) = one.said("writes_refused"), one.said("writes_taken")
        assert "maxmemory" in begun["message"]
        assert over["lasted_s"] > FULL_S - 1
        others = [r for r in one.log() if r["level"] != "info" and r["action"] not in {begun["action"], over["action"]}]
        assert {r["action"] for r in others} <= ALSO
        assert len(others) <= 4
