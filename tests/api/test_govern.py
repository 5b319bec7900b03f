"""GET govern/microservices, govern/microservices/{serviceId}, govern/statistics, govern/apps, govern/relations.

api-rules.md 3.13. What the answers hold is tested in tests/unit/test_overviews.py; here, what is asked for how.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ok
from tests.support.http import Response


def govern(api: Api, path: str, headers: dict[str, str] | None = None) -> Response:
    target = f"/v4/{api.project}/govern/{path}"
    return api.connection.request("GET", target, None, {"X-Domain-Name": api.domain, **(headers or {})})


def details(api: Api, query: str = "") -> list[dict[str, Any]]:
    found = ok(govern(api, f"microservices{query}")).json().get("allServicesDetail", [])
    assert isinstance(found, list)
    return found


def names(api: Api, query: str) -> list[str]:
    return sorted(element["microService"]["serviceName"] for element in details(api, query))


def test_a_console_sees_services_instances_and_dependencies(api: Api) -> None:
    """The question that a console repeats every ten seconds (clients.md 1.M)."""
    cart, order = api.service("cart"), api.service("order")
    instance_id = api.instance(cart, endpoints=["rest://10.0.0.1:80"], properties={"zone": "z"})
    ok(api.find("cart", consumer=order))
    by_id = {
        element["microService"]["serviceId"]: element
        for element in details(api, "?options=instances,dependencies&withShared=true")
    }
    (instance,) = by_id[cart]["instances"]
    assert (instance["instanceId"], instance["status"]) == (instance_id, "UP")
    assert instance["endpoints"] == ["rest://10.0.0.1:80"]
    assert instance["timestamp"].isdigit()
    assert [consumer["serviceId"] for consumer in by_id[cart]["consumers"]] == [order]
    assert [provider["serviceId"] for provider in by_id[order]["providers"]] == [cart]


def test_nothing_registered_is_exactly_braces(api: Api) -> None:
    assert ok(govern(api, "microservices?options=instances")).body == b"{}"
    assert ok(govern(api, "apps")).body == b"{}"


def test_tenants_are_separate(api: Api, default_api: Api) -> None:
    service_id = api.service("cart")
    assert [element["microService"]["serviceId"] for element in details(api)] == [service_id]
    assert service_id not in [element["microService"]["serviceId"] for element in details(default_api)]


def test_options_are_a_comma_list_and_strange_ones_are_ignored(api: Api, service_id: str) -> None:
    api.instance(service_id)
    ok(api.post(f"/microservices/{service_id}/tags", {"tags": {"a": "b"}}))
    (element,) = details(api, "?options=tags,,nonsense,instances")
    assert set(element) == {"microService", "tags", "instances"}


def test_all_comes_with_statistics(api: Api, service_id: str) -> None:
    assert set(ok(govern(api, "microservices?options=all")).json()) == {"allServicesDetail", "statistics"}
    assert set(ok(govern(api, "microservices?options=statistics")).json()) == {"statistics"}
    assert set(ok(govern(api, "microservices?options=statistics,tags")).json()) == {"allServicesDetail", "statistics"}


def test_filters(api: Api) -> None:
    """Exact; `property` may be repeated, and without a value means the empty one."""
    api.service("cart", properties={"a": "b", "c": "", "d": "x:y"})
    api.service("order", environment="production", properties={"a": "b"})
    assert names(api, "?appId=shop") == ["cart", "order"]
    assert names(api, "?appId=other") == []
    assert names(api, "?serviceName=cart") == ["cart"]
    assert names(api, "?env=production") == ["order"]
    assert names(api, "?property=a:b") == ["cart", "order"]
    assert names(api, "?property=a:b&property=c") == ["cart"]
    assert names(api, "?property=d%3Ax:y") == ["cart"]
    assert names(api, "?property=a:b&property=a:c") == []


def test_count_only(api: Api, service_id: str) -> None:
    api.instance(service_id)
    (element,) = details(api, "?options=instances&countOnly=1")
    assert element["statics"] == {"instances": {"count": 1}}
    assert details(api, "?options=instances&countOnly=true") == [element]
    assert "instances" in details(api, "?options=instances&countOnly=0")[0]


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("microservices?countOnly=2", "countOnly"),
        ("microservices?withShared=perhaps", "withShared"),
        ("apps?env=moon", "env"),
    ],
)
def test_bad_parameters_are_refused(api: Api, path: str, at: str) -> None:
    assert_refused(govern(api, path), 400001, at)


def test_the_registrys_own_service_is_shown_on_request(default_api: Api) -> None:
    """It stands in the default tenant and is hidden there unless `withShared` asks for it."""
    assert "SERVICECENTER" not in names(default_api, "")
    assert "SERVICECENTER" in names(default_api, "?withShared=1")
    nodes = ok(govern(default_api, "relations?withShared=1")).json()["nodes"]
    assert "SERVICECENTER" in [node["name"] for node in nodes]
    assert "default" in ok(govern(default_api, "apps?env=production&withShared=true")).json()["appIds"]


def test_detail_of_one_service(api: Api, service_id: str) -> None:
    """What the detail page of the console shows; `options` there changes nothing (clients.md 1.N)."""
    instance_id = api.instance(service_id, properties={"zone": "z"})
    ok(api.put(f"/microservices/{service_id}/schemas/hello", {"schema": "swagger", "summary": "abc"}))
    response = ok(govern(api, f"microservices/{service_id}?options=instances"))
    assert list(response.json()) == ["service"]
    service = response.json()["service"]
    assert service["microService"] == api.read_service(service_id)
    assert service["instances"] == [api.read_instance(service_id, instance_id)]
    assert service["schemaInfos"] == [{"schemaId": "hello", "summary": "abc", "schema": "swagger"}]
    assert service["microServiceVersions"] == ["0.0.1"]


def test_detail_of_the_unknown_is_400012(api: Api) -> None:
    """400, never 404 (clients.md 0.3); what openapi calls `statistics` below microservices is read as an id."""
    assert_refused(govern(api, "microservices/nobody"), 400012, "nobody")
    assert_refused(govern(api, "microservices/statistics"), 400012)
    assert_refused(govern(api, "microservices/a%20b"), 400001)


def test_statistics(api: Api, service_id: str) -> None:
    api.instance(service_id)
    assert ok(govern(api, "statistics")).json() == {
        "statistics": {
            "services": {"count": 1, "onlineCount": 1},
            "instances": {"count": 1, "countByDomain": 1},
            "apps": {"count": 1},
        }
    }


def test_apps_without_env_are_those_of_no_environment(api: Api) -> None:
    api.service("cart")
    api.service("order", appId="desk", environment="production")
    assert ok(govern(api, "apps")).json() == {"appIds": ["shop"]}
    assert ok(govern(api, "apps?env=production")).json() == {"appIds": ["desk"]}


def test_relations(api: Api) -> None:
    cart, order = api.service("cart"), api.service("order")
    ok(api.find("cart", consumer=order))
    graph = ok(govern(api, "relations")).json()
    assert [node["id"] for node in graph["nodes"]] == [cart, order]
    assert [(line["from"]["id"], line["to"]["id"]) for line in graph["lines"]] == [(order, cart)]
    assert graph["circles"] is None


def test_relations_of_nothing_are_null(api: Api) -> None:
    assert ok(govern(api, "relations")).body == b'{"nodes":null,"lines":null,"circles":null}'


def test_answers_name_their_position_and_are_compressed_on_request(api: Api, service_id: str) -> None:
    """Read your own writes works here too; browsers ask for gzip."""
    for number in range(10):
        api.instance(service_id, endpoints=[f"rest://10.0.0.{number}:80"])
    plain = ok(govern(api, "microservices?options=instances"))
    assert plain.position == ok(api.get(f"/microservices/{service_id}")).position
    packed = ok(govern(api, "microservices?options=instances", {"Accept-Encoding": "gzip, deflate"}))
    assert packed.header("Content-Encoding") == "gzip"
    assert json.loads(gzip.decompress(packed.body)) == plain.json()
