"""Redis comes back without its newest events, or without any: what consumers are told in the meantime, and afterwards.

Four scenes at the same time, each with two registries on a Redis of its own. Consumers poll with their rev through all
of it; instances are only ever added, so whatever a consumer was told once must be in everything that it is told later.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from registry.domain.events import HistoryResumed, decode_event
from tests.support.api import Api, ids, ok
from tests.support.far_redis import Line
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync

LIMIT_S = 20.0
#: From the moment at which Redis answers again until everything works.
BACK_WITHIN_S = 5.0
#: What the claims of the replicas (one second) and a busy machine add where a log is seeded.
SEED_SLACK_S = 3.0
EVENTS = "registry:{team/default}:events"
HEAD = "registry:{team/default}:head"
STATES = "registry:{team/default}:states"
LEASE_S = 5.0
SHORT = {"mode": "push", "interval": 5, "times": 0}


class Poller:
    """A consumer that polls one replica with the rev it holds."""

    def __init__(self, api: Api, confirmed: list[str] | None) -> None:
        self._api = api
        #: What the same replica has confirmed by now; None for another replica, which may lag.
        self._confirmed = confirmed
        self.polls = 0
        self.not_modified = 0
        self.wrong: list[str] = []

    def run(self, over: threading.Event) -> None:
        rev, held, seen = "", frozenset[str](), frozenset[str]()
        contents: dict[str, frozenset[str]] = {}
        while not over.is_set():
            due = seen | frozenset(self._confirmed or ())
            response = self._api.find("cart", rev=rev)
            self.polls += 1
            if response.status == 304:
                self.not_modified += 1
            elif response.status == 200:
                if response.body != b"{}":
                    rev, held = response.rev, frozenset(ids(response))
                    if contents.setdefault(rev, held) != held:
                        self.wrong.append(f"rev {rev} is of two contents")
            else:
                self.wrong.append(f"{response.status}: {response.body!r}")
            if not due <= held:
                self.wrong.append(f"{response.status} without {sorted(due - held)}")
            seen |= held
            over.wait(0.02)


class Scene:
    """Two registries on one Redis, each reached over a line of its own, a writer and the pollers."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.lines = [Line(server.socket), Line(server.socket)]
        self.registries = [Replica("--redis-url", line.url) for line in self.lines]
        self.newcomers: list[Replica] = []
        #: Whatever else is to be ended.
        self.stack = contextlib.ExitStack()
        self.confirmed: list[str] = []
        #: Those of them that the first registry itself has confirmed.
        self.confirmed_by_first: list[str] = []
        self.pollers: list[Poller] = []
        self.lost = self.returned = self.works = 0.0
        self.found: list[tuple[str, bytes]] = []
        self.log: list[Any] = []
        self.dead_gone = 0.0

    def play(self, lose: Callable[[Scene], None]) -> None:
        """Fill it, let history be lost, and see that everything comes together again."""
        for one in self.registries:
            one.launch()
        for one in self.registries:
            one.wait_ready()
        api = self.registries[0].api("team")
        api.service("cart", serviceId="cart")
        api.instance("cart", instanceId="dead", healthCheck=SHORT)
        self.write(20)
        ok(api.post("/microservices/cart/tags", {"tags": {"kept": "yes"}}))
        self._await_agreement()
        over = threading.Event()
        self.pollers = [
            Poller(self.registries[0].api("team"), self.confirmed_by_first),
            Poller(self.registries[1].api("team"), None),
        ]
        with ThreadPoolExecutor(len(self.pollers)) as pool:
            polling = [pool.submit(poller.run, over) for poller in self.pollers]
            try:
                self.lost = time.monotonic()
                lose(self)
                self.returned = time.monotonic()
                until_sync(self._works, "writes to work on every replica", LIMIT_S)
                self.works = time.monotonic()
                self.write(3)
                self._await_agreement()
            finally:
                over.set()
        for poll in polling:
            poll.result()
        until_sync(lambda: "dead" not in ids(api.find("cart")), "the dead one to go", LIMIT_S)
        self.dead_gone = time.monotonic()
        self._look()

    def write(self, many: int, through: int = 0) -> None:
        """Register a number of instances more; all must be confirmed."""
        api = self.registries[through].api("team")
        for _ in range(many):
            instance_id = api.instance("cart", instanceId=f"i{len(self.confirmed)}")
            self.confirmed.append(instance_id)
            if through == 0:
                self.confirmed_by_first.append(instance_id)

    @property
    def all(self) -> list[Replica]:
        return [*self.registries, *self.newcomers]

    def _works(self) -> bool:
        for number, one in enumerate(self.all):
            body = {"properties": {"at": str(number)}}
            if one.api("team").put("/microservices/cart/properties", body).status != 200:
                return False
        return True

    def _await_agreement(self) -> None:
        def agree() -> bool:
            found = [one.api("team").find("cart") for one in self.all]
            return len({(f.rev, f.body) for f in found}) == 1 and set(self.confirmed) <= set(ids(found[0]))

        until_sync(agree, "the replicas to agree on everything confirmed", LIMIT_S)

    def _look(self) -> None:
        """A replica started now knows nothing but the log."""
        fresh = Replica("--redis-url", self.server.url)
        self.newcomers.append(fresh)
        fresh.start()
        self._await_agreement()
        paths = ["/microservices", "/microservices/cart", "/microservices/cart/tags"]
        for one in self.all:
            api = one.api("team")
            answers = [ok(api.get(path)) for path in paths]
            self.found.append((api.find("cart").rev, b"\n".join(answer.body for answer in answers)))
        with Redis.from_url(self.server.url) as redis:
            self.log = [decode_event(fields[b"e"]) for _, fields in redis.xrange(EVENTS)]

    def said(self, action: str) -> list[dict[str, Any]]:
        return [record for one in self.all for record in one.said(action) if record.get("tenant") == "team/default"]

    def clean_up(self) -> None:
        for one in self.all:
            one.clean_up()
        for line in self.lines:
            line.close()
        self.server.kill()
        self.stack.close()


# -- what is lost ------------------------------------------------------------------------------------------------------


def failover(scene: Scene) -> None:
    """The primary dies when its replica lacks the tail; the replica is promoted, under the same address."""
    behind = Line(scene.server.socket)
    scene.stack.callback(behind.close)
    second = scene.stack.enter_context(redis_server(None, True))
    primary = scene.server
    with Redis.from_url(second.url, decode_responses=True) as client, Redis.from_url(primary.url) as there:
        client.replicaof("127.0.0.1", behind.port)

        def is_synced() -> bool:
            info: Any = client.info("replication")
            head: Any = there.get(HEAD)
            return bool(info["master_link_status"] == "up" and client.get(HEAD) == head.decode())

        until_sync(is_synced, "Redis's replica to be in step", LIMIT_S)
        behind.hang()
        scene.write(7)
        scene.write(3, through=1)
        primary.kill()
        behind.cut()
        client.replicaof("no", "one")
        assert client.get(HEAD) != ""
    scene.server = second
    for line in scene.lines:
        line.cut()
        line.mend(second.socket)


def empty_disk(scene: Scene) -> None:
    """Redis starts again with nothing, when the second replica had been cut off and lacks the newest writes."""
    scene.lines[1].hang()
    scene.write(10)
    scene.server.kill()
    scene.lines[1].cut()
    for file in scene.server.directory.iterdir():
        if file.name.startswith("append"):
            _remove(file)
    scene.server.start()
    # The one that lacks them comes last, so that it does not begin alone: who is there first depends on whose turn it
    # is to try again. Where they meet, tests/unit/test_mending.py sees who seeds.
    with Redis.from_url(scene.server.url) as redis:
        until_sync(lambda: bool(redis.exists(STATES)), "the first replica to say how far it is", LIMIT_S)
    scene.lines[1].mend()


def flushed_before_a_newcomer(scene: Scene) -> None:
    """Everything is flushed, and a new replica comes and registers itself before the old ones can say a word."""
    for line in scene.lines:
        line.hang()
    with Redis.from_url(scene.server.url) as redis:
        redis.flushall()
    newcomer = Replica("--redis-url", scene.server.url)
    scene.newcomers.append(newcomer)
    newcomer.start()
    api = newcomer.api("team")
    api.service("other", serviceId="other")
    for line in scene.lines:
        line.mend()


def flushed_while_written(scene: Scene) -> None:
    """Everything is flushed in the middle of writes through both."""
    stop = threading.Event()

    def write(through: int) -> None:
        api = scene.registries[through].api("team")
        number = 0
        while not stop.is_set():
            number += 1
            response = api.register("cart", instanceId=f"w{through}-{number}")
            if response.status == 200 and through == 0:
                scene.confirmed.append(f"w{through}-{number}")
                scene.confirmed_by_first.append(f"w{through}-{number}")

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, through) for through in (0, 1)]
        confirmed = len(scene.confirmed)
        until_sync(lambda: len(scene.confirmed) > confirmed + 20, "some writes", LIMIT_S)
        with Redis.from_url(scene.server.url) as redis:
            redis.flushall()
        confirmed = len(scene.confirmed)
        until_sync(lambda: len(scene.confirmed) > confirmed + 20, "some writes", LIMIT_S)
        stop.set()
        for writer in writers:
            writer.result()


def _remove(path: Path) -> None:
    if path.is_dir():
        for file in path.iterdir():
            _remove(file)
        path.rmdir()
    else:
        path.unlink()


LOSSES = {
    "failover": failover,
    "empty disk": empty_disk,
    "newcomer": flushed_before_a_newcomer,
    "writes": flushed_while_written,
}


@pytest.fixture(scope="module")
def scenes() -> Iterator[dict[str, Scene]]:
    """Everything below is about what happened here."""
    with contextlib.ExitStack() as stack:
        scenes = {
            name: Scene(stack.enter_context(redis_server(None, True, ["--repl-diskless-sync-delay", "0"])))
            for name in LOSSES
        }
        for scene in scenes.values():
            stack.callback(scene.clean_up)
        with ThreadPoolExecutor(len(LOSSES)) as pool:
            for playing in [pool.submit(scenes[name].play, lose) for name, lose in LOSSES.items()]:
                playing.result()
        yield scenes


@pytest.fixture(params=LOSSES)
def scene(scenes: dict[str, Scene], request: pytest.FixtureRequest) -> Scene:
    return scenes[request.param]


def test_consumers_never_see_an_older_list_nor_a_wrong_304(scene: Scene) -> None:
    """What was confirmed, and what a consumer was sent before, is in every list, and in that which a 304 confirms."""
    for poller in scene.pollers:
        assert poller.wrong == []
        assert poller.polls > 6
        assert poller.not_modified >= 1


def test_everything_confirmed_is_there_again_on_every_replica(scene: Scene) -> None:
    """Also for a replica that is started afterwards and has nothing but the log."""
    assert len(set(scene.found)) == 1
    for one in scene.all:
        assert set(scene.confirmed) <= set(ids(one.api("team").find("cart")))
    assert b'"kept":"yes"' in scene.found[0][1]


def test_history_goes_on_within_seconds(scene: Scene) -> None:
    """Without an operator; an empty log is seeded after the replicas have told each other how far they are."""
    assert scene.works - scene.returned <= BACK_WITHIN_S + SEED_SLACK_S


def test_every_event_is_in_the_log_once(scene: Scene) -> None:
    """Both replicas hold what was lost; one puts it back, under a new epoch that says so."""
    names = [(event.replica, event.number) for event in scene.log if not isinstance(event, HistoryResumed)]
    assert len(names) == len(set(names))
    assert len([event for event in scene.log if isinstance(event, HistoryResumed)]) >= 1
    assert len(scene.said("history_mended") + scene.said("history_seeded")) >= 1
    assert scene.said("history_given_up") == []


def test_leases_start_anew_and_end_again(scene: Scene) -> None:
    """Nobody is judged by a store that has lost its leases; and the dead still go."""
    assert scene.dead_gone - scene.lost >= LEASE_S
    assert scene.dead_gone - scene.works <= LEASE_S + BACK_WITHIN_S


def test_failover_puts_back_what_was_lost_and_nothing_else(scenes: dict[str, Scene]) -> None:
    """The log was not seeded: only the ten events that the new primary lacked are appended again."""
    scene = scenes["failover"]
    assert scene.said("history_seeded") == []
    mendings = [one for one in scene.said("history_mended") if one.get("tenant") == "team/default"]
    # One that was told less when the log was lost may leave some of them to the other one.
    found = [re.search(r" (\d+) events are put back", one["message"]) for one in mendings]
    assert sum(int(one[1]) for one in found if one) == 10, mendings


def test_replica_that_is_furthest_ahead_seeds_an_empty_log(scenes: dict[str, Scene]) -> None:
    """The other one lacked ten confirmed registrations."""
    ahead, behind = (
        [r for r in one.said("history_seeded") if r.get("tenant") == "team/default"]
        for one in scenes["empty disk"].registries
    )
    (seeded,) = ahead
    assert "31 instances" in seeded["message"]
    assert behind == []


def test_newcomer_keeps_what_it_wrote_first(scenes: dict[str, Scene]) -> None:
    """The log that it began and the memory of the others become one."""
    scene = scenes["newcomer"]
    for one in scene.all:
        services = {s["serviceId"] for s in ok(one.api("team").get("/microservices")).json()["services"]}
        assert services == {"cart", "other"}
    addresses = {
        tuple(i["endpoints"]) for i in ok(scene.newcomers[-1].api("default").get("/health")).json()["instances"]
    }
    assert {(f"rest://127.0.0.1:{one.port}/",) for one in scene.all} <= addresses
