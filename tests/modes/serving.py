"""What a registry must do in every deployment of Redis, seen by clients of two replicas."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.support.api import ids, ok
from tests.support.fleet import fleet
from tests.support.replica import Replica
from tests.support.waiting import until_sync

#: A lease of five seconds, the shortest that a client can ask for.
SHORT = {"healthCheck": {"mode": "push", "interval": 5, "times": 0}}
LIMIT_S = 20.0


@contextlib.contextmanager
def two_replicas(url: str, *options: str) -> Iterator[tuple[Replica, Replica]]:
    each = ["--redis-url", url, *options]
    with fleet(each, each) as (one, other):
        yield one, other


def assert_serves(one: Replica, other: Replica, domain: str = "default") -> None:
    """Registered on one replica, found on the other; kept by heartbeats there; gone from both when it is silent."""
    here, there = one.api(domain), other.api(domain)
    here.service("cart", serviceId="cart")
    here.instance("cart", instanceId="silent", **SHORT)
    here.instance("cart", instanceId="alive", **SHORT)
    until_sync(lambda: ids(there.find()) == ["alive", "silent"], "the other replica to know both")
    assert here.find(rev=there.find().rev).status == 304

    def only_who_beats_is_left() -> bool:
        ok(there.put("/microservices/cart/instances/alive/heartbeat"))
        found = ids(here.find())
        assert "alive" in found
        return found == ids(there.find()) == ["alive"]

    until_sync(only_who_beats_is_left, "the silent one to expire", LIMIT_S)
    ok(there.delete("/microservices/cart/instances/alive"))
    until_sync(lambda: ids(here.find()) == [], "the deregistration to arrive")
