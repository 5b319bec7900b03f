"""Who may see some microservices only sees no more of their past than of their present."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.access.people import Guest, Office, bearer, code, permission
from tests.support.api import ids, ok
from tests.support.http import Response
from tests.support.replica import Replica


def history(guest: Guest, path: str = "", **query: str) -> Response:
    target = f"/v1/default/history{path}?{urlencode(query)}"
    headers = {"X-Domain-Name": guest.domain, **bearer(guest.token)}
    return guest.connection.request("GET", target, None, headers)


def people(guarded: Replica, office: Office, domain: str) -> tuple[Guest, Guest]:
    """One who may do all, and one who may see `cart` only."""
    limited = office.person(office.role(permission("service", "get", serviceName="cart")))
    return Guest(guarded.connect(), office.token, domain), Guest(guarded.connect(), limited, domain)


def test_events_differences_and_counts_are_of_what_may_be_seen(guarded: Replica, office: Office, name: str) -> None:
    root, limited = people(guarded, office, name)
    cart, till = root.service("cart"), root.service("till")
    root.instance(cart, instanceId="a")
    root.instance(till, instanceId="b")
    place = ok(root.get(f"/microservices/{cart}")).header("X-Registry-Position").partition("-")[0] + "-0"

    def seen(events: list[Any]) -> set[str]:
        return {event.get("serviceId", "") for event in events}

    assert seen(ok(history(root)).json()["events"]) == {cart, till}
    assert seen(ok(history(limited)).json()["events"]) == {cart}
    found = ok(history(limited, "/diff", **{"from": place})).json()
    assert seen(found["instances"]["added"]) == seen(found["services"]["added"]) == {cart}
    steps = ok(history(limited, "/churn", step="1h", byService="1")).json()["steps"]
    assert {service for step in steps for service in step["services"]} <= {cart}
    assert ok(history(limited, "/explain", serviceId=cart, instanceId="a")).json()["state"] == "present"
    hidden = ok(history(limited, "/explain", serviceId=till, instanceId="b")).json()
    assert hidden["state"] == "never seen"
    assert code(history(limited, "/explain", appId="shop", serviceName="till")) == 403205


def test_who_may_not_read_of_an_instance_is_not_told_a_lie(guarded: Replica, office: Office, name: str) -> None:
    """Nor whether there is one: an id that was made up is answered alike."""
    root, limited = people(guarded, office, name)
    till = root.service("till")
    root.instance(till, instanceId="b")
    asked = [{"serviceId": till, "instanceId": "b"}, {"serviceId": "made-up", "instanceId": "b"}]
    found = [ok(history(limited, "/explain", **ids)).json() for ids in asked]
    assert found[0]["sentence"].endswith(", as far as this account may read.")
    assert found[0]["sentence"].replace(till, "made-up") == found[1]["sentence"]
    assert {**found[0], "serviceId": "", "sentence": ""} == {**found[1], "serviceId": "", "sentence": ""}
    assert "as far as" not in ok(history(root, "/explain", **asked[1])).json()["sentence"]


def test_the_answer_of_another_time_is_of_what_may_be_seen(guarded: Replica, office: Office, name: str) -> None:
    root, limited = people(guarded, office, name)
    cart, till = root.service("cart"), root.service("till")
    root.instance(cart, instanceId="a")
    place = ok(root.instances_of(cart)).header("X-Registry-Position")
    for service in (cart, till):
        ok(root.delete(f"/microservices/{service}?force=1"))
    assert ids(limited.find("cart", asOf=place)) == ["a"]
    assert ids(limited.instances_of(cart, asOf=place)) == ["a"]
    assert code(limited.find("till", asOf=place)) == 403205
    assert code(limited.instances_of(till, asOf=place)) == 403205
    assert code(limited.instances_of(till)) == 400012
    services = ok(limited.get(f"/microservices?asOf={place}")).json()["services"]
    assert [service["serviceId"] for service in services] == [cart]


def test_the_account_stands_in_what_is_told(guarded: Replica, office: Office, name: str) -> None:
    """An address alone is anyone behind a proxy."""
    root, _ = people(guarded, office, name)
    root.service("cart")
    (event,) = ok(history(root)).json()["events"]
    assert (event["actor"]["address"], event["actor"]["account"]) == ("127.0.0.1", "root")
    assert len(ok(history(root, actor="root")).json()["events"]) == 1
    assert ok(history(root, actor="somebody")).json()["events"] == []
