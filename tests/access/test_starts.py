"""How accounts are switched on: off, observe, scope, the first start, keys of files, and the command on the store."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.access.tokens import generate_key
from registry.http_api.operations import ACCOUNT_OPERATIONS
from tests.access.conftest import RBAC
from tests.access.people import PASSWORD, ROOT_PASSWORD, Guest, Office, bearer, call, code, permission
from tests.support.api import ok
from tests.support.http import Connection
from tests.support.replica import REPOSITORY, Replica, replica

pytestmark = pytest.mark.slow


@pytest.fixture
def options(redis_url: str) -> list[str]:
    return ["--redis-url", redis_url, "--redis-prefix", f"starts-{uuid.uuid4().hex[:8]}:"]


def token_of(connection: Connection, name: str = "root", password: str = ROOT_PASSWORD) -> str:
    return str(ok(call(connection, "POST", "/v4/token", {"name": name, "password": password})).json()["token"])


def test_quotas_of_accounts_and_roles_are_settings(options: list[str]) -> None:
    """Each its own: an account more than its quota, and a role more."""
    with replica(*options, environment={**RBAC, "QUOTA_ACCOUNT": "3", "QUOTA_ROLE": "1"}) as process:
        office = Office(process)
        role = office.role(permission("service", "get"))
        body = {"name": "one-too-many", "perms": [permission("service", "get")]}
        refused = office.call("POST", "/v4/roles", body)
        assert (refused.status, "QUOTA_ROLE" in refused.json()["detail"]) == (400, True)
        for _ in range(2):  # and root
            office.account(role)
        body = {"name": "one-too-many", "password": PASSWORD, "roles": [role]}
        refused = office.call("POST", "/v4/accounts", body)
        assert (refused.status, "QUOTA_ACCOUNT" in refused.json()["detail"]) == (400, True)


# -- off, observe, scope -----------------------------------------------------------------------------------------------


def test_without_accounts_nothing_is_different(options: list[str]) -> None:
    """Their routes are not there, which tells java clients not to ask for tokens; credentials are ignored."""
    with replica(*options) as process, process.connect() as connection:
        for operation in ACCOUNT_OPERATIONS:
            path = operation.path.replace("{name}", "root")
            assert connection.request(operation.method, path, b"{}").status == 404
        for credentials in ({}, bearer("junk"), {"Authorization": "junk"}, {"X-Auth-Token": "junk"}):
            target = "/v4/default/registry/microservices"
            assert connection.request("GET", target, None, credentials).status == 200
        twice = b"GET /v4/default/registry/microservices HTTP/1.1\r\nHost: x\r\n"
        twice += b"Authorization: a\r\nAuthorization: b\r\nX-Auth-Token: c\r\nX-Auth-Token: d\r\n\r\n"
        assert connection.exchange(twice).status == 200
        assert "Bearer" not in connection.request("GET", "/openapi.json").body.decode()


@pytest.mark.parametrize("lane", ["on", "off"])
def test_observing_refuses_nothing_but_what_is_about_accounts(options: list[str], lane: str) -> None:
    settings = {**RBAC, "REGISTRY_RBAC": "observe", "REGISTRY_FAST_LANE": lane}
    with replica(*options, environment=settings) as process:
        office = Office(process)
        reader = office.person(office.role(permission("service", "get", appId="desk")))
        for credentials in ("", "junk", reader):
            guest = Guest(process.connect(), credentials, "team")
            guest.instance(guest.service(serviceId="s"), instanceId="i")
            assert code(guest.find()) == 0
            assert code(guest.put("/microservices/s/instances/i/heartbeat")) == 0
            assert "cart" in guest.get("/microservices").body.decode()
            for path in ("/v4/accounts", "/v4/roles", "/v4/machine-tokens", "/v4/self-perms"):
                expected = {"": 401204, "junk": 401201}.get(credentials, 403205)
                if path != "/v4/self-perms" or credentials != reader:
                    assert (
                        code(guest.connection.request("GET", path, None, bearer(credentials) if credentials else {}))
                        == expected
                    )
        process.tells("would_be_refused", "401201")
        process.tells("would_be_refused", "403205", "list-services")
        metrics = office.done("GET", "/metrics").body.decode()
        number = next(line for line in metrics.splitlines() if line.startswith("registry_access_would_refuse_total "))
        assert float(number.split()[1]) >= 10


def test_the_scope_says_what_is_guarded(options: list[str]) -> None:
    with replica(*options, environment={**RBAC, "REGISTRY_RBAC_SCOPE": "ops"}) as process:
        connection = process.connect()
        assert connection.request("GET", "/v4/default/registry/microservices").status == 200
        assert code(connection.request("GET", "/metrics")) == 401204
        assert code(connection.request("GET", "/v4/accounts")) == 401204
        wrong = call(connection, "POST", "/v4/token", {"name": "root", "password": "Wrong_password1"})
        assert code(wrong) == 401302, "so clients know that services need no token"


# -- the first start ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "SC_INIT_ROOT_PASSWORD"),
        ({"SC_INIT_ROOT_PASSWORD": "weak"}, "SC_INIT_ROOT_PASSWORD: password: 8 to 32 bytes"),
        ({"SC_INIT_ROOT_PASSWORD_FILE": "/nowhere"}, "SC_INIT_ROOT_PASSWORD_FILE: /nowhere cannot be read"),
        ({"REGISTRY_RBAC_PRIVATE_KEY_FILE": "/nowhere"}, "REGISTRY_RBAC_PRIVATE_KEY_FILE: /nowhere cannot be read"),
        ({"REGISTRY_RBAC_PRIVATE_KEY_FILE": __file__}, "it is no private key"),
        ({"REGISTRY_RBAC_SCOPE": "services"}, "REGISTRY_RBAC_SCOPE has 'services'"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_that_cannot_work_says_in_one_sentence_what_to_set(
    options: list[str], settings: dict[str, str], sentence: str, workers: str
) -> None:
    process = Replica(*options, "--workers", workers, environment={"REGISTRY_RBAC": "on", **settings})
    try:
        assert process.launch().wait() == 2
        (line,) = [line for line in process.output().splitlines() if not line.startswith("{")]
        assert sentence in line
        assert "weak" not in line
    finally:
        process.clean_up()


def test_the_password_of_root_may_stand_in_a_file(options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    settings = {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD_FILE": str(file)}
    with replica(*options, environment=settings) as process:
        assert token_of(process.connect(), password=PASSWORD)


# -- keys --------------------------------------------------------------------------------------------------------------


def test_keys_of_files_are_rotated_by_naming_two(options: list[str], tmp_path: Path) -> None:
    """All replicas first learn the new key, then it signs; nobody has to log in anew."""
    old, new = tmp_path / "old.pem", tmp_path / "new.pem"
    for file in (old, new):
        file.write_text(generate_key().pem.text)
    token, kinds = "", [f"{old}", f"{old},{new}", f"{new}, {old}", f"{new}"]
    for number, files in enumerate(kinds):
        settings = {**RBAC, "REGISTRY_RBAC_PRIVATE_KEY_FILE": files}
        with replica(*options, environment=settings) as process, process.connect() as connection:
            if token:
                assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 0, kinds[number]
            token = token_of(connection)


@pytest.fixture
def running(options: list[str]) -> Iterator[Replica]:
    with replica(*options, environment=RBAC) as process:
        yield process


def accounts(options: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`registry accounts` as an operator runs it."""
    command = [sys.executable, "-m", "registry", "accounts", *arguments, *options]
    inherited = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False, env=inherited
    )


def test_a_new_key_signs_and_the_older_ones_count_until_they_are_dropped(options: list[str], running: Replica) -> None:
    connection = running.connect()
    before = token_of(connection)
    assert accounts(options, "rotate-key").returncode == 0
    assert key_of(token_of(connection)) != key_of(before), "the new key signs"
    assert code(call(connection, "GET", "/v4/self-perms", None, before)) == 0
    after = token_of(connection)
    done = accounts(options, "rotate-key", "--alone")
    assert (done.returncode, done.stderr) == (0, "")
    assert code(call(connection, "GET", "/v4/self-perms", None, after)) == 401201, "the old key is gone"
    assert code(call(connection, "GET", "/v4/self-perms", None, token_of(connection))) == 0


def key_of(token: str) -> str:
    return token.partition(".")[0]


def test_root_gets_a_new_password_from_those_who_have_the_store(options: list[str], running: Replica) -> None:
    connection = running.connect()
    token = token_of(connection)
    done = accounts(options, "reset-root")
    assert (done.returncode, done.stderr) == (0, "")
    made = done.stdout.strip().rpartition(" ")[2]
    assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 401205, "the old token has ended"
    assert token_of(connection, password=made)
    done = accounts(options, "reset-root", SC_INIT_ROOT_PASSWORD=PASSWORD)
    assert PASSWORD not in done.stdout
    assert code(call(connection, "POST", "/v4/token", {"name": "root", "password": PASSWORD})) == 0
    assert accounts(options, "reset-root", SC_INIT_ROOT_PASSWORD="weak").returncode == 2


def test_a_replica_that_does_not_apply_a_change_is_named(options: list[str], running: Replica) -> None:
    """It sleeps: an operator who changes the accounts on the store must know where the change is not in force."""
    running.process.send_signal(signal.SIGSTOP)
    try:
        done = accounts(options, "rotate-key")
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert done.returncode == 0
    assert "signs from now on" in done.stdout
    assert re.search(rf"not in force yet, at \w+ 127\.0\.0\.1:{running.port}$", done.stderr.strip()), done.stderr


def test_keys_of_files_are_not_rotated_on_the_store(options: list[str]) -> None:
    done = accounts(options, "rotate-key", REGISTRY_RBAC_PRIVATE_KEY_FILE="/some/file")
    assert done.returncode == 2
    assert "REGISTRY_RBAC_PRIVATE_KEY_FILE" in done.stderr
