"""Why did it expire? Its heartbeats went to a replica that had lost its Redis: every replica can tell that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import pytest

from registry.upkeep.pulses import PULSE_MS
from registry.usecases.roster import TELL_EVERY_S
from tests.support.api import Api, ok
from tests.support.far_redis import Line
from tests.support.redis_server import redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

#: How long one replica cannot reach Redis: longer than the one lease, shorter than the other.
AWAY_S: Final = 9.0
LEASES_S: Final = {"short": 5, "long": 20}
#: What a busy machine may add.
SLACK_S: Final = 1.5


def asked(registry: Replica, path: str) -> Any:
    return ok(registry.connect().request("GET", path)).json()


def explained(registry: Replica, instance_id: str) -> Any:
    return asked(registry, f"/v1/default/history/explain?serviceId=s&instanceId={instance_id}")


def listed(registry: Replica) -> list[Any]:
    """The replicas that this one has heard of, itself first."""
    return list(asked(registry, "/v4/default/admin/replicas")["replicas"])


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


class Cut:
    """Two replicas, of which the second loses its way to Redis for a while, and what is said of two instances that were
    renewed through that one alone.
    """

    def __init__(self, well: Replica, cut_off: Replica, line: Line) -> None:
        until_sync(lambda: len(listed(well)) == len(listed(cut_off)) == 2, "the replicas to hear of each other")
        self.well, self.cut_off = listed(well)[0]["name"], listed(cut_off)[0]["name"]
        api = Api(cut_off.connect())
        api.service(serviceId="s")
        for name, lease_s in LEASES_S.items():
            api.instance("s", instanceId=name, healthCheck={"mode": "push", "interval": lease_s, "times": 0})
            ok(api.put(f"/microservices/s/instances/{name}/heartbeat"))
        self.began = time.time()
        line.hang()
        until_sync(lambda: explained(well, "short")["state"] == "expired", "the short lease to end", 15)
        self.short = explained(well, "short")
        time.sleep(max(self.began + AWAY_S - time.time(), 0))  # the outage is to be that long
        self.ended = time.time()
        line.mend()
        until_sync(lambda: explained(well, "long")["state"] == "expired", "the long lease to end", 30)
        until_sync(lambda: explained(cut_off, "long") == explained(well, "long"), "both to tell the same")
        self.long = explained(well, "long")
        self.said_of_itself = listed(cut_off)[0]


@pytest.fixture(scope="module")
def cut() -> Iterator[Cut]:
    with redis_server() as server:
        line = Line(server.socket)
        try:
            with replica("--redis-url", server.url) as well, replica("--redis-url", line.url) as cut_off:
                yield Cut(well, cut_off, line)
        finally:
            line.close()


def test_who_cannot_reach_redis_yet_was_last_heard_of(cut: Cut) -> None:
    """While it lasts only the others can tell: that they hear nothing."""
    evidence = cut.short["evidence"]
    assert evidence["renewedThrough"] == cut.cut_off
    windows = {told["replica"]: told["couldNotWrite"] for told in evidence["replicas"]}
    assert windows[cut.well] == []
    (window,) = windows[cut.cut_off]
    assert window.keys() == {"from"}
    assert cut.began - TELL_EVERY_S - SLACK_S < seconds(window["from"]) < cut.began + SLACK_S
    assert (
        f"; replica {cut.cut_off} was last heard of at {window['from']}; 1 other could write all that time"
        in (cut.short["sentence"])
    )


def test_who_could_not_reach_redis_says_so_when_it_is_back(cut: Cut) -> None:
    """As exactly as replicas note that they can write."""
    windows = {told["replica"]: told["couldNotWrite"] for told in cut.long["evidence"]["replicas"]}
    assert windows[cut.well] == []
    (window,) = windows[cut.cut_off]
    assert cut.began - PULSE_MS / 1000 - SLACK_S < seconds(window["from"]) < cut.began + SLACK_S
    assert cut.ended <= seconds(window["to"]) + 0.001 < cut.ended + PULSE_MS / 1000 + SLACK_S
    assert (
        f"; replica {cut.cut_off} could not write from {window['from']} to {window['to']}; 1 other could"
        in (cut.long["sentence"])
    )


def test_the_event_alone_tells_it(cut: Cut) -> None:
    """A page of the history, and the feed, have it too."""
    assert cut.long["removal"]["evidence"] == cut.long["evidence"]
    assert cut.long["removal"]["kind"] == "instance-expired"


def test_the_list_of_replicas_tells_it(cut: Cut) -> None:
    (outage,) = cut.said_of_itself["writing"]["outages"]
    assert cut.began - PULSE_MS / 1000 - SLACK_S < outage["sinceMs"] / 1000 < outage["untilMs"] / 1000
