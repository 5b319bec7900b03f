"""The private Redis of a real registry: which server it is, and data that another one has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.running.redis_program import find_program
from tests.support.api import ids, ok
from tests.support.redis_server import redis_program
from tests.support.replica import Replica, replica

#: The beginnings of data of servers that nobody has yet.
NEWER = {
    "Redis 99.0.1 (data format 99)": b"REDIS0099\xfa\x09redis-ver\x0699.0.1\xfa\x0aredis-bits\xc0\x40",
    "Valkey 99.0.1 (data format 999)": b"VALKEY999\xfa\x0avalkey-ver\x0699.0.1\xfa\x0aredis-bits\xc0\x40",
}
#: Servers of this machine besides the one that the tests run on.
OTHERS = sorted(
    {found for found in (find_program().path, shutil.which("redis-server")) if found} - {redis_program().path}
)


def sentence(*options: str) -> str:
    """What a start that does not work says, all of it but the log."""
    one = Replica(*options).launch()
    try:
        assert one.wait() == 2
        (line,) = [line for line in one.output().splitlines() if not line.startswith("{")]
        return line
    finally:
        one.clean_up()


def test_the_log_names_the_server(tmp_path: Path) -> None:
    """An operator need not guess what holds the data."""
    with replica("--data-dir", str(tmp_path)) as one:
        assert one.tells("private_redis")["message"] == f"{redis_program()} keeps the data in {tmp_path}"


@pytest.mark.parametrize("writer", NEWER)
def test_data_of_a_newer_server_are_told_in_one_sentence(tmp_path: Path, writer: str) -> None:
    """With the way out, for those who move a folder between machines, or goes back to an older version."""
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.1.base.rdb").write_bytes(NEWER[writer])
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    told = sentence("--data-dir", str(tmp_path))
    assert told == (
        f"registry: the data in {tmp_path} were written by {writer}, which {redis_program()} cannot read: "
        "name the program that wrote them with --redis-server, or begin anew with another --data-dir"
    )
    assert (folder / "appendonly.aof.1.base.rdb").read_bytes() == NEWER[writer], "nothing is repaired"


def test_program_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    told = sentence("--data-dir", str(tmp_path), "--redis-server", "no-such-server")
    assert told == "registry: --redis-server names no-such-server, and there is no such program"


@pytest.mark.parametrize("other", OTHERS)
def test_data_of_another_server_are_read_or_told(tmp_path: Path, other: str) -> None:
    """Never lost, never begun anew in silence; and the way out leads back to them."""
    theirs = ("--data-dir", str(tmp_path), "--redis-server", other)
    with replica(*theirs) as one:
        api = one.api("default")
        service_id = api.service("cart")
        instance_id = api.instance(service_id)
    ours = Replica("--data-dir", str(tmp_path)).launch()
    try:
        if _ended_or_ready(ours) is None:
            found = ours
            assert ids(ok(found.api("default").find("cart"))) == [instance_id]
            return
        assert f"which {redis_program()} cannot read" in ours.output()
    finally:
        ours.clean_up()
    with replica(*theirs) as again:
        assert ids(ok(again.api("default").find("cart"))) == [instance_id]


def _ended_or_ready(one: Replica) -> int | None:
    """The exit code of a registry that has ended, None for one that is ready."""
    try:
        one.wait_ready()
    except AssertionError:
        return one.wait()
    return None
