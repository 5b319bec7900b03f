"""What a person does to services, instances and policies: asked about first, done, said, and undone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.console.console import Console
from tests.console.data import save_policy
from tests.support.api import Api, ok
from tests.support.replica import Replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.browser
Opened = tuple[Console, Api]


@pytest.fixture
def opened(open_console: Callable[..., Console], registry: Replica) -> Opened:
    """A console on a tenant of the test's own, and the tenant's client."""
    tenant = f"acts-{uuid.uuid4().hex[:8]}"
    return open_console(registry, tenant), registry.api(tenant)


def dialog(console: Console) -> Locator:
    return console.page.get_by_role("dialog")


def test_a_status_is_changed_and_changed_back(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    instance = api.instance(cart, hostName="cart-a", status="UP")

    def status() -> str:
        return str(api.read_instance(cart, instance)["status"])

    console.open(f"instance/{cart}/{instance}", "cart-a")
    console.page.get_by_label("New status").select_option("OUTOFSERVICE")
    console.button("Change status").click()
    expect(dialog(console)).to_contain_text("cart-a is UP now and will be OUTOFSERVICE, at once and on every replica.")
    dialog(console).get_by_role("button", name="Cancel").click()
    expect(dialog(console)).to_have_count(0)
    assert status() == "UP", "nothing is done that was only asked about"
    console.button("Change status").click()
    dialog(console).get_by_role("button", name="Set to OUTOFSERVICE").click()
    expect(console.main.locator(".pill").first).to_have_text("OUTOFSERVICE")
    assert status() == "OUTOFSERVICE"
    console.button("Undo").click()
    expect(console.main.locator(".pill").first).to_have_text("UP")
    assert status() == "UP"


def test_an_instance_is_deregistered_and_put_back_as_it_was(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    instance = api.instance(cart, hostName="cart-a", endpoints=["rest://10.0.0.1:80"], properties={"zone": "z"})
    before = api.read_instance(cart, instance)
    console.open(f"instance/{cart}/{instance}", "cart-a")
    console.button("Deregister").click()
    expect(dialog(console)).to_contain_text("the next find of every consumer does not have it")
    dialog(console).get_by_role("button", name="Deregister").click()
    console.sees("This instance has left the registry")
    assert api.get(f"/microservices/{cart}/instances/{instance}").status == 400
    console.forgive("status of 400")
    console.button("Undo").click()
    console.sees("rest://10.0.0.1:80")
    times = {"timestamp", "modTimestamp"}
    after = api.read_instance(cart, instance)
    assert {k: v for k, v in after.items() if k not in times} == {k: v for k, v in before.items() if k not in times}


def test_a_service_is_unregistered_with_what_it_has(opened: Opened) -> None:
    console, api = opened
    cart, till = api.service("cart"), api.service("till")
    api.instance(cart)
    ok(api.find("cart", consumer=till))
    console.open(f"service/{cart}", "cart").sees("till")
    console.button("Unregister service").click()
    expect(dialog(console)).to_contain_text("with its instances (1). Services that have found it (1)")
    dialog(console).get_by_role("button", name="Unregister service").click()
    console.sees("1 of 1 service versions").misses("cart")
    assert api.get(f"/microservices/{cart}").status == 400


def test_what_the_registry_refuses_is_said_and_nothing_is_called_done(opened: Opened) -> None:
    """SERVICECENTER is written by replicas only, no matter who asks."""
    console, api = opened
    own = api.on(api.connection)
    own.domain = "default"
    (replica,) = ok(own.get("/health")).json()["instances"]
    console.tenant = "default"
    console.open(f"instance/{replica['serviceId']}/{replica['instanceId']}", replica["hostName"])
    console.button("Deregister").click()
    dialog(console).get_by_role("button", name="Deregister").click()
    expect(console.page.get_by_role("alert")).to_contain_text("SERVICECENTER")
    expect(console.button("Undo")).to_have_count(0)
    console.forgive("403")


def test_a_policy_is_written_checked_and_deleted(opened: Opened) -> None:
    console, api = opened
    console.open("policies").sees("There are no policies yet.")
    console.page.get_by_label("Kind").select_option("retry")
    console.button("New policy").click()
    console.page.get_by_label("Name").fill("checkout")
    console.page.get_by_label("Application").fill("shop")
    spec = console.page.get_by_label("What it says, as JSON")
    spec.fill("{")
    console.sees("This is no JSON yet")
    spec.fill('{"maxAttempts": -1}')
    console.button("Save").click()
    console.sees("maxAttempts is a number of at least 0")
    spec.fill('{"maxAttempts": 2}')
    console.button("Save").click()
    console.sees("checkout").sees("retry")
    console.forgive("400")

    def policies() -> list[dict[str, object]]:
        target = f"/v1/{api.project}/gov/retry"
        found = ok(api.connection.request("GET", target, None, {"X-Domain-Name": api.domain})).json()
        assert isinstance(found, list)
        return found

    (policy,) = policies()
    assert policy["spec"] == {"maxAttempts": 2}
    console.page.get_by_role("link", name="checkout").click()
    expect(spec).to_have_value(json.dumps({"maxAttempts": 2}, indent=2))
    console.button("Delete").click()
    dialog(console).get_by_role("button", name="Delete").click()
    console.sees("There are no policies yet.")
    console.button("Undo").click()
    until_sync(lambda: len(policies()) == 1, "the policy to be there again")


def test_an_operation_that_writes_is_asked_about(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    ok(api.post(f"/microservices/{cart}/tags", {"tags": {"lane": "a"}}))
    console.open("api")
    console.filter("set tag")
    console.page.get_by_text("set tag", exact=True).click()
    for name, value in {"service_id (path)": cart, "key (path)": "lane", "value (query)": "b"}.items():
        console.page.get_by_label(name).fill(value)
    console.button("Send PUT").click()
    dialog(console).get_by_role("button", name="Send PUT").click()
    console.sees("200 after")
    assert ok(api.get(f"/microservices/{cart}/tags")).json() == {"tags": {"lane": "b"}}


def test_another_tenant_is_looked_at(opened: Opened, registry: Replica) -> None:
    console, api = opened
    api.service("only-here")
    other = registry.api(api.domain + "-other")
    other.service("only-there")
    save_policy(other, "retry", {"name": "n", "selector": {"app": "a"}, "spec": {"maxAttempts": 1}})
    console.open("services").sees("only-here")
    console.page.get_by_role("button", name="Tenant").click()
    dialog(console).get_by_label("Domain").fill(other.domain)
    dialog(console).get_by_role("button", name="Open").click()
    console.sees("only-there").misses("only-here")
    expect(console.page.locator("#tenant")).to_contain_text(f"{other.domain}/default")
    console.open("tenants").main.get_by_role("link", name=f"{api.domain}/default", exact=True).click()
    expect(console.page.locator("#tenant")).to_contain_text(f"{api.domain}/default")
