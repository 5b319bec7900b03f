"""Expiry on real leases: who has stopped beating goes in time, from every replica, and nobody else does.

Page "Sending Heartbeat Information"; api-rules.md 6; D7. Both ways of learning of a lapse are tried at once: a
Redis that sends notifications, and one that sends none. Leases are as short as they can be: interval 5 x (0 + 1).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.fleet import fleet
from tests.support.redis_server import redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync

LEASE_S = 5.0
#: The promise: gone from every replica so soon after the last beat.
GONE_WITHIN_S = 6.0
#: How long is watched: the instances renewed at RENEW_AT_S must be gone by then, too.
RENEW_AT_S = 1.5
WATCHED_S = RENEW_AT_S + GONE_WITHIN_S + 0.5
POLL_S = 0.03
SHORT = {"mode": "push", "interval": 5, "times": 0}
#: Instances that end, and those that are there at the end.
SILENT = ("silent", "orphan", "restatused", "beaten once", "in a set", "registered again", "overwritten")
LASTING = ("beating", "patient")
MODES = {"notifications": "Ex", "no notifications": ""}


@dataclass
class Life:
    """One instance: between which two moments it was renewed last, and when each replica showed it last and no more."""

    instance_id: str
    renewed_from: float = 0.0
    renewed_until: float = 0.0
    #: By replica: the last moment at which a request that showed it was sent, the first at which one came back without.
    seen: dict[int, float] = field(default_factory=dict)
    gone: dict[int, float] = field(default_factory=dict)
    #: Shown again after it was gone.
    returned: bool = False


class Watched:
    """One Redis with three replicas, of which one is killed at once; and the lives of the instances on it."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.victim, *self.survivors = replicas
        self.tenant = f"expiry-{uuid.uuid4().hex}"
        self.apis = [one.api(self.tenant) for one in self.survivors]
        self.service_id = self.apis[0].service()
        self.lives = {name: Life(name.replace(" ", "-")) for name in (*SILENT, *LASTING)}
        #: A tenant of its own, for who comes back: nothing that is looked at elsewhere changes by it.
        self.returning = [one.api(f"{self.tenant}-returning") for one in self.survivors]
        self.rev_before = ""
        self.beats_answered = 0

    def watch(self) -> None:
        """Register everybody, let the victim die, renew some, and look until every lease should have ended."""
        for name in self.lives:
            check = {"mode": "push", "interval": 5, "times": 3} if name == "patient" else SHORT
            api = self.victim.api(self.tenant) if name == "orphan" else self.apis[0]
            self._renew(name, partial(self._register, api, name, check))
        self.returning[0].instance(self.returning[0].service(serviceId="s"), instanceId="i", healthCheck=SHORT)
        self.victim.kill()
        self.rev_before = self.apis[0].find().rev
        started = time.monotonic()
        renewed = False
        beaten = started
        while (now := time.monotonic()) < started + WATCHED_S:
            if not renewed and now > started + RENEW_AT_S:
                renewed = True
                self._renew_some()
            if now > beaten + 1:
                beaten = now
                self._beat_through(int(now) % 2, "beating")
            for index, api in enumerate(self.apis):
                self._look(index, api)
            time.sleep(POLL_S)  # the pace of the looks

    def _register(self, api: Api, name: str, check: dict[str, object], host: str = "host") -> None:
        api.instance(self.service_id, instanceId=self.lives[name].instance_id, healthCheck=check, hostName=host)

    def _renew(self, name: str, how: Callable[[], object]) -> None:
        life = self.lives[name]
        life.renewed_from = time.monotonic()
        how()
        life.renewed_until = time.monotonic()

    def path(self, name: str) -> str:
        return f"/microservices/{self.service_id}/instances/{self.lives[name].instance_id}"

    def _renew_some(self) -> None:
        one, other = self.apis
        ok(one.put(self.path("restatused") + "/status?value=DOWN"))
        self._beat_through(1, "beaten once")
        element = {"serviceId": self.service_id, "instanceId": self.lives["in a set"].instance_id}
        self._renew("in a set", lambda: ok(other.put("/heartbeats", {"instances": [element]})))
        self._renew("registered again", lambda: self._register(other, "registered again", dict(SHORT)))
        self._renew("overwritten", lambda: self._register(other, "overwritten", dict(SHORT), "new"))

    def _beat_through(self, index: int, name: str) -> None:
        self._renew(name, lambda: ok(self.apis[index].put(self.path(name) + "/heartbeat")))
        self.beats_answered += 1

    def _look(self, index: int, api: Api) -> None:
        asked = time.monotonic()
        there = set(ids(api.find()))
        answered = time.monotonic()
        for life in self.lives.values():
            if life.instance_id not in there:
                life.gone.setdefault(index, answered)
            else:
                life.seen[index] = asked
                life.returned |= index in life.gone


@pytest.fixture(scope="module")
def both() -> Iterator[dict[str, Watched]]:
    """Everything below is about what was seen here, on two Redis at the same time."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(redis_server(options=("--notify-keyspace-events", events))) for events in MODES.values()
        ]
        options = [["--redis-url", server.url] for server in servers for _ in range(3)]
        replicas = stack.enter_context(fleet(*options))
        watched = [Watched(replicas[:3]), Watched(replicas[3:])]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Watched.watch, watched))
        yield dict(zip(MODES, watched, strict=True))


@pytest.fixture(params=MODES)
def watched(both: dict[str, Watched], request: pytest.FixtureRequest) -> Watched:
    return both[request.param]


@pytest.mark.parametrize("name", SILENT)
def test_silent_instance_is_gone_in_time_from_every_replica(watched: Watched, name: str) -> None:
    """Consumers stop calling it at most 6 s after its last renewal (interval 5, times 0), at every replica.

    Heartbeat, heartbeat set, equal and changed registration renew; a status change does not (api-rules.md 6.2).
    The replica that registered the orphan is dead: the others look after it.
    """
    life = watched.lives[name]
    assert set(life.gone) == {0, 1}
    assert max(life.gone.values()) - life.renewed_until <= GONE_WITHIN_S
    assert not life.returned


@pytest.mark.parametrize("name", SILENT)
def test_silent_instance_is_not_gone_before_its_lease_ends(watched: Watched, name: str) -> None:
    """A provider that is merely late with a beat goes on being called."""
    life = watched.lives[name]
    assert min(life.gone.values()) - life.renewed_from >= LEASE_S


@pytest.mark.parametrize("name", LASTING)
def test_instance_that_beats_or_has_time_left_stays(watched: Watched, name: str) -> None:
    """Beats through any replica count; `times` 3 means a lease of four intervals (D7)."""
    life = watched.lives[name]
    assert life.gone == {}
    assert watched.beats_answered >= 6


def test_expiry_moves_the_rev(watched: Watched) -> None:
    """Consumers that poll with a rev are sent the list without the expired."""
    for api in watched.apis:
        found = api.find(rev=watched.rev_before)
        assert found.status == 200
        assert len(found.json()["instances"]) == len(LASTING)


def test_replicas_agree_on_who_is_left(watched: Watched) -> None:
    """The same bytes and the same rev."""
    one, other = (api.find() for api in watched.apis)
    assert (one.rev, one.body, one.position) == (other.rev, other.body, other.position)


def test_each_expiry_is_recorded_once(watched: Watched) -> None:
    """No matter which replica notices: one event in the log, one line for the operator, naming the instance."""

    def lines() -> list[str]:
        said = [record for one in watched.survivors for record in one.said("instance_expired")]
        return [record["message"] for record in said if record["tenant"] == f"{watched.tenant}/default"]

    until_sync(lambda: len(lines()) >= len(SILENT), "a line for each")
    assert len(lines()) == len(SILENT)
    for name in SILENT:
        assert len([line for line in lines() if f"instance {watched.lives[name].instance_id} " in line]) == 1


def test_expired_instance_is_told_to_register_again(watched: Watched) -> None:
    """400017 for heartbeat, status, properties and deregistration, on every replica (api-rules.md 6.2)."""
    path = watched.path("silent")
    for api in watched.apis:
        assert_refused(api.put(f"{path}/heartbeat"), 400017)
        assert_refused(api.put(f"{path}/status?value=UP"), 400017)
        assert_refused(api.put(f"{path}/properties", {}), 400017)
        assert_refused(api.delete(path), 400017)
        assert_refused(api.get(path), 400017)


def test_expired_instance_comes_back_under_its_id(watched: Watched) -> None:
    """Registration with the old instanceId makes it anew (api-rules.md 6.2)."""
    one, other = watched.returning
    path = "/microservices/s/instances/i"
    assert_refused(one.put(f"{path}/heartbeat"), 400017)
    written = ok(one.register("s", instanceId="i"))
    ok(other.get(path, {"X-Registry-Position": written.position}))
    ok(other.put(f"{path}/heartbeat"))
