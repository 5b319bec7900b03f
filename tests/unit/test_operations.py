"""The operation table is complete, and every path leads to its operation."""

from __future__ import annotations

import re

import pytest

from registry.access.rule import Need, Target
from registry.domain.accounts import RESOURCES, VERBS
from registry.domain.errors import InvalidParams
from registry.http_api.operation import Kind, Operation
from registry.http_api.operations import ACCOUNT_OPERATIONS, Routes
from registry.http_api.operations import OPERATIONS as USUAL_OPERATIONS
from registry.http_api.target import refusal, segments

OPERATIONS = (*USUAL_OPERATIONS, *ACCOUNT_OPERATIONS)
ROUTES = Routes(OPERATIONS)


def path_of(operation: Operation, v3: bool = False) -> str:
    path = re.sub(r"{(\w+)}", r"some-\1", operation.path)
    return path.replace("/v4/some-project/registry", "/registry/v3") if v3 else path


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_path_leads_to_its_operation(operation: Operation) -> None:
    for v3 in (False, True) if operation.in_v3 else (False,):
        found = ROUTES.find(path_of(operation, v3).split("/")[1:])
        assert found is not None
        operations, values = found
        assert operations[operation.method] is operation
        names = set(re.findall(r"{(\w+)}", operation.path)) - ({"project"} if v3 else set())
        assert values == {name: f"some-{name}" for name in names}


def test_names_are_unique_and_every_row_says_what_it_needs() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert operation.summary, operation.name
        assert (operation.access.verb in VERBS) == (operation.access.need is Need.RIGHT), operation.name
        assert (operation.access.resource in RESOURCES) == (operation.access.need is Need.RIGHT), operation.name
        if operation.access.target is Target.SERVICE:
            assert "{service_id}" in operation.path, operation.name
        assert set(operation.required) <= set(operation.query), operation.name
        assert (operation.socket is not None) == (operation.kind is Kind.SOCKET), operation.name
        if operation.kind in (Kind.READ, Kind.PAST, Kind.FEED):
            assert operation.method == "GET" or operation.access.verb == "get", operation.name
        else:
            assert operation.method != "GET" or operation.kind is Kind.SOCKET, operation.name


def test_a_route_without_an_access_rule_cannot_be_made() -> None:
    """It would be open to everybody, and nobody would notice."""
    some = OPERATIONS[0]
    with pytest.raises(TypeError, match="access"):
        Operation(name="new", method="GET", path="/new", handler=some.handler)  # type: ignore[call-arg]  # the test


#: They are open on purpose: probes, what they say of the registry itself, and the way to a token.
OPEN_TO_ALL = {
    *("get-version", "get-version-short", "get-health", "get-health-short", "get-readiness", "get-openapi", "log-in"),
}


def test_only_probes_and_the_log_in_are_open_to_all() -> None:
    assert {operation.name for operation in OPERATIONS if operation.access.need is Need.NOTHING} == OPEN_TO_ALL


@pytest.mark.parametrize("project", ["accounts", "token", "roles", "self-perms"])
def test_a_project_may_be_called_as_an_account_route(project: str) -> None:
    """The routes of the accounts stand where projects do."""
    found = ROUTES.find(["v4", project, "registry", "microservices"])
    assert found is not None
    assert found[1] == {"project": project}
    assert "POST" in found[0]


def test_what_stands_nowhere_is_not_found() -> None:
    for path in (
        "/",
        "/nowhere",
        "/v4",
        "/v4/p",
        "/v4/p/registry",
        "/v4//registry/instances",
        "/version/",
        "/version/x",
    ):
        assert ROUTES.find(path.split("/")[1:]) is None, path
    assert ROUTES.find(["registry", "v3", "instances", "action"]) is None, "the third version never had it"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v4/a%20b/registry", ["v4", "a b", "registry"]),
        (b"/v4/%2e%2e/x", ["v4", "..", "x"]),
        (b"/v4/a%2fb/x", None),
        (b"/v4/..%2f..%2fadmin%2fdump", None),
        (b"/a%252fb", ["a%2fb"]),
    ],
)
def test_segments_are_decoded_one_by_one(path: bytes, expected: list[str] | None) -> None:
    """A `/` that was encoded is none of the path's."""
    assert segments(path) == expected


@pytest.mark.parametrize("path", [b"/v4/\xc3\xbc", b"/v4/%ff"])
def test_path_that_is_no_text_is_refused(path: bytes) -> None:
    with pytest.raises(InvalidParams):
        segments(path)


def test_encoded_dots_are_never_a_redirection() -> None:
    """They are data; only what is written as `..` is cleaned."""
    assert refusal("GET", b"/v4/default/registry/..%2f..%2fadmin%2fdump", b"") is None
    moved = refusal("GET", b"/v4/default/registry/../admin", b"a=b")
    assert moved is not None
    assert (moved.status, dict(moved.headers)[b"Location"]) == (301, b"/v4/default/admin?a=b")
