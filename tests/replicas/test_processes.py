"""Processes: how a registry ends, and what it leaves behind; workers that die and come back."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import tempfile
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


@pytest.fixture
def temporary() -> Iterator[str]:
    """A folder for the temporary files of a registry, short enough for its socket."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        yield folder


@pytest.mark.parametrize("workers", [1, 2])
def test_end_of_the_terminal_ends_everything_cleanly(tmp_path: Path, temporary: str, workers: int) -> None:
    """As SIGTERM does: exit code 0, and nothing is left, neither a process nor a folder."""
    options = ("--data-dir", str(tmp_path), "--workers", str(workers))
    with replica(*options, environment={"TMPDIR": temporary}) as one:
        until_sync(lambda: len(one.said("listening")) == workers, "all to listen")
        redis_pid = private_redis_pid(tmp_path)
        pids = one.worker_pids()
        assert one.stop(signal.SIGHUP) == 0
        assert not is_running(redis_pid)
        assert not any(is_running(pid) for pid in pids)
        assert os.listdir(temporary) == []
        assert "Traceback" not in one.output()


def test_nohup_is_obeyed(redis_url: str) -> None:
    """Who starts it so wants it to go on without the terminal."""
    one = Replica("--redis-url", redis_url, "--redis-prefix", "nohup:", wrapper=("nohup",))
    try:
        one.start()
        one.process.send_signal(signal.SIGHUP)
        ok(one.api("default").get("/health"))
        status = Path(f"/proc/{one.process.pid}/status").read_text()
        ignored = int(re.findall(r"SigIgn:\s*(\w+)", status)[0], 16)
        assert ignored >> (signal.SIGHUP - 1) & 1
        assert one.stop() == 0
    finally:
        one.clean_up()


STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("moment", ["", ":M "], ids=["at once", "as it begins"])
@pytest.mark.parametrize("signum", STOPS, ids=lambda signum: signum.name)
def test_stop_while_starting_is_clean(tmp_path: Path, temporary: str, signum: signal.Signals, moment: str) -> None:
    """A user who changes their mind at once is not shown a traceback, and no redis-server or folder is left behind."""
    log = tmp_path / "redis.log"
    one = Replica("--data-dir", str(tmp_path), environment={"TMPDIR": temporary}).launch()
    try:
        until_sync(lambda: log.exists() and moment in log.read_text(), "redis-server to be started")
        os.killpg(one.process.pid, signum)
        one.wait()
        assert "Traceback" not in one.output()
        assert processes_of_session(one.process.pid) == []
        assert os.listdir(temporary) == []
    finally:
        one.clean_up()


def processes_of_session(leader: int) -> list[str]:
    """What runs in the session that the process has begun, by name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = path.read_text().rpartition(")")
            state, _, _, session = fields.split()[:4]
            if int(session) == leader and state not in ("Z", "X"):
                found.append(name)
    return found


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


def test_worker_that_is_hung_up_stops_in_order_and_comes_back(two_workers: Replica) -> None:
    """It takes the signal as its parent does."""
    os.kill(two_workers.worker_pids()[0], signal.SIGHUP)
    until_sync(lambda: len(two_workers.worker_pids()) == 3, "the worker to be back")
    assert two_workers.tells("worker_ended")["message"].endswith(" ended with code 0")


def test_starts_beside_a_service_called_registry_in_kubernetes(redis_url: str) -> None:
    """What Kubernetes tells of the Service is no setting; one line says so, of all workers together."""
    service = {"REGISTRY_SERVICE_HOST": "10.96.0.7", "REGISTRY_PORT": "tcp://10.96.0.7:30100"}
    options = ("--redis-url", redis_url, "--redis-prefix", "kubernetes:", "--workers", "2")
    with replica(*options, environment=service) as one:
        until_sync(lambda: len(one.worker_pids()) == 2, "both workers to listen")
        ignored = one.tells("variables_ignored")
        assert one.said("variables_ignored") == [ignored]
        assert ignored["message"] == "not settings, Kubernetes made them: REGISTRY_PORT, REGISTRY_SERVICE_HOST"


def test_ipv6_address_stands_in_brackets_where_it_listens(redis_url: str) -> None:
    """So that the line can be pasted into a browser, and clients are told a URL that they can read."""
    one = Replica("--redis-url", redis_url, "--redis-prefix", "ipv6:", "--host", "::1")
    one.host = "::1"
    try:
        one.start()
        (line,) = one.said("listening")
        assert line["message"].endswith(f" listens on http://[::1]:{one.port}")
        (instance,) = ok(one.api("default").get("/health")).json()["instances"]
        assert instance["endpoints"] == [f"rest://[::1]:{one.port}/"]
    finally:
        one.clean_up()
