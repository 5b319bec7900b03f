"""Very many services and instances: what is drawn is what is seen, and scrolling goes on.

`REGISTRY_CONSOLE_SCALE=10000x10 scripts/test --browser -k scale -s` measures what registry/docs/console.md tells.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from tests.console.console import Console
from tests.support.api import Api, ok
from tests.support.replica import Replica, replica

pytestmark = pytest.mark.browser
SERVICES, INSTANCES = map(int, os.environ.get("REGISTRY_CONSOLE_SCALE", "600x10").split("x"))
#: Rows that a window of 800 pixels shows, and those that are drawn beside them.
ROWS_MAX = 50
#: Scrolls a table from its beginning to its end in a number of steps, one per frame; the lengths of the frames, ms.
SCROLL = """async (steps) => {
  const table = document.querySelector('.table');
  const times = [];
  const end = table.scrollHeight - table.clientHeight;
  let before = performance.now();
  for (let step = 1; step <= steps; step += 1) {
    table.scrollTop = end * step / steps;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return times.sort((a, b) => a - b);
}"""


def register(api: Api, number: int) -> None:
    service = {"serviceName": f"service-{number:05}", "appId": f"app-{number % 50:02}", "environment": "production"}
    instances = [
        {
            "hostName": f"host-{number}-{place}",
            "endpoints": [f"rest://10.{number >> 8}.{number & 255}.{place}:8080"],
            "status": "DOWN" if (number + place) % 20 == 0 else "UP",
            "healthCheck": {"mode": "push", "interval": 900, "times": 3},
        }
        for place in range(INSTANCES)
    ]
    ok(api.post("/microservices", {"service": service, "instances": instances}))


@pytest.fixture(scope="module")
def crowd(redis_url: str) -> Iterator[Replica]:
    """A registry with very many services, registered by a few clients at once."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"crowd-{uuid.uuid4().hex[:8]}:") as process:

        def part(first: int) -> None:
            with process.connect() as connection:
                for number in range(first, SERVICES, 4):
                    register(Api(connection), number)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(part, range(4)))
        yield process


def scrolled(console: Console, steps: int = 120) -> None:
    assert console.page.locator(".rows .tr").count() <= ROWS_MAX
    times = console.page.evaluate(SCROLL, steps)
    middle, most = times[len(times) // 2], times[int(len(times) * 0.95)]
    size = f"{SERVICES} services, {SERVICES * INSTANCES} instances"
    print(f"\n{size}: frames of {middle:.1f} ms, 95 of 100 below {most:.1f} ms")
    assert console.page.locator(".rows .tr").count() <= ROWS_MAX


def test_scale_services_scroll_and_are_filtered(open_console: Callable[..., Console], crowd: Replica) -> None:
    console = open_console(crowd).open("services")
    console.sees(f"{SERVICES + 1:,} of {SERVICES + 1:,} service versions")
    scrolled(console)
    expect(console.page.locator(".rows .tr").last).to_contain_text(f"service-{SERVICES - 1:05}")
    console.page.get_by_role("searchbox").fill("service-00777")
    console.sees(f"1 of {SERVICES + 1:,} service versions")
    console.page.get_by_role("searchbox").fill("")
    console.page.get_by_label("Health").select_option("some")
    console.sees("DOWN")
    assert console.page.locator(".rows .tr").count() <= ROWS_MAX


def test_scale_instances_scroll_and_only_those_that_are_seen_are_fetched(
    open_console: Callable[..., Console], crowd: Replica
) -> None:
    console = open_console(crowd)
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.url) if "/instances?" in request.url else None)
    console.open("instances").sees(f"Instances: {SERVICES * INSTANCES + 1:,}")
    scrolled(console, steps=5)
    expect(console.page.locator(".rows .tr").last).to_contain_text(f"host-{SERVICES - 1}-")
    console.misses("Loading")
    assert len(asked) <= 5 * ROWS_MAX // INSTANCES + 12, "no service is asked for that was not seen"
    scrolled(console)


def test_scale_a_change_is_seen_and_costs_what_changed(open_console: Callable[..., Console], crowd: Replica) -> None:
    console = open_console(crowd).open("services").sees(f"{SERVICES + 1:,} of")
    sizes: list[int] = []
    console.page.on(
        "response",
        lambda got: sizes.append(len(got.body())) if "catalog?since" in got.url and got.status == 200 else None,
    )
    console.page.get_by_role("searchbox").fill("changed=yes")
    console.sees(f"0 of {SERVICES + 1:,}")
    api = crowd.api("default")
    exists = api.get(
        "/existence?type=microservice&appId=app-07&serviceName=service-00007&version=latest&env=production"
    )
    service_id = ok(exists).json()["serviceId"]
    ok(api.put(f"/microservices/{service_id}/properties", {"properties": {"changed": "yes"}}))
    console.sees("service-00007").sees(f"1 of {SERVICES + 1:,}")
    assert sum(sizes) < 5000, "the rest is not sent again"


def test_scale_the_topology_stays_readable(open_console: Callable[..., Console], crowd: Replica) -> None:
    """Applications first; all other services are one look away."""
    console = open_console(crowd).open("topology")
    expect(console.page.locator("g.node")).to_have_count(50)
    console.page.get_by_role("searchbox").fill("service-00100")
    console.button("service-00100 · app-00").click()
    expect(console.page.locator("g.node")).to_have_count(1)
    assert json.loads(console.page.evaluate("JSON.stringify(location.hash.includes('focus'))"))
