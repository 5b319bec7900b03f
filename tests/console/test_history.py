"""The past: what happened and why, the whole console as of a moment, and the difference between two moments."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.console.console import Console
from tests.support.api import Api, ok
from tests.support.replica import Replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.browser
Opened = tuple[Console, Api]


@pytest.fixture
def opened(open_console: Callable[..., Console], registry: Replica) -> Opened:
    tenant = f"past-{uuid.uuid4().hex[:8]}"
    return open_console(registry, tenant), registry.api(tenant)


def test_an_instance_that_expired_says_why(opened: Opened) -> None:
    """Before one's eyes: the lease runs out, and the page tells since when there was no heartbeat."""
    console, api = opened
    cart = api.service()
    instance = api.instance(cart, hostName="short", healthCheck={"mode": "push", "interval": 5, "times": 0})
    console.open(f"instance/{cart}/{instance}", "short").sees(re.compile("s of 5 s left"))
    console.sees("This instance has left the registry").sees(
        re.compile(r"expired at .*its lease of 5 s was last renewed")
    )
    console.sees("Instance expired").sees("lease of 5 s")
    console.forgive("400")


def test_what_happened_is_listed_and_filtered(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    instance = api.instance(cart, status="UP")
    ok(api.put(f"/microservices/{cart}/instances/{instance}/status?value=DOWN"))
    console.open("history").sees("Status changed").sees("Instance registered").sees("Service registered")
    expect(console.main.locator(".timeline li").first).to_contain_text("status: UP → DOWN")
    expect(console.main.locator(".timeline li").first).to_contain_text("by 127.0.0.1, through replica")
    console.sees("3 events from")
    console.page.get_by_label("Kind").select_option("service-registered")
    expect(console.main.locator(".timeline > li")).to_have_count(1)
    console.page.get_by_label("Kind").select_option("")
    console.page.get_by_label("Id of an instance").fill(instance)
    console.press("Enter")
    expect(console.main.locator(".timeline > li")).to_have_count(2)
    console.open(f"service/{cart}", "cart").sees("What happened lately").sees("Status changed")


def test_older_events_are_one_look_away(opened: Opened) -> None:
    console, api = opened
    cart = api.service()
    for number in range(60):
        ok(api.put(f"/microservices/{cart}/properties", {"properties": {"n": str(number)}}))
    console.open("history")
    expect(console.main.locator(".timeline > li")).to_have_count(50)
    console.button("Older events").click()
    expect(console.main.locator(".timeline > li")).to_have_count(61)
    console.sees("This is the beginning of what is kept")


def test_the_whole_console_is_seen_as_of_a_moment(opened: Opened) -> None:
    console, api = opened
    cart = api.service("was-there")
    instance = api.instance(cart, hostName="old-host", status="UP")
    moment = int(time.time()) + 1
    until_sync(lambda: time.time() > moment + 1, "a second to pass")
    ok(api.delete(f"/microservices/{cart}?force=1"))
    api.service("is-there")
    console.open("services").sees("is-there").misses("was-there")
    console.button("Look back").click()
    slider = console.page.get_by_label("The moment to look at")
    slider.fill(str(moment))
    live = console.page.locator("#live")
    expect(live).to_contain_text("The past: as of")
    console.sees("was-there").misses("is-there")
    console.page.get_by_role("link", name="was-there").click()
    console.sees("old-host")
    expect(console.button("Unregister service")).to_have_count(0)
    console.page.get_by_role("link", name="old-host").click()
    console.sees("is present").sees("UP")
    expect(console.button("Deregister")).to_have_count(0)
    console.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Services", exact=True).click()
    console.button("Back to now").click()
    expect(live).to_contain_text("Live")
    console.sees("is-there").misses("was-there")
    assert instance


def test_the_moment_and_the_tenant_stand_in_the_address(
    opened: Opened, open_console: Callable[..., Console], registry: Replica
) -> None:
    """What one looks at can be sent to somebody, and is left by the way back."""
    console, api = opened
    cart = api.service("was-there")
    moment = int(time.time()) + 1
    until_sync(lambda: time.time() > moment + 1, "a second to pass")
    ok(api.delete(f"/microservices/{cart}?force=1"))
    console.open("services").sees("0 of 0")
    console.button("Look back").click()
    console.page.get_by_label("The moment to look at").fill(str(moment))
    console.sees("was-there")
    console.page.get_by_role("link", name="was-there").click()
    expect(console.main.locator("h1")).to_contain_text("was-there")
    other = open_console(registry)
    other.page.goto(console.page.url)
    expect(other.main.locator("h1")).to_contain_text("was-there")
    expect(other.page.locator("#live")).to_contain_text("The past: as of")
    expect(other.page.get_by_label("The moment to look at")).to_have_value(str(moment))
    expect(other.page.locator("#tenant")).to_contain_text(api.domain)
    console.page.go_back()
    console.sees("1 of 1 service versions")
    console.page.go_back()
    console.sees("0 of 0 service versions")
    expect(console.page.locator("#live")).to_contain_text("Live")
    expect(console.page.get_by_label("The moment to look at")).to_be_hidden()
    console.page.go_forward()
    console.sees("was-there")
    console.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Topology").click()
    expect(console.page.locator("#live")).to_contain_text("The past: as of")


def test_an_hour_back_is_a_few_keys(open_console: Callable[..., Console], shop: Replica) -> None:
    """The slider moves by a second; anyone who has no mouse says the moment."""
    # A browser's hour goes round and leaves the date: one down from 00:45 is 23:45 of that day, which is to come. Away
    # from midnight, and from noon where hours go to 12, it is an hour back. (Etc/GMT-4 is four hours ahead of UTC.)
    zone = "UTC" if 1 < datetime.now(UTC).hour % 12 < 11 else "Etc/GMT-4"
    console = open_console(shop, timezone_id=zone).open("services")
    console.button("Look back").press("Enter")
    exact = console.page.get_by_label("The same, as date and time")
    before = exact.input_value()
    exact.focus()
    console.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown")  # past the date, in the hour
    hour = datetime.fromisoformat(exact.input_value()) - datetime.fromisoformat(before)
    assert hour == timedelta(hours=-1)
    expect(console.page.locator("#live")).to_contain_text("The past: as of")
    console.sees("0 of 0")
    console.button("Back to now").press("Enter")
    console.sees("22 of 22")


def test_two_moments_are_compared(opened: Opened) -> None:
    console, api = opened
    kept = api.service("kept")
    stays = api.instance(kept, hostName="stays", status="UP")
    before = int(time.time()) + 1
    until_sync(lambda: time.time() > before + 1, "a second to pass")
    ok(api.put(f"/microservices/{kept}/instances/{stays}/status?value=DOWN"))
    api.instance(api.service("new"), hostName="comes")
    console.open("history").sees("events from")
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(before))
    console.page.get_by_label("From", exact=True).fill(start)
    console.button("Compare").click()
    console.sees("Services: added (1)").sees("Instances: added (1)").sees("comes").sees("Instances: changed (1)")
    console.sees(re.compile("status: UP → DOWN"))


def test_a_moment_before_what_is_kept_is_said(opened: Opened) -> None:
    console, api = opened
    api.service()
    console.open("history").sees("events from")
    console.page.get_by_label("From", exact=True).fill("2199-01-01T00:00:00")
    console.button("Compare").click()
    console.sees("ahead of now")
    console.forgive("400")
