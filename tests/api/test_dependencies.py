"""Who depends on whom: what finds record, and what reads, the deprecated writes and deletions make of it.

api-rules.md 3.11, 3.12, 3.2 (400023).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_empty, assert_refused, ok, wanted


def related(api: Api, service_id: str, which: str, query: str = "") -> list[str]:
    """Ids of the service's `providers` or `consumers`, sorted."""
    services = ok(api.get(f"/microservices/{service_id}/{which}{query}")).json().get(which, [])
    return sorted(service["serviceId"] for service in services)


def providers(api: Api, service_id: str, query: str = "") -> list[str]:
    return related(api, service_id, "providers", query)


def consumers(api: Api, service_id: str, query: str = "") -> list[str]:
    return related(api, service_id, "consumers", query)


@pytest.fixture
def consumer_id(api: Api) -> str:
    return api.service("consumer")


# -- recorded by finds -------------------------------------------------------------------------------------------------


def test_find_with_a_consumer_records_a_dependency(api: Api, service_id: str, consumer_id: str) -> None:
    """Seen by the next read, in both directions, as whole services (3.11, 3.12)."""
    ok(api.find(consumer=consumer_id))
    read = api.get(f"/microservices/{consumer_id}/providers")
    assert ok(read).json() == {"providers": [api.read_service(service_id)]}
    read = api.get(f"/microservices/{service_id}/consumers")
    assert ok(read).json() == {"consumers": [api.read_service(consumer_id)]}


def test_batch_find_records_each_service_that_it_finds(api: Api, service_id: str, consumer_id: str) -> None:
    """Elements that fail record nothing (3.8)."""
    till = api.service("till")
    ok(api.batch([wanted("nobody"), wanted(), wanted("till")], consumer=consumer_id))
    api.service("nobody")
    assert providers(api, consumer_id) == sorted([service_id, till])


def test_not_modified_find_records_too(api: Api, service_id: str, consumer_id: str) -> None:
    """A consumer that brings its rev from before it was deleted and registered again subscribes all the same."""
    rev = api.find().rev
    assert api.find(consumer=consumer_id, rev=rev).status == 304
    assert providers(api, consumer_id) == [service_id]


def test_find_by_alias_records_the_real_name(api: Api, consumer_id: str) -> None:
    """Also of versions that do not have the alias (3.12)."""
    aliased, plain = api.service(alias="shop:cart", version="1.0"), api.service(version="2.0")
    ok(api.find("shop:cart", consumer=consumer_id))
    assert providers(api, consumer_id) == sorted([aliased, plain])


def test_find_without_instances_records(api: Api, service_id: str, consumer_id: str) -> None:
    """A provider that is down is the one to be told of when it is up again (3.12)."""
    assert ok(api.find(consumer=consumer_id)).body == b"{}"
    assert consumers(api, service_id) == [consumer_id]


def test_providers_are_all_versions_and_consumers_are_of_any(api: Api, consumer_id: str) -> None:
    """A dependency is on a name, whichever versions it has now or later (3.11)."""
    old = api.service(version="1.0")
    ok(api.find(consumer=consumer_id, version="1.0"))
    new = api.service(version="2.0")
    assert providers(api, consumer_id) == sorted([old, new])
    assert consumers(api, new) == [consumer_id]


def test_each_version_of_a_consumer_has_its_own_dependencies(api: Api, service_id: str, consumer_id: str) -> None:
    """The consumer is an exact service (3.12)."""
    other = api.service("consumer", version="2.0")
    ok(api.find(consumer=other))
    assert providers(api, consumer_id) == []
    assert consumers(api, service_id) == [other]


def test_find_that_fails_records_nothing(api: Api, consumer_id: str) -> None:
    """Neither an unknown name nor an unknown version (3.12)."""
    assert_refused(api.find("nobody", consumer=consumer_id), 400012)
    service_id = api.service(version="1.0")
    assert_refused(api.find(consumer=consumer_id, version="2.0"), 400012)
    api.service("nobody")
    assert providers(api, consumer_id) == []
    assert consumers(api, service_id) == []


def test_find_that_is_filtered_to_nothing_records_nothing(api: Api, service_id: str) -> None:
    """By permission, or by tags that no version has (3.12)."""
    stranger, consumer_id = api.service("stranger", appId="desk"), api.service("consumer")
    ok(api.find(consumer=stranger))
    ok(api.batch([wanted()], consumer=stranger))
    ok(api.find(consumer=consumer_id, tags="zone"))
    assert consumers(api, service_id) == []


def test_other_reads_record_nothing(api: Api, service_id: str, consumer_id: str) -> None:
    """List and get-one are for inspection (3.5)."""
    instance_id = api.instance(service_id)
    ok(api.find())
    ok(api.instances_of(service_id, consumer=consumer_id))
    ok(api.get(f"/microservices/{service_id}/instances/{instance_id}", {"X-ConsumerId": consumer_id}))
    assert consumers(api, service_id) == []


def test_batch_find_of_star_depends_on_all_services_of_the_environment(api: Api, service_id: str) -> None:
    """Later ones too (D4, 3.12: LEGACY's `*`); those of another environment not."""
    consumer_id = api.service("consumer")
    ok(api.batch([wanted("*", "")], consumer=consumer_id))
    later = api.service("later", appId="desk")
    api.service("far", environment="testing")
    assert providers(api, consumer_id) == sorted([service_id, consumer_id, later])
    assert consumers(api, later) == [consumer_id]


# -- reads -------------------------------------------------------------------------------------------------------------


def test_nobody_is_exactly_braces(api: Api, service_id: str) -> None:
    """3.11."""
    assert ok(api.get(f"/microservices/{service_id}/providers")).body == b"{}"
    assert ok(api.get(f"/microservices/{service_id}/consumers")).body == b"{}"


def test_no_self_drops_the_service_itself(api: Api, service_id: str, consumer_id: str) -> None:
    """A flag as any other."""
    ok(api.find(consumer=service_id))
    ok(api.find(consumer=consumer_id))
    ok(api.find("consumer", consumer=service_id))
    for read in (providers, consumers):
        both = sorted([service_id, consumer_id])
        assert read(api, service_id) == read(api, service_id, "?noSelf=0") == both
        assert read(api, service_id, "?noSelf=1") == read(api, service_id, "?noSelf=true") == [consumer_id]


def test_same_domain_is_what_there_is(api: Api, service_id: str, consumer_id: str) -> None:
    """Dependencies never leave their tenant (3.11)."""
    ok(api.find(consumer=consumer_id))
    assert providers(api, consumer_id, "?sameDomain=1&noSelf=1") == [service_id]
    assert consumers(api, service_id, "?sameDomain=1") == [consumer_id]


@pytest.mark.parametrize("which", ["providers", "consumers"])
def test_relations_of_an_unknown_service_are_refused(api: Api, which: str) -> None:
    """3.11."""
    assert_refused(api.get(f"/microservices/nobody/{which}"), 400012, "nobody")
    assert_refused(api.get(f"/microservices/{'x' * 65}/{which}"), 400001, "the path")


# -- the deprecated writes ---------------------------------------------------------------------------------------------

CONSUMER = {"appId": "shop", "serviceName": "consumer", "version": "0.0.1"}


def entry(*names: str, **members: Any) -> dict[str, Any]:
    """One element of `dependencies`: shop/consumer 0.0.1 and the providers of these names."""
    return {"consumer": CONSUMER, "providers": [{"serviceName": name, **members} for name in names]}


def write(api: Api, method: str, *entries: Any) -> Any:
    return api.call(method, "/dependencies", {"dependencies": list(entries)})


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_dependency_writes_are_answered_as_deprecated(api: Api, consumer_id: str, method: str) -> None:
    """200 without content and `Deprecation` (3.12, 1.3)."""
    response = write(api, method, entry("cart"))
    assert_empty(response)
    assert response.header("Deprecation") == 'version="v4"'


def test_post_adds_and_put_replaces(api: Api, service_id: str, consumer_id: str) -> None:
    """3.12."""
    till, desk = api.service("till"), api.service("desk")
    write(api, "POST", entry("cart"))
    write(api, "POST", entry("till"))
    assert providers(api, consumer_id) == sorted([service_id, till])
    write(api, "PUT", entry("desk"))
    assert providers(api, consumer_id) == [desk]


@pytest.mark.parametrize("empty", [{"providers": []}, {"providers": None}, {}])
def test_put_without_providers_clears_and_post_refuses(api: Api, service_id: str, empty: Any) -> None:
    """3.12."""
    consumer_id = api.service("consumer")
    ok(api.find(consumer=consumer_id))
    assert_refused(write(api, "POST", {"consumer": CONSUMER, **empty}), 400001, "$.dependencies[0].providers")
    assert providers(api, consumer_id) == [service_id]
    assert_empty(write(api, "PUT", {"consumer": CONSUMER, **empty}))
    assert providers(api, consumer_id) == []


def test_provider_need_not_exist(api: Api, consumer_id: str) -> None:
    """It is a provider from the moment it registers (3.12)."""
    assert_empty(write(api, "POST", entry("cart")))
    assert providers(api, consumer_id) == []
    service_id = api.service()
    assert providers(api, consumer_id) == [service_id]


def test_provider_takes_the_application_of_the_consumer_and_not_its_environment(api: Api) -> None:
    """`appId` is inherited, `environment` is taken as given (3.12)."""
    api.service("consumer", environment="testing")
    plain = api.service()
    near, far = api.service(environment="testing"), api.service(appId="desk", environment="testing")
    consumer = {**CONSUMER, "environment": "testing"}
    consumer_id = api.service("consumer", environment="testing")
    write(api, "PUT", {"consumer": consumer, "providers": [{"serviceName": "cart"}]})
    assert providers(api, consumer_id) == [plain]
    write(api, "PUT", {"consumer": consumer, "providers": [{"serviceName": "cart", "environment": "testing"}]})
    assert providers(api, consumer_id) == [near]
    given = {"serviceName": "cart", "environment": "testing", "appId": "desk"}
    write(api, "PUT", {"consumer": consumer, "providers": [given]})
    assert providers(api, consumer_id) == [far]


@pytest.mark.parametrize("version", ["", "1.0", "1.0+", "1.0-2.0", "latest"])
def test_version_of_a_provider_means_all_versions(api: Api, consumer_id: str, version: str) -> None:
    """Its syntax is checked, and that is all (3.12)."""
    known = sorted([api.service(version="1.0"), api.service(version="3.0")])
    assert_empty(write(api, "POST", entry("cart", version=version)))
    assert providers(api, consumer_id) == known


PROVIDERS = "$.dependencies[0].providers"
BAD_ENTRIES: list[tuple[Any, str]] = [
    ({"providers": [{"serviceName": "cart"}]}, "$.dependencies[0].consumer"),
    ({**entry("cart"), "consumer": {}}, "$.dependencies[0].consumer"),
    *(({**entry("cart"), "consumer": {**CONSUMER, name: ""}}, "$.dependencies[0].consumer") for name in CONSUMER),
    ({**entry("cart"), "consumer": {**CONSUMER, "version": "latest"}}, "$.dependencies[0].consumer.version"),
    ({**entry("cart"), "consumer": {**CONSUMER, "version": "1.0+"}}, "$.dependencies[0].consumer.version"),
    ({**entry("cart"), "consumer": {**CONSUMER, "serviceName": "*"}}, "$.dependencies[0].consumer.serviceName"),
    ({**entry("cart"), "consumer": {**CONSUMER, "environment": "moon"}}, "$.dependencies[0].consumer.environment"),
    (entry(""), PROVIDERS),
    (entry("*"), f"{PROVIDERS}[0].serviceName"),
    (entry("-cart"), f"{PROVIDERS}[0].serviceName"),
    (entry("c" * 129), f"{PROVIDERS}[0].serviceName"),
    (entry("cart", appId="-"), f"{PROVIDERS}[0].appId"),
    (entry("cart", environment="moon"), f"{PROVIDERS}[0].environment"),
    (entry("cart", version="1.x"), ""),
    (entry("cart", "cart"), PROVIDERS),
    ({"consumer": CONSUMER, "providers": [{"serviceName": "a"}, {"serviceName": "a", "appId": "shop"}]}, PROVIDERS),
    (None, "$.dependencies[0]"),
    (entry("cart") | {"providers": [None]}, f"{PROVIDERS}[0]"),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(("bad", "place"), BAD_ENTRIES)
def test_bad_entry_is_refused_by_place(api: Api, consumer_id: str, method: str, bad: Any, place: str) -> None:
    """400001, and what stands beside it is not written either (3.12)."""
    service_id = api.service()
    assert_refused(write(api, method, bad), 400001, place)
    assert_refused(write(api, method, entry("cart"), bad), 400001)
    assert consumers(api, service_id) == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_unknown_consumer_is_400012(api: Api, service_id: str, method: str) -> None:
    """And nothing beside it is written (3.12)."""
    other = api.service("other")
    known = {"consumer": {**CONSUMER, "serviceName": "other"}, "providers": [{"serviceName": "cart"}]}
    assert_refused(write(api, method, known, entry("cart")), 400012, "consumer")
    assert providers(api, other) == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_one_to_a_hundred_entries(api: Api, consumer_id: str, method: str) -> None:
    """3.12, 7."""
    bodies: list[Any] = [{}, {"dependencies": []}, {"dependencies": None}, {"dependencies": {}}, b"", []]
    for body in bodies:
        assert_refused(api.call(method, "/dependencies", body), 400001)
    assert_refused(write(api, method, *[entry("cart")] * 101), 400001, "$.dependencies")
    assert_empty(write(api, method, *[entry("cart")] * 100))


# -- deletions ---------------------------------------------------------------------------------------------------------


def test_service_that_another_consumes_is_not_deleted_without_force(
    api: Api, service_id: str, consumer_id: str
) -> None:
    """400023, and before its instances are looked at (3.2)."""
    ok(api.find(consumer=consumer_id))
    api.instance(service_id)
    assert_refused(api.delete(f"/microservices/{service_id}"), 400023, consumer_id)
    assert_empty(api.delete(f"/microservices/{service_id}?force=1"))


def test_service_that_only_consumes_itself_is_deleted(api: Api, service_id: str) -> None:
    """3.2: any existing consumer other than itself."""
    ok(api.find(consumer=service_id))
    assert_empty(api.delete(f"/microservices/{service_id}"))


def test_deleted_consumer_holds_nobody_back(api: Api, service_id: str, consumer_id: str) -> None:
    """Its dependencies go with it; registered again under the same id it has none (3.12)."""
    ok(api.find(consumer=consumer_id))
    ok(api.delete(f"/microservices/{consumer_id}"))
    assert consumers(api, service_id) == []
    assert api.service("consumer") == consumer_id
    assert providers(api, consumer_id) == []
    assert_empty(api.delete(f"/microservices/{service_id}"))


def test_dependency_lasts_as_long_as_any_version_of_the_provider(api: Api, consumer_id: str) -> None:
    """When the last one has gone it is forgotten: a namesake later is another provider (3.12)."""
    old, new = api.service(version="1.0"), api.service(version="2.0")
    ok(api.find(consumer=consumer_id))
    ok(api.delete(f"/microservices/{old}?force=1"))
    assert providers(api, consumer_id) == [new]
    ok(api.delete(f"/microservices/{new}?force=1"))
    assert providers(api, consumer_id) == []
    again = api.service(version="3.0")
    assert (providers(api, consumer_id), consumers(api, again)) == ([], [])
    assert_empty(api.delete(f"/microservices/{again}"))


def test_unregistered_instances_change_no_dependency(api: Api, service_id: str, consumer_id: str) -> None:
    """3.12."""
    instance_id = api.instance(service_id)
    ok(api.find(consumer=consumer_id))
    ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
    assert providers(api, consumer_id) == [service_id]
