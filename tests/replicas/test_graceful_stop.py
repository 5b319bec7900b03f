"""A stop in order: first not ready, then out of the registry, then the requests under way, then the watchers.

The line to Redis hangs meanwhile, so that what happens within moments can be looked at.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.api import Api, ids, ok
from tests.support.far_redis import Line
from tests.support.http import Response
from tests.support.redis_server import redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync
from tests.support.websocket import CLOSE, Frame, beat_by_socket, watch

OFF = (503, b"stopping\n")

#: Seconds after which a registry that still answers has not heard that it shall stop.
PROBE_LIMIT_S = 30.0


class Stop:
    """One replica of two is stopped while it is used, and what its clients saw."""

    def __init__(self, stays: Replica, leaves: Replica, line: Line, signum: signal.Signals) -> None:
        self.signum = signum
        self.stays = stays
        self.leaves = leaves
        self.line = line
        self.readiness: list[tuple[int, bytes]] = []
        self.found: list[list[str]] = []
        self.under_way: Response | None = None
        self.frames: dict[str, list[Frame]] = {}
        self.health_before = self.health_after = 0
        self.exit_code = -1
        self.took_s = 0.0

    def play(self) -> None:
        api = self.leaves.api("team")
        service_id = api.service("cart", serviceId="cart")
        api.instance(service_id, instanceId="i")
        consumer = api.service("consumer")
        ok(api.find("cart", consumer=consumer))
        until_sync(lambda: self._listed() == 2, "both to be listed")
        self.health_before = self._listed()
        writer, prober = self.leaves.api("team"), self.leaves.api("team")
        ok(writer.find("cart"))
        ok(prober.get("/health/readiness"))
        with watch(api, consumer) as watcher, beat_by_socket(api, service_id, "i") as beater:
            self.line.hang()
            send_registration(writer, "under-way")
            began = time.monotonic()
            self.leaves.process.send_signal(self.signum)
            self._probe(prober)
            self.under_way = writer.connection.receive()
            self.frames = {"watcher": watcher.until_end(), "heartbeat": beater.until_end()}
        self.exit_code = self.leaves.wait()
        self.took_s = time.monotonic() - began
        self.health_after = self._listed()

    def _probe(self, prober: Api) -> None:
        """Ask until it answers no more, as a balancer does; and look for instances, as clients do that hear late."""
        with contextlib.suppress(OSError):
            ends = time.monotonic() + PROBE_LIMIT_S
            while time.monotonic() < ends:
                response = prober.get("/health/readiness")
                self.readiness.append((response.status, response.body))
                self.found.append(ids(prober.find("cart")))
                if self.readiness[-1] == OFF:
                    self.line.mend()

    def _listed(self) -> int:
        return len(ok(self.stays.api("default").get("/health")).json()["instances"])


def send_registration(writer: Api, instance_id: str) -> None:
    """Without waiting for the answer."""
    body = json.dumps({"instance": {"hostName": "h", "instanceId": instance_id}}).encode()
    head = (
        f"POST /v4/default/registry/microservices/cart/instances HTTP/1.1\r\nHost: r\r\n"
        f"X-Domain-Name: {writer.domain}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.connection.send(head.encode() + body)


@pytest.fixture(scope="module", params=[signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def stopped(request: pytest.FixtureRequest) -> Iterator[Stop]:
    """Everything below is about what happened here. The end of the terminal is a stop like any other."""
    with redis_server() as server, contextlib.closing(Line(server.socket)) as line:
        stays, leaves = (Replica("--redis-url", url) for url in (server.url, line.url))
        stop = Stop(stays, leaves, line, request.param)
        try:
            for one in (stop.stays, stop.leaves):
                one.launch()
            for one in (stop.stays, stop.leaves):
                one.wait_ready()
            stop.play()
            yield stop
        finally:
            stop.stays.clean_up()
            stop.leaves.clean_up()


def test_readiness_turns_off_first(stopped: Stop) -> None:
    """A balancer takes it out while it still answers everybody."""
    off = stopped.readiness.index(OFF)
    assert set(stopped.readiness[off:]) == {OFF}
    assert all("i" in found for found in stopped.found[off:])
    assert len(stopped.found) > off


def test_request_under_way_is_answered(stopped: Stop) -> None:
    """And what it has done is there."""
    assert stopped.under_way is not None
    assert (stopped.under_way.status, stopped.under_way.json()) == (200, {"instanceId": "under-way"})
    assert ids(stopped.stays.api("team").find("cart")) == ["i", "under-way"]


@pytest.mark.parametrize("which", ["watcher", "heartbeat"])
def test_sockets_break_so_that_clients_come_back_elsewhere(stopped: Stop, which: str) -> None:
    """Without a farewell, which keeps java clients away for ever, and without 4001."""
    assert CLOSE not in {frame.opcode for frame in stopped.frames[which]}


def test_replica_leaves_the_list_of_replicas(stopped: Stop) -> None:
    """At once, not when its lease has ended."""
    assert (stopped.health_before, stopped.health_after) == (2, 1)


def test_stop_ends_soon_and_well(stopped: Stop) -> None:
    assert stopped.exit_code == 0
    assert "Traceback" not in stopped.leaves.output()
    assert stopped.took_s < 10.0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_requests_under_way_are_answered_by_each_worker(signum: signal.Signals) -> None:
    """The signal goes to their parent, which ends when they have."""
    with (
        redis_server() as server,
        contextlib.closing(Line(server.socket)) as line,
        replica("--redis-url", line.url, "--workers", "2") as one,
    ):
        until_sync(lambda: len(one.worker_pids()) == 2, "both workers to listen")
        # The kernel chooses the worker of each.
        writers, probers = ([one.api("team") for _ in range(12)] for _ in range(2))
        writers[0].service("cart", serviceId="cart")
        for writer in (*writers, *probers):
            until_sync(lambda: writer.find("cart").status == 200, "each worker to know it")  # noqa: B023
        line.hang()
        for number, writer in enumerate(writers):
            send_registration(writer, f"i{number}")
        one.process.send_signal(signum)
        for prober in probers:
            until_sync(lambda: prober.get("/health/readiness").status == 503, "each worker to hear of it")  # noqa: B023
        line.mend()
        answers = [writer.connection.receive() for writer in writers]
        assert [(answer.status, answer.json()) for answer in answers] == [
            (200, {"instanceId": f"i{number}"}) for number in range(12)
        ]
        assert one.wait() == 0
        assert "Traceback" not in one.output()
