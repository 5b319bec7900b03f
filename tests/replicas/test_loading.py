"""A Redis that is still loading its data is waited for, for as long as it says so; only silence is given up."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN
from registry.domain.tenant import DEFAULT_TENANT
from registry.running import private_redis
from registry.running.private_redis import CannotStart, PrivateRedis
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from tests.replicas.test_restart import private_redis_pid
from tests.support.redis_server import SLOW_LOADING, RedisServer, redis_program, redis_server
from tests.support.replica import Replica, is_running, replica
from tests.support.waiting import until, until_sync

#: Loaded in four seconds or so; what waits for it gives up silence much sooner.
KEYS: Final = 2500
SILENCE_S: Final = 0.5
LIMIT_S: Final = 30.0


@pytest.fixture(scope="module")
def written() -> Iterator[Path]:
    """A folder with the data of a server that has ended."""
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        with redis_server(Path(folder), True) as server, redis.Redis.from_url(server.url) as client:
            # Not to be compressed: a server looks around after each few kilobytes of its file.
            client.mset({f"key-{number}": random.randbytes(400) for number in range(KEYS)})
            client.bgrewriteaof()

            def rewritten() -> bool:
                told: dict[str, Any] = client.info("persistence")
                return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])

            until_sync(rewritten, "the keys to be written into the base file")
        yield Path(folder)


@pytest.fixture
def data(written: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        yield Path(shutil.copytree(written, folder, dirs_exist_ok=True))


def program(folder: Path, line: str) -> str:
    """A program that is the server that the tests run on, but for one line of shell before it starts."""
    path = folder / "server"
    server = redis_program().path
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {server} --version\n{line.format(server=server)}\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def slow(tmp_path: Path) -> str:
    return program(tmp_path, f'exec {{server}} "$@" {" ".join(SLOW_LOADING)}')


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_redis, "SILENCE_MAX_S", SILENCE_S)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says about it."""
    return [record.message for record in caplog.records if getattr(record, "action", "") == "redis_loading"]


@pytest.mark.usefixtures("impatient")
def test_private_redis_is_not_killed_while_it_loads(data: Path, slow: str, caplog: pytest.LogCaptureFixture) -> None:
    """It would never come up: killed at every start, it begins anew each time."""
    caplog.set_level("INFO")
    private = PrivateRedis(str(data), slow)
    try:
        private.start()
        with redis.Redis.from_url(private.url) as client:
            assert client.dbsize() == KEYS
    finally:
        private.stop()
    lines = said(caplog)
    assert len(lines) >= 2
    assert "%" in lines[0]
    assert lines[-1].startswith("Redis has loaded its data after")


@pytest.mark.usefixtures("impatient")
def test_private_redis_that_is_silent_is_given_up(tmp_path: Path) -> None:
    """A start that waits for ever for nothing is told by nobody."""
    private = PrivateRedis(str(tmp_path / "data"), program(tmp_path, "exec sleep 60"))
    try:
        with pytest.raises(CannotStart, match="did not answer within"):
            private.start()
    finally:
        private.stop()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stop_while_the_private_redis_loads(data: Path, slow: str, signum: signal.Signals) -> None:
    """Who has seen that it will take minutes may change his mind."""
    one = Replica("--data-dir", str(data), "--redis-server", slow).launch()
    try:
        until_sync(lambda: bool(one.said("redis_loading")), "the log to say that Redis loads", LIMIT_S)
        one.stop(signum)
        assert "Traceback" not in one.output()
        assert not one.said("listening")
        assert not is_running(private_redis_pid(data))
    finally:
        one.clean_up()


@pytest.fixture
def loading(data: Path) -> Iterator[RedisServer]:
    """A server of others that has just begun to load."""
    server = RedisServer(data, appendonly=True)
    server.launch(*SLOW_LOADING)
    try:
        until_sync(lambda: _loads(server), "the server to load", LIMIT_S)
        yield server
    finally:
        server.kill()


def _loads(server: RedisServer) -> bool:
    with redis.Redis.from_url(server.url, socket_timeout=5.0) as client:
        try:
            client.ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
    raise AssertionError("the server has loaded its data before anybody has seen it")


async def test_redis_of_others_is_waited_for_while_it_loads(
    loading: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """After a machine is started anew Redis and registry start together, and the larger one is slower."""
    caplog.set_level("INFO")
    store = RedisStore(loading.url, RedisLimits(timeout_s=SILENCE_S))
    await store.open()
    assert await store.head(DEFAULT_TENANT) == ORIGIN
    await store.close()
    assert len(said(caplog)) >= 2


async def test_redis_of_others_that_falls_silent_while_it_loads_is_given_up(
    loading: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What it said before does not count for ever."""
    caplog.set_level("INFO")
    store = RedisStore(loading.url, RedisLimits(timeout_s=SILENCE_S))
    opening = asyncio.create_task(store.open())

    async def has_said() -> bool:
        return bool(said(caplog))

    await until(has_said, "the log to say that Redis loads")
    loading.pause()
    with pytest.raises(StoreUnavailable):
        await opening
    await store.close()


def test_workers_start_on_a_redis_that_loads(loading: RedisServer) -> None:
    """Their parent opens the store before anything else."""
    with replica("--redis-url", loading.url, "--workers", "2") as one:
        assert one.api("default").service("cart")
