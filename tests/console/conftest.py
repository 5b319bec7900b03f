"""A real Chromium in front of a real registry with real data. Tests that take one are marked `browser`."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.console.console import Console
from tests.console.data import fill
from tests.support.replica import Replica, replica

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Chromium asks Google nothing, and needs neither a graphics card nor another user than root.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


def _missing(what: str) -> None:
    """Skip, or fail where the tests were asked for by name (`scripts/test --browser`)."""
    if os.environ.get("REGISTRY_BROWSER_TESTS") == "required":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser that a module's tests share, each with a window of its own.

    Until it is closed Playwright keeps an event loop running in this thread, where other tests need theirs.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _missing("no Chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of the tools that come by npm."""
    folder = Path(__file__).parent / "node_modules"
    if not folder.is_dir():
        _missing("no tests/console/node_modules: npm ci --prefix tests/console")
    return folder


@pytest.fixture(scope="session")
def registry(redis_url: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", f"console-{uuid.uuid4().hex[:8]}:") as process:
        yield process


@pytest.fixture(scope="session")
def shop(registry: Replica) -> Replica:
    """The registry with a shop in its default tenant, which no test changes."""
    fill(registry.api("default"))
    return registry


@pytest.fixture
def open_console(chromium: Browser) -> Iterator[Callable[..., Console]]:
    """Opens a window on a registry's console. Whatever it complains about on its own console fails the test."""
    opened: list[Console] = []

    def open(process: Replica, tenant: str = "default", **context: object) -> Console:
        opened.append(Console(chromium, process.port, tenant, context))
        return opened[-1]

    yield open
    for console in opened:
        console.close()


@pytest.fixture
def console(open_console: Callable[..., Console], shop: Replica) -> Console:
    """The console of the shop."""
    return open_console(shop)
