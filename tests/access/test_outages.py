"""The store is away, or comes back as another one: who may do what goes on from memory, and nothing is forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.conftest import RBAC
from tests.access.people import PASSWORD, Guest, Office, call, code, permission
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder, redis_server(Path(folder)) as server:
        yield server


@pytest.fixture
def registry(server: RedisServer) -> Iterator[Replica]:
    """A registry that waits half a second for Redis."""
    with replica("--redis-url", server.url, "--redis-timeout-s", "0.5", environment=RBAC) as one:
        yield one


def test_while_the_store_is_away_tokens_and_log_ins_count_and_nothing_changes(
    server: RedisServer, registry: Replica
) -> None:
    office = Office(registry)
    name = office.account(office.role(permission("service", "*")))
    unseen = office.log_in(name).json()["token"]
    reader = office.reader()
    admin = Guest(registry.connect(), office.token, "team")
    admin.instance(admin.service(serviceId="s"), instanceId="i")
    server.pause()
    try:
        for token in (unseen, office.log_in(name).json()["token"]):
            guest = Guest(registry.connect(), token, "team")
            assert code(guest.put("/microservices/s/instances/i/heartbeat")) == 0
            assert code(guest.find()) == 0
        assert code(Guest(registry.connect(), reader, "team").put("/microservices/s/instances/i/heartbeat")) == 403205
        wrong = [code(office.log_in(name, "Wrong_password1")) for _ in range(4)]
        assert wrong == [401202, 401202, 401202, 403201], "also counted from memory"
        assert code(office.call("POST", "/v4/roles", {"name": "late", "perms": [permission("ops", "get")]})) == 500011
    finally:
        server.resume()
    until_sync(lambda: office.call("DELETE", f"/v4/accounts/{name}").status == 200, "changes to count again", 20)
    assert code(call(registry.connect(), "GET", "/v4/self-perms", None, unseen)) == 401206


def test_accounts_come_back_into_a_store_that_has_lost_them(server: RedisServer, registry: Replica) -> None:
    """An emptied Redis must not let anybody in, nor lock everybody out."""
    office = Office(registry)
    name = office.account("developer")
    token = office.log_in(name).json()["token"]
    server.kill()
    server.start()
    until_sync(lambda: len(registry.said("history_seeded")) >= 2, "both logs to be seeded", 30)
    assert code(call(office.connection, "GET", "/v4/self-perms", None, token)) == 0
    with replica("--redis-url", server.url, environment={"REGISTRY_RBAC": "on"}) as second:
        connection = second.connect()
        assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 0
        assert code(call(connection, "POST", "/v4/token", {"name": name, "password": PASSWORD})) == 0
