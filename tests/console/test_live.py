"""What changes is seen by itself; what cannot be known is said, and a console comes back by itself."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.console.console import Console
from tests.console.data import HOSTILE
from tests.support.api import Api, ok
from tests.support.replica import Replica, replica

pytestmark = pytest.mark.browser
Opened = tuple[Console, Api]


@pytest.fixture
def opened(open_console: Callable[..., Console], registry: Replica) -> Opened:
    tenant = f"live-{uuid.uuid4().hex[:8]}"
    return open_console(registry, tenant), registry.api(tenant)


def test_services_come_change_and_go_before_ones_eyes(opened: Opened) -> None:
    console, api = opened
    console.open("services").sees("0 of 0 service versions")
    cart = api.service("cart")
    console.sees("1 of 1 service versions").sees("no instances")
    instance = api.instance(cart, status="STARTING")
    console.sees("1 STARTING")
    ok(api.put(f"/microservices/{cart}/instances/{instance}/status?value=UP"))
    console.sees("1 UP").misses("STARTING")
    till = api.service("till")
    console.sees("2 of 2 service versions")
    ok(api.delete(f"/microservices/{cart}?force=1"))
    console.sees("1 of 1 service versions").misses("cart")
    ok(api.put(f"/microservices/{till}/properties", {"properties": {"colour": "green"}}))
    console.page.get_by_role("searchbox").fill("colour=green")
    console.sees("1 of 1 service versions")


def test_nothing_is_asked_while_nothing_happens(opened: Opened) -> None:
    """A hundred people who look cost a registry a hundred quiet connections, and no polling."""
    console, api = opened
    api.service("cart")
    asked: list[str] = []
    console.open("services").sees("1 of 1")
    console.page.on("request", lambda request: asked.append(request.url))
    console.page.wait_for_timeout(2500)
    assert asked == []
    api.service("till")
    console.sees("2 of 2")
    assert 1 <= len(asked) <= 2
    assert all("catalog?since=" in one for one in asked)


def test_a_window_that_is_hidden_catches_up_when_it_is_seen(opened: Opened) -> None:
    console, api = opened
    api.service("cart")
    console.open("services").sees("1 of 1")
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    console.page.evaluate(hide, True)
    console.page.wait_for_timeout(300)
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.url))
    api.service("till")
    console.page.wait_for_timeout(700)
    assert asked == []
    console.page.evaluate(hide, False)
    console.sees("2 of 2")


def test_an_instance_expires_before_ones_eyes(opened: Opened) -> None:
    """The shortest lease there is: five seconds, no heartbeat missed."""
    console, api = opened
    cart = api.service()
    health = {"mode": "push", "interval": 5, "times": 0}
    instance = api.instance(cart, hostName="short-lived", healthCheck=health)
    console.open(f"instance/{cart}/{instance}", "short-lived").sees(re.compile(r"[0-5] s of 5 s left"))
    console.sees(re.compile("This instance has left the registry"))
    console.forgive("400")


def test_the_last_heartbeat_and_its_replica_are_told(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    instance = api.instance(cart, hostName="beats")
    console.open(f"instance/{cart}/{instance}", "beats").sees("last renewed")
    ok(api.put(f"/microservices/{cart}/instances/{instance}/heartbeat"))
    console.sees(re.compile(r"last heartbeat \d\d:\d\d:\d\d, through replica \w"))


def test_consumers_appear_when_they_have_found(opened: Opened) -> None:
    console, api = opened
    cart, till = api.service("cart"), api.service("till")
    console.open(f"service/{cart}", "cart").sees("Nobody has found it yet.")
    ok(api.find("cart", consumer=till))
    expect(console.page.get_by_role("region", name="Consumers: who has found it")).to_contain_text("till")


def test_a_replica_that_is_killed_is_said_and_a_new_one_is_followed(
    open_console: Callable[..., Console], redis_url: str
) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", f"killed-{uuid.uuid4().hex[:8]}:")
    with replica(*options) as first:
        api = first.api("default")
        api.service("cart")
        console = open_console(first)
        console.open("services").sees("cart")
        live = console.page.locator("#live")
        expect(live).to_contain_text("Live")
        first.kill()
        expect(live).to_contain_text(re.compile(r"Disconnected \(.*\)\. What is shown is \d+ s old\."))
        console.sees("cart")
        with replica(*options, port=first.port) as second:
            second.api("default").service("till")
            expect(live).to_contain_text("Live")
            console.sees("till").sees("cart")
    console.forgive("ERR_CONNECTION|net::")


def test_the_overview_lists_replicas_as_they_come(open_console: Callable[..., Console], redis_url: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", f"come-{uuid.uuid4().hex[:8]}:")
    with replica(*options) as first:
        console = open_console(first).open("overview").sees("One replica: nothing answers while it restarts.")
        with replica(*options) as second:
            console.sees(f"127.0.0.1:{second.port}").misses("One replica")
        console.close()  # it would complain that the first one goes, too


# -- hostile names -----------------------------------------------------------------------------------------------------


def test_hostile_names_are_text_on_every_page(opened: Opened) -> None:
    """Anyone may register anything. Nothing of it may run in the browser of those who look after the registry."""
    console, api = opened
    console.page.add_init_script("window.hacked = () => { window.wasHacked = true; }")
    long = "y" * 1000
    cart = api.service("cart", description=HOSTILE[:200], properties={HOSTILE: HOSTILE, "long": long}, schemas=["s"])
    ok(api.put(f"/microservices/{cart}/schemas/s", {"schema": f"info: {{title: '{HOSTILE[:30]}'}}\npaths: {{}}"}))
    ok(api.post(f"/microservices/{cart}/tags", {"tags": {"k": "v"}}))
    endpoints = [f"rest://{HOSTILE}", "javascript:hacked()"]
    instance = api.instance(
        cart, hostName="<b onclick=hacked()>host", endpoints=endpoints, properties={HOSTILE: HOSTILE}
    )
    ok(api.find("cart", consumer=api.service("till")))
    places = {
        "overview": "",
        "services": "",
        f"service/{cart}": "cart",
        f"instance/{cart}/{instance}": "<b onclick=hacked()>host",
        "instances": "",
        "topology": "",
        "find?app=shop&name=cart": "",
        "tenants": "",
    }
    for place, heading in places.items():
        console.open(place, heading)
        console.page.wait_for_timeout(400)
        assert console.page.evaluate("window.wasHacked") is None, place
        assert console.page.locator("main img, main script, main b, main a[href^=javascript]").count() == 0, place
    console.open(f"instance/{cart}/{instance}", "<b onclick=hacked()>host").sees(HOSTILE).sees("javascript:hacked()")
    console.open(f"service/{cart}", "cart").sees(HOSTILE[:200]).sees(long)
    console.page.get_by_text("s", exact=True).click()
    console.sees(HOSTILE[:30])


def test_a_hostile_address_is_only_a_page_that_is_not_there(console: Console) -> None:
    places = [
        "<img src=x onerror=hacked()>",
        "__proto__",
        "constructor",
        "service/%",
        "service/..%2F..%2Fversion",
        "%ff",
    ]
    for place in places:
        console.page.goto(f"{console.base}/console/#/{place}")
        expect(console.main.locator("h1").first).to_have_text(re.compile("There is no such page|Service"))
        assert console.page.locator("main img").count() == 0
