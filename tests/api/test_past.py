"""What was, what happened, and why: asked over HTTP, as somebody does who looks for the cause of an incident."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from tests.support.api import Api, assert_refused, ids, ok, wanted
from tests.support.http import Response
from tests.support.waiting import until_sync


def history(api: Api, path: str = "", **query: str) -> Response:
    target = f"/v1/{api.project}/history{path}" + (f"?{urlencode(query)}" if query else "")
    return api.connection.request("GET", target, None, {"X-Domain-Name": api.domain})


def events(api: Api, **query: str) -> list[dict[str, Any]]:
    found = ok(history(api, **query)).json()["events"]
    assert isinstance(found, list)
    return found


def position(response: Response) -> str:
    return ok(response).header("X-Registry-Position")


def test_every_read_shows_what_it_showed_then(api: Api) -> None:
    """The same bytes and revs, whatever has happened since."""
    service = api.service("cart", version="1.0.0")
    api.instance(service, instanceId="a", endpoints=["rest://a:1"])
    ok(api.post(f"/microservices/{service}/tags", {"tags": {"zone": "x"}}))
    ok(api.put(f"/microservices/{service}/schemas/s", {"schema": "{}", "summary": "1"}))
    paths = [
        *("/microservices", f"/microservices/{service}", f"/microservices/{service}/instances"),
        *(f"/microservices/{service}/instances/a", f"/microservices/{service}/tags"),
        *(f"/microservices/{service}/schemas", f"/microservices/{service}/schemas/s"),
        *(f"/microservices/{service}/providers", f"/microservices/{service}/consumers"),
        "/existence?type=microservice&appId=shop&serviceName=cart&version=latest",
        "/instances?appId=shop&serviceName=cart",
    ]
    own = [
        *(
            "catalog",
            "instances?text=host",
            "find/explain?appId=shop&serviceName=cart",
            f"schemas/{service}/s",
            "gov/display",
        ),
    ]

    def read(path: str) -> Response:
        target = f"/v1/default/{path}"
        return ok(api.connection.request("GET", target, None, {"X-Domain-Name": api.domain}))

    own_then = [read(path) for path in own]
    then = [ok(api.get(path)) for path in paths]
    batch = ok(api.batch([wanted()]))
    place = position(batch)
    ok(api.put(f"/microservices/{service}/instances/a/status?value=DOWN"))
    ok(api.delete(f"/microservices/{service}/instances/a"))
    ok(api.delete(f"/microservices/{service}"))
    for path, before in zip(paths, then, strict=True):
        past = ok(api.get(path + ("&" if "?" in path else "?") + f"asOf={place}"))
        assert past.body == before.body, path
        assert past.rev == before.rev
        assert past.header("X-Registry-Position") == place
        assert past.header("X-Registry-As-Of").endswith("Z")
    for path, before in zip(own, own_then, strict=True):
        assert read(path + ("&" if "?" in path else "?") + f"asOf={place}").body == before.body, path
    assert ok(api.batch([wanted()], query=f"type=query&asOf={place}")).body == batch.body
    assert api.get(f"/instances?appId=shop&serviceName=cart&asOf={place}&rev={then[-1].rev}").status == 304
    assert_refused(api.get("/instances?appId=shop&serviceName=cart"), 400012)


def next_millisecond() -> int:
    """Unix ms, later than everything that has happened: moments must differ, by the clock that all of them have."""
    before = time.time_ns() // 1_000_000
    until_sync(lambda: time.time_ns() // 1_000_000 > before, "the next millisecond")
    return time.time_ns() // 1_000_000


def test_a_moment_shows_what_was_then(api: Api) -> None:
    service = api.service()
    api.instance(service, instanceId="a")
    between_ms = next_millisecond()
    next_millisecond()
    api.instance(service, instanceId="b")
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(between_ms // 1000)) + f".{between_ms % 1000:03d}Z"
    for as_of in (str(between_ms), moment):
        assert ids(api.find(asOf=as_of)) == ["a"]
    assert ids(api.find(asOf="")) == ids(api.find()) == ["a", "b"]


def test_the_past_is_asked_with_a_time_that_has_been(api: Api) -> None:
    service = api.service()
    ahead = time.time_ns() // 1_000_000 + 60_000
    assert_refused(api.find(asOf=str(ahead)), 400001, "asOf")
    assert_refused(api.find(asOf="yesterday"), 400001, "asOf")
    epoch, _, sequence = position(api.get(f"/microservices/{service}")).partition("-")
    assert_refused(api.find(asOf=f"{epoch}-{int(sequence) + 1}"), 400001, "ahead of the log")
    assert_refused(api.find(asOf=f"{epoch}-0"), 400012)


def test_a_find_of_the_past_makes_nobody_a_consumer(api: Api) -> None:
    consumer, provider = api.service("till"), api.service("cart")
    place = position(api.get(f"/microservices/{provider}"))
    ok(api.find(consumer=consumer, asOf=place))
    assert ok(api.get(f"/microservices/{provider}/consumers")).json() == {}
    ok(api.find(consumer=consumer))
    assert ok(api.get(f"/microservices/{provider}/consumers")).json() != {}


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_tell_who_did_what_to_what(api: Api) -> None:
    service = api.service(version="1.2.0")
    api.instance(service, instanceId="a", endpoints=["rest://a:1"])
    ok(api.put(f"/microservices/{service}/instances/a/status?value=DOWN"))
    ok(api.delete(f"/microservices/{service}/instances/a"))
    left, down, up, made = events(api)
    assert [event["kind"] for event in (made, up, down, left)] == [
        *("service-registered", "instance-registered", "instance-status-set", "instance-unregistered")
    ]
    assert down["changes"] == [{"field": "status", "from": "UP", "to": "DOWN"}]
    assert down["after"]["status"] == "DOWN"
    assert left["changes"] == [{"field": "instance", "from": "a"}]
    for event in (up, down, left):
        assert event["effect"] == "applied"
        assert event["actor"]["address"] == "127.0.0.1"
        assert event["service"] == {"appId": "shop", "serviceName": "cart", "version": "1.2.0"}
        assert (event["serviceId"], event["instanceId"]) == (service, "a")
        assert event["replica"]
    assert events(api, order="oldest") == [made, up, down, left]
    assert events(api, kind="instance-status-set") == [down]
    assert events(api, instanceId="a", order="oldest", limit="1") == [up]
    assert events(api, serviceName="other") == []
    assert events(api, env="production") == []
    assert events(api, env="", serviceId=service, actor="127.0.0.1", to=down["position"]) == [down, up, made]
    assert events(api, **{"from": down["position"]}) == [left, down]


def test_every_write_records_who_asked_by_every_way(api: Api) -> None:
    """The request's id leads to the client's own log, or to the registry's where the client gave none that is one."""
    service = api.service()
    told = {"X-Request-Id": "r-1", "User-Agent": "chassis/2.0"}
    body = {"instance": {"hostName": "h", "instanceId": "a"}}
    path = f"/microservices/{service}/instances"
    ok(api.post(path, body, told))  # by the short way
    ok(api.put(f"{path}/a/status?value=DOWN", None, told))
    made = ok(api.delete(f"{path}/a", {"X-Request-Id": "r" * 500, "User-Agent": "u" * 500})).header("X-Request-Id")
    left, down, came, first = events(api)
    for event in (down, came):
        assert event["actor"] == {"address": "127.0.0.1", "requestId": "r-1", "userAgent": "chassis/2.0"}
    assert left["actor"] == {"address": "127.0.0.1", "requestId": made, "userAgent": "u" * 64}
    assert first["actor"].keys() == {"address", "requestId"}


def test_pages_follow_each_other_without_gap_or_repetition(api: Api) -> None:
    service = api.service()
    for number in range(7):
        api.instance(service, instanceId=f"i{number}")
    whole = events(api)
    for order, cursor in (("newest", "before"), ("oldest", "after")):
        found: list[dict[str, Any]] = []
        page = ok(history(api, order=order, limit="3")).json()
        while page["events"]:
            found += page["events"]
            if not page["next"]:
                break
            page = ok(history(api, order=order, limit="3", **{cursor: page["next"]})).json()
        assert found == (whole if order == "newest" else whole[::-1])


def test_a_lost_race_is_told_as_merged(api: Api) -> None:
    """Two registrations at one moment with the same endpoints get one id; here the second finds the first."""
    service = api.service()
    first = api.instance(service, endpoints=["rest://a:1"])
    assert api.instance(service, endpoints=["rest://a:1"]) == first
    assert {event["effect"] for event in events(api)} <= {"applied", "merged"}


def test_bad_questions_are_refused_by_name(api: Api) -> None:
    for name, value in (
        *(("order", "up"), ("limit", "0"), ("limit", "1001"), ("limit", "x"), ("kind", "x"), ("from", "x")),
        *(("before", "1"), ("after", "x"), ("to", "x")),
    ):
        assert_refused(history(api, **{name: value}), 400001, name)
    assert_refused(history(api, "/explain"), 400001, "appId")
    assert_refused(history(api, "/explain", instanceId="a"), 400001, "serviceId")
    assert_refused(history(api, "/diff"), 400001, "from")
    assert_refused(history(api, "/churn", step="x"), 400001, "step")
    assert_refused(history(api, "/churn", step="1ms"), 400001, "step")
    assert_refused(history(api, "/churn", **{"from": "1-1"}), 400001, "from")


# -- why ---------------------------------------------------------------------------------------------------------------


def explain(api: Api, service: str, instance: str, **query: str) -> dict[str, Any]:
    found = ok(history(api, "/explain", serviceId=service, instanceId=instance, **query)).json()
    assert isinstance(found, dict)
    return found


def test_an_instance_is_explained_through_its_life(api: Api) -> None:
    service = api.service(version="1.0.0")
    assert explain(api, service, "a")["state"] == "never seen"
    api.instance(service, instanceId="a", endpoints=["rest://a:1"])
    there = explain(api, service, "a")
    assert there["state"] == "present"
    assert there["sentence"].startswith("Instance a of shop/cart 1.0.0 is present: 127.0.0.1 through replica ")
    place = position(api.get(f"/microservices/{service}"))
    ok(api.delete(f"/microservices/{service}/instances/a"))
    gone = explain(api, service, "a")
    assert gone["state"] == "left"
    assert "127.0.0.1 through replica" in gone["sentence"]
    assert gone["content"]["endpoints"] == ["rest://a:1"]
    assert gone["removal"]["kind"] == "instance-unregistered"
    assert [event["kind"] for event in gone["events"]] == ["instance-unregistered", "instance-registered"]
    assert explain(api, service, "a", at=place)["state"] == "present"
    api.instance(service, instanceId="b")
    api.instance(service, instanceId="c")
    ok(api.delete(f"/microservices/{service}?force=true"))
    with_service = explain(api, service, "b")
    assert with_service["state"] == "left"
    assert "unregistered its whole microservice, with 1 other instance." in with_service["sentence"]


def test_an_expiry_explains_itself(api: Api) -> None:
    """The lease of 5 s ends; half a minute would be the default."""
    service = api.service(version="1.0.0")
    api.instance(service, instanceId="a", healthCheck={"mode": "push", "interval": 5, "times": 0})
    until_sync(lambda: explain(api, service, "a")["state"] != "present", "the lease to end", 15)
    found = explain(api, service, "a")
    assert found["state"] == "expired"
    assert "its lease of 5 s was last renewed at " in found["sentence"]
    evidence = found["evidence"]
    assert "renewedThrough" not in evidence, "registering is no heartbeat"
    assert evidence["leaseMs"] == 5000
    assert evidence["lateMs"] < 5000
    assert found["removal"]["actor"]["address"] == "registry"


def test_an_expiry_names_the_replica_of_the_last_heartbeat(api: Api) -> None:
    service = api.service(version="1.0.0")
    api.instance(service, instanceId="a", healthCheck={"mode": "push", "interval": 5, "times": 0})
    ok(api.put(f"/microservices/{service}/instances/a/heartbeat"))
    until_sync(lambda: explain(api, service, "a")["state"] != "present", "the lease to end", 15)
    found = explain(api, service, "a")
    assert found["evidence"]["renewedThrough"] == found["removal"]["replica"], "the only one there is"
    assert f" through replica {found['removal']['replica']} and ended at " in found["sentence"]


def test_a_find_is_explained_by_version(api: Api) -> None:
    one, two = api.service(version="1.0.0"), api.service(version="2.0.0")
    api.instance(one, instanceId="a")
    api.instance(two, instanceId="b")
    ok(api.delete(f"/microservices/{two}/instances/b"))
    found = ok(history(api, "/explain", appId="shop", serviceName="cart", version="2.0.0+")).json()
    by_version = {version["version"]: version for version in found["versions"]}
    assert not by_version["1.0.0"]["chosen"]
    assert by_version["2.0.0"]["chosen"]
    assert by_version["2.0.0"]["count"] == 0
    (left,) = by_version["2.0.0"]["left"]
    assert left["instanceId"] == "b"
    assert "127.0.0.1 through replica" in left["sentence"]
    assert "0 instances of 1 of 2 versions; 1 left in the hour before" in found["sentence"]


def test_a_difference_names_what_came_left_and_changed(api: Api) -> None:
    service = api.service()
    api.instance(service, instanceId="stays")
    api.instance(service, instanceId="leaves")
    place = position(api.get(f"/microservices/{service}"))
    ok(api.put(f"/microservices/{service}/instances/stays/properties", {"properties": {"a": "1"}}))
    ok(api.delete(f"/microservices/{service}/instances/leaves"))
    api.instance(service, instanceId="comes")
    other = api.service("other")
    found = ok(history(api, "/diff", **{"from": place})).json()
    assert [i["instanceId"] for i in found["instances"]["added"]] == ["comes"]
    assert [i["instanceId"] for i in found["instances"]["removed"]] == ["leaves"]
    (changed,) = found["instances"]["changed"]
    assert changed["changes"] == [{"field": "properties.a", "to": "1"}]
    assert [s["serviceId"] for s in found["services"]["added"]] == [other]
    assert ok(history(api, "/diff", serviceName="cart", **{"from": place})).json()["services"]["added"] == []


def test_churn_counts_what_happened(api: Api) -> None:
    service = api.service()
    for number in range(3):
        api.instance(service, instanceId=f"i{number}")
    next_millisecond()  # `to`, which is now, is left out of what is counted
    found = ok(history(api, "/churn", step="1h", byService="true")).json()
    assert found["step"] == 3_600_000
    (step,) = found["steps"]
    assert step["kinds"] == {"instance-registered": 3, "service-registered": 1}
    assert step["services"] == {service: 4}
