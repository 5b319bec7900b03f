"""A hosted Redis goes over to another server under the same name; the old one stays, and ends no connection.

Services do so by DNS: a client that is connected stays where it is, and only a new connection leads to the new master.
"""

from __future__ import annotations

from typing import Any

from redis import Redis

from tests.support.api import ids
from tests.support.far_redis import Line
from tests.support.redis_server import redis_server
from tests.support.replica import replica
from tests.support.waiting import until_sync

#: A look for another server comes once a second.
BACK_WITHIN_S = 5.0


def test_the_new_master_is_found_though_the_old_one_ends_no_connection() -> None:
    """Writes, reads and questions: nothing goes to the old server any more."""
    with redis_server() as first, redis_server() as second:
        way = Line(first.socket)
        old: Any = Redis.from_url(first.url)
        new: Any = Redis.from_url(second.url)
        try:
            with replica("--redis-url", way.url) as registry:
                api = registry.api("team")
                api.service("cart", serviceId="cart")
                api.instance("cart", instanceId="before")
                new.replicaof("127.0.0.1", way.port)
                until_sync(lambda: new.info("replication").get("master_link_status") == "up", "the copy")
                new.replicaof("NO", "ONE")
                way.mend(second.socket)
                old.replicaof("127.0.0.1", way.port)
                until_sync(
                    lambda: api.register("cart", instanceId="after").status == 200, "a write to be taken", BACK_WITHIN_S
                )
                assert new.exists("registry:{team/default}:lease:cart/after")
                assert set(ids(api.find("cart"))) == {"before", "after"}
                until_sync(lambda: connections(old) == 0, "everybody to have left the old server", BACK_WITHIN_S)
                assert registry.said("log_changed") == []
        finally:
            way.close()


def connections(server: Any) -> int:
    """How many but this one and those of replication."""
    kinds = [client["flags"] for client in server.client_list()]
    return len([flags for flags in kinds if "M" not in flags and "S" not in flags]) - 1
