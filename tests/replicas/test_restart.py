"""Restart with a private Redis: what was registered is still there, for as long as its lease says.

The registry is started without `--redis-url`, stopped by Ctrl-C, by SIGTERM after which nobody could beat for a while,
and killed; each three on a data folder of its own, all at the same time. What counts as a short restart is relative to
the lease and to `--outage-after-ms`: both are chosen by how long a start takes on this machine, and where a restart
took longer than that after all, it is done again with what was measured.
"""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.api import Api, ids, ok
from tests.support.replica import Replica, is_running
from tests.support.waiting import until_sync

LEASE_S = 5.0
#: How late a lapse is noticed at most.
NOTICED_WITHIN_S = 1.0
#: The default of `--outage-after-ms`.
OUTAGE_AFTER_S = 5.0
#: Of the lease when the registry is stopped: a lease that starts anew must be told from one that goes on.
PASSED_S = 2 * NOTICED_WITHIN_S
#: A lease that is at most this multiple of the silence starts anew after any silence.
SHORT_LEASE_SILENCES = 4
#: Between the last sign of life of a registry and its end (half a second as a rule), and what a stop takes.
UNHEARD_S = 0.7
STOPPING_S = 0.4
#: How much longer than it was measured a restart may take, and how often it is tried with a longer measure.
MARGIN = 1.25
RESTARTS_MAX = 4
TENANTS = ("default", "a/b {c}")


def private_redis_pid(folder: Path) -> int:
    """The process of the redis-server that wrote the folder's log last."""
    lines = (folder / "redis.log").read_text().splitlines()
    pids = [match[1] for match in (re.match(r"(\d+):M ", line) for line in lines) if match]
    return int(pids[-1])


def answers(replica: Replica) -> list[tuple[str, bytes]]:
    """What two tenants' consumers see, as (rev, body)."""
    found = []
    for tenant in TENANTS:
        api = replica.api(tenant)
        service_id = api.service()
        responses = [ok(api.find()), ok(api.instances_of(service_id)), ok(api.get("/microservices"))]
        found += [(response.rev, response.body) for response in responses]
    return found


class Restarted:
    """One registry on a data folder, stopped in one way and started again.

    Args:
        away_s: how long nobody is expected to hear of it. 0: as long as the first start takes, and a stop.
    """

    def __init__(self, folder: Path, away_s: float = 0.0) -> None:
        self.folder = folder
        self.away_s = away_s
        self.outage_after_s = OUTAGE_AFTER_S
        self.lease_s = int(LEASE_S)
        self.first = Replica("--data-dir", str(folder))
        self.second = self.first
        self.exit_code = -1
        self.redis_pid = 0
        self.renewed = self.stopping = self.ready = self.gone = 0.0
        self.before: list[tuple[str, bytes]] = []
        self.after: list[tuple[str, bytes]] = []

    def start(self) -> None:
        began = time.monotonic()
        self.first.start()
        self.away_s = self.away_s or time.monotonic() - began + STOPPING_S + UNHEARD_S

    def allow_for_the_time_away(self) -> None:
        """Choose the lease and the setting so that this is a short restart."""
        self.lease_s = max(self.lease_s, math.ceil(self.away_s * MARGIN * SHORT_LEASE_SILENCES))
        self.outage_after_s = max(OUTAGE_AFTER_S, self.away_s * MARGIN)

    def fill(self) -> None:
        """Two tenants with an instance of the usual lease; the first one also with one of a short lease."""
        for tenant in TENANTS:
            api = self.first.api(tenant)
            api.instance(api.service(serviceId="s"), instanceId="long", endpoints=["rest://a:1"], properties={"k": "v"})
        check = {"mode": "push", "interval": self.lease_s, "times": 0}
        api = self.first.api("default")
        api.instance("s", instanceId="short", healthCheck=check)
        ok(api.put("/microservices/s/instances/short/heartbeat"))
        self.renewed = time.monotonic()
        self.before = answers(self.first)
        self.redis_pid = private_redis_pid(self.folder)

    def stop(self, how: Callable[[Replica], int]) -> None:
        self.stopping = time.monotonic()
        self.exit_code = how(self.first)

    def restart(self) -> None:
        outage_after = str(int(self.outage_after_s * 1000))
        self.second = Replica("--data-dir", str(self.folder), "--outage-after-ms", outage_after)
        self.second.start()
        self.ready = time.monotonic()
        self.after = answers(self.second)

    @property
    def silent_s(self) -> float:
        """For how long nobody can have heard of it, at most."""
        return self.ready - self.stopping + UNHEARD_S

    @property
    def was_short(self) -> bool:
        return self.silent_s < min(self.outage_after_s, self.lease_s / SHORT_LEASE_SILENCES)

    def watch(self) -> None:
        """Wait until the short lease has ended."""
        api = self.second.api("default")
        until_sync(lambda: "short" not in ids(api.find()), "the short lease to end", self.lease_s + 5)
        self.gone = time.monotonic()

    def clean_up(self) -> None:
        for one in {self.first, self.second}:
            one.clean_up()


def restart_shortly(folder: Path, how: Callable[[Replica], int]) -> Iterator[Restarted]:
    """Restart it in one way, so shortly that it is none of an outage. Each attempt is handed out to be cleaned up."""
    away_s = 0.0
    for attempt in range(RESTARTS_MAX):
        one = Restarted(folder / str(attempt), away_s)
        yield one
        one.start()
        one.allow_for_the_time_away()
        one.fill()
        until_sync(lambda one=one: time.monotonic() > one.renewed + PASSED_S, "a part of the lease")  # type: ignore[misc]
        one.stop(how)
        one.restart()
        if one.was_short:
            one.watch()
            return
        away_s = one.silent_s
    raise AssertionError(f"no restart was short; the last one took {away_s} s")


def by_ctrl_c(folder: Path) -> Iterator[Restarted]:
    return restart_shortly(folder, Replica.interrupt)


def by_kill(folder: Path) -> Iterator[Restarted]:
    def kill(one: Replica) -> int:
        one.kill()
        return -signal.SIGKILL

    return restart_shortly(folder, kill)


def after_an_outage(folder: Path) -> Iterator[Restarted]:
    one = Restarted(folder / "0")
    yield one
    one.start()
    one.fill()
    one.stop(lambda first: first.stop(signal.SIGTERM))
    stopped = time.monotonic()
    until_sync(lambda: time.monotonic() > stopped + OUTAGE_AFTER_S + 0.2, "the outage to be one")
    one.restart()
    one.watch()


PLAYS = {"ctrl-c": by_ctrl_c, "outage": after_an_outage, "kill": by_kill}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Restarted]]:
    """Everything below is about what happened here."""
    attempts: dict[str, list[Restarted]] = {how: [] for how in PLAYS}
    folders = {how: tmp_path_factory.mktemp(how) for how in PLAYS}  # here: pytest does not expect threads

    def play(how: str) -> None:
        for attempt in PLAYS[how](folders[how]):
            attempts[how].append(attempt)

    try:
        with ThreadPoolExecutor(len(PLAYS)) as pool:
            list(pool.map(play, PLAYS))
        yield {how: made[-1] for how, made in attempts.items()}
    finally:
        for attempt in (attempt for made in attempts.values() for attempt in made):
            attempt.clean_up()


@pytest.mark.parametrize("how", ["ctrl-c", "outage", "kill"])
def test_services_and_instances_are_as_before(scenes: dict[str, Restarted], how: str) -> None:
    """The same bytes and revs in every tenant: consumers that poll are told 304 after the restart."""
    assert scenes[how].after == scenes[how].before
    assert b'"short"' in scenes[how].after[0][1]


@pytest.mark.parametrize("how", ["ctrl-c", "outage"])
def test_stop_is_clean(scenes: dict[str, Restarted], how: str) -> None:
    """Exit code 0 and no traceback: scripts and systemd must not take it for a failure."""
    assert scenes[how].exit_code == 0
    assert "Traceback" not in scenes[how].first.output()


@pytest.mark.parametrize("how", ["ctrl-c", "outage", "kill"])
def test_private_redis_ends_with_the_registry(scenes: dict[str, Restarted], how: str) -> None:
    """No redis-server is left behind that holds the folder; not even when the registry is killed."""
    assert not is_running(scenes[how].redis_pid)
    assert private_redis_pid(scenes[how].folder) != scenes[how].redis_pid


@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_remaining_lease_goes_on_over_a_short_restart(scenes: dict[str, Restarted], how: str) -> None:
    """A restart is no heartbeat: who is silent since before it goes when its lease ends."""
    scene = scenes[how]
    assert scene.was_short
    assert scene.ready - scene.renewed > PASSED_S
    assert scene.lease_s <= scene.gone - scene.renewed + 0.1
    assert scene.gone - scene.renewed <= scene.lease_s + NOTICED_WITHIN_S


def test_leases_start_anew_after_an_outage(scenes: dict[str, Restarted]) -> None:
    """Nobody could beat while the registry was away: everybody is given the full lease to do so, once."""
    scene = scenes["outage"]
    assert scene.ready > scene.renewed + LEASE_S, "the lease had not ended during the outage"
    assert LEASE_S - 1.0 <= scene.gone - scene.ready <= LEASE_S + NOTICED_WITHIN_S


def test_heartbeats_go_on_after_a_restart(scenes: dict[str, Restarted]) -> None:
    """Clients notice nothing but a connection that was closed."""
    api: Api = scenes["ctrl-c"].second.api("default")
    ok(api.put("/microservices/s/instances/long/heartbeat"))
