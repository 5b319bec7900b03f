"""/metrics of a real registry: each thing that happens is seen in its series, whichever way it came."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from registry.http_api.metrics import BESIDE_MIN_LINES
from tests.support.api import Api, ok, wanted
from tests.support.figures import Series, scraped, series
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync


@pytest.fixture(scope="module", params=["on", "off"])
def alone(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Replica]:
    """A registry that nobody else asks, with the hot way and without."""
    prefix = f"metrics-{uuid.uuid4().hex[:8]}:"
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, "--fast-lane", request.param) as process:
        yield process


@pytest.fixture
def client(alone: Replica) -> Api:
    return alone.api(f"tenant-{uuid.uuid4().hex[:12]}")


def figures(client: Api) -> dict[Series, float]:
    return scraped(ok(client.connection.request("GET", "/metrics")).body)


class Rise:
    """How much series have risen since this was made."""

    def __init__(self, client: Api) -> None:
        self._client = client
        self._before = figures(client)
        self._after = self._before

    def look(self) -> Rise:
        self._after = figures(self._client)
        return self

    def of(self, name: str, **labels: str) -> float:
        key = series(f"registry_{name}", **labels)
        return self._after.get(key, 0.0) - self._before.get(key, 0.0)


def test_type_is_one_that_prometheus_takes(client: Api) -> None:
    """Prometheus 3 refuses a scrape whose type it does not know."""
    answer = ok(client.connection.request("GET", "/metrics"))
    assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("Content-Length") == str(len(answer.body))


def test_requests_are_counted_by_operation_status_time_size_and_tenant(client: Api) -> None:
    client.service()
    client.find()
    rise = Rise(client)
    rev = ok(client.find()).rev
    for _ in range(3):
        assert client.find(rev=rev).status == 304
    client.find(name="nobody")
    rise.look()
    assert rise.of("requests_total", operation="find-instances", status="200") == 1
    assert rise.of("requests_total", operation="find-instances", status="304") == 3
    assert rise.of("requests_total", operation="find-instances", status="400") == 1
    assert rise.of("request_seconds_count", operation="find-instances") == 5
    assert rise.of("request_seconds_bucket", operation="find-instances", le="10.0") == 5
    assert rise.of("response_body_bytes_count", operation="find-instances") == 2
    assert rise.of("tenant_requests_total", tenant=f"{client.domain}/default") == 5


def test_bodies_are_measured(client: Api) -> None:
    service_id = client.service()
    rise = Rise(client)
    ok(client.register(service_id, instanceId="a", properties={"p": "x" * 5000}))
    rise.look()
    labels = {"operation": "register-instance"}
    assert rise.of("request_body_bytes_count", **labels) == 1
    assert 5000 < rise.of("request_body_bytes_sum", **labels) < 6000
    assert rise.of("request_body_bytes_bucket", le="4096.0", **labels) == 0
    assert rise.of("request_body_bytes_bucket", le="16384.0", **labels) == 1


def test_services_in_batch_finds_are_counted_by_answer(client: Api) -> None:
    client.service("cart")
    client.service("till")
    rev = ok(client.find("cart")).rev
    rise = Rise(client)
    ok(client.batch([wanted("cart", rev=rev), wanted("till")]))
    ok(client.batch([wanted("cart", rev=rev), wanted("nobody")]))
    rise.look()
    assert [rise.of("batch_find_services_total", answer=a) for a in ("200", "304", "failed")] == [1, 2, 1]


def test_registrations_are_counted_by_what_came_of_them(client: Api) -> None:
    service_id = client.service()
    rise = Rise(client)
    for endpoint in ("rest://10.0.0.1:1", "rest://10.0.0.1:1", "rest://10.0.0.1:2"):
        ok(client.register(service_id, instanceId="a", endpoints=[endpoint]))
    rise.look()
    counts = {kind: rise.of("registrations_total", kind=kind) for kind in ("new", "renewed", "changed", "merged")}
    assert counts == {"new": 1, "renewed": 1, "changed": 1, "merged": 0}


def test_heartbeats_are_counted_by_what_came_of_them(client: Api) -> None:
    service_id = client.service()
    instance_id = client.instance(service_id)
    rise = Rise(client)
    path = f"/microservices/{service_id}/instances"
    ok(client.put(f"{path}/{instance_id}/heartbeat"))
    assert client.put(f"{path}/nobody/heartbeat").status == 400
    rise.look()
    assert rise.of("heartbeats_total", outcome="renewed") == 1
    assert rise.of("heartbeats_total", outcome="unknown") == 1


def test_instances_that_go_are_counted_by_cause(client: Api) -> None:
    first, second = client.service("cart"), client.service("till")
    gone = client.instance(first)
    for number in range(2):
        client.instance(second, endpoints=[f"rest://10.0.0.9:{number + 1}"], hostName=f"h{number}")
    short = {"mode": "push", "interval": 1, "times": 0}
    client.instance(first, endpoints=["rest://10.0.0.8:1"], healthCheck=short)
    rise = Rise(client)
    ok(client.delete(f"/microservices/{first}/instances/{gone}"))
    ok(client.delete(f"/microservices/{second}?force=1"))
    until_sync(lambda: rise.look().of("instances_removed_total", cause="expired") == 1, "it to expire", 10)
    assert rise.of("instances_removed_total", cause="unregistered") == 1
    assert rise.of("instances_removed_total", cause="service_unregistered") == 2
    assert rise.of("events_total", kind="instance-expired", origin="own") == 1


def test_appends_and_round_trips_are_timed(client: Api) -> None:
    rise = Rise(client)
    client.service()
    rise.look()
    assert rise.of("append_seconds_count") >= 1
    assert rise.of("append_batch_events_sum") >= 1
    assert rise.of("store_seconds_count", call="commit") >= 1
    assert rise.of("events_total", kind="service-registered", origin="own") == 1


def test_what_a_tenant_holds_is_told_by_its_name(client: Api) -> None:
    service_id = client.service()
    for number in range(3):
        client.instance(service_id, endpoints=[f"rest://10.0.0.9:{number + 1}"], hostName=f"h{number}")
    told = figures(client)
    assert told[series("registry_tenant_instances", tenant=f"{client.domain}/default")] == 3
    assert told[series("registry_tenant_services", tenant=f"{client.domain}/default")] == 1


def test_a_registry_that_is_well_says_so(client: Api) -> None:
    told = figures(client)
    assert told[series("registry_ready")] == 1
    assert told[series("registry_stale_seconds")] == 0
    alarms = {dict(labels)["alarm"]: value for (name, labels), value in told.items() if name == "registry_alarm"}
    assert set(alarms.values()) == {0.0}
    assert len(told) < BESIDE_MIN_LINES, "they are written at once"
