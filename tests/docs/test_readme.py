"""README.md tells the truth: every route, setting and error code stands in it, and nothing that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import registry.store.port  # noqa: F401  (defines the errors of the store)
from registry.domain.errors import RegistryError
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS
from registry.settings import Settings, variable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _rows(heading: str) -> list[list[str]]:
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]


def test_every_setting_has_a_row_with_its_default_unit_and_meaning() -> None:
    """An operator looks settings up here and nowhere else."""
    documented = {row[0].strip("`"): row[1:] for row in _rows("Settings")[1:]}
    expected = {variable(s.name): [str(s.default), s.metadata["unit"], s.metadata["help"]] for s in fields(Settings)}
    assert documented == expected


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    documented = set(re.findall(r"`(GET|POST|PUT|DELETE) ([^`]+)`", README.split("## API\n", 1)[1].split("\n### ")[0]))
    expected = {
        (route.method, route.path.replace("/v4/{project}/registry", "{R}"))
        for route in (*OPERATIONS, *ACCOUNT_OPERATIONS)
    }
    assert documented == expected


def _errors(base: type[RegistryError]) -> Iterator[type[RegistryError]]:
    yield base
    for error in base.__subclasses__():
        yield from _errors(error)


def test_every_error_code_has_a_row_and_every_row_a_code() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d{6}) \|", README, re.MULTILINE)}
    assert documented == {error.code for error in _errors(RegistryError)}


def test_every_decision_that_the_readme_points_to_exists() -> None:
    """Paths in backquotes are there for a newcomer to open."""
    paths = list(re.findall(r"`((?:registry|benchmarks|scripts)/[^`\s]*)`", README))
    paths += [
        f"registry/{path}"
        for path in re.findall(
            r"`((?:domain|access|store|projection|usecases|upkeep|http_api|serving|running)/[^`]+)`", README
        )
    ]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_codes_of_an_unknown_version_name_the_calls_that_answer_them() -> None:
    """A client that looks its 400 up must not have to guess which of the two it will get."""
    meanings = dict(re.findall(r"^\| (400012|400026) \| (.*) \|$", README, re.MULTILINE))
    assert "find and batch find" in meanings["400012"]
    assert "existence" not in meanings["400012"]
    assert "of existence only" in meanings["400026"]
