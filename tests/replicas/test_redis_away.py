"""Redis stops answering for a while: reads go on, heartbeats count, writes say whose failure it is, nobody is expired.

clients.md 0.5, 0.18; D17. Redis is away in four ways at the same time, each with a registry of its own, for longer than
the leases; and once for a moment.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from redis import Redis

from tests.replicas.outages import Clients, Seen, beat_all
from tests.support.api import EXAMPLE_INSTANCE, Api, assert_refused, ids, ok
from tests.support.far_redis import Line
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync
from tests.support.websocket import PING, PONG, beat_by_socket, watch


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def registry(server: RedisServer) -> Iterator[Replica]:
    """A registry that waits half a second for Redis."""
    with replica("--redis-url", server.url, "--redis-timeout-s", "0.5") as one:
        yield one


@pytest.fixture(scope="module")
def api(registry: Replica) -> Api:
    """A tenant with one instance, and another that tests write to without knowing whether it happens."""
    api = registry.api("away")
    api.instance(api.service(serviceId="s"), instanceId="i", **EXAMPLE_INSTANCE)
    api.instance(api.service("unsure", serviceId="unsure"), instanceId="u")
    return api


@pytest.fixture
def away(api: Api, server: RedisServer) -> Iterator[None]:
    """While the test runs Redis answers nobody."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
        until_sync(lambda: api.put("/microservices/s/instances/i/status?value=UP").status == 200, "Redis to be back")


def test_reads_are_answered_from_the_view(api: Api, away: None) -> None:
    """Consumers keep finding their providers, also with a rev. What the view does not hold is not denied unread."""
    assert ids(api.find()) == ["i"]
    assert api.find(rev=api.find().rev).status == 304
    assert ids(api.find(rev="old")) == ["i"]
    assert_refused(api.find("nobody"), 500011)
    ok(api.batch([{"service": {"serviceName": "*"}}]))


def test_a_watch_for_what_was_found_meanwhile_is_not_deaf(api: Api, server: RedisServer) -> None:
    """That the consumer depends on what it found could not be written down: its watch ends when somebody would have
    been told, so that it comes back and pulls."""
    api.service("consumer", serviceId="consumer")
    server.pause()
    try:
        assert ids(api.find(consumer="consumer")) == ["i"]
    finally:
        server.resume()
    with watch(api, "consumer") as socket:
        until_sync(lambda: api.put("/microservices/s/instances/i/status?value=DOWN").status == 200, "Redis to be back")
        socket.until_end()
    ok(api.find(consumer="consumer"))
    with watch(api, "consumer") as socket:
        ok(api.put("/microservices/s/instances/i/status?value=UP"))
        assert socket.next_event()["instance"]["status"] == "UP"


def test_writes_fail_as_ours(api: Api, away: None) -> None:
    """500 with a code, in bounded time: the client may try again, and is not told that it was wrong."""
    assert_refused(api.register("unsure", instanceId="new"), 500011)
    assert_refused(api.put("/microservices/unsure/instances/u/status?value=DOWN"), 500011)
    assert_refused(api.delete("/microservices/unsure/instances/u"), 500011)


def test_heartbeat_is_accepted(api: Api, away: None) -> None:
    """kitex and hertz stop beating after one refusal, the others register anew on 400017 (clients.md 0.18)."""
    ok(api.put("/microservices/s/instances/i/heartbeat"))
    element = {"serviceId": "s", "instanceId": "i"}
    assert b"errMessage" not in ok(api.put("/heartbeats", {"instances": [element]})).body


def test_heartbeat_of_an_unknown_instance_is_neither_accepted_nor_denied(api: Api, away: None) -> None:
    """The view does not hold it; whether the log does cannot be told now."""
    assert_refused(api.put("/microservices/s/instances/nobody/heartbeat"), 500011)


def test_repeated_registration_with_equal_content_fails_as_a_write_does(api: Api, away: None) -> None:
    """Nothing is to be written only if the log holds what the view holds, and the log cannot be asked."""
    assert_refused(api.register("s", instanceId="i", **EXAMPLE_INSTANCE), 500011)


def test_write_that_failed_as_ours_may_be_repeated(api: Api) -> None:
    """It may have happened or not; sent again it leads to what was wanted either way."""
    ok(api.register("unsure", instanceId="new"))
    response = api.delete("/microservices/unsure/instances/u")
    assert response.status == 200 or response.json()["errorCode"] == "400017"
    assert ids(api.instances_of("unsure")) == ["new"]
    ok(api.put("/microservices/unsure/instances/new/heartbeat"))


# -- longer than the leases, in every way, with the settings as they come ----------------------------------------------

LEASE_S = 5.0
#: Longer than every lease but that of the crowd.
AWAY_S = 8.0
#: The promises.
WRITE_FAILS_WITHIN_S = 10.0
BEAT_WITHIN_S = 1.0
BACK_WITHIN_S = 5.0
#: What a busy machine may add to an answer.
SLACK_S = 0.5
SHORT = {"mode": "push", "interval": 5, "times": 0}
CROWD = [f"crowd{number}" for number in range(150)]
#: Keys that a slow Redis reads while it starts, and how long it takes for each.
FILLERS = 6000
FILLER_US = 1000


class Outage:
    """One Redis, one registry on it, and what its clients saw. Each way to be away is a pair of methods."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.line = Line(server.socket)
        self.registry = Replica("--redis-url", self.line.url)
        self.clients = Clients()
        self.seen: dict[str, list[Seen]] = {}
        self.crowd: list[tuple[float, int]] = []
        self.socket_ended = False
        self.pongs_in_outage = 0
        self.began = self.returned = 0.0
        self.silent_gone = 0.0
        self._loading: Future[None] | None = None

    # -- ways to be away -----------------------------------------------------------------------------------------------

    def hang(self) -> None:
        self.server.pause()

    def unhang(self) -> None:
        self.server.resume()

    def kill(self) -> None:
        self.server.kill()

    def restart(self) -> None:
        self.server.start()

    def partition(self) -> None:
        self.line.hang()

    def unpartition(self) -> None:
        self.line.mend()

    def load(self) -> None:
        """It was killed and is up again at once, but reads its data for a long time."""
        self.server.kill()
        self.server = RedisServer(self.server.directory, True, ["--key-load-delay", str(FILLER_US)])
        with ThreadPoolExecutor(1) as pool:
            self._loading = pool.submit(self.server.start)

    def loaded(self) -> None:
        assert self._loading is not None
        self._loading.result()

    # -- what happens --------------------------------------------------------------------------------------------------

    def play(self, leave: Callable[[Outage], None], come_back: Callable[[Outage], None]) -> None:
        api = self.registry.start().api("team")
        service_id = api.service("cart", serviceId="cart")
        for name in CROWD:
            api.instance(service_id, instanceId=name)
        for name in ("silent", "beating", "by socket"):
            api.instance(service_id, instanceId=name.replace(" ", "-"), healthCheck=SHORT)
        with Redis.from_url(self.server.url) as redis, redis.pipeline() as pipe:
            for number in range(FILLERS):
                pipe.set(f"filler{number}", number)
            pipe.execute()
        ok(api.find("cart"))
        crowd = [self.registry.api("team") for _ in CROWD]
        for each in crowd:
            each.connection.send(b"")
        self._start_clients()
        self.began = time.monotonic()
        leave(self)
        if self._loading is None:
            self._reach(self.began + 1.0)
            self.crowd = beat_all(api, crowd, service_id, CROWD)
            self._reach(self.began + AWAY_S)
        come_back(self)
        self.returned = time.monotonic()
        until_sync(self._silent_has_gone, "the silent one to go", 2 * LEASE_S + 10)
        self.silent_gone = time.monotonic()
        until_sync(lambda: all(map(self.after, self.seen)), "everybody to ask after the return", 2 * BACK_WITHIN_S)
        self.clients.end()

    def _reach(self, moment: float) -> None:
        until_sync(lambda: time.monotonic() > moment, "time to pass", AWAY_S + 10)

    def _start_clients(self) -> None:
        one = self.registry
        reader, beater, writer = one.api("team"), one.api("team"), one.api("team")
        lister, setter, balancer = one.api("team"), one.api("team"), one.api("team")
        element = {"serviceId": "cart", "instanceId": "beating"}
        self.seen["find"] = self.clients.start(lambda: reader.find("cart"))
        self.seen["list"] = self.clients.start(lambda: lister.get("/microservices"))
        self.seen["beat"] = self.clients.start(lambda: beater.put("/microservices/cart/instances/beating/heartbeat"))
        self.seen["set"] = self.clients.start(lambda: setter.put("/heartbeats", {"instances": [element]}))
        self.seen["ready"] = self.clients.start(lambda: balancer.get("/health/readiness"))
        names = iter(range(1_000_000))
        self.seen["write"] = self.clients.start(
            lambda: writer.register("cart", instanceId=f"new{next(names)}", properties={"k": "v"})
        )
        self.clients.start_work(self._answer_pings)

    def _answer_pings(self, over: threading.Event) -> None:
        with beat_by_socket(self.registry.api("team"), "cart", "by-socket") as socket:
            while not over.is_set():
                frame = socket.receive()
                if frame is None or frame.opcode != PING:
                    self.socket_ended = not over.is_set()
                    return
                socket.send(PONG, frame.payload)
                self.pongs_in_outage += self.began > 0 and self.returned == 0

    def _silent_has_gone(self) -> bool:
        return "silent" not in self.ids(self.seen["find"][-1])

    def clean_up(self) -> None:
        with contextlib.suppress(Exception):
            self.clients.end()
        self.registry.clean_up()
        self.line.close()
        self.server.kill()

    # -- what was seen -------------------------------------------------------------------------------------------------

    @staticmethod
    def ids(seen: Seen) -> list[str]:
        return ids(seen.response)

    def during(self, what: str, after_s: float = 0.0) -> list[Seen]:
        """What was asked and answered while Redis was away, for at least this long."""
        return [s for s in self.seen[what] if s.asked > self.began + after_s and s.answered < self.returned]

    def after(self, what: str, after_s: float = BACK_WITHIN_S) -> list[Seen]:
        """What was asked when Redis had been back for this long."""
        return [s for s in self.seen[what] if s.asked > self.returned + after_s]


WAYS = {
    "hung": (Outage.hang, Outage.unhang),
    "killed": (Outage.kill, Outage.restart),
    "partitioned": (Outage.partition, Outage.unpartition),
    "loading": (Outage.load, Outage.loaded),
}


@pytest.fixture(scope="module")
def outages(brief: Moment) -> Iterator[dict[str, Outage]]:
    """Everything below is about what happened here."""
    with contextlib.ExitStack() as stack:
        scenes = {name: Outage(stack.enter_context(redis_server(None, True))) for name in WAYS}
        for scene in scenes.values():
            stack.callback(scene.clean_up)
        stack.callback(brief.registry.clean_up)
        with ThreadPoolExecutor(len(WAYS) + 1) as pool:
            playing = [pool.submit(scenes[name].play, *ways) for name, ways in WAYS.items()]
            playing.append(pool.submit(brief.play))
            for running in playing:
                running.result()
        yield scenes


@pytest.fixture(scope="module")
def brief() -> Iterator[Moment]:
    with redis_server() as server:
        yield Moment(server)


@pytest.fixture
def moment(brief: Moment, outages: dict[str, Outage]) -> Moment:
    """Played at the same time as the others."""
    return brief


@pytest.fixture(params=WAYS)
def outage(outages: dict[str, Outage], request: pytest.FixtureRequest) -> Outage:
    return outages[request.param]


@pytest.mark.parametrize("what", ["find", "list"])
def test_reads_go_on_and_say_how_old_they_are(outage: Outage, what: str) -> None:
    """On both lanes; the number of seconds grows, and the header is gone afterwards."""
    seen = outage.during(what)
    assert len(seen) > 10
    assert all(s.response.status == 200 for s in seen)
    old = [int(s.stale) for s in outage.during(what, 4.5)]
    assert len(old) > 0
    assert old == sorted(old)
    assert 2 <= old[0] <= 7
    assert {s.stale for s in outage.after(what)} == {""}


def test_writes_fail_in_time_as_ours(outage: Outage) -> None:
    """500011 within ten seconds: the client's own time-out has not run out, and it may repeat the request."""
    waited = [s for s in outage.seen["write"] if outage.began < s.answered and s.asked < outage.returned]
    assert max(s.took_s for s in waited) <= WRITE_FAILS_WITHIN_S
    # One that waits when Redis comes back may succeed; those that end before can only fail.
    for seen in outage.during("write"):
        assert_refused(seen.response, 500011)


def test_failed_write_is_done_or_not_done_but_not_half(outage: Outage) -> None:
    """Whatever is there of the new instances is complete, and those that were confirmed are all there."""
    api = outage.registry.api("team")
    found = {i["instanceId"]: i for i in ok(api.find("cart")).json()["instances"]}
    confirmed = {s.response.json()["instanceId"] for s in outage.seen["write"] if s.response.status == 200}
    assert confirmed
    assert confirmed <= set(found)
    with Redis.from_url(outage.server.url) as redis:
        leases = {key.decode().rpartition("/")[2] for key in redis.scan_iter("*:lease:cart/*")}
    new = {name for name in found if name.startswith("new")}
    assert all(found[name]["properties"] == {"k": "v"} for name in new)
    assert new <= leases
    assert {name for name in leases if name.startswith("new")} <= new


@pytest.mark.parametrize("what", ["beat", "set"])
def test_heartbeats_are_accepted_at_once(outage: Outage, what: str) -> None:
    """200 within a second for what the view holds: clients must neither stop beating nor register anew."""
    seen = outage.during(what)
    assert len(seen) > 3
    assert all(s.response.status == 200 and b"errMessage" not in s.response.body for s in seen)
    took = sorted(s.took_s for s in seen)
    assert took[len(took) * 9 // 10] <= BEAT_WITHIN_S
    assert took[-1] <= BEAT_WITHIN_S + SLACK_S


def test_many_heartbeats_at_once_are_accepted_at_once(outage: Outage) -> None:
    if outage._loading is not None:
        assert outage.crowd == []
        return
    assert len(outage.crowd) == len(CROWD)
    assert {status for _, status in outage.crowd} == {200}
    assert max(took_s for took_s, _ in outage.crowd) <= BEAT_WITHIN_S + SLACK_S


def test_heartbeat_socket_stays_open(outage: Outage) -> None:
    """No close code 4001, on which the client would register again; its pongs count."""
    assert not outage.socket_ended
    assert outage.pongs_in_outage >= 1


def test_readiness_says_why_it_is_not_ready(outage: Outage) -> None:
    late = outage.during("ready", 7.0) or outage.during("ready", 6.2)
    assert {s.response.status for s in late} <= {503}
    assert all(b"the store has not answered for" in s.response.body for s in late)
    assert outage._loading is not None or late
    assert {s.response.status for s in outage.after("ready")} == {200}


def test_nobody_is_expired_for_an_outage(outage: Outage) -> None:
    """Who was silent could not have beaten: only a full lease after the return of Redis says anything."""
    for seen in outage.seen["find"]:
        there = set(outage.ids(seen))
        assert {"beating", "by-socket", *CROWD} <= there
        if seen.answered < outage.returned + LEASE_S - 1:
            assert "silent" in there
    assert outage.silent_gone - outage.returned >= LEASE_S - 1


def test_everything_works_soon_after_the_return(outage: Outage) -> None:
    """Without an operator, within five seconds."""
    for what in ("find", "list", "beat", "set", "ready", "write"):
        seen = outage.after(what)
        assert seen, what
        assert {s.response.status for s in seen} == {200}, what
    outage.registry.tells("beats_remembered")

    def all_delivered() -> bool:
        return len(outage.registry.said("beats_delivered")) == len(outage.registry.said("beats_remembered"))

    until_sync(all_delivered, "both ends to be said")


def test_an_outage_is_one_fact_of_which_the_log_has_two_lines(outage: Outage) -> None:
    """That it has begun and why, and for how long it lasted - and two of the heartbeats. Not one for each attempt."""
    outage.registry.tells("store_back")
    away, back = outage.registry.said("store_away"), outage.registry.said("store_back")
    assert (len(away), len(back)) == (1, 1)
    assert "Redis did not answer" in away[0]["message"]
    assert re.fullmatch(r"Redis is back after [\d.]+ s; counted (once|\d+ times)", back[0]["message"])
    lasted_s = outage.returned - outage.began
    assert lasted_s - 1 < back[0]["lasted_s"] < lasted_s + WRITE_FAILS_WITHIN_S
    expected = {"store_away", "store_back", "beats_remembered", "beats_delivered", "leases_rearmed"}
    others = [r for r in outage.registry.log() if r["level"] != "info" and r.get("action") not in expected]
    assert others == []


# -- for a moment ------------------------------------------------------------------------------------------------------


class Moment:
    """A short outage, into which one instance's only heartbeat falls. Leases do not start anew for it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.registry = Replica("--redis-url", server.url)
        self.registered = self.beaten = self.silent_gone = self.beaten_gone = 0.0

    def play(self) -> None:
        api = self.registry.start().api("team")
        api.service("cart", serviceId="cart")
        for name in ("beaten", "silent"):
            api.instance("cart", instanceId=name, healthCheck=SHORT)
        self.registered = time.monotonic()
        until_sync(lambda: time.monotonic() > self.registered + 3.0, "the lease to be half over")
        self.server.pause()
        ok(api.put("/microservices/cart/instances/beaten/heartbeat"))
        self.server.resume()
        self.beaten = time.monotonic()
        until_sync(lambda: "silent" not in ids(api.find("cart")), "the silent one to go", 2 * LEASE_S + 3)
        self.silent_gone = time.monotonic()
        until_sync(lambda: ids(api.find("cart")) == [], "the beaten one to go", 2 * LEASE_S + 3)
        self.beaten_gone = time.monotonic()


def test_heartbeat_that_fell_into_a_short_outage_counts(moment: Moment) -> None:
    """Only its delivery can keep this instance alive for another lease, and it does so for no longer."""
    moment.registry.tells("beats_remembered")
    assert moment.beaten_gone - moment.beaten >= LEASE_S - 0.5
    assert moment.beaten_gone - moment.beaten <= LEASE_S + 2.0
    if moment.beaten - moment.registered < LEASE_S - 0.5:
        assert moment.silent_gone < moment.beaten_gone - 1.0
