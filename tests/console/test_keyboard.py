"""Everything without a mouse."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.console.console import Console
from tests.support.replica import Replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.browser


def focused(console: Console) -> str:
    """What the element that has the focus says."""
    text = "e => e.getAttribute('aria-label') ?? e.textContent"
    return str(console.page.evaluate(f"({text})(document.activeElement)"))


def tab_to(console: Console, name: str, most: int = 60) -> None:
    """Go on with Tab until that is reached."""
    for _ in range(most):
        if focused(console).strip() == name:
            return
        console.press("Tab")
    raise AssertionError(f"{name} is not reached by Tab; the last was {focused(console)!r}")


def test_a_status_is_changed_with_the_keyboard_alone(open_console: Callable[..., Console], registry: Replica) -> None:
    """From the address to the change and back, as one does who cannot use a mouse."""
    tenant = f"keys-{uuid.uuid4().hex[:8]}"
    api = registry.api(tenant)
    cart = api.service("cart")
    api.service("aardvark")
    instance = api.instance(cart, hostName="cart-a", status="UP")
    console = open_console(registry, tenant).open("overview")
    tab_to(console, "Services")
    console.press("Enter")
    console.sees("2 of 2 service versions")
    console.press("/")
    console.page.keyboard.type("cart")
    console.sees("1 of 2 service versions")
    tab_to(console, "Services")
    console.press("Enter")
    expect(console.main.locator("h1")).to_contain_text("cart")
    tab_to(console, "Instances")
    console.press("ArrowDown", "Enter")
    expect(console.main.locator("h1")).to_have_text("cart-a")
    tab_to(console, "New status")
    console.press("ArrowDown")
    tab_to(console, "Change status")
    console.press("Enter")
    expect(console.page.get_by_role("dialog")).to_be_visible()
    assert focused(console) == "Cancel", "what does no harm comes first"
    console.press("Escape")
    expect(console.page.get_by_role("dialog")).to_have_count(0)
    tab_to(console, "Change status")
    console.press("Enter", "Tab", "Enter")
    until_sync(lambda: api.read_instance(cart, instance)["status"] == "DOWN", "the status to be changed")
    tab_to(console, "Undo")
    console.press("Enter")
    until_sync(lambda: api.read_instance(cart, instance)["status"] == "UP", "the status to be changed back")


def test_long_tables_are_moved_through_with_keys(console: Console) -> None:
    console.open("services").sees("22 of 22")
    table = console.page.get_by_role("grid", name="Services")
    table.focus()
    active = console.page.locator(".tr.active")
    expect(active).to_contain_text("SERVICECENTER")
    console.press("End")
    expect(active).to_contain_text("web-frontend")
    expect(table).to_have_attribute("aria-activedescendant", "row-21")
    console.press("Home", "ArrowDown", "ArrowDown", "ArrowUp")
    expect(active).to_contain_text("accounts")
    console.press("Enter")
    expect(console.main.locator("h1")).to_contain_text("accounts")


def test_the_topology_is_walked_with_keys(console: Console) -> None:
    console.open("topology")
    node = console.page.locator("g.node", has_text="checkout")
    node.focus()
    expect(console.page.locator(".edge.lit")).to_have_count(5)
    console.press("Enter")
    expect(console.page.locator("g.node")).to_have_count(6)
    console.press("Enter")  # the way back has the focus
    expect(console.page.locator("g.node")).to_have_count(18)


def test_the_content_is_one_key_away(console: Console) -> None:
    console.open("services")
    console.press("Tab")
    assert focused(console) == "To the content"
    console.press("Enter")
    assert console.page.evaluate("document.activeElement.id") == "main"
