"""The process that reads the past: one for all replicas of a machine, there while it is asked, and never in the way."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry
from registry.running.past_process import LONELY_S, SESSION_YIELDING, YIELDING
from registry.running.past_wire import PastUnavailable, socket_path
from registry.settings import Settings
from tests.api.test_past import events, history
from tests.support.api import Api, assert_refused, ids, ok
from tests.support.replica import Replica, is_running, replica
from tests.support.waiting import until_sync

#: Whether Linux weighs sessions against each other.
SESSIONS_WEIGHED = Path("/proc/sys/kernel/sched_autogroup_enabled")


@pytest.fixture
def temporary() -> Iterator[str]:
    """A folder for temporary files that no other registry has."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield folder


def started(*registries: Replica) -> list[int]:
    """The processes that these have started, in any order; the one that started it tells of it."""
    said = [record["replica"] for one in registries for record in one.said("past_started")]
    return [int(name.removeprefix("past-")) for name in said]


def ask(one: Replica, number: int = 0) -> list[str]:
    """A question about the past; the first also makes what it is about."""
    api = one.api("asked")
    if number == 0:
        api.instance(api.service("cart"), instanceId="a")
    place = ok(api.find()).header("X-Registry-Position")
    return ids(api.find(asOf=place))


def test_all_replicas_of_a_machine_ask_one_process(redis_url: str, key_prefix: str, temporary: str) -> None:
    """Two workers and another replica: two more processes that hold views would take twice the memory."""
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    environment = {"TMPDIR": temporary}
    with replica(*options, "--workers", "2", environment=environment) as one:
        with replica(*options, environment=environment) as two:
            assert started(one, two) == []
            for number in range(8):  # connections meet both workers
                assert ask(one, number) == ["a"]
            assert ask(two, 1) == ["a"]
            until_sync(lambda: len(started(one, two)) == 1, "one process to have said that it is there")
            (pid,) = started(one, two)
            assert is_running(pid)
            assert os.getpriority(os.PRIO_PROCESS, pid) == YIELDING
            session = Path(f"/proc/{pid}/autogroup")
            if session.exists() and SESSIONS_WEIGHED.read_text() == "1\n":
                assert session.read_text().endswith(f" nice {SESSION_YIELDING}\n")
        assert is_running(pid)
    until_sync(lambda: not is_running(pid), "it to end after the last replica", LONELY_S + 10)
    folder = Path(temporary) / f"registry.past-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_a_process_that_was_killed_is_started_again(redis_url: str, key_prefix: str, temporary: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options, environment={"TMPDIR": temporary}) as one:
        assert ask(one) == ["a"]
        until_sync(lambda: len(started(one)) == 1, "the process to have said that it is there")
        os.kill(started(one)[0], signal.SIGKILL)
        assert ask(one, 1) == ["a"]
        until_sync(lambda: len(started(one)) == 2, "another process to have said that it is there")


def test_it_outlives_nobody_who_was_killed(redis_url: str, key_prefix: str, temporary: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options, environment={"TMPDIR": temporary}) as one:
        assert ask(one) == ["a"]
        until_sync(lambda: len(started(one)) == 1, "the process to have said that it is there")
        (pid,) = started(one)
        one.kill()
        until_sync(lambda: not is_running(pid), "it to end after the replica", LONELY_S + 10)


def test_without_a_folder_for_its_socket_the_past_is_refused_and_nothing_else(
    redis_url: str, key_prefix: str, temporary: str
) -> None:
    """A folder that others may write to could hold somebody else's socket."""
    folder = Path(temporary) / f"registry.past-{os.geteuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options, environment={"TMPDIR": temporary}) as one:
        api = one.api("asked")
        service = api.service("cart")
        assert_refused(history(api), 500011, "can be written to by others")
        api.instance(service, instanceId="a")
        assert ids(api.find()) == ["a"]
        folder.chmod(0o700)
        assert len(events(api)) == 2


def test_what_takes_too_much_memory_is_refused_and_the_next_question_answered(
    redis_url: str, key_prefix: str, temporary: str
) -> None:
    """One question must not cost the machine its memory."""
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix, "--past-max-bytes", str(2**28))
    environment = {"TMPDIR": temporary, "REGISTRY_SNAPSHOT_EVERY": "1000000"}
    with replica(*options, environment=environment) as one:
        api = one.api("asked")
        services = [api.service(f"cart-{number}") for number in range(110)]
        content = "x" * 1_000_000
        for service in services[:100]:
            for schema in ("a", "b", "c"):
                ok(api.put(f"/microservices/{service}/schemas/{schema}", {"schema": content}))
        refused = history(api, serviceId=services[-1])
        assert_refused(refused, 500011)
        small = one.api("small")
        small.service("cart")
        assert len(events(small)) == 1


def test_the_socket_is_named_by_what_answers_depend_on(temporary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica of another version, store or setting asks a process of its own."""
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    paths = {
        socket_path(settings)
        for settings in (
            *(Settings(), Settings(redis_url="redis://other:1"), Settings(redis_prefix="other:")),
            *(Settings(shared_services="a"), Settings(past_max_bytes=2**30)),
        )
    }
    assert len(paths) == 5
    assert socket_path(Settings()) == socket_path(Settings(port=1, workers=3, advertise="host:1"))
    monkeypatch.setattr(registry, "__version__", "another")
    assert socket_path(Settings()) not in paths
    monkeypatch.setattr(tempfile, "tempdir", temporary + "/" + "x" * 100)
    Path(temporary, "x" * 100).mkdir()
    with pytest.raises(PastUnavailable, match="too long for a socket"):
        socket_path(Settings())


def test_a_tenant_asks_about_itself_only(redis_url: str, key_prefix: str, temporary: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options, environment={"TMPDIR": temporary}) as one:
        one.api("one").service("cart")
        other: Api = one.api("two")
        other.service("till")
        assert [event["service"]["serviceName"] for event in events(other)] == ["till"]
