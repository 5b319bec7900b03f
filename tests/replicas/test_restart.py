"""Restart with a private Redis: what was registered is still there, for as long as its lease says.

The registry is started without `--redis-url`, stopped by Ctrl-C, by SIGTERM after which nobody could beat for a while,
and killed; each three on a data folder of its own, all at the same time.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.api import Api, ids, ok
from tests.support.replica import Replica, is_running
from tests.support.waiting import until_sync

LEASE_S = 5.0
#: A lapse is noticed so late at most.
NOTICED_WITHIN_S = 1.0
#: The default of `--outage-after-ms`.
OUTAGE_AFTER_S = 5.0
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
    """One registry on a data folder, stopped in one way and started again."""

    def __init__(self, folder: Path, lease_s: int) -> None:
        self.folder = folder
        self.lease_s = lease_s
        self.first = Replica("--data-dir", str(folder))
        self.second = Replica("--data-dir", str(folder))
        self.exit_code = -1
        self.redis_pid = 0
        self.renewed = self.stopped = self.ready = self.gone = 0.0
        self.before: list[tuple[str, bytes]] = []
        self.after: list[tuple[str, bytes]] = []

    def fill(self) -> None:
        """Two tenants with an instance of the usual lease; the first one also with one of a short lease."""
        self.first.start()
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

    def restart(self) -> None:
        self.stopped = time.monotonic()
        self.second.start()
        self.ready = time.monotonic()
        self.after = answers(self.second)

    def watch(self) -> None:
        """Wait until the short lease has ended."""
        api = self.second.api("default")
        until_sync(lambda: "short" not in ids(api.find()), "the short lease to end", self.lease_s + 5)
        self.gone = time.monotonic()

    def clean_up(self) -> None:
        for one in (self.first, self.second):
            one.clean_up()


def by_ctrl_c(one: Restarted) -> None:
    one.fill()
    one.exit_code = one.first.interrupt()
    one.restart()
    one.watch()


def after_an_outage(one: Restarted) -> None:
    one.fill()
    one.exit_code = one.first.stop(signal.SIGTERM)
    stopped = time.monotonic()
    until_sync(lambda: time.monotonic() > stopped + OUTAGE_AFTER_S + 0.2, "the outage to be one")
    one.restart()
    one.watch()


def by_kill(one: Restarted) -> None:
    one.fill()
    one.first.kill()
    one.restart()
    one.watch()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Restarted]]:
    """Everything below is about what happened here."""
    plays = {"ctrl-c": (by_ctrl_c, 7), "outage": (after_an_outage, 5), "kill": (by_kill, 7)}
    scenes = {name: Restarted(tmp_path_factory.mktemp(name), lease_s) for name, (_, lease_s) in plays.items()}
    try:
        with ThreadPoolExecutor(len(plays)) as pool:
            running = [pool.submit(play, scenes[name]) for name, (play, _) in plays.items()]
            for future in running:
                future.result()
        yield scenes
    finally:
        for scene in scenes.values():
            scene.clean_up()


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
    assert scene.ready < scene.renewed + OUTAGE_AFTER_S, "the restart took so long that it was an outage"
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
