"""Schemas of a microservice: put one, replace all, get, list, delete, and whether one exists.

api-rules.md 3.4, 3.2 (existence), 7, D18; clients.md 0.23.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ok


def path(service_id: str, schema_id: str = "") -> str:
    return f"/microservices/{service_id}/schemas" + (f"/{schema_id}" if schema_id else "")


def put(api: Api, service_id: str, schema_id: str, schema: str = "text", **members: str) -> None:
    assert_empty(api.put(path(service_id, schema_id), {"schema": schema, **members}))


def listed(api: Api, service_id: str, query: str = "") -> list[dict[str, str]]:
    schemas = ok(api.get(path(service_id) + query)).json().get("schemas", [])
    assert isinstance(schemas, list)
    return schemas


# -- one schema --------------------------------------------------------------------------------------------------------


def test_schema_is_answered_with_its_summary_in_a_header(api: Api, service_id: str) -> None:
    """sc-client compares the body's bytes; the summary stands in the header alone (clients.md 0.23)."""
    put(api, service_id, "s1", 'a "b" ü\n', summary="5e1f")
    response = ok(api.get(path(service_id, "s1")))
    assert response.body == '{"schema":"a \\"b\\" ü\\n"}'.encode()
    assert b"\r\nX-Schema-Summary: 5e1f\r\n" in response.head


def test_put_overwrites_in_any_environment(api: Api) -> None:
    """No locking in production (D18): java takes a refused PUT for a failed registration (3.4)."""
    for environment in ("", "production", "development"):
        service_id = api.service(environment=environment, schemas=["declared"])
        put(api, service_id, "undeclared", "one", summary="a")
        put(api, service_id, "undeclared", "two", summary="b")
        response = api.get(path(service_id, "undeclared"))
        assert (response.json(), response.header("X-Schema-Summary")) == ({"schema": "two"}, "b")


def test_put_without_a_summary_takes_the_old_one_away(api: Api, service_id: str) -> None:
    """It was of other content (3.4)."""
    put(api, service_id, "s1", "one", summary="a")
    put(api, service_id, "s1", "one")
    assert listed(api, service_id) == [{"schemaId": "s1"}]
    assert b"\r\nX-Schema-Summary: \r\n" in api.get(path(service_id, "s1")).head


def test_put_appends_a_new_id_to_the_service(api: Api) -> None:
    """Java compares the service's `schemas` with its own (3.4, 9.1-7); modTimestamp is not touched."""
    service_id = api.service(schemas=["b"])
    before = api.read_service(service_id)
    put(api, service_id, "a")
    put(api, service_id, "b")
    assert api.read_service(service_id) == {**before, "schemas": ["b", "a"]}


def test_ids_in_the_body_are_overridden_by_the_path(api: Api, service_id: str) -> None:
    """D9."""
    other = api.service("other")
    put(api, service_id, "s1", "text", schemaId="s2", serviceId=other)
    assert listed(api, service_id) == [{"schemaId": "s1"}]
    assert listed(api, other) == []


@pytest.mark.parametrize("schema_id", ["a", "a" * 160, "org.x.Y-z_1", "0"])
def test_schema_id_within_its_limits_is_kept(api: Api, service_id: str, schema_id: str) -> None:
    """1 to 160, alphanumeric ends: dubbo names the java interface (3.4, clients.md 1.D)."""
    put(api, service_id, schema_id)
    assert ok(api.get(path(service_id, schema_id))).json() == {"schema": "text"}
    assert_empty(api.delete(path(service_id, schema_id)))


@pytest.mark.parametrize("schema_id", ["a" * 161, "-a", "a-", "a%20b", "a%0A", "%C3%A4", "a:b"])
def test_schema_id_of_another_form_is_refused(api: Api, service_id: str, schema_id: str) -> None:
    """By every call that names one (3.4, 7)."""
    assert_refused(api.put(path(service_id, schema_id), {"schema": "text"}), 400001, "the path")
    assert_refused(api.get(path(service_id, schema_id)), 400001, "the path")
    assert_refused(api.delete(path(service_id, schema_id)), 400001, "the path")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "$.schema"),
        ({"schema": ""}, "$.schema"),
        ({"schema": None}, "$.schema"),
        ({"schema": {}}, "$.schema"),
        ({"schema": "text", "summary": "a-b"}, "$.summary"),
        ({"schema": "text", "summary": "a" * 129}, "$.summary"),
        ({"schema": "text", "summary": 1}, "$.summary"),
        ([], "$"),
        (b"", "$"),
    ],
)
def test_bad_schema_is_refused_by_place(api: Api, service_id: str, body: Any, place: str) -> None:
    """The text is needed, the summary is up to 128 letters and digits (3.4)."""
    assert_refused(api.put(path(service_id, "s1"), body), 400001, place)
    assert listed(api, service_id) == []


def test_summary_of_128_and_a_large_schema_are_kept(api: Api, service_id: str) -> None:
    """The body may have 2 MiB (1.2)."""
    text = "x" * 1_000_000
    put(api, service_id, "s1", text, summary="a" * 128)
    response = ok(api.get(path(service_id, "s1")))
    assert response.json() == {"schema": text}
    assert response.header("X-Schema-Summary") == "a" * 128


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_and_only_declared_schemas_are_400016(api: Api, method: str) -> None:
    """An id without content is no schema (3.4); java uploads it then (9.1-2)."""
    service_id = api.service(schemas=["declared"])
    assert_refused(api.call(method, path(service_id, "unknown")), 400016, "unknown")
    assert_refused(api.call(method, path(service_id, "declared")), 400016, "declared")


def test_deleted_schema_stays_declared(api: Api, service_id: str) -> None:
    """Content and summary go; the id stays in the service and in the list (3.4)."""
    put(api, service_id, "s1", summary="a")
    assert_empty(api.delete(path(service_id, "s1")))
    assert_refused(api.get(path(service_id, "s1")), 400016)
    assert listed(api, service_id, "?withSchema=1") == [{"schemaId": "s1"}]
    assert api.read_service(service_id)["schemas"] == ["s1"]


# -- all of them -------------------------------------------------------------------------------------------------------


def complete(schema_id: str, text: str = "text", summary: str = "a") -> dict[str, str]:
    return {"schemaId": schema_id, "schema": text, "summary": summary}


def test_post_makes_the_schemas_exactly_these_in_this_order(api: Api) -> None:
    """Content of ids that are not in the list is dropped, declarations too (3.4)."""
    service_id = api.service(schemas=["declared"])
    before = api.read_service(service_id)
    put(api, service_id, "old")
    sent = [complete("z", "one"), complete("a", "two", "b")]
    assert_empty(api.post(path(service_id), {"schemas": sent}))
    assert listed(api, service_id, "?withSchema=1") == sent
    assert api.read_service(service_id) == {**before, "schemas": ["z", "a"]}
    assert_refused(api.get(path(service_id, "old")), 400016)


@pytest.mark.parametrize(
    ("schemas", "place"),
    [
        (None, "$.schemas"),
        ([], "$.schemas"),
        ([{}], "$.schemas[0]"),
        ([complete("a"), {**complete("b"), "schema": ""}], "$.schemas[1]"),
        ([{**complete("b"), "schemaId": ""}], "$.schemas[0]"),
        ([{**complete("b"), "summary": ""}], "$.schemas[0]"),
        ([{**complete("b"), "summary": None}], "$.schemas[0]"),
        ([{**complete("b"), "schemaId": "-"}], "$.schemas[0]"),
        ([complete("a"), complete("a", "other")], "$.schemas"),
        ([complete(f"s{number}") for number in range(101)], "$.schemas"),
        ([None], "$.schemas[0]"),
        ({}, "$.schemas"),
    ],
)
def test_bad_list_of_schemas_is_refused_and_changes_nothing(
    api: Api, service_id: str, schemas: Any, place: str
) -> None:
    """1 to 100, each complete, none twice; REF answers a repeated id with 500 (3.4)."""
    put(api, service_id, "old")
    assert_refused(api.post(path(service_id), {"schemas": schemas}), 400001, place)
    assert listed(api, service_id) == [{"schemaId": "old"}]


def test_hundred_schemas_are_the_most(api: Api, service_id: str) -> None:
    """PUT of one more is a quota, 400100; of one that is there it is none (3.4, 7, D11)."""
    assert_empty(api.post(path(service_id), {"schemas": [complete(f"s{number}") for number in range(100)]}))
    response = api.put(path(service_id, "more"), {"schema": "text"})
    assert_refused(response, 400100, "100 of 100")
    assert "QUOTA_SCHEMA" in response.json()["detail"]
    put(api, service_id, "s99", "another")
    assert len(listed(api, service_id)) == 100


# -- list --------------------------------------------------------------------------------------------------------------


def test_list_without_schemas_is_exactly_braces(api: Api, service_id: str) -> None:
    """Java 2 asks at every start (3.4, clients.md 1.B)."""
    assert ok(api.get(path(service_id))).body == b"{}"


@pytest.mark.parametrize(
    ("query", "with_content"),
    [("", False), ("?withSchema=", False), ("?withSchema=0", False), ("?withSchema=1", True)],
)
def test_list_holds_declared_ids_and_those_with_content(api: Api, query: str, with_content: bool) -> None:
    """Content only when it is asked for; declared-only ids stand alone (3.4)."""
    service_id = api.service(schemas=["declared", "both"])
    put(api, service_id, "both", "one", summary="a")
    put(api, service_id, "late", "two")
    expected: list[dict[str, str]] = [
        {"schemaId": "declared"},
        {"schemaId": "both", "summary": "a"},
        {"schemaId": "late"},
    ]
    if with_content:
        expected[1]["schema"], expected[2]["schema"] = "one", "two"
    assert listed(api, service_id, query) == expected


def test_list_refuses_another_with_schema(api: Api, service_id: str) -> None:
    """3.4."""
    assert_refused(api.get(path(service_id) + "?withSchema=2"), 400001, "`withSchema`")


@pytest.mark.parametrize(("service_id", "code"), [("nobody", 400012), ("x" * 65, 400001)])
def test_schemas_of_an_unknown_service_are_refused(api: Api, service_id: str, code: int) -> None:
    """3.4."""
    assert_refused(api.put(path(service_id, "s1"), {"schema": "text"}), code)
    assert_refused(api.post(path(service_id), {"schemas": [complete("a")]}), code)
    assert_refused(api.get(path(service_id, "s1")), code)
    assert_refused(api.get(path(service_id)), code)
    assert_refused(api.delete(path(service_id, "s1")), code)


def test_schemas_go_with_their_service(api: Api, service_id: str) -> None:
    """Registered again under the same id it has none (3.2)."""
    put(api, service_id, "s1")
    ok(api.delete(f"/microservices/{service_id}"))
    assert api.service() == service_id
    assert ok(api.get(path(service_id))).body == b"{}"


# -- existence ---------------------------------------------------------------------------------------------------------


def test_schema_exists_with_its_summary_in_a_header(api: Api, service_id: str) -> None:
    """Java compares the summary with its own and uploads only what differs (3.2)."""
    put(api, service_id, "s1", summary="5e1f")
    response = ok(api.get(f"/existence?type=schema&serviceId={service_id}&schemaId=s1"))
    assert response.json() == {"serviceId": service_id, "schemaId": "s1"}
    assert b"\r\nX-Schema-Summary: 5e1f\r\n" in response.head


def test_schema_that_was_deleted_exists_no_more(api: Api, service_id: str) -> None:
    """Declared it stays, content it has none (3.2)."""
    put(api, service_id, "s1")
    ok(api.delete(path(service_id, "s1")))
    assert_refused(api.get(f"/existence?type=schema&serviceId={service_id}&schemaId=s1"), 400016)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("serviceId=nobody&schemaId=s1", 400012),
        ("schemaId=s1", 400001),
        ("serviceId=nobody", 400001),
        ("serviceId=nobody&schemaId=", 400001),
        ("serviceId=nobody&schemaId=-", 400001),
        (f"serviceId=nobody&schemaId={'s' * 161}", 400001),
    ],
)
def test_existence_of_a_schema_refuses_bad_parameters(api: Api, query: str, code: int) -> None:
    """Both are needed and have their limits (3.2, 7)."""
    assert_refused(api.get(f"/existence?type=schema&{query}"), code)
