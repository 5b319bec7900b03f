"""Every link of README.md and of the pages leads somewhere, and every page can be reached from the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import DOCS, REPOSITORY

DECISIONS: Final = REPOSITORY / "registry" / "decisions"
INDEX: Final = DOCS / "README.md"
#: All that is written in Markdown for readers.
WRITTEN: Final = (
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(DECISIONS.glob("*.md")),
    REPOSITORY / "tests" / "README.md",
    *sorted((REPOSITORY / "benchmarks").glob("*.md")),
)
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(path: Path, text: str = "") -> Iterator[tuple[str, str]]:
    """Target and anchor ("" without one) of each relative link outside of code."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text or path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(prose):
        if not re.match(r"https?://|mailto:", target):
            place, _, anchor = target.partition("#")
            yield place, anchor


def anchors(path: Path) -> set[str]:
    """What the headings of a page are called in links to them, as the console and the usual readers do it."""
    headings = re.findall(r"^#{1,6} (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(path: Path, text: str = "") -> list[str]:
    found = []
    for place, anchor in links(path, text):
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(f"{place}#{anchor}")
    return found


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_every_page_and_decision_is_reached_from_the_index() -> None:
    """What no page links to is read by nobody."""
    reached, left = set[Path](), [INDEX]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            left += [(page.parent / place).resolve() for place, _ in links(page) if place.endswith(".md")]
    assert {*DOCS.glob("*.md"), *DECISIONS.glob("*.md")} - reached == set()


def test_the_index_names_every_page_itself() -> None:
    named = [place for place, _ in links(INDEX)]
    assert sorted(set(named)) == sorted(named)
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= set(named)


def test_the_readme_leads_to_the_index() -> None:
    assert "registry/docs/README.md" in [place for place, _ in links(REPOSITORY / "README.md")]


@pytest.mark.parametrize("text", ["[x](gone.md)", "[x](api.md#no-such-heading)", "![x](images/gone.png)", "[x](#gone)"])
def test_a_broken_link_is_noticed(text: str) -> None:
    assert len(broken(INDEX, text)) == 1
    assert broken(INDEX, f"`{text}`\n[api](api.md#the-past)\n") == []
