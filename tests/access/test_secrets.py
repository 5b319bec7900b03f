"""No password, hash, key or token stands where anybody reads: logs, errors, figures, dumps, documents, the past."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.access.conftest import RBAC
from tests.access.people import ROOT_PASSWORD, Guest, Office, call, permission
from tests.support.replica import Replica, replica

PASSWORD = "Very_Secret_Word1"
NEXT_PASSWORD = "Next_Secret_Word1"
WRONG = "Wrong_Secret_Word1"


@pytest.fixture
def talkative(redis_url: str) -> Iterator[tuple[Replica, str]]:
    """A registry that says all it has to say, and its prefix."""
    prefix = f"secrets-{uuid.uuid4().hex[:8]}:"
    settings = {**RBAC, "REGISTRY_LOG_LEVEL": "debug"}
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, environment=settings) as process:
        yield process, prefix


def test_secrets_are_in_the_store_and_nowhere_else(talkative: tuple[Replica, str], redis_url: str) -> None:
    process, prefix = talkative
    office = Office(process)
    tokens = [office.token]
    said: list[str] = []

    def hear(method: str, path: str, body: object = None, token: str = "") -> None:
        response = call(office.connection, method, path, body, token)
        said.append(response.head.decode("latin-1") + response.body.decode("latin-1"))

    account = {"name": "ann", "password": PASSWORD, "roles": ["developer"]}
    office.done("POST", "/v4/accounts", account)
    tokens.append(office.log_in("ann", PASSWORD).json()["token"])
    machine = {"name": "prometheus", "roles": ["developer"]}
    tokens.append(office.done("POST", "/v4/machine-tokens", machine).json()["token"])
    hear("POST", "/v4/token", {"name": "ann", "password": WRONG})
    hear("POST", "/v4/token", {"name": WRONG, "password": WRONG})
    hear("POST", "/v4/token", b'{"name":"ann","password":"' + WRONG.encode() + b'"')
    hear("POST", "/v4/token", {"name": "ann", "password": [WRONG]})
    hear("POST", "/v4/token", {"name": "ann", "password": WRONG * 200})
    hear("POST", "/v4/accounts", account | {"name": "bob", "password": WRONG + "x" * 30}, office.token)
    hear("POST", "/v4/accounts/batch-create", {"accounts": [account, account | {"password": 7}]}, office.token)
    change = {"password": NEXT_PASSWORD, "currentPassword": WRONG}
    hear("POST", "/v4/accounts/ann/password", change, tokens[1])
    hear("POST", "/v4/accounts/ann/password", change | {"currentPassword": PASSWORD}, tokens[1])
    hear("GET", "/v4/self-perms", None, tokens[1])
    hear("GET", "/v4/self-perms", None, tokens[0][:-3])
    hear("GET", "/v4/default/registry/microservices", None, "x" * 5000)
    guest = Guest(process.connect(), office.token, "default")
    guest.service()
    for path in (
        *("/metrics", "/openapi.json", "/v4/default/admin/dump?options=all", "/v4/default/admin/alarms"),
        *("/v4/default/admin/settings", "/v4/default/admin/tenants", "/v4/default/admin/store"),
        *(
            "/v4/default/admin/replicas",
            "/v4/default/admin/clusters",
            "/v4/accounts",
            "/v4/accounts/ann",
            "/v4/roles",
            "/v4/machine-tokens",
        ),
        *("/v4/account-locks", "/v4/default/registry/microservices", "/v4/default/govern/microservices?options=all"),
        *("/v1/default/history", "/v1/default/history/diff?from=0"),
    ):
        hear("GET", path, None, office.token)

    store = Redis.from_url(redis_url)
    entries: Any = store.xrange(f"{prefix}{{/accounts}}:events")
    log = b"".join(value for _, fields in entries for value in fields.values())
    assert b"$argon2id$" in log, "or the search below finds nothing because it looks for nothing"
    assert b"PRIVATE KEY" in log
    # Or the search below finds nothing because it looks for nothing.
    for action in ("account_created", "password_set", "machine_token_given", "wrong_password"):
        process.tells(action)
    public = "\n".join([*said, process.output()])
    assert any('"events":' in answer for answer in said), "the past has been asked"
    for secret in (PASSWORD, NEXT_PASSWORD, ROOT_PASSWORD, "argon2", "PRIVATE KEY", *tokens):
        assert secret not in public, secret
    # A wrong password may be a right one elsewhere. Typed in place of a name it is listed for admins, as a name.
    assert WRONG not in process.output()
    assert [answer for answer in said if WRONG in answer and "::127.0.0.1" not in answer] == []
    for secret in (PASSWORD, NEXT_PASSWORD, ROOT_PASSWORD, WRONG, *tokens):
        assert secret.encode() not in log, "only hashes are kept"


def test_nobody_can_name_the_log_of_the_accounts(office: Office, guarded: Replica) -> None:
    """It is a tenant whose domain is blank, which in a header is the default one."""
    office.done("POST", "/v4/roles", {"name": f"r{uuid.uuid4().hex[:8]}", "perms": [permission("ops", "get")]})
    connection = guarded.connect()
    for domain in (b"", b" ", b"%20", b"\t", b"/"):
        for target in (b"/v4/accounts/registry/microservices", b"/v1/accounts/history", b"/v4//registry/version"):
            line = b"GET %b HTTP/1.1\r\nHost: x\r\nX-Domain-Name: %b\r\n" % (target, domain)
            response = connection.exchange(line + f"Authorization: Bearer {office.token}\r\n\r\n".encode())
            assert b"account-created" not in response.body
            assert b"root" not in response.body
    assert b"accounts" not in office.done("GET", "/v4/default/admin/dump").body
    tenants = office.done("GET", "/v4/default/admin/tenants").json()["tenants"]
    assert all(tenant["domain"] for tenant in tenants)


def test_the_log_of_the_accounts_is_no_tenant_in_the_figures(talkative: tuple[Replica, str]) -> None:
    process, _ = talkative
    lines = Office(process).done("GET", "/metrics").body.decode().splitlines()
    assert "registry_tenants 1.0" in lines
