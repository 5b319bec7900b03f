"""Tenants: `X-Domain-Name` and the project of the path separate registries (api-rules.md 1.1, clients.md 0.19).

And the one thing that everybody sees: the registry's own microservice SERVICECENTER.
"""

from __future__ import annotations

import uuid

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.http import Connection
from tests.support.replica import Replica


def test_tenants_do_not_see_each_other(api: Api, connection: Connection) -> None:
    """What is registered in one domain does not exist in another, by name, id or list."""
    service_id = api.service()
    instance_id = api.instance(service_id)
    other = Api(connection, api.domain + "-other")
    assert_refused(other.find(), 400012)
    assert_refused(other.get(f"/microservices/{service_id}"), 400012)
    assert_refused(other.instances_of(service_id), 400012)
    assert_refused(other.put(f"/microservices/{service_id}/instances/{instance_id}/heartbeat"), 400017)
    assert ok(other.get("/microservices")).body == b"{}"
    assert_refused(other.delete(f"/microservices/{service_id}?force=1"), 400012)
    assert ids(api.find()) == [instance_id]


def test_projects_do_not_see_each_other(api: Api, connection: Connection) -> None:
    """The same domain with another `{project}` is another registry."""
    api.service()
    other = Api(connection, api.domain, "another")
    assert_refused(other.find(), 400012)
    other.service()
    ok(other.find())


def test_ids_and_revs_differ_between_tenants(api: Api, connection: Connection) -> None:
    """Two tenants with the same service have different ids and revisions of it."""
    other = Api(connection, api.domain + "-other")
    assert api.service() != other.service()
    assert api.find().rev != other.find().rev


def test_same_chosen_ids_in_two_tenants_are_two_services(api: Api, connection: Connection) -> None:
    """An id is unique within its tenant only, leases included."""
    other = Api(connection, api.domain + "-other")
    for tenant in (api, other):
        tenant.instance(tenant.service(serviceId="s"), instanceId="i", hostName=tenant.domain[-64:])
    ok(other.delete("/microservices/s/instances/i"))
    assert ids(api.find()) == ["i"]
    ok(api.put("/microservices/s/instances/i/heartbeat"))


@pytest.mark.parametrize("headers", [{}, {"X-Domain-Name": ""}], ids=["absent", "blank"])
def test_missing_domain_is_default(connection: Connection, headers: dict[str, str]) -> None:
    """Clients without tenants send no header (api-rules.md 1.1)."""
    project = uuid.uuid4().hex
    service_id = Api(connection, "default", project).service()
    response = connection.request("GET", f"/v4/{project}/registry/microservices/{service_id}", None, headers)
    ok(response)


def test_domain_header_matches_in_any_case(api: Api, connection: Connection) -> None:
    """The pages write `x-domain-name` (api-rules.md 9.1-11)."""
    service_id = api.service()
    for name in ("x-domain-name", "X-DOMAIN-NAME"):
        path = f"/v4/default/registry/microservices/{service_id}"
        ok(connection.request("GET", path, None, {name: api.domain}))


def test_domain_given_twice_is_refused(api: Api, connection: Connection) -> None:
    """Whose request it is must not depend on which header a proxy keeps."""
    request = (
        b"GET /v4/default/registry/microservices HTTP/1.1\r\nHost: h\r\nX-Domain-Name: a\r\nx-domain-name: b\r\n\r\n"
    )
    assert_refused(connection.exchange(request), 400001)


@pytest.mark.parametrize("name", ["a/b", "{a}", "a:b", "%41", "a b", "ü", "\U0001f600", "a}:lease:b", "*", "n" * 256])
def test_any_domain_name_is_a_tenant_of_its_own(connection: Connection, name: str) -> None:
    """Names are not validated, so none may be mistaken for another or for part of a key (api-rules.md 1.1)."""
    tenant = Api(connection, name, uuid.uuid4().hex)
    instance_id = tenant.instance(tenant.service())
    assert ids(tenant.find()) == [instance_id]
    assert_refused(Api(connection, f"{name[:-1]}", tenant.project).find(), 400012)


def test_domain_name_has_a_limit(connection: Connection) -> None:
    """256 bytes of domain or project; more is refused instead of stored in every key."""
    assert_refused(Api(connection, "n" * 257).find(), 400001)
    assert_refused(Api(connection, "d", "p" * 257).find(), 400001)


def test_domain_name_that_is_not_utf_8_is_refused(connection: Connection) -> None:
    """Bytes that are no text cannot be shown to anybody."""
    headers = {"X-Domain-Name": b"\xff"}
    assert_refused(connection.request("GET", "/v4/default/registry/microservices", None, headers), 400001)


# -- SERVICECENTER -----------------------------------------------------------------------------------------------------


def own_service_id(default_api: Api) -> str:
    services = ok(default_api.get("/microservices?withShared=1")).json()["services"]
    (own,) = [service for service in services if service["serviceName"] == "SERVICECENTER"]
    return str(own["serviceId"])


def test_registry_is_an_instance_of_itself(default_api: Api, registry: Replica) -> None:
    """GoSC replaces its address pool by what `health` lists, and takes an empty list for an error (clients.md 0.19)."""
    (instance,) = ok(default_api.get("/health")).json()["instances"]
    assert instance["endpoints"] == [f"rest://127.0.0.1:{registry.port}/"]
    assert instance["serviceId"] == own_service_id(default_api)
    assert instance["healthCheck"] == {"mode": "push", "interval": 30, "times": 3}


def test_health_is_the_same_for_every_tenant(api: Api, default_api: Api) -> None:
    """Project and domain are ignored (api-rules.md 3.1)."""
    assert api.get("/health").body == default_api.get("/health").body
    assert api.connection.request("GET", "/health").body == default_api.get("/health").body
    assert default_api.get("/health").rev == ""


@pytest.mark.parametrize("version", ["latest", "0+", "0.0.0.0+", ""])
def test_servicecenter_is_found_from_any_tenant_and_environment(api: Api, version: str) -> None:
    """Java 2 finds `default`/`SERVICECENTER` version `latest` with its own id as consumer (api-rules.md 3.1)."""
    consumer = api.service("consumer", environment="testing")
    for asking in ("", consumer):
        response = ok(api.find("SERVICECENTER", "default", asking, version=version))
        assert len(response.json()["instances"]) == 1
    assert api.find("SERVICECENTER", "default", version=version, rev=response.rev).status == 304


def test_servicecenter_is_found_in_a_batch(api: Api) -> None:
    """As in a single find."""
    element = {"service": {"appId": "default", "serviceName": "SERVICECENTER", "version": "latest"}}
    (updated,) = ok(api.batch([element])).json()["services"]["updated"]
    assert len(updated["instances"]) == 1


def test_servicecenter_is_hidden_from_the_list(default_api: Api) -> None:
    """Users list their services, not ours, unless they ask (api-rules.md 3.2)."""
    for query in ("", "?withShared=0", "?withShared=false"):
        services = ok(default_api.get(f"/microservices{query}")).json().get("services", [])
        assert "SERVICECENTER" not in [service["serviceName"] for service in services]
    for query in ("?withShared=1", "?withShared=true"):
        services = ok(default_api.get(f"/microservices{query}")).json()["services"]
        assert "SERVICECENTER" in [service["serviceName"] for service in services]


@pytest.mark.parametrize("query", ["", "?force=1"])
def test_servicecenter_cannot_be_deleted(default_api: Api, query: str) -> None:
    """Not even by force: clients would lose the registry's addresses (api-rules.md 3.2)."""
    service_id = own_service_id(default_api)
    assert_refused(default_api.delete(f"/microservices/{service_id}{query}"), 400001)
    assert own_service_id(default_api) == service_id


def test_servicecenter_of_another_tenant_is_an_ordinary_service(api: Api) -> None:
    """Its name is protected in the default tenant only."""
    service_id = api.service("SERVICECENTER", appId="shop")
    ok(api.delete(f"/microservices/{service_id}"))
