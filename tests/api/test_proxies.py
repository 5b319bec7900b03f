"""Behind trusted proxies the client is whom they name: for the record, for `/admin`, and for lock-out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from tests.access.conftest import RBAC
from tests.access.people import ROOT_PASSWORD, code, encoded
from tests.api.test_past import events
from tests.support.api import Api, assert_refused, ok
from tests.support.replica import Replica, replica

#: The proxy is this machine.
SETTINGS: Final = {"REGISTRY_TRUSTED_PROXIES": "127.0.0.1", "REGISTRY_ADMIN_FROM": "192.0.2.0/24, 127.0.0.1"}
CLIENT: Final = "203.0.113.9"
#: What a client has written itself stands in front of what the proxy has added.
BY_HOP: Final = {"X-Forwarded-For": f"192.0.2.7, {CLIENT}"}
BY_NAME: Final = {"X-Real-IP": CLIENT}


@pytest.fixture(scope="module", params=["on", "off"], ids=["lane", "parser"])
def behind(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Replica]:
    prefix = f"proxies-{request.param}:"
    environment = {**SETTINGS, "REGISTRY_FAST_LANE": request.param}
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, environment=environment) as process:
        yield process


@pytest.fixture
def api(behind: Replica) -> Api:
    return behind.api(uuid.uuid4().hex)


@pytest.mark.parametrize("named", [BY_HOP, BY_NAME], ids=["forwarded", "real"])
def test_the_client_is_who_is_recorded(api: Api, named: dict[str, str]) -> None:
    """By every way: a log that says that the balancer did everything helps nobody."""
    service = api.service()
    body = {"instance": {"hostName": "h", "instanceId": "a"}}
    path = f"/microservices/{service}/instances"
    ok(api.post(path, body, named))
    ok(api.put(f"{path}/a/status?value=DOWN", None, named))
    ok(api.delete(f"{path}/a", named))
    *by_client, first = events(api)
    assert [event["actor"]["address"] for event in by_client] == [CLIENT] * 3
    assert first["actor"]["address"] == "127.0.0.1"


def test_hops_in_several_lines_are_one_list(behind: Replica, api: Api) -> None:
    """The nearest stands last, also where each proxy adds a line of its own."""
    service = api.service()
    body = b'{"instance":{"hostName":"h","instanceId":"a"}}'
    head = f"POST /v4/default/registry/microservices/{service}/instances HTTP/1.1\r\nHost: h"
    hops = f"X-Forwarded-For: {CLIENT}\r\nX-Forwarded-For: 127.0.0.1"
    more = f"X-Domain-Name: {api.domain}\r\nContent-Length: {len(body)}"
    ok(behind.connect().exchange(f"{head}\r\n{hops}\r\n{more}\r\n\r\n".encode() + body))
    assert events(api)[0]["actor"]["address"] == CLIENT


def test_admin_is_for_the_networks_of_clients(behind: Replica) -> None:
    """The proxy lies in one of them: so would everybody else."""
    connection = behind.connect()
    for headers in (BY_HOP, BY_NAME):
        refused = connection.request("GET", "/v4/default/admin/dump", None, headers)
        assert_refused(refused, 403001, f"/admin may not be used from {CLIENT}")
    ok(connection.request("GET", "/v4/default/admin/dump", None, {"X-Forwarded-For": f"{CLIENT}, 192.0.2.7"}))
    ok(connection.request("GET", "/v4/default/admin/dump"))


def test_accounts_are_locked_for_clients(redis_url: str) -> None:
    """One of them does not lock out all the others behind the same balancer."""
    with replica("--redis-url", redis_url, "--redis-prefix", "proxies-rbac:", environment={**RBAC, **SETTINGS}) as one:
        connection = one.connect()

        def log_in(password: str, **headers: str) -> int:
            body = encoded({"name": "root", "password": password})
            return code(connection.request("POST", "/v4/token", body, headers))

        assert [log_in("Wrong_password1", **BY_HOP) for _ in range(4)] == [401202] * 3 + [403201]
        assert log_in(ROOT_PASSWORD, **BY_HOP) == log_in(ROOT_PASSWORD, **BY_NAME) == 403201
        assert log_in(ROOT_PASSWORD) == log_in(ROOT_PASSWORD, **{"X-Forwarded-For": "203.0.113.8"}) == 0
