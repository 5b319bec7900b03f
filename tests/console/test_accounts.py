"""A registry that asks who one is: log in, do what one may, and be let go."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.console.console import Console
from tests.console.test_pages import SHOTS
from tests.support.http import Connection
from tests.support.replica import Replica, replica

pytestmark = pytest.mark.browser
ROOT_PASSWORD = "Root-Password-1"
PASSWORD = "Some-Password-1"


@pytest.fixture(scope="module")
def guarded(redis_url: str) -> Iterator[Replica]:
    environment = {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}
    options = ("--redis-url", redis_url, "--redis-prefix", f"guarded-{uuid.uuid4().hex[:8]}:")
    with replica(*options, environment=environment) as process, process.connect() as connection:
        token = log_in(connection)
        tell(connection, token, "/v4/default/registry/microservices", {"service": SERVICE, "instances": [INSTANCE]})
        perms = [{"resources": [{"type": "service"}], "verbs": ["get"]}]
        tell(connection, token, "/v4/roles", {"name": "reader", "perms": perms})
        tell(connection, token, "/v4/accounts", {"name": "ann", "password": PASSWORD, "roles": ["reader"]})
        yield process


SERVICE = {"appId": "shop", "serviceName": "cart", "serviceId": "cart", "version": "1.0.0"}
INSTANCE = {"instanceId": "a", "hostName": "cart-a", "healthCheck": {"mode": "push", "interval": 900, "times": 3}}


def log_in(connection: Connection, name: str = "root", password: str = ROOT_PASSWORD) -> str:
    body = json.dumps({"name": name, "password": password}).encode()
    return str(connection.request("POST", "/v4/token", body, {}).json()["token"])


def tell(connection: Connection, token: str, path: str, body: object, method: str = "POST") -> None:
    response = connection.request(method, path, json.dumps(body).encode(), {"Authorization": f"Bearer {token}"})
    assert response.status == 200, response.body


def enter(console: Console, name: str, password: str, place: str = "services") -> Console:
    console.page.goto(f"{console.base}/console/#/{place}")
    expect(console.main.locator("h1")).to_have_text("Log in")
    console.page.get_by_label("Name").fill(name)
    console.page.get_by_label("Password").fill(password)
    console.press("Enter")
    return console


def test_nothing_is_shown_to_somebody_who_is_not_logged_in(
    open_console: Callable[..., Console], guarded: Replica
) -> None:
    console = open_console(guarded)
    enter(console, "root", "Wrong-Password-1")
    expect(console.page.get_by_role("alert")).not_to_be_empty()
    console.misses("cart")
    enter(console, "root", ROOT_PASSWORD).sees("cart")
    expect(console.page.locator("header")).to_contain_text("root")
    assert console.page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    console.button("Log out").click()
    expect(console.main.locator("h1")).to_have_text("Log in")
    console.misses("cart")
    assert console.page.evaluate("sessionStorage.getItem('registry.token')") is None
    console.forgive("401")


def test_what_one_may_not_do_is_not_offered(open_console: Callable[..., Console], guarded: Replica) -> None:
    console = open_console(guarded)
    enter(console, "ann", PASSWORD, "instance/cart/a").sees("cart-a").sees("min of 60 min left")
    expect(console.button("Deregister")).to_have_count(0)
    expect(console.button("Change status")).to_have_count(0)
    expect(console.page.get_by_role("navigation", name="Pages")).not_to_contain_text("Accounts")
    console.open("settings").sees("permission")
    console.forgive("40[13]")


def test_an_account_that_is_deactivated_is_let_go(open_console: Callable[..., Console], guarded: Replica) -> None:
    """At once, while somebody looks."""
    with guarded.connect() as connection:
        token = log_in(connection)
        tell(connection, token, "/v4/accounts", {"name": "bob", "password": PASSWORD, "roles": ["developer"]})
        console = enter(open_console(guarded), "bob", PASSWORD).sees("cart")
        tell(connection, token, "/v4/accounts/bob", {"status": "inactive"}, "PUT")
    expect(console.main.locator("h1")).to_have_text("Log in")
    console.misses("cart")
    console.forgive("401")


def test_ones_own_password_is_changed(open_console: Callable[..., Console], guarded: Replica) -> None:
    """The window goes on, with a token of the new password; the old one counts no more."""
    with guarded.connect() as connection:
        account = {"name": "dora", "password": PASSWORD, "roles": ["reader"]}
        tell(connection, log_in(connection), "/v4/accounts", account)
    console = enter(open_console(guarded), "dora", PASSWORD).sees("cart")
    dialog = console.page.get_by_role("dialog")

    def change(current: str, new: str) -> None:
        console.button("Password").click()
        dialog.get_by_label("Current password").fill(current)
        dialog.get_by_label("New password").fill(new)
        dialog.get_by_role("button", name="Save").click()

    change("Wrong-Password-1", "Other-Password-2")
    expect(console.page.get_by_role("alert")).to_contain_text("password")
    console.sees("cart")
    change(PASSWORD, "Other-Password-2")
    expect(console.page.locator(".toast.good")).to_contain_text("The password is changed")
    console.sees("cart")
    expect(console.page.locator("#live")).to_contain_text("Live")
    console.button("Log out").click()
    enter(console, "dora", "Other-Password-2").sees("cart")
    console.forgive("40[01]")


def test_accounts_roles_and_machines_are_looked_after(
    open_console: Callable[..., Console], guarded: Replica, node_modules: Path
) -> None:
    console = open_console(guarded)
    enter(console, "root", ROOT_PASSWORD, "accounts").sees("reader").sees("ann")
    dialog = console.page.get_by_role("dialog")
    console.button("New account").click()
    dialog.get_by_label("Name").fill("cleo")
    dialog.get_by_label("Password").fill("weak")
    dialog.get_by_role("button", name="Save").click()
    expect(console.page.get_by_role("alert")).to_contain_text("password")
    console.button("New account").click()
    dialog.get_by_label("Name").fill("cleo")
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_label("Roles").fill("reader")
    dialog.get_by_role("button", name="Save").click()
    row = console.page.get_by_role("region", name="Accounts").locator("tr", has_text="cleo")
    expect(row).to_contain_text("reader")
    row.get_by_role("button", name="Roles").click()
    dialog.get_by_label("Roles").fill("reader, developer")
    dialog.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("reader, developer")
    row.get_by_role("button", name="Deactivate").click()
    expect(row).to_contain_text("inactive")
    console.button("New role").click()
    dialog.get_by_label("Name").fill("cart-reader")
    dialog.get_by_role("button", name="Save").click()
    console.sees("get: service (appId=shop)")
    console.button("New token for a machine").click()
    dialog.get_by_label("Name").fill("prometheus")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("pre")).to_contain_text("ey")
    dialog.get_by_role("button", name="I have kept it").click()
    console.shot(SHOTS / "light", "accounts")
    console.page.evaluate((node_modules / "axe-core" / "axe.min.js").read_text())
    assert [one["id"] for one in console.page.evaluate("axe.run(document)")["violations"]] == []
    machine = console.page.get_by_role("region", name="Tokens of machines").locator("tr", has_text="prometheus")
    machine.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("button", name="Revoke").click()
    console.sees("There are none.")
    row.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    console.forgive("40[01]")
