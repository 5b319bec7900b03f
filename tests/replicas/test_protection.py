"""Protection: when very many fall silent at once, nobody is removed for a while; greedy watchers hurt themselves only.

Two replicas, settings small enough for a test: a pause for at least ten that lapse at once, of a few seconds at most.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.fleet import fleet
from tests.support.redis_server import redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync
from tests.support.websocket import watch

LEASE_S = 5.0
HOLD_S = 4.0
SHORT = {"mode": "push", "interval": 5, "times": 0}
MANY = [f"i{number}" for number in range(20)]
#: Those that beat again while expiry pauses.
BACK = MANY[:5]
#: Meanwhile the second replica stands still, so that its pause begins and ends later than the first one's.
HALTED_S = (LEASE_S - 0.5, LEASE_S + 0.9)
CHANGES = 250
#: One instance's properties, nearly as large as they may be.
LARGE = {"filler": "x" * 2500}


@dataclass
class Mass:
    """Twenty of twenty stop beating at once; what two replicas showed."""

    replicas: list[Replica]
    renewed: float = 0.0
    #: When each replica was asked, and whom it showed.
    seen: list[list[tuple[float, set[str]]]] = field(default_factory=lambda: [[], []])
    #: Of two that lapse afterwards, in a tenant of their own: between which moments each one went.
    few_gone: float = 0.0
    all_gone: float = 0.0

    def play(self) -> None:
        apis = [one.api("team") for one in self.replicas]
        apis[0].service("cart", serviceId="cart")
        for name in MANY:
            apis[0].instance("cart", instanceId=name, healthCheck=SHORT)
        few = self.replicas[0].api("few")
        few.service("cart", serviceId="cart")
        for name in ("a", "b"):
            few.instance("cart", instanceId=name, healthCheck=SHORT)
        # Together, so that their leases end together.
        everybody = {"instances": [{"serviceId": "cart", "instanceId": name} for name in MANY]}
        self.renewed = time.monotonic()
        ok(apis[0].put("/heartbeats", everybody))
        # A replica that stands still must go on, whatever happens.
        with ExitStack() as stack:
            stack.callback(self.replicas[1].process.send_signal, signal.SIGCONT)
            self._watch(apis, few)

    def _watch(self, apis: list[Api], few: Api) -> None:
        beaten = 0.0
        while not all(seen and seen[-1][1] == set(BACK) for seen in self.seen):
            now = time.monotonic()
            assert now < self.renewed + LEASE_S + HOLD_S + 15, f"still there: {self.seen[0][-1]}"
            if now > self.renewed + LEASE_S + 1.0 and now > beaten + 1.0:
                beaten = now
                for name in BACK:
                    ok(apis[int(name[1:]) % 2].put(f"/microservices/cart/instances/{name}/heartbeat"))
            halted = HALTED_S[0] < now - self.renewed < HALTED_S[1]
            self.replicas[1].process.send_signal(signal.SIGSTOP if halted else signal.SIGCONT)
            for api, seen in zip(apis[:1] if halted else apis, self.seen, strict=False):
                asked = time.monotonic()
                seen.append((asked, set(ids(api.find("cart")))))
            if not self.few_gone and ids(few.find("cart")) == []:
                self.few_gone = time.monotonic()
            time.sleep(0.05)  # the pace of the looks: what is seen at which moment is what the tests are about
        self.all_gone = time.monotonic()


@pytest.fixture(scope="module")
def replicas() -> Iterator[list[Replica]]:
    with redis_server() as server:
        options = ["--redis-url", server.url, "--mass-lapse-least", "10", "--mass-lapse-hold-s", str(int(HOLD_S))]
        with fleet(options, options) as started:
            yield started


@pytest.fixture(scope="module")
def mass(replicas: list[Replica]) -> Mass:
    """Everything about the mass lapse is about what happened here."""
    mass = Mass(replicas)
    mass.play()
    return mass


def figure(one: Replica, name: str) -> float:
    """A figure of `/metrics`."""
    text = ok(one.connect().request("GET", "/metrics")).body.decode()
    (value,) = re.findall(rf"^registry_{name} (\S+)$", text, re.MULTILINE)
    return float(value)


def said(one: Replica, action: str) -> list[str]:
    return [record["message"] for record in one.said(action) if record["tenant"] == "team/default"]


def test_nobody_is_removed_while_expiry_pauses(mass: Mass) -> None:
    """It is more likely that we do not hear twenty than that twenty have died; consumers go on calling them."""
    for seen in mass.seen:
        held = [there for asked, there in seen if asked < mass.renewed + LEASE_S + HOLD_S - 0.5]
        assert all(there == set(MANY) for there in held)
        assert max(asked for asked, there in seen if there == set(MANY)) > mass.renewed + LEASE_S + 1.0


def test_pause_is_told_with_its_numbers(mass: Mass) -> None:
    """An operator hears of it from the log and from the figures, on every replica."""
    for one in mass.replicas:
        one.tells("expiry_paused", "team/default")
        (paused,) = said(one, "expiry_paused")
        assert re.search(r" (1\d|20) of 20 instances lapsed within 30 s", paused)
        assert figure(one, "expiry_pauses_total") == 1


def test_who_beats_again_stays_and_the_rest_goes_when_the_time_is_over(mass: Mass) -> None:
    """By itself; and in one go, not with one pause after another."""
    for seen in mass.seen:
        assert all(set(BACK) <= there for _, there in seen)
    assert mass.all_gone - mass.renewed >= LEASE_S + HOLD_S - 0.5
    assert mass.all_gone - mass.renewed <= HALTED_S[1] + HOLD_S + 3.0

    def number_expired() -> int:
        return sum(len(said(one, "instance_expired")) for one in mass.replicas)

    until_sync(lambda: number_expired() >= len(MANY) - len(BACK), "a line for each")
    assert number_expired() == len(MANY) - len(BACK)
    gone = sorted(set(MANY) - set(BACK))[0]
    assert_refused(mass.replicas[1].api("team").put(f"/microservices/cart/instances/{gone}/heartbeat"), 400017)


def test_pause_ends_on_every_replica(mass: Mass) -> None:
    """Also on the one that had nobody left to remove: else it tells of it for ever, and believes the next lapse."""
    for one in mass.replicas:
        one.tells("expiry_resumed", "team/default")
        assert len(said(one, "expiry_resumed")) == 1
        assert figure(one, "expiry_paused_tenants") == 0


def test_tenants_of_few_instances_are_not_held(mass: Mass) -> None:
    """Two of two are silent at the same time: below the least number, and another tenant's pause is not theirs."""
    assert 0 < mass.few_gone - mass.renewed <= LEASE_S + 2.0


def test_watcher_that_reads_nothing_hurts_nobody_else(replicas: list[Replica]) -> None:
    """Others are told of every change in time and order; what it has not read waits for it."""
    writer = replicas[1].api("greedy")
    service_id = writer.service()
    writer.instance(service_id, instanceId="i")
    api = replicas[0].api("greedy")
    until_sync(lambda: api.find().status == 200, "the other replica to follow")
    with ExitStack() as stack:
        sockets = []
        for name, receive_buffer in (("reads", 0), ("greedy", 4096), ("asleep", 4096)):
            consumer = api.service(name)
            ok(api.find(consumer=consumer))
            sockets.append(stack.enter_context(watch(api, consumer, receive_buffer)))
        reads, *greedy = sockets
        answers: list[float] = []
        for number in range(CHANGES):
            properties = {"properties": {**LARGE, "number": str(number)}}
            ok(writer.put(f"/microservices/{service_id}/instances/i/properties", properties))
            began = time.monotonic()
            event = reads.next_event()
            answers.append(time.monotonic() - began)
            assert event["instance"]["properties"]["number"] == str(number)
        answers.sort()
        assert answers[len(answers) * 9 // 10] < 1.0
        for socket in greedy:
            numbers = [event["instance"]["properties"].get("number") for event in socket.events()]
            assert numbers == [str(number) for number in range(CHANGES)]
