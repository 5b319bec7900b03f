"""The password of Redis from a file, as container secrets come: also a new one, without a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from registry.environment import read_settings
from registry.settings import BadSetting
from registry.store.address import parse_address, with_password_files
from tests.support.failed_start import FailedStart
from tests.support.redis_server import redis_server
from tests.support.replica import replica
from tests.support.waiting import until_sync


def set_password(admin: redis.Redis, *rules: str) -> None:
    """Of the default user. Connections that are open stay."""
    admin.execute_command("ACL", "SETUSER", "default", "on", *rules)  # type: ignore[no-untyped-call]


def test_new_password_counts_for_the_next_connections(tmp_path: Path) -> None:
    """Redis takes both for a while; then the old one ends, and every connection with it."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    with redis_server() as server, redis.Redis.from_url(server.url, password="first") as admin:
        with redis.Redis.from_url(server.url) as before:
            set_password(before, ">first")
        with replica("--redis-url", server.url, "--redis-password-file", str(secret)) as one:
            api = one.api("default")
            service_id = api.service()
            set_password(admin, ">rotated", "<first")
            secret.write_text("rotated\n")
            admin.client_kill_filter(_type="normal", skipme=True)
            until_sync(lambda: api.register(service_id, endpoints=["rest://a:1"]).status == 200, "writes to go on", 15)
            assert "rotated" not in one.output()
            # Redis knows no other any more.
            with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(server.url, password="first") as old:
                old.ping()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("wrong", "refuses the login; mend the user in the URL, or the password in …"),
        (None, "the password cannot be read from …"),
    ],
)
def test_start_with_a_wrong_file_is_one_sentence(tmp_path: Path, written: str | None, said: str) -> None:
    secret = tmp_path / "secret"
    if written is not None:
        secret.write_text(written)
    with redis_server() as server, redis.Redis.from_url(server.url) as admin:
        set_password(admin, ">right")
        FailedStart(f"…{said}", ("--redis-url", server.url, "--redis-password-file", str(secret))).run({}).check()


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("unix:///a?db=1", "unix:///a?db=1"),
        ("redis://u:p@h", "redis://u:p@h"),
        ("redis+cluster://h:1,g:2", "redis://?"),
    ],
)
def test_file_is_no_part_of_what_redis_py_is_told(url: str, bare: str) -> None:
    named = with_password_files(url, "/run/a b", "")
    assert with_password_files(named, "/run/a b", "") == named
    address = parse_address(named)
    assert (address.url, address.password_file) == (bare, "/run/a b")


def test_sentinels_have_a_file_of_their_own() -> None:
    address = parse_address(with_password_files("redis+sentinel://h:1/name", "/a", "/b"))
    assert (address.password_file, address.sentinel_login) == ("/a", {"password_file": "/b"})


@pytest.mark.parametrize(
    "environment",
    [
        {"REGISTRY_REDIS_PASSWORD_FILE": "/a"},
        {"REGISTRY_REDIS_URL": "redis://h", "REGISTRY_REDIS_SENTINEL_PASSWORD_FILE": "/a"},
    ],
)
def test_file_without_what_it_is_for_is_refused(environment: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="_PASSWORD_FILE is set, but REGISTRY_REDIS_URL "):
        read_settings(environment)
