"""Processes: how a registry ends, and what it leaves behind; workers that die and come back."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replicas.test_restart import private_redis_pid
from tests.support.api import ids, ok
from tests.support.fleet import fleet
from tests.support.replica import START_LIMIT_S, Replica, is_running, replica
from tests.support.waiting import until_sync


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("presses", [1, 2], ids=["once", "twice"])
def test_ctrl_c_ends_everything_cleanly(tmp_path: Path, workers: str, presses: int) -> None:
    """Exit code 0, no traceback, no redis-server and no worker left; also for who presses it twice."""
    with replica("--data-dir", str(tmp_path), "--workers", workers) as one:
        redis_pid = private_redis_pid(tmp_path)
        pids = one.worker_pids()
        for _ in range(presses - 1):
            os.killpg(one.process.pid, signal.SIGINT)
        assert one.interrupt() == 0
        assert not is_running(redis_pid)
        assert not any(is_running(pid) for pid in pids)
        assert "Traceback" not in one.output()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stop_while_starting_is_clean(tmp_path: Path, signum: signal.Signals) -> None:
    """Whoever changes his mind at once is not shown a traceback, and no redis-server is left behind."""
    one = Replica("--data-dir", str(tmp_path)).launch()
    try:
        until_sync(lambda: (tmp_path / "redis.log").exists(), "redis-server to be started")
        os.killpg(one.process.pid, signum)
        one.wait()
        assert "Traceback" not in one.output()
        assert not is_running(private_redis_pid(tmp_path))
    finally:
        one.clean_up()


def test_stopped_replica_leaves_the_list_of_replicas(redis_url: str) -> None:
    """Clients that read `health` do not go on calling an address that was shut down."""
    options = ("--redis-url", redis_url, "--redis-prefix", "leaving:")
    with replica(*options) as stays, replica(*options) as leaves:
        api = stays.api("default")
        until_sync(lambda: len(ok(api.get("/health")).json()["instances"]) == 2, "both to be listed")
        assert leaves.stop() == 0
        (instance,) = ok(api.get("/health")).json()["instances"]
        assert instance["endpoints"] == [f"rest://127.0.0.1:{stays.port}/"]


def test_replicas_that_start_at_the_same_moment_all_start(redis_url: str) -> None:
    """They register themselves while the others do; on a new log each write is in the way of another's."""
    for attempt in range(2):
        options = ("--redis-url", redis_url, "--redis-prefix", f"together-{attempt}:")
        with fleet(*[options] * 4) as replicas:
            health = ok(replicas[0].api("default").get("/health")).json()
            assert len(health["instances"]) == 4


def test_advertised_address_is_what_clients_learn(redis_url: str) -> None:
    """In a container the listening address is of no use to anybody outside (clients.md 0.19)."""
    options = ("--redis-url", redis_url, "--redis-prefix", "advertised:", "--advertise", "registry.example:8080")
    with replica(*options) as one:
        (instance,) = ok(one.api("default").get("/health")).json()["instances"]
        assert instance["endpoints"] == ["rest://registry.example:8080/"]


@pytest.fixture
def two_workers(redis_url: str, tmp_path: Path) -> Iterator[Replica]:
    """A registry of two workers, both listening."""
    prefix = f"workers-{tmp_path.name}:"
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, "--workers", "2") as one:
        until_sync(lambda: len(one.worker_pids()) == 2, "both workers to listen")
        yield one


def test_killed_worker_comes_back_and_nobody_is_refused(two_workers: Replica) -> None:
    """Connections wait for the new worker instead of being refused, and nothing written is lost."""
    api = two_workers.api("default", "workers")
    service_id = api.service()
    instance_id = api.instance(service_id)
    os.kill(two_workers.worker_pids()[0], signal.SIGKILL)

    def is_back() -> bool:
        assert ids(two_workers.api("default", "workers").find()) == [instance_id]
        return len(two_workers.worker_pids()) == 3

    until_sync(is_back, "a third worker to listen")
    assert two_workers.process.poll() is None


def test_worker_that_ends_again_and_again_is_one_fact(two_workers: Replica) -> None:
    """It is said when it begins, and when the worker has lived for a while, with how often it had ended."""
    before = children(two_workers)
    os.kill(two_workers.worker_pids()[-1], signal.SIGKILL)
    until_sync(lambda: bool(children(two_workers) - before), "another worker")
    (again,) = children(two_workers) - before
    os.kill(again, signal.SIGKILL)
    until_sync(lambda: bool(two_workers.said("worker_back")), "the end of it", START_LIMIT_S)
    (ended,), (back,) = two_workers.said("worker_ended"), two_workers.said("worker_back")
    assert re.fullmatch(r"worker [01] ended with code -9", ended["message"])
    assert back["times"] == 2


def children(one: Replica) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split()}


def test_workers_end_when_their_parent_is_killed(two_workers: Replica) -> None:
    """No process goes on serving, and holding the port, that nobody can stop by the pid he started."""
    pids = two_workers.worker_pids()
    two_workers.kill()
    until_sync(lambda: not any(is_running(pid) for pid in pids), "the workers to end")
    with socket.create_server((two_workers.host, two_workers.port)):
        pass  # the port is free
