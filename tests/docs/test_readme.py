"""The tables tell the truth: each route, setting and error code stands in its page, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

import pytest

import registry.store.port  # noqa: F401  (defines the errors of the store)
from registry.domain.errors import RegistryError
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS
from registry.settings import Settings, variable
from tests.support.pages import DOCS, REPOSITORY, page, rows


def test_every_setting_has_a_row_with_its_default_unit_and_meaning() -> None:
    """An operator looks settings up here and nowhere else."""
    documented = [(row[0].strip("`"), row[1:]) for row in rows("settings.md")]
    expected = {variable(s.name): [str(s.default), s.metadata["unit"], s.metadata["help"]] for s in fields(Settings)}
    assert len(documented) == len(expected)
    assert dict(documented) == expected


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    documented = re.findall(r"`(GET|POST|PUT|DELETE) ([^`]+)`", "\n".join(row[0] for row in rows("api.md")))
    expected = {
        (route.method, route.path.replace("/v4/{project}/registry", "{R}"))
        for route in (*OPERATIONS, *ACCOUNT_OPERATIONS)
    }
    assert len(documented) == len(expected)
    assert set(documented) == expected


def test_parameters_of_an_operation_stand_in_its_row() -> None:
    """What a row leaves out is asked of the source."""
    told = {place: " ".join(row) for row in rows("api.md") for place in re.findall(r"`(\w+ [^`]+)`", row[0])}
    for route in (*OPERATIONS, *ACCOUNT_OPERATIONS):
        row = told[f"{route.method} {route.path.replace('/v4/{project}/registry', '{R}')}"]
        if "the same filters" not in row:
            assert {name for name in route.query if not re.search(rf"\b{name}\b", row)} == set(), route.name


def test_every_header_of_its_own_has_a_row() -> None:
    sources = (path.read_text() for path in (REPOSITORY / "registry").rglob("*.py"))
    named = {name for source in sources for name in re.findall(r"X-Registry-[A-Z][A-Za-z-]*[a-z]", source)}
    assert {row[0].strip("`") for row in rows("api.md", "## Headers of its own")} == named | {"X-Request-Id"}


def _errors(base: type[RegistryError]) -> Iterator[type[RegistryError]]:
    yield base
    for error in base.__subclasses__():
        yield from _errors(error)


def test_every_error_code_has_a_row_and_every_row_a_code() -> None:
    documented = {int(row[0]) for row in rows("errors.md")}
    assert documented == {error.code for error in _errors(RegistryError)}


def test_codes_of_an_unknown_version_name_the_calls_that_answer_them() -> None:
    """A client that looks its 400 up must not have to guess which of the two it will get."""
    meanings = {row[0]: row[1] for row in rows("errors.md")}
    assert "find and batch find" in meanings["400012"]
    assert "existence" not in meanings["400012"]
    assert "of existence only" in meanings["400026"]


#: Variables of the client and the command, of the compose file and of the tests; and one that Kubernetes makes.
OTHERS = {
    *("REGISTRY_SERVER", "REGISTRY_TENANT", "REGISTRY_PROJECT", "REGISTRY_USER", "REGISTRY_PROFILE"),
    *("REGISTRY_PASSWORD", "REGISTRY_NEW_PASSWORD", "REGISTRY_PUBLIC_HOST", "REGISTRY_PUBLISH_ON"),
    *("REGISTRY_CONSOLE_SCALE", "REGISTRY_OTHER_CLIENTS", "REGISTRY_SERVICE_HOST"),
}
PAGES = ["README.md", *sorted(path.name for path in DOCS.glob("*.md") if path.name != "README.md")]


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_that_a_page_names_is_one(name: str) -> None:
    named = set(re.findall(r"\b(?:REGISTRY|QUOTA|SC|CSE)_[A-Z_]*[A-Z]\b", page(name)))
    assert named - {variable(setting.name) for setting in fields(Settings)} - OTHERS == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_operation_that_a_page_names_is_one(name: str) -> None:
    named = re.findall(r"`(GET|HEAD|POST|PUT|DELETE) ((?:/|\{R\})[^\s?`]+)", page(name))
    routes = [
        (route.method, re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(route.path)))
        for route in (*OPERATIONS, *ACCOUNT_OPERATIONS)
    ]
    for method, path in named:
        whole = path.replace("{R}", "/v4/{project}/registry")
        assert any(method == each and re.fullmatch(route, whole) for each, route in routes), f"{method} {path}"


def test_every_module_that_the_reading_order_names_exists() -> None:
    """Paths in backquotes are there for a newcomer to open."""
    paths = re.findall(r"`((?:registry|benchmarks|scripts)/[^`\s]*)`", page("README.md") + page("design.md"))
    paths += [
        f"registry/{path}"
        for path in re.findall(
            r"`((?:domain|access|store|projection|usecases|upkeep|http_api|serving|running)/[^`]+)`", page("design.md")
        )
    ]
    assert len(paths) > 10
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
