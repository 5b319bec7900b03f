"""GET existence: is it registered, and under which id (api-rules.md 3.2, D6, clients.md 0.3, 0.4)."""

from __future__ import annotations

import pytest

from tests.support.api import Api, assert_refused, ok


def path(name: str = "cart", version: str = "1.0.0", more: str = "") -> str:
    return f"/existence?type=microservice&appId=shop&serviceName={name}&version={version}{more}"


def test_existing_service_is_answered_by_its_id(api: Api) -> None:
    """200 always comes with the serviceId: java clients go on to GET it (clients.md 0.4)."""
    service_id = api.service(version="1.0.0")
    response = ok(api.get(path()))
    assert response.json() == {"serviceId": service_id}


def test_unknown_name_is_400012(api: Api) -> None:
    """And JSON, which sc-client decodes for every status (clients.md 0.4)."""
    assert_refused(api.get(path()), 400012)


def test_unknown_version_of_a_known_name_is_400026(api: Api) -> None:
    """The name is there, the version is not; 1.0 is not 1.0.0 (api-rules.md 3.2)."""
    api.service(version="1.0")
    assert_refused(api.get(path()), 400026, "1.0.0")


@pytest.mark.parametrize(
    ("rule", "version"),
    [("latest", "2.0"), ("0%2B", "2.0"), ("1.0-2.0", "1.5"), ("1.0", "1.0"), ("0+", "2.0"), ("0%252B", "2.0")],
)
def test_rule_is_answered_by_the_newest_match(api: Api, rule: str, version: str) -> None:
    """Exact or a rule (D6)."""
    service_ids = {version: api.service(version=version) for version in ("1.0", "2.0", "1.5")}
    assert ok(api.get(path(version=rule))).json() == {"serviceId": service_ids[version]}


def test_rule_without_a_match_is_400026(api: Api) -> None:
    """As for an exact version (D6)."""
    api.service(version="1.0")
    assert_refused(api.get(path(version="3%2B")), 400026)


def test_alias_exists(api: Api) -> None:
    """Looked at when no service has the name (api-rules.md 3.2)."""
    service_id = api.service(alias="shop:cart", version="1.0.0")
    assert ok(api.get(path("shop:cart"))).json() == {"serviceId": service_id}
    assert_refused(api.get(path("shop:cart", "2.0")), 400026)


def test_environment_is_part_of_the_key(api: Api) -> None:
    """Absent means none (api-rules.md 3.2)."""
    service_id = api.service(environment="testing", version="1.0.0")
    assert_refused(api.get(path()), 400012)
    assert ok(api.get(path(more="&env=testing"))).json() == {"serviceId": service_id}


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("", "`type`"),
        ("?type=tag", "`type`"),
        ("?type=microservice&serviceName=cart&version=1.0", "`appId`"),
        ("?type=microservice&appId=shop&version=1.0", "`serviceName`"),
        ("?type=microservice&appId=shop&serviceName=cart", "`version`"),
        ("?type=microservice&appId=shop&serviceName=cart&version=", "`version`"),
        ("?type=microservice&appId=shop&serviceName=cart&version=v1", "version"),
        ("?type=microservice&appId=shop&serviceName=cart&version=1.0&env=moon", "`env`"),
        ("?type=schema&serviceId=a%20b&schemaId=s", "`serviceId`"),
        ("?type=schema", "`serviceId`"),
        ("?type=schema&serviceId=s&schemaId=a%20b", "`schemaId`"),
    ],
)
def test_bad_parameter_is_refused_by_name(api: Api, query: str, place: str) -> None:
    """400001 (api-rules.md 3.2)."""
    api.service(version="1.0.0")
    assert_refused(api.get("/existence" + query), 400001, place)


def test_schema_of_an_unknown_service_is_400012(api: Api) -> None:
    """api-rules.md 3.2."""
    assert_refused(api.get("/existence?type=schema&serviceId=nobody&schemaId=s"), 400012)


def test_declared_schema_without_content_is_400016(api: Api) -> None:
    """Clients upload the schema on 400016 (api-rules.md 3.2)."""
    service_id = api.service(schemas=["declared"])
    for schema_id in ("declared", "unknown"):
        assert_refused(api.get(f"/existence?type=schema&serviceId={service_id}&schemaId={schema_id}"), 400016)
