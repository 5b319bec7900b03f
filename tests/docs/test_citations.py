"""What code and tests cite of the pages in `registry/docs` is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry

ROOT = Path(__file__).resolve().parents[2]
DOCS = Path(registry.__file__).parent / "docs"
#: Where citations are looked for.
CITING = ("registry", "tests", "benchmarks", "scripts", "README.md", "CHANGELOG.md")
#: One place: a section (3.2), an item of a list (9.1-4), a client (1.A), a decision (D4).
PLACE = r"(?:D\d+|\d+(?:\.(?:\d+|[A-Z]\b))*(?:-\d+)?)"
#: `page.md 3.2`, and further places of the same page behind commas.
CITATION = re.compile(rf"(?P<page>[a-z0-9-]+\.md) (?:section )?(?P<places>{PLACE}(?:(?:[,;]| and| to) {PLACE}\b)*)")
DECISION = re.compile(r"(?<![\w.{\-])D\d{1,2}\b(?!\.\w)")


def places_of(page: str) -> set[str]:
    """All that can be cited of a page: headings, rows and items by their numbers."""
    found = set(re.findall(r"^#{2,4} ([0-9A-Z][\w.]*?)\.? ", page, re.MULTILINE))
    found |= set(re.findall(r"^\| ((?:D|\d+\.)\d+) \|", page, re.MULTILINE))
    found |= set(re.findall(r"^- \*\*(\d[\d.]*\d) ", page, re.MULTILINE))
    section = ""
    for line in page.splitlines():
        if heading := re.match(r"#{2,4} ([0-9][\w.]*?)\.? ", line):
            section = heading[1]
        if item := re.match(r"(\d+)\. ", line):
            found.add(f"{section}-{item[1]}")
    return found


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Page and place of every citation in a text; a `D4` alone is one of the API's rules."""
    for match in CITATION.finditer(text):
        for place in re.findall(PLACE, match["places"]):
            if not place.startswith("D"):
                yield match["page"], place
    for decision in DECISION.findall(text):
        yield "api-rules.md", decision


def texts() -> Iterator[tuple[Path, str]]:
    for name in CITING:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix in (".py", ".md", ".lua", ".sh", "") and path.is_file() and path != Path(__file__):
                yield path.relative_to(ROOT), path.read_text(errors="replace")


PLACES = {path.name: places_of(path.read_text()) for path in sorted(DOCS.glob("*.md"))}


def test_every_cited_place_is_there() -> None:
    """A reader who follows a citation finds the rule, and not another numbering of it."""
    lost = {
        f"{path}: {page} {place}"
        for path, text in texts()
        for page, place in citations(text)
        if place not in PLACES.get(page, set())
    }
    assert lost == set()


def test_the_pages_are_cited() -> None:
    """Else the search above has nothing to look at."""
    cited = {page for _, text in texts() for page, _ in citations(text)}
    assert {"api-rules.md", "clients.md", "design.md"} <= cited


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see api-rules.md 3.2, 3.5 and 7).", [("api-rules.md", place) for place in ("3.2", "3.5", "7")]),
        ("(api-rules.md 9.1-4).", [("api-rules.md", "9.1-4")]),
        ("clients.md 1.0.3, 1.A.", [("clients.md", "1.0.3"), ("clients.md", "1.A")]),
        ("design.md section 10, which", [("design.md", "10")]),
        ("design.md 2-6: it", [("design.md", "2-6")]),
        ("as D4 says; D16.", [("api-rules.md", "D4"), ("api-rules.md", "D16")]),
        ("api-rules.md D1, 3.2.", [("api-rules.md", "3.2"), ("api-rules.md", "D1")]),
        ("%0D%0A, 0xD1, {D3}, README.md has", []),
    ],
)
def test_a_citation_is_seen(text: str, found: list[tuple[str, str]]) -> None:
    assert list(citations(text)) == found


def test_a_place_that_is_not_there_is_noticed() -> None:
    page = "## 3. Finds\n\n### 3.2 Names\n\n| D4 | x |\n- **1.0.3 Watching.** x\n\n### 9.1 Clients\n\n1. one\n2. two\n"
    assert places_of(page) == {"3", "3.2", "D4", "1.0.3", "9.1", "9.1-1", "9.1-2"}
