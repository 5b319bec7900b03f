"""The OpenAPI document holds every route, and the check of answers against it can see."""

from __future__ import annotations

import json
import threading

import pytest

from registry.http_api import operations
from registry.http_api.call import Call
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS, openapi_document
from tests.support.conformance import DOCUMENT, check
from tests.support.wires import two_lanes

JSON = [("Content-Type", "application/json; charset=UTF-8")]
FIND = "/v4/default/registry/instances?appId=a&serviceName=b"


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    """Clients are generated from it."""
    documented = {(method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert documented == {(route.method, route.path) for route in (*OPERATIONS, *ACCOUNT_OPERATIONS)}


def test_without_accounts_the_document_does_not_speak_of_them() -> None:
    paths = json.loads(openapi_document(with_accounts=False))["paths"]
    assert {(method.upper(), path) for path, found in paths.items() for method in found} == {
        (route.method, route.path) for route in OPERATIONS
    }
    assert "401" not in {status for path in paths.values() for found in path.values() for status in found["responses"]}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_document_is_made_beside_those_who_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second, and heartbeats come meanwhile."""
    threads = []

    def make(with_accounts: bool) -> bytes:
        threads.append(threading.current_thread())
        return b"{}"

    monkeypatch.setattr(operations, "openapi_document", make)
    lane, _ = await two_lanes()
    answer = await operations.get_openapi(lane.replica.api, Call({}, b"", {}, "", b""))
    assert answer.body == b"{}"
    assert threads != []
    assert threading.main_thread() not in threads


def test_every_operation_says_what_it_is_and_has_an_id_of_its_own() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_reference_leads_to_something() -> None:
    text = str(DOCUMENT)
    for name in {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"instances":null}'),
        (200, b'{"instances":[{"status":1}]}'),
        (400, b'{"errorCode":400012,"errorMessage":"x"}'),
        (418, b"{}"),
    ],
)
def test_an_answer_that_the_document_does_not_know_is_seen(status: int, body: bytes) -> None:
    """A check that cannot fail would let every answer through."""
    with pytest.raises(AssertionError):
        check("GET", FIND, status, JSON, body)


def test_an_answer_that_the_document_knows_is_let_through() -> None:
    check("GET", FIND, 200, JSON, b"{}")
    check("GET", FIND, 304, [], b"")
    check("GET", FIND, 400, JSON, b'{"errorCode":"400012","errorMessage":"x"}')
