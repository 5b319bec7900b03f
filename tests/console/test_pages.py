"""Every page is opened, filtered and read by a person who sees it for the first time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.console.console import PAGES, Console
from tests.support.replica import Replica

pytestmark = pytest.mark.browser
SHOTS = Path(__file__).parent / "shots"
#: Every page, also those that no navigation names.
PLACES = {
    **dict.fromkeys(PAGES, ""),
    "service/cart-1.0.0": "cart",
    "instance/cart-1.0.0/cart-1.0.0-1": "cart-1.prod",
    "find?app=shop&name=cart&version=1.1.0%2B&env=production": "",
    "topology?focus=production/shop/checkout": "",
    "policies/retry": "New policy",
    "help/caches.md": "",
}
LOOKS: dict[str, dict[str, object]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}


def test_the_navigation_leads_to_every_page(console: Console) -> None:
    console.open("overview")
    for page, heading in PAGES.items():
        console.page.get_by_role("navigation", name="Pages").get_by_role("link", name=heading, exact=True).click()
        expect(console.main.locator("h1").first).to_have_text(heading)
        expect(console.page).to_have_title(f"{heading} – Registry")
        expect(console.page.locator(f"nav a[data-page={page}]")).to_have_attribute("aria-current", "page")


def test_the_address_alone_leads_to_the_console(console: Console) -> None:
    console.page.goto(console.base)
    expect(console.page).to_have_url(f"{console.base}/console/")
    console.sees("Overview")


def test_the_overview_says_how_much_there_is_and_how_it_is(console: Console, shop: Replica) -> None:
    console.open("overview").sees("Versions: 22").sees("None. Nothing needs to be done.")
    replicas = console.page.get_by_role("region", name="Replicas")
    expect(replicas).to_contain_text(f"127.0.0.1:{shop.port}")
    expect(replicas).to_contain_text("ready")
    console.sees(re.compile(r"(Redis|Valkey) \d")).sees("append-only file")
    expect(console.main.locator(".figure").nth(1)).to_contain_text("UP")
    expect(console.main.locator(".figure").nth(2).locator(".value")).to_have_text(re.compile(r"^[\d.]+$"))


def test_services_are_filtered_as_one_types(console: Console) -> None:
    console.open("services").sees("22 of 22 service versions")
    console.press("/")
    console.page.keyboard.type("cart 1.1")
    console.sees("1 of 22 service versions")
    expect(console.page).to_have_url(re.compile("text=cart"))
    found = {"team=payments": 5, "starting": 4, "OUTOFSERVICE": 4, "production 5.1": 1, "tier=one": 1, "web shop": 1}
    for text, count in found.items():
        console.page.get_by_role("searchbox").fill(text)
        console.sees(f"{count} of 22 service versions")
    console.page.get_by_role("searchbox").fill("")
    console.page.get_by_label("Application").select_option("logistics")
    console.sees("4 of 22 service versions")
    console.page.get_by_label("Application").select_option("")
    console.page.get_by_label("Health").select_option("empty")
    console.sees("No service passes the filter").page.reload()
    console.sees("0 of 22 service versions")


def test_a_service_shows_everything_around_it(console: Console) -> None:
    console.open("services")
    console.page.get_by_role("link", name="cart", exact=True).first.click()
    console.sees("The cart service").sees("java-chassis 3.2.1").sees("team").sees("tier").sees("cart-1.prod")
    consumers = console.page.get_by_role("region", name="Consumers: who has found it")
    expect(consumers).to_contain_text("web-frontend")
    expect(consumers).to_contain_text("checkout")
    expect(console.page.get_by_role("region", name="Providers: what it has found")).to_contain_text("pricing")
    console.page.get_by_text("rest", exact=True).click()
    console.sees("All items").sees("/items").sees("price: number")
    console.page.get_by_role("link", name="1.1.0").click()
    expect(console.main.locator("h1")).to_have_text("cart 1.1.0")


def test_an_instance_shows_its_lease_and_its_endpoints(console: Console) -> None:
    console.open("instances").sees("Instances: ")
    console.filter("mail").page.get_by_role("link", name="mail 1.0.0").first.click()
    console.sees(re.compile(r"\d+ min of 60 min left")).sees("last renewed").sees("rest://10.0.").sees("dc1 / eu / az1")


def test_instances_are_found_by_host_address_and_id(console: Console, shop: Replica) -> None:
    """An address from a log is typed, and is somebody's."""
    mail = shop.api("default").read_instance("mail-1.0.0", "mail-1.0.0-1")
    address = mail["endpoints"][0].removeprefix("rest://")
    console.open("instances").sees("Instances: ")
    first = console.page.locator(".rows .tr").first
    for text in ("mail-1.PROD", address, "mail-1.0.0-1"):
        console.filter(text).sees("Instances: 1, of 1 service versions")
        expect(first).to_contain_text("mail-1.prod")
    console.filter("people").sees(", of 3 service versions")
    console.filter("10.0.").page.get_by_label("Status").select_option("DOWN")
    expect(console.page.locator(".rows .tr .pill", has_text="UP")).to_have_count(0)
    expect(first).to_contain_text("DOWN")


def test_the_topology_is_a_drawing_and_a_table(console: Console) -> None:
    console.open("topology")
    drawing = console.page.get_by_role("group", name="Drawing of who has found whom")
    expect(drawing.get_by_role("button", name=re.compile("^checkout"))).to_be_visible()
    console.page.get_by_role("searchbox").fill("ledger")
    console.button("ledger · payments").click()
    expect(drawing.get_by_role("button")).to_have_count(3)
    table = console.page.get_by_role("region", name="The same as a table")
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table).to_contain_text("invoices")
    expect(console.page).to_have_url(re.compile("focus=production%2Fpayments%2Fledger"))


def test_one_asks_what_a_client_would_see(console: Console) -> None:
    console.open("find")
    console.page.get_by_label("Application of the provider").fill("shop")
    console.page.get_by_label("Name of the provider").fill("cart")
    console.page.get_by_label("Version rule").fill("1.1.0+")
    console.page.get_by_label("Service id of the consumer").fill("checkout-1.0.0")
    console.button("Ask").click()
    candidates = console.page.get_by_role("region", name="Who could have been meant")
    expect(candidates.locator("tr", has_text="1.1.0")).to_contain_text("in")
    expect(candidates.locator("tr", has_text="1.0.0").last).to_contain_text(
        "the version rule does not mean this version"
    )
    console.sees(re.compile("rev[0-9a-f]{40}"))
    console.page.get_by_label("Environment").fill("testing")
    console.page.get_by_label("Service id of the consumer").fill("")
    console.button("Ask").click()
    console.sees("The find is refused: 400012").sees("it is registered in another environment")


def test_tenants_and_settings_and_help_are_read(console: Console) -> None:
    console.open("tenants").sees("default/default").sees("shown now")
    console.open("settings").sees("REGISTRY_REDIS_URL").sees("(set, not shown)")
    console.page.get_by_role("searchbox").fill("durability")
    console.misses("REGISTRY_REDIS_URL").sees("REGISTRY_DURABILITY")
    console.open("help")
    console.page.get_by_role("searchbox").fill("bytes")
    console.sees("Pages that have it")
    console.page.locator("article a").first.click()
    expect(console.main.locator("article")).to_contain_text("bytes")


def test_an_operation_is_tried(console: Console) -> None:
    console.open("api")
    console.filter("existence")
    console.page.get_by_text("check existence").click()
    for name, value in {"type": "microservice", "appId": "shop", "serviceName": "cart", "version": "latest"}.items():
        console.page.get_by_label(f"{name} (query)", exact=True).fill(value)
    console.page.get_by_label("env (query)").fill("production")
    console.button("Send GET").click()
    console.sees(re.compile(r"200 after \d+ ms")).sees('"serviceId": "cart-1.1.0"')


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_looked_at(open_console: Callable[..., Console], shop: Replica, look: str) -> None:
    """Pictures of all pages are written to tests/console/shots; nothing is wider than the window."""
    console = open_console(shop, **LOOKS[look])
    for place, heading in PLACES.items():
        page = place.partition("?")[0].partition("/")[0]
        console.open(place, heading or PAGES[page])
        console.page.wait_for_timeout(200)
        width = console.main.evaluate("main => main.scrollWidth - main.clientWidth")
        assert width <= 0, f"{place} is {width} pixels too wide"
        console.shot(SHOTS / look, re.sub(r"\W+", "-", place.partition("?")[0]) + ("-asked" if "?" in place else ""))


def test_every_page_passes_axe(console: Console, node_modules: Path) -> None:
    """Names, roles, contrast and order, as people need them who do not see or do not use a mouse (WCAG 2.1 AA)."""
    axe = (node_modules / "axe-core" / "axe.min.js").read_text()
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    console.open("overview")
    console.page.evaluate(axe)
    for place, heading in PLACES.items():
        # Of the operations some are enough: all look alike, and there are very many.
        seen = "api?text=existence" if place == "api" else place
        console.open(seen, heading or PAGES[place.partition("?")[0].partition("/")[0]])
        console.page.wait_for_timeout(200)
        found = console.page.evaluate("rules => axe.run(document, rules)", rules)
        broken = {one["id"]: [node["target"] for node in one["nodes"]] for one in found["violations"]}
        assert broken == {}, place
