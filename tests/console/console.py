"""Console: a window on the console, and what is done in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Locator, Page, expect

#: Pages that the navigation names, and their headings.
PAGES = {
    "overview": "Overview",
    "services": "Services",
    "instances": "Instances",
    "topology": "Topology",
    "history": "History",
    "find": "What would a client see?",
    "policies": "Policies",
    "tenants": "Tenants",
    "settings": "Settings",
    "api": "API",
    "help": "Help",
}
#: Milliseconds that anything may take on a machine that others use as well.
PATIENCE_MS = 15_000

expect.set_options(timeout=PATIENCE_MS)


class Console:
    """One window.

    Args:
        tenant: the domain that it looks at.
        context: of the window, as Playwright has it: `color_scheme`, `viewport` …
    """

    def __init__(self, browser: Browser, port: int, tenant: str, context: dict[str, Any]) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self._context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.tenant = tenant
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def close(self) -> None:
        """Close it; it must not have complained."""
        self._context.close()
        assert not self.complaints, self.complaints

    def forgive(self, pattern: str) -> None:
        """Forget complaints that the test has provoked."""
        self.complaints = [one for one in self.complaints if not re.search(pattern, one)]

    # -- pages ---------------------------------------------------------------------------------------------------------

    def open(self, place: str, heading: str = "") -> Console:
        """Open a page by its address, and wait until it shows its heading."""
        asked = f"{place}{'&' if '?' in place else '?'}tenant={self.tenant}"
        self.page.goto(f"{self.base}/console/#/{asked if self.tenant != 'default' else place}")
        expect(self.page.locator("main h1").first).to_contain_text(heading or PAGES[place.partition("?")[0]])
        return self

    @property
    def main(self) -> Locator:
        return self.page.locator("main")

    def sees(self, text: str | re.Pattern[str]) -> Console:
        """Wait until the page shows the text."""
        expect(self.main).to_contain_text(text)
        return self

    def misses(self, text: str | re.Pattern[str]) -> Console:
        """Wait until the page shows the text no more."""
        expect(self.main).not_to_contain_text(text)
        return self

    def filter(self, text: str) -> Console:
        """Fill in the filter of a page that keeps it in its address, and wait until it counts."""
        self.page.get_by_role("searchbox").fill(text)
        expect(self.page).to_have_url(re.compile(re.escape(urlencode({"text": text}))))
        return self

    def press(self, *keys: str) -> Console:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def shot(self, folder: Path, name: str) -> None:
        """Write what is seen to a folder, for people to look at."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(folder / f"{name}.png"))
