"""POST microservices/{serviceId}/instances: every member at its limits, and what it becomes when it is left out.

Page "Registering a Microservice Instance", tables 4 to 6; api-rules.md 3.5, 6.1 and 7; D7, D8.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ids, ok

INT32_MAX = 2**31 - 1
PUSH = {"mode": "push", "interval": 30, "times": 3}
PLACE = {"name": "dc", "region": "r", "availableZone": "az"}


def nulls(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


ACCEPTED: dict[str, dict[str, Any]] = {
    "hostName of 1": {"hostName": "h"},
    "hostName of 64": {"hostName": "h" * 64},
    "hostName of 64 characters, more bytes": {"hostName": "ü" * 64},
    "hostName with spaces": {"hostName": " my host "},
    "instanceId of 64": {"instanceId": "i" * 64},
    "instanceId blank": {"instanceId": ""},
    "no endpoints": {"endpoints": []},
    "endpoint without scheme": {"endpoints": ["1.2.3.4:80"]},
    "endpoint with a space": {"endpoints": ["ex of"]},
    "endpoint twice": {"endpoints": ["rest://a:1", "rest://a:1"]},
    "status blank": {"status": ""},
    "property with empty value": {"properties": {"k": ""}},
    "property of null": {"properties": {"k": None}},
    "property with empty name": {"properties": {"": "v"}},
    "property with any text": {"properties": {'"<&>\u2028 ü \x00': "\U0001f600\n"}},
    "interval of 1": {"healthCheck": PUSH | {"interval": 1}},
    "interval of int32": {"healthCheck": PUSH | {"interval": INT32_MAX}},
    "times of 0": {"healthCheck": PUSH | {"times": 0}},
    "times of int32": {"healthCheck": PUSH | {"times": INT32_MAX}},
    "both factors of int32": {"healthCheck": PUSH | {"interval": INT32_MAX, "times": INT32_MAX}},
    "port of 0": {"healthCheck": PUSH | {"port": 0}},
    "port of 65535": {"healthCheck": PUSH | {"port": 65535}},
    "url": {"healthCheck": PUSH | {"url": "/health?deep=1"}},
    "places of 128": {"dataCenterInfo": dict.fromkeys(PLACE, "p" * 128)},
    "places of every character": {"dataCenterInfo": dict.fromkeys(PLACE, "aZ09_.-")},
    "every member null": nulls("instanceId", "endpoints", "status", "properties", "healthCheck", "dataCenterInfo")
    | nulls("serviceId", "version", "timestamp", "modTimestamp"),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hostName null": ({"hostName": None}, "$.instance.hostName"),
    "hostName empty": ({"hostName": ""}, "$.instance.hostName"),
    "hostName blank": ({"hostName": " \t"}, "$.instance.hostName"),
    "hostName of 65": ({"hostName": "h" * 65}, "$.instance.hostName"),
    "hostName a number": ({"hostName": 5}, "$.instance.hostName"),
    "instanceId of 65": ({"instanceId": "i" * 65}, "$.instance.instanceId"),
    "instanceId with a slash": ({"instanceId": "a/b"}, "$.instance.instanceId"),
    "instanceId with a final line feed": ({"instanceId": "a\n"}, "$.instance.instanceId"),
    "instanceId a number": ({"instanceId": 5}, "$.instance.instanceId"),
    "endpoint empty": ({"endpoints": ["rest://a:1", ""]}, "$.instance.endpoints[1]"),
    "endpoint blank": ({"endpoints": [" "]}, "$.instance.endpoints[0]"),
    "endpoint null": ({"endpoints": [None]}, "$.instance.endpoints[0]"),
    "endpoints a text": ({"endpoints": "rest://a:1"}, "$.instance.endpoints"),
    "status unknown": ({"status": "SLEEPING"}, "$.instance.status"),
    "status in lower case": ({"status": "up"}, "$.instance.status"),
    "status with a line feed": ({"status": "UP\n"}, "$.instance.status"),
    "property a number": ({"properties": {"k": 1}}, "$.instance.properties"),
    "properties a list": ({"properties": ["k"]}, "$.instance.properties"),
    "mode missing": ({"healthCheck": {"interval": 30, "times": 3}}, "$.instance.healthCheck.mode"),
    "mode unknown": ({"healthCheck": PUSH | {"mode": "poll"}}, "$.instance.healthCheck.mode"),
    "interval of 0": ({"healthCheck": PUSH | {"interval": 0}}, "$.instance.healthCheck.interval"),
    "interval negative": ({"healthCheck": PUSH | {"interval": -1}}, "$.instance.healthCheck.interval"),
    "interval beyond int32": ({"healthCheck": PUSH | {"interval": INT32_MAX + 1}}, "$.instance.healthCheck.interval"),
    "interval a fraction": ({"healthCheck": PUSH | {"interval": 5.5}}, "$.instance.healthCheck.interval"),
    "interval a text": ({"healthCheck": PUSH | {"interval": "30"}}, "$.instance.healthCheck.interval"),
    "interval a boolean": ({"healthCheck": PUSH | {"interval": True}}, "$.instance.healthCheck.interval"),
    "times negative": ({"healthCheck": PUSH | {"times": -1}}, "$.instance.healthCheck.times"),
    "times beyond int32": ({"healthCheck": PUSH | {"times": INT32_MAX + 1}}, "$.instance.healthCheck.times"),
    "port negative": ({"healthCheck": PUSH | {"port": -1}}, "$.instance.healthCheck.port"),
    "port of 65536": ({"healthCheck": PUSH | {"port": 65536}}, "$.instance.healthCheck.port"),
    "url with a space": ({"healthCheck": PUSH | {"url": "/a b"}}, "$.instance.healthCheck.url"),
    "place missing": ({"dataCenterInfo": {"name": "dc", "region": "r"}}, "$.instance.dataCenterInfo"),
    "place empty": ({"dataCenterInfo": PLACE | {"region": ""}}, "$.instance.dataCenterInfo.region"),
    "place null": ({"dataCenterInfo": PLACE | {"region": None}}, "$.instance.dataCenterInfo.region"),
    "place of 129": ({"dataCenterInfo": PLACE | {"name": "p" * 129}}, "$.instance.dataCenterInfo.name"),
    "place with a space": (
        {"dataCenterInfo": PLACE | {"availableZone": "a z"}},
        "$.instance.dataCenterInfo.availableZone",
    ),
}


@pytest.mark.parametrize("members", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_within_its_limits_it_is_registered_and_answered_as_sent(
    api: Api, service_id: str, members: dict[str, Any]
) -> None:
    """What the documents allow must not be refused, and must come back unchanged, or be left out when empty."""
    instance = api.read_instance(service_id, api.instance(service_id, **members))
    for name in ("hostName", "endpoints", "dataCenterInfo"):
        if members.get(name):
            assert instance[name] == members[name]
        elif name in members:
            assert name not in instance
    if members.get("properties"):
        assert instance["properties"] == {key: value or "" for key, value in members["properties"].items()}


@pytest.mark.parametrize(("members", "place"), REFUSED.values(), ids=REFUSED.keys())
def test_beyond_its_limits_it_is_refused_by_place(
    api: Api, service_id: str, members: dict[str, Any], place: str
) -> None:
    """A bad value is 400001, `detail` says which one, and nothing is registered."""
    assert_refused(api.register(service_id, **members), 400001, place)
    assert ids(api.find()) == []


def test_host_name_is_mandatory(api: Api, service_id: str) -> None:
    """The page, table 4."""
    response = api.post(f"/microservices/{service_id}/instances", {"instance": {"endpoints": ["rest://a:1"]}})
    assert_refused(response, 400001, "$.instance.hostName")


@pytest.mark.parametrize("body", [{}, {"instance": None}, {"Service": {}}, None], ids=str)
def test_instance_is_mandatory(api: Api, service_id: str, body: Any) -> None:
    """`instance` missing or null is the client's mistake, not an instance without content (api-rules.md 3.5)."""
    assert_refused(api.post(f"/microservices/{service_id}/instances", b"null" if body is None else body), 400001)


@pytest.mark.parametrize("status", ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"])
def test_every_status_may_be_registered(api: Api, service_id: str, status: str) -> None:
    """Instances warm up as STARTING and the like; every status is also found (D8, api-rules.md 3.6)."""
    instance_id = api.instance(service_id, status=status)
    assert api.read_instance(service_id, instance_id)["status"] == status
    assert ids(api.find()) == [instance_id]


def test_what_is_left_out_gets_its_default(api: Api, service_id: str) -> None:
    """Status UP and push 30 x 3 are stored and answered, empty members are left out (clients.md 0.11)."""
    instance_id = api.instance(service_id)
    instance = api.read_instance(service_id, instance_id)
    del instance["timestamp"], instance["modTimestamp"]
    assert instance == {
        "instanceId": instance_id,
        "serviceId": service_id,
        "version": "0.0.1",
        "hostName": "host",
        "status": "UP",
        "healthCheck": {"mode": "push", "interval": 30, "times": 3},
    }


@pytest.mark.parametrize("absent", [{}, {"times": None, "interval": None}], ids=["left out", "null"])
@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ({"interval": 10}, {"interval": 10, "times": 3}),
        ({"times": 1}, {"interval": 30, "times": 1}),
        ({"times": 0}, {"interval": 30}),
        ({}, {"interval": 30, "times": 3}),
    ],
)
@pytest.mark.parametrize("inline", [False, True], ids=["alone", "inline"])
def test_absent_members_of_a_health_check_have_their_defaults(
    api: Api, absent: dict[str, Any], sent: dict[str, int], stored: dict[str, int], inline: bool
) -> None:
    """Three missed heartbeats, 30 seconds; a 0 that was sent is a 0, and left out of answers as every 0 is."""
    service = {"serviceName": "cart", "appId": "shop", "serviceId": "cart"}
    instance = {"hostName": "h", "instanceId": "i", "healthCheck": {"mode": "push", **absent, **sent}}
    ok(api.post("/microservices", {"service": service, "instances": [instance] if inline else None}))
    if not inline:
        ok(api.post("/microservices/cart/instances", {"instance": instance}))
    assert api.read_instance("cart", "i")["healthCheck"] == {"mode": "push", **stored}


@pytest.mark.parametrize(("sent", "stored"), [(1, 5), (4, 5), (5, 5), (6, 6)])
def test_interval_below_5_is_raised_and_times_kept(api: Api, service_id: str, sent: int, stored: int) -> None:
    """The page "Querying … Based on service_id", table 6: below 5 s it is 5 s. `times` is the client's (D7)."""
    instance_id = api.instance(service_id, healthCheck={"mode": "push", "interval": sent, "times": 1})
    assert api.read_instance(service_id, instance_id)["healthCheck"] == {"mode": "push", "interval": stored, "times": 1}


def test_times_of_0_is_kept(api: Api, service_id: str) -> None:
    """No failure allowed means a lease of one interval; zero is left out of the answer (D7)."""
    instance_id = api.instance(service_id, healthCheck={"mode": "push", "interval": 5, "times": 0})
    assert api.read_instance(service_id, instance_id)["healthCheck"] == {"mode": "push", "interval": 5}


def test_pull_mode_keeps_port_and_url_only(api: Api, service_id: str) -> None:
    """Interval and times of pull are 30 and 3 whatever was sent (api-rules.md 6.1)."""
    sent = {"mode": "pull", "port": 8080, "interval": 7, "times": 1, "url": "/health"}
    instance = api.read_instance(service_id, api.instance(service_id, healthCheck=sent))
    assert instance["healthCheck"] == sent | {"interval": 30, "times": 3}


def test_pull_mode_needs_no_interval(api: Api, service_id: str) -> None:
    """What is not used need not be sent."""
    ok(api.register(service_id, healthCheck={"mode": "pull", "port": 8080}))


def test_timestamps_are_texts_of_seconds(api: Api, service_id: str) -> None:
    """Go clients decode them into strings, consoles multiply by 1000 (clients.md 0.11)."""
    instance = api.read_instance(service_id, api.instance(service_id))
    for name in ("timestamp", "modTimestamp"):
        assert isinstance(instance[name], str)
        assert len(instance[name]) == 10
