"""The log of the accounts is damaged: nobody gets more rights by it, it is said, and `registry repair` mends it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from registry.domain.tenant import ACCOUNTS
from registry.store.keys import Keys
from tests.access.conftest import RBAC
from tests.access.people import PASSWORD, ROOT_PASSWORD, Guest, Office, call, code, permission
from tests.access.test_replicas import alarms
from tests.support.redis_server import RedisServer, redis_server
from tests.support.repair import repair
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

KEYS = Keys("registry:")
EVENTS, HEAD = KEYS.events(ACCOUNTS), KEYS.head(ACCOUNTS)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder, redis_server(Path(folder)) as server:
        yield server


def start(server: RedisServer, **environment: str) -> Any:
    return replica("--redis-url", server.url, environment={**RBAC, **environment})


def secrets_of(server: RedisServer) -> list[bytes]:
    """Hashes and keys that the log holds."""
    with Redis.from_url(server.url) as redis:
        payloads = [fields[b"e"] for _, fields in redis.xrange(EVENTS)]
    assert any(b"$argon2id$" in payload for payload in payloads)
    return [b"$argon2id$", b"PRIVATE KEY"]


def append_garbage(server: RedisServer) -> None:
    with Redis.from_url(server.url) as redis:
        epoch, _, sequence = redis.get(HEAD).decode().partition("-")
        redis.xadd(EVENTS, {"e": b"garbage"}, f"{epoch}-{int(sequence) + 1}")
        redis.set(HEAD, f"{epoch}-{int(sequence) + 1}")


def test_a_damaged_log_of_accounts_is_mended_while_a_replica_runs(server: RedisServer) -> None:
    """Meanwhile tokens and log-ins count as before, and nothing can be changed. Nothing is lost."""
    with start(server) as registry:
        office = Office(registry)
        name = office.account(office.role(permission("service", "*")))
        token = office.log_in(name).json()["token"]
        append_garbage(server)
        until_sync(lambda: "TenantDamaged" in alarms(office), "the alarm", 30)
        assert code(office.call("DELETE", f"/v4/accounts/{name}")) == 500011
        guest = Guest(registry.connect(), token, "team")
        assert code(guest.find()) == 400012, "the token counts"
        assert office.log_in(name).status == 200
        assert code(office.log_in(name, "Wrong_password1")) == 401202

        said = repair(server.url)
        assert said.returncode == 1
        assert EVENTS in said.stdout
        done = repair(server.url, "--apply")
        assert done.returncode == 0, done.stdout
        told = (said.stdout + said.stderr + done.stdout + done.stderr).encode()
        assert not any(secret in told for secret in secrets_of(server))

        until_sync(lambda: "TenantDamaged" not in alarms(office), "the alarm to end", 30)
        assert code(guest.find()) == 400012
        office.done("DELETE", f"/v4/accounts/{name}")
        assert code(guest.find()) == 401206


def test_a_damaged_log_of_accounts_is_mended_without_a_replica(server: RedisServer) -> None:
    """What can be read before the damage counts again. A start meanwhile makes no second account root."""
    with start(server) as registry:
        office = Office(registry)
        name = office.account("developer")
        token = office.log_in(name).json()["token"]
    append_garbage(server)
    with start(server, SC_INIT_ROOT_PASSWORD="Another_password1") as registry, registry.connect() as connection:
        until_sync(lambda: bool(registry.said("tenant_set_aside")), "it to be set aside", 30)
        assert code(log_in(registry, "root", "Another_password1")) == 401202
        assert log_in(registry, "root", ROOT_PASSWORD).status == 200
        assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 0
    assert repair(server.url, "--apply").returncode == 0
    with start(server) as registry:
        office = Office(registry)
        assert log_in(registry, name, PASSWORD).status == 200
        assert code(call(office.connection, "GET", "/v4/self-perms", None, token)) == 0
        assert office.call("DELETE", f"/v4/accounts/{name}").status == 200
        assert "TenantDamaged" not in alarms(office)


def test_accounts_of_which_nothing_can_be_read_let_nobody_in_until_they_are_repaired(server: RedisServer) -> None:
    """Not even as on a first start: a damaged log must not be a way to make oneself root."""
    with start(server) as registry:
        token = Office(registry).token
    with Redis.from_url(server.url) as redis:
        first = redis.xrange(EVENTS, count=1)[0][0]
        redis.xdel(EVENTS, first)
        redis.delete(KEYS.snapshots(ACCOUNTS))
    with start(server) as registry, registry.connect() as connection:
        until_sync(lambda: bool(registry.said("tenant_set_aside")), "it to be set aside", 30)
        assert {
            code(log_in(registry, "root", ROOT_PASSWORD)),
            code(call(connection, "GET", "/v4/self-perms", None, token)),
            code(Guest(registry.connect(), token, "team").find()),
            code(Guest(registry.connect(), token, "team").post("/microservices", {"service": {"serviceName": "x"}})),
        } == {500011}
    assert repair(server.url, "--apply").returncode == 0
    with start(server) as registry:
        assert Office(registry).token


def log_in(registry: Replica, name: str, password: str) -> Any:
    with registry.connect() as connection:
        return call(connection, "POST", "/v4/token", {"name": name, "password": password})
