"""The folder for the private Redis's socket: found on any machine, and gone when nobody needs it any more."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.replicas.test_restart import private_redis_pid
from tests.support.confinement import mounted, needs_mounts
from tests.support.failed_start import FailedStart
from tests.support.replica import Replica, is_running
from tests.support.waiting import until_sync

#: Nothing can be written but what lies in the data folder, as in a hardened pod.
READ_ONLY = mounted(
    "for place in /tmp /var/tmp /dev/shm; do"
    "  [ ! -d $place ] || { mount --bind $place $place; mount -o remount,bind,ro $place; };"
    "done; mount -o remount,bind,ro /; mount -t tmpfs none {folder}"
)
LONG = "l" * 150


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short path, for temporary files and data."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        (Path(folder) / "tmp").mkdir()
        yield Path(folder)


@contextmanager
def registry(data: Path, temporary: Path, wrapper: tuple[str, ...] = ()) -> Iterator[Replica]:
    one = Replica("--data-dir", str(data), environment={"TMPDIR": str(temporary)}, wrapper=wrapper)
    try:
        yield one.start()
    finally:
        one.clean_up()


def registers(one: Replica) -> bool:
    return one.api("team").service("cart", serviceId="cart") == "cart"


def kill(one: Replica, data: Path) -> None:
    """End the registry without notice, and wait until its Redis has noticed."""
    redis_pid = private_redis_pid(data)
    one.kill()
    until_sync(lambda: not is_running(redis_pid), "the private Redis to end")


@contextmanager
def keep_busy(folder: Path, data: Path) -> Iterator[None]:
    """Have the Redis with this socket do something without end, so that it does not see who wants it to stop."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / "redis.sock"))
        connection.sendall(b"EVAL \"redis.log(redis.LOG_WARNING, 'busy') while true do end\" 0\r\n")
        until_sync(lambda: "busy" in (data / "redis.log").read_text(), "the script to run")
        yield


@needs_mounts
@pytest.mark.parametrize("name", ["data", LONG], ids=["short", "long"])
def test_starts_where_only_the_data_folder_can_be_written(home: Path, name: str) -> None:
    """A root that is read-only is what pods are told to have; the path of a socket may not be long."""
    (home / name).mkdir()
    wrapper = tuple(word.replace("{folder}", str(home / name)) for word in READ_ONLY)
    with registry(home / name, home / "tmp", wrapper) as one:
        assert registers(one)
        assert one.stop() == 0
        assert "Traceback" not in one.output()


@pytest.mark.parametrize("name", ["data", LONG], ids=["short", "long"])
def test_starts_where_the_path_for_temporary_files_is_long(home: Path, name: str) -> None:
    """Longer than the path of a socket may be; nothing is left, neither there nor with the data."""
    temporary = home / LONG.upper()
    temporary.mkdir()
    with registry(home / name, temporary) as one:
        assert registers(one)
        assert one.stop() == 0
    assert os.listdir(temporary) == []
    assert "registry.socket" not in os.listdir(home / name)


def test_starts_where_the_path_for_temporary_files_has_what_is_special_in_a_url(home: Path) -> None:
    temporary = home / "50%41 #1?"
    temporary.mkdir()
    with registry(home / "data", temporary) as one:
        assert registers(one)


def test_socket_folder_that_cannot_be_made_is_said_in_one_sentence(home: Path) -> None:
    """There is no place left: the one for temporary files has too long a path, the one with the data is taken."""
    (home / LONG).mkdir()
    (home / "data").mkdir()
    (home / "data" / "registry.socket").write_text("taken")
    sentence = "there is no folder for a socket, neither for temporary files nor {folder}/data: File exists"
    case = FailedStart(sentence, ("--data-dir", "{folder}/data"), {"TMPDIR": "{folder}/" + LONG})
    case.run({"folder": home}).check()


def test_what_killed_registries_left_is_removed_at_the_next_start(home: Path) -> None:
    """Nothing piles up, however often it happens; what a living one uses stays, and works."""
    with ExitStack() as stack:
        lives = stack.enter_context(registry(home / "lives", home / "tmp"))
        (used,) = os.listdir(home / "tmp")
        for n in (1, 2):
            data = home / f"killed{n}"
            with registry(data, home / "tmp") as killed:
                kill(killed, data)
            assert len(os.listdir(home / "tmp")) == 2
        last = stack.enter_context(registry(home / "last", home / "tmp"))
        folders = os.listdir(home / "tmp")
        assert used in folders
        assert len(folders) == 2
        assert registers(lives)
        removed = last.tells("leftover_removed")
        assert last.said("leftover_removed") == [removed]
        assert removed["message"].endswith(", which a killed registry left")
        assert (last.stop(), lives.stop()) == (0, 0)
    assert os.listdir(home / "tmp") == []


def test_socket_beside_the_data_that_a_killed_registry_left_is_removed_at_the_next_start(home: Path) -> None:
    (home / LONG).mkdir()
    with registry(home / "data", home / LONG) as killed:
        assert (home / "data" / "registry.socket").is_dir()
        kill(killed, home / "data")
    with registry(home / "data", home / "tmp") as one:
        assert registers(one)
        assert not (home / "data" / "registry.socket").exists()


def test_folders_stay_while_the_redis_of_a_killed_registry_lives(home: Path) -> None:
    """It may hang in its last write. Nobody takes its data or its socket away before it has ended."""
    with registry(home / "data", home / "tmp") as killed:
        (used,) = os.listdir(home / "tmp")
        redis_pid = private_redis_pid(home / "data")
        with keep_busy(home / "tmp" / used, home / "data"):
            killed.kill()
            refused = FailedStart(
                "the data folder {folder}/data is in use by another registry; "
                "end that one, or give this one a --data-dir of its own, or both the same --redis-url",
                ("--data-dir", "{folder}/data"),
                {"TMPDIR": "{folder}/tmp"},
            )
            refused.run({"folder": home}).check()
            with registry(home / "other", home / "tmp"):
                assert used in os.listdir(home / "tmp")
            os.kill(redis_pid, signal.SIGKILL)
    with registry(home / "data", home / "tmp"):
        assert used not in os.listdir(home / "tmp")


def test_folders_of_others_stay(home: Path) -> None:
    """Of other programs and of other users, which may have the same names; behind links; and with anything in them."""
    temporary = home / "tmp"
    empty, data, another, alias = (
        temporary / f"registry-{name}" for name in ("aprogram", "somedata", "another1", "aliasing")
    )
    for folder in (empty, data, another, home / "target"):
        folder.mkdir()
    for marked in (data, another, home / "target"):
        (marked / "in-use").touch()
    (data / "precious").touch()
    alias.symlink_to(home / "target")
    if os.geteuid() == 0:
        os.chown(another, 65534, 65534)
    else:
        another.rename(temporary / "another")
    before = sorted(os.listdir(temporary))
    with registry(home / "data", temporary) as one:
        assert one.stop() == 0
    assert sorted(os.listdir(temporary)) == before
    assert (home / "target" / "in-use").exists()
    assert (data / "precious").exists()
