"""Log-ins, accounts and roles, typed against a registry that has accounts."""

from __future__ import annotations

import base64
import json
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.client.accounts import Permission, Resource
from registry.command import STORE_VERBS
from registry.remote.accounts import ON_THE_STORE
from registry.remote.roles import parse_permission, permission_text
from tests.remote.conftest import Shell
from tests.support.replica import Replica, replica

pytestmark = pytest.mark.slow

ROOT = "Root_password_1"
ANN = "Ann_password_1"


@pytest.fixture(scope="module")
def guarded(redis_url: str) -> Iterator[Replica]:
    options = ["--redis-url", redis_url, "--redis-prefix", f"remote-accounts-{uuid.uuid4().hex[:8]}:"]
    with replica(*options, environment={"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": ROOT}) as process:
        yield process


@pytest.fixture
def root(shell: Shell, guarded: Replica) -> Shell:
    """Nobody is logged in yet; who logs in as root needs no password more."""
    shell.environment["REGISTRY_SERVER"] = f"127.0.0.1:{guarded.port}"
    return shell


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "tokens.json"


def log_in(shell: Shell, user: str, password: str) -> None:
    done = shell.run("login", "--user", user, "--for", "1h", REGISTRY_PASSWORD=password)
    assert done.code == 0, done.err
    assert f"{user} is logged in at http://127.0.0.1:" in done.out


def test_a_log_in_is_kept_for_its_owner_and_used_by_other_verbs(root: Shell, tokens: Path) -> None:
    refused = root.run("services")
    assert refused.code == 4
    assert "log in with `registry login --user NAME`" in refused.err
    log_in(root, "root", ROOT)
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert ROOT not in tokens.read_text()
    for verb in ("services", "instances", "status", "history", "top --once", "accounts list", "roles list"):
        assert root.run(*verb.split()).code == 0, verb
    # For this address, and for this user.
    assert root.run("services", "--server", "127.0.0.1:1").code == 3
    other = root.run("services", "--user", "bob")
    assert (other.code, "the password of bob is missing" in other.err) == (2, True)
    assert "root is logged out" in root.run("login", "--forget").out
    assert root.run("services").code == 4
    assert "nobody was logged in" in root.run("login", "--forget").out


def test_a_file_that_others_may_read_is_not_used(root: Shell, tokens: Path) -> None:
    log_in(root, "root", ROOT)
    tokens.chmod(0o644)
    done = root.run("services")
    assert (done.code, done.out) == (2, "")
    assert "chmod 600" in done.err
    tokens.chmod(0o600)
    tokens.write_text("{")
    assert "log in again" in root.run("services").err


def test_an_ended_log_in_is_renewed_where_the_password_is_known(root: Shell, tokens: Path) -> None:
    log_in(root, "root", ROOT)
    known = json.loads(tokens.read_text())
    (place,) = known
    given = known[place]["token"]
    head, _, rest = given.partition(".")
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) - 10}).encode()).decode().rstrip("=")
    known[place]["token"] = f"{head}.{claims}.{rest.rpartition('.')[2]}"
    tokens.write_text(json.dumps(known))
    ended = root.run("services")
    assert (ended.code, ended.err) == (2, "registry: the log-in of root has ended; `registry login` logs in again\n")
    assert root.run("services", REGISTRY_PASSWORD=ROOT).code == 0
    # The new token is kept: the password is needed no more.
    assert json.loads(tokens.read_text())[place]["token"] not in (given, known[place]["token"])
    assert root.run("services").code == 0


def test_a_token_that_is_not_taken_any_more_is_said(root: Shell, tokens: Path) -> None:
    log_in(root, "root", ROOT)
    known = json.loads(tokens.read_text())
    (place,) = known
    known[place]["token"] = known[place]["token"][:-10] + "AAAAAAAAAA"
    tokens.write_text(json.dumps(known))
    done = root.run("services")
    assert done.code == 4
    assert "log in with" in done.err
    assert root.run("services", REGISTRY_PASSWORD=ROOT).code == 0


def test_accounts(root: Shell) -> None:
    log_in(root, "root", ROOT)
    name = f"n{uuid.uuid4().hex[:8]}"
    assert root.run("accounts", "create", name).code == 2
    missing = root.run("accounts", "create", name, "--role", "developer")
    assert f"the new password of {name} is missing; set REGISTRY_NEW_PASSWORD" in missing.err
    made = root.run("accounts", "create", name, "--role", "developer", REGISTRY_NEW_PASSWORD=ANN)
    assert made.out == f"account {name} is created\n"
    listed = {row["name"]: row for row in root.run("accounts", "list", "--json").json}
    assert (listed[name]["roles"], listed[name]["status"]) == (["developer"], "active")
    assert root.run("accounts", "change", name, "--status", "inactive").code == 0
    (line,) = (line for line in root.run("accounts", "list").out.splitlines() if name in line)
    assert line.split() == [name, "developer", "inactive"]
    assert root.run("accounts", "change", name, "--status", "active", "--role", "admin").code == 0
    changed = root.run("accounts", "password", name, REGISTRY_NEW_PASSWORD="Other_password_1")
    assert changed.out == f"the password of {name} is set\n"
    assert root.run("services", "--user", name, REGISTRY_PASSWORD="Other_password_1").code == 0
    assert root.run("accounts", "delete", name).out == f"account {name} is deleted\n"
    assert root.run("accounts", "delete", name).code == 1
    assert root.run("accounts", "delete", "root").code == 4


def test_ones_own_password_needs_the_current_one(root: Shell) -> None:
    log_in(root, "root", ROOT)
    name = f"n{uuid.uuid4().hex[:8]}"
    root.run("accounts", "create", name, "-r", "developer", REGISTRY_NEW_PASSWORD=ANN)
    log_in(root, name, ANN)
    done = root.run("accounts", "password", REGISTRY_PASSWORD=ANN, REGISTRY_NEW_PASSWORD="Other_password_1")
    assert done.out == f"the password of {name} is set; log in with it\n"
    assert root.run("services").code == 4
    log_in(root, name, "Other_password_1")
    assert root.run("services").code == 0


def test_tokens_of_machines(root: Shell) -> None:
    log_in(root, "root", ROOT)
    name = f"m{uuid.uuid4().hex[:8]}"
    token = root.run("accounts", "tokens", "give", name, "--role", "developer", "--for", "1h").out.strip()
    assert token.count(".") == 2
    assert name in root.run("accounts", "tokens", "list").out
    assert token not in root.run("accounts", "tokens", "list", "--json").out
    assert root.run("accounts", "tokens", "revoke", name).code == 0
    assert name not in root.run("accounts", "tokens", "list").out


def test_roles(root: Shell) -> None:
    log_in(root, "root", ROOT)
    name = f"r{uuid.uuid4().hex[:8]}"
    allow = ("--allow", "get service,service/schema appId=shop", "--allow", "* governance")
    assert root.run("roles", "create", name, *allow).out == f"role {name} is created\n"
    (line,) = (line for line in root.run("roles", "list").out.splitlines() if name in line)
    assert line.split(None, 1)[1].strip() == "get service,service/schema appId=shop; * governance"
    assert root.run("roles", "change", name, "--allow", "get ops").code == 0
    assert root.run("roles", "create", "x", "--allow", "get").code == 2
    assert root.run("roles", "create", "x", "--allow", "fly service").code == 4
    assert root.run("roles", "delete", name).code == 0
    assert root.run("roles", "delete", name).code == 1


def test_a_registry_without_accounts_says_so(shell: Shell) -> None:
    for verb in (["accounts", "list"], ["roles", "list"], ["login", "--user", "ann"]):
        done = shell.run(*verb, REGISTRY_PASSWORD="x")
        assert done.code == 1, verb
        assert "one without accounts (REGISTRY_RBAC)" in done.err


def test_verbs_on_the_store_stand_beside_those_over_http(shell: Shell) -> None:
    assert set(ON_THE_STORE) == set(STORE_VERBS)
    said = shell.run("accounts", "--help").out
    assert "rotate-key" in said
    assert "create" in said
    assert shell.run_process("accounts", "rotate-key", "--nonsense").err.startswith("registry: unrecognized arguments")


WORDS = st.text("abc/*", min_size=1, max_size=4)


@given(
    st.lists(WORDS, min_size=1, max_size=3),
    st.lists(WORDS, min_size=1, max_size=3, unique=True),
    st.dictionaries(WORDS, WORDS, max_size=2),
)
def test_a_permission_is_read_as_it_is_written(verbs: list[str], types: list[str], labels: dict[str, str]) -> None:
    permission = Permission([Resource(type_, labels) for type_ in types], verbs)
    assert parse_permission(permission_text(permission)) == permission
