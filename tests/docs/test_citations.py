"""What code, tests and pages cite is there: places of pages, files, decisions, tests."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
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
#: A file of this repository: by a path, or a page or a module of tests by its name.
FILE = re.compile(r"(?<![\w./-])((?:[a-z_][\w-]*/)+[\w.-]+\.[a-z]{2,4}\b|[a-z][\w-]*\.md\b|test_\w+\.py\b)(?![\w/])")
TEST = re.compile(r"(?<![\w./])test_\w+\b(?!\.py|\*)")
REASON = re.compile(r"\b[Dd]ecisions? (\d+(?:(?:, | and )\d+)*)")
#: What the benchmark writes, and what others' programs read.
ELSEWHERE = {"results.md", "conf/chassis.yaml"}
#: Issues and papers that stand outside the repository.
OUTSIDE = re.compile(r"\b[Ii]ssue #?\d+|(?<![\w&])#\d+\b|/work/|\bADR\b")


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
            ours = "node_modules" not in path.parts and path != Path(__file__)
            if ours and path.suffix in (".py", ".md", ".lua", ".sh", "") and path.is_file():
                yield path.relative_to(ROOT), path.read_text(errors="replace")


@cache
def files() -> frozenset[str]:
    """The files of the repository, each by its path and by every end of it."""
    found = [
        path.relative_to(ROOT)
        for name in CITING
        for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    return frozenset("/".join(path.parts[start:]) for path in found for start in range(len(path.parts)))


@cache
def known_tests() -> frozenset[str]:
    """The names of tests and of their modules."""
    modules = list((ROOT / "tests").rglob("test_*.py"))
    named = {name for path in modules for name in re.findall(r"def (test_\w+)", path.read_text())}
    return frozenset(named | {path.stem for path in modules})


def prose(path: Path, text: str) -> str:
    """What is written for people: comments and docstrings of a program, a page without its blocks."""
    if path.suffix == ".md":
        return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    if path.suffix != ".py":
        return "\n".join(line for line in text.splitlines() if re.match(r"\s*(#|--|//|\*|/\*)", line))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = [token.string for token in tokens if token.type == tokenize.COMMENT]
    statements = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr))
    lines += [each.value for each in statements if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return "\n".join(lines)


def lost(text: str) -> list[str]:
    """What a text cites that the repository does not hold."""
    reasons = {int(path.name[:4]) for path in (ROOT / "registry" / "decisions").glob("0*.md")}
    cited = [name for names in REASON.findall(text) for name in re.findall(r"\d+", names)]
    return [
        *(name for name in FILE.findall(text) if name not in files() | ELSEWHERE),
        *(name for name in TEST.findall(text) if name not in known_tests()),
        *(f"decision {name}" for name in cited if int(name) not in reasons),
        *OUTSIDE.findall(text),
    ]


PLACES = {path.name: places_of(path.read_text()) for path in sorted(DOCS.glob("*.md"))}


def test_every_cited_place_is_there() -> None:
    """A reader who follows a citation finds the rule, and not another numbering of it."""
    missing = {
        f"{path}: {page} {place}"
        for path, text in texts()
        for page, place in citations(text)
        if place not in PLACES.get(page, set())
    }
    assert missing == set()


def test_every_cited_file_decision_and_test_is_there() -> None:
    """A citation that leads nowhere says that there is a reason, and keeps it."""
    missing = [f"{path}: {name}" for path, text in texts() for name in lost(prose(path, text))]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see store/port.py, tests/unit/test_keys.py and api.md", []),
        ("see store/prot.py and gone.md", ["store/prot.py", "gone.md"]),
        ("`test_keys` and test_nobody_wrote_this", ["test_nobody_wrote_this"]),
        ("decision 1, decisions 2 and 99", ["decision 99"]),
        ("as issue 19 asks, #7, ADR 6, /work/shared/design", ["issue 19", "#7", "ADR", "/work/"]),
        ("&#13; %231 https://example.com/a/b.html `application.yml`", []),
    ],
)
def test_a_citation_that_leads_nowhere_is_noticed(text: str, missing: list[str]) -> None:
    assert lost(text) == missing


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
