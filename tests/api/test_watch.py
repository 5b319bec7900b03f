"""GET microservices/{serviceId}/watcher: which events a consumer is sent, and what they hold.

api-rules.md 3.9, D4, D13; clients.md 0.9, 0.16, 1.0.3. How sockets begin and end is in test_watch_sockets.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import EXAMPLE_INSTANCE, Api, assert_empty, ids, ok, wanted
from tests.support.websocket import WebSocket, watch


@pytest.fixture
def consumer_id(api: Api, service_id: str) -> str:
    """A consumer that has found shop/cart."""
    consumer_id = api.service("consumer")
    ok(api.find(consumer=consumer_id))
    return consumer_id


@pytest.fixture
def watcher(api: Api, consumer_id: str) -> Iterator[WebSocket]:
    """The consumer's open watcher."""
    with watch(api, consumer_id) as socket:
        yield socket


def actions(events: list[Any]) -> list[tuple[str, str]]:
    return [(event["action"], event["instance"]["instanceId"]) for event in events]


def instance_bytes(api: Api, service_id: str) -> bytes:
    """The only instance of a service as its list shows it."""
    return api.instances_of(service_id).body.removeprefix(b'{"instances":[').removesuffix(b"]}")


# -- the events --------------------------------------------------------------------------------------------------------


def test_registration_is_told_as_create(api: Api, service_id: str, watcher: WebSocket) -> None:
    """One unmasked text frame: action, key, instance, in exactly these bytes (3.9)."""
    api.instance(service_id, **EXAMPLE_INSTANCE)
    key = f'{{"tenant":"{api.domain}/default","appId":"shop","serviceName":"cart","version":"0.0.1"}}'
    expected = b'{"action":"CREATE","key":%s,"instance":%s}' % (key.encode(), instance_bytes(api, service_id))
    frame = watcher.next_text()
    assert frame.payload == expected
    assert frame.raw == b"\x81\x7e" + len(expected).to_bytes(2, "big") + expected
    assert watcher.events() == []


def test_event_names_environment_and_alias_of_the_provider(api: Api) -> None:
    """Java 2 finds its cache entry by the key's members (3.9, clients.md 1.B)."""
    consumer_id = api.service("consumer", environment="testing")
    service_id = api.service(environment="testing", alias="shop:cart", version="2.1")
    ok(api.find(consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        api.instance(service_id)
        key = (
            f'"key":{{"tenant":"{api.domain}/default","environment":"testing","appId":"shop",'
            '"serviceName":"cart","alias":"shop:cart","version":"2.1"},'
        )
        assert key.encode() in watcher.next_text().payload


def test_event_names_the_project(api: Api) -> None:
    """`tenant` is domain/project (3.9)."""
    other = Api(api.connection, api.domain, "another")
    service_id, consumer_id = other.service(), other.service("consumer")
    ok(other.find(consumer=consumer_id))
    with watch(other, consumer_id) as watcher:
        other.instance(service_id)
        assert watcher.next_event()["key"]["tenant"] == f"{api.domain}/another"


def test_changes_are_told_as_update_with_the_new_content(api: Api, service_id: str, watcher: WebSocket) -> None:
    """Status, properties and a registration that overwrites: the instance stands as it is now (3.9, D1)."""
    instance_id = api.instance(service_id)
    path = f"/microservices/{service_id}/instances/{instance_id}"
    assert_empty(api.put(f"{path}/status?value=DOWN"))
    down = api.read_instance(service_id, instance_id)
    assert_empty(api.put(f"{path}/properties", {"properties": {"k": "v"}}))
    changed = api.read_instance(service_id, instance_id)
    api.instance(service_id, instanceId=instance_id, hostName="another")
    overwritten = api.read_instance(service_id, instance_id)
    events = watcher.events()
    assert [event["action"] for event in events] == ["CREATE", "UPDATE", "UPDATE", "UPDATE"]
    assert [event["instance"] for event in events[1:]] == [down, changed, overwritten]


def test_bulk_status_is_told_as_one_update_each(api: Api, service_id: str, watcher: WebSocket) -> None:
    """`PUT instances/status` changes many instances: one event per instance (3.9)."""
    changed = sorted(api.instance(service_id) for _ in range(3))
    ok(api.put("/instances/status", {"matches": {"properties": {}}, "status": "DOWN"}))
    told = actions(watcher.events())[3:]
    assert sorted(told) == [("UPDATE", instance_id) for instance_id in changed]


def test_unregistration_is_told_as_delete_with_the_whole_instance(
    api: Api, service_id: str, watcher: WebSocket
) -> None:
    """go-chassis removes by the endpoints that the event names (3.9, clients.md 0.16)."""
    instance_id = api.instance(service_id, **EXAMPLE_INSTANCE)
    last = api.read_instance(service_id, instance_id)
    ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
    created, deleted = watcher.events()
    assert deleted == {"action": "DELETE", "key": created["key"], "instance": last}


@pytest.mark.slow
def test_expiry_is_told_as_delete_with_the_whole_instance(api: Api, service_id: str, watcher: WebSocket) -> None:
    """A crashed provider leaves the callers' lists as one that says goodbye does (D13)."""
    instance_id = api.instance(service_id, healthCheck={"mode": "push", "interval": 5, "times": 0})
    last = api.read_instance(service_id, instance_id)
    assert watcher.next_event()["action"] == "CREATE"
    deleted = watcher.next_event()
    assert (deleted["action"], deleted["instance"]) == ("DELETE", last)
    assert ids(api.find()) == []


@pytest.mark.parametrize("names", [["cart"], ["*"], ["cart", "*"]], ids=" and ".join)
def test_forced_deletion_of_a_provider_deletes_each_of_its_instances_once(
    api: Api, service_id: str, names: list[str]
) -> None:
    """The consumer is told though its dependency ends at that moment, and once though it has two (3.9)."""
    consumer_id = api.service("consumer")
    ok(api.batch([wanted(name) for name in names], consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        created = sorted(api.instance(service_id) for _ in range(2))
        ok(api.delete(f"/microservices/{service_id}?force=1"))
        assert sorted(actions(watcher.events())[2:]) == [("DELETE", instance_id) for instance_id in created]


# -- which of them -----------------------------------------------------------------------------------------------------


def test_instances_of_every_version_are_told(api: Api, watcher: WebSocket) -> None:
    """A dependency is on the name: a version that comes later belongs to it (3.9, 3.12)."""
    instance_id = api.instance(api.service(version="9.9"))
    event = watcher.next_event()
    assert (event["instance"]["instanceId"], event["key"]["version"]) == (instance_id, "9.9")
    assert event["instance"]["version"] == "9.9"


def test_services_never_found_are_not_told(api: Api, service_id: str, watcher: WebSocket) -> None:
    """Neither another name, nor another application, environment or tenant with the same one (3.9)."""
    api.instance(api.service("till"))
    api.instance(api.service(appId="desk"))
    api.instance(api.service(environment="testing"))
    other = Api(api.connection, api.domain + "-other")
    other.instance(other.service())
    instance_id = api.instance(service_id)
    assert actions(watcher.events()) == [("CREATE", instance_id)]


def test_find_without_consumer_subscribes_nobody(api: Api, service_id: str) -> None:
    """Only the consumer header makes a dependency (3.12)."""
    consumer_id = api.service("consumer")
    ok(api.find())
    with watch(api, consumer_id) as watcher:
        api.instance(service_id)
        assert watcher.events() == []


def test_find_after_the_handshake_subscribes_the_open_socket(api: Api, service_id: str) -> None:
    """Java opens its watcher first and finds on demand (3.9: evaluated at event time)."""
    consumer_id = api.service("consumer")
    with watch(api, consumer_id) as watcher:
        ok(api.find(consumer=consumer_id))
        instance_id = api.instance(service_id)
        assert actions(watcher.events()) == [("CREATE", instance_id)]


def test_find_by_alias_subscribes_to_the_real_name(api: Api) -> None:
    """A consumer that calls a provider by `app:name` is told as well (3.12)."""
    service_id, consumer_id = api.service(alias="shop:cart"), api.service("consumer")
    ok(api.find("shop:cart", consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        instance_id = api.instance(service_id)
        assert actions(watcher.events()) == [("CREATE", instance_id)]


def test_batch_find_subscribes_to_every_service_found(api: Api, service_id: str) -> None:
    """And not to those that failed, which come into being later (3.8, 3.12)."""
    till, consumer_id = api.service("till"), api.service("consumer")
    ok(api.batch([wanted("nobody"), wanted(), wanted("till")], consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        api.instance(api.service("nobody"))
        told = [("CREATE", api.instance(service_id)), ("CREATE", api.instance(till))]
        assert actions(watcher.events()) == told


def test_batch_find_of_star_subscribes_to_everything_the_consumer_may_see(api: Api, service_id: str) -> None:
    """Services that come later too, but none that a find would hide: go-chassis calls what it is told of (D4)."""
    consumer_id = api.service("consumer", appId="desk")
    ok(api.batch([wanted("*", "")], consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        api.instance(service_id)
        api.instance(api.service("far", appId="desk", environment="testing"))
        told = [
            ("CREATE", api.instance(api.service("near", appId="desk"))),
            ("CREATE", api.instance(api.service("open", properties={"allowCrossApp": "true"}))),
        ]
        assert actions(watcher.events()) == told


def test_versions_that_the_consumer_may_not_see_are_not_told(api: Api) -> None:
    """What find leaves out, no event brings in (3.6)."""
    consumer_id = api.service("consumer", appId="desk")
    hidden = api.service(version="1.0")
    shown = api.service(version="2.0", properties={"allowCrossApp": "true"})
    ok(api.find(consumer=consumer_id))
    with watch(api, consumer_id) as watcher:
        api.instance(hidden)
        instance_id = api.instance(shown)
        assert actions(watcher.events()) == [("CREATE", instance_id)]


def test_what_changes_no_instance_is_not_told(api: Api, service_id: str, watcher: WebSocket) -> None:
    """Heartbeats, equal content, and all that is about services only (3.9)."""
    instance_id = api.instance(service_id)
    assert watcher.next_event()["action"] == "CREATE"
    path = f"/microservices/{service_id}/instances/{instance_id}"
    ok(api.put(f"{path}/heartbeat"))
    ok(api.put("/heartbeats", {"instances": [{"serviceId": service_id, "instanceId": instance_id}]}))
    ok(api.put(f"{path}/status?value=UP"))
    ok(api.put(f"{path}/properties", {}))
    api.instance(service_id, instanceId=instance_id)
    ok(api.put(f"/microservices/{service_id}/properties", {"properties": {"k": "v"}}))
    ok(api.post(f"/microservices/{service_id}/tags", {"tags": {"k": "v"}}))
    ok(api.put(f"/microservices/{service_id}/schemas/s", {"schema": "text"}))
    api.service(version="9.9")
    assert watcher.events() == []


def test_dependency_taken_away_ends_the_events(api: Api, service_id: str, consumer_id: str, watcher: WebSocket) -> None:
    """`PUT dependencies` without providers clears: the next event is for others (3.12)."""
    consumer = {"appId": "shop", "serviceName": "consumer", "version": "0.0.1"}
    ok(api.put("/dependencies", {"dependencies": [{"consumer": consumer, "providers": []}]}))
    api.instance(service_id)
    assert watcher.events() == []


# -- when --------------------------------------------------------------------------------------------------------------


def test_nothing_from_before_the_handshake_is_told(api: Api, service_id: str, consumer_id: str) -> None:
    """go-chassis adds on CREATE without looking: a late one gives it the instance twice (clients.md 1.0.3)."""
    api.instance(service_id)
    with watch(api, consumer_id) as watcher:
        assert watcher.events() == []


def test_event_comes_after_the_new_rev_is_visible(api: Api, service_id: str, watcher: WebSocket) -> None:
    """Java pulls on an event; told 304, it would stay with the old list (D13, clients.md 0.9)."""
    instance = f"/microservices/{service_id}/instances/i"
    changes: list[Callable[[], object]] = [
        lambda: api.instance(service_id, instanceId="i"),
        lambda: api.put(f"{instance}/status?value=DOWN"),
        lambda: api.put(f"{instance}/properties", {"properties": {"k": "v"}}),
        lambda: api.delete(instance),
    ]
    for change in changes:
        rev = api.find().rev
        change()
        watcher.next_event()
        response = api.find(rev=rev)
        assert response.status == 200
        assert response.rev != rev


def test_every_socket_of_a_consumer_gets_every_event(api: Api, service_id: str, consumer_id: str) -> None:
    """Java opens another one after registering again, without closing the first (clients.md 1.0.3)."""
    with watch(api, consumer_id) as one, watch(api, consumer_id) as two:
        instance_id = api.instance(service_id)
        assert actions(one.events()) == actions(two.events()) == [("CREATE", instance_id)]
    with watch(api, consumer_id) as three:
        other = api.instance(service_id)
        assert actions(three.events()) == [("CREATE", other)]


def test_events_come_in_the_order_of_the_changes(api: Api, service_id: str, watcher: WebSocket) -> None:
    """A client that applies them one by one ends with the registry's list (3.9)."""
    expected = []
    for number in range(20):
        instance_id = api.instance(service_id, instanceId=f"i{number}")
        expected.append(("CREATE", instance_id))
        if number % 2:
            ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
            expected.append(("DELETE", instance_id))
    assert actions(watcher.events()) == expected
