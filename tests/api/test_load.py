"""Requests under way: one too many is refused in the API's shape, heartbeats and probes never are (D17)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Api, assert_refused, ok, wanted
from tests.support.http import Connection
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

R = "/v4/default/registry"
#: How often a request is sent again that lost its place to the question whether it is under way.
ASKED_MAX = 5


@pytest.fixture(scope="module", params=["on", "off"], ids=["lane", "full"])
def busy(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Replica]:
    """A registry that answers one request at a time."""
    lane: str = request.param
    options = ("--redis-url", redis_url, "--redis-prefix", f"load-{lane}:", "--fast-lane", lane)
    with replica(*options, "--requests-max", "1") as one:
        yield one


def keep_busy(api: Api, connection: Connection) -> None:
    """Ask for what has to wait: for a position that is not there yet, two seconds long."""
    position = ok(api.get("/microservices")).header("X-Registry-Position") or ""
    epoch, _, number = position.partition("-")
    request = (
        f"GET {R}/microservices HTTP/1.1\r\nHost: h\r\nX-Domain-Name: {api.domain}\r\n"
        f"X-Registry-Position: {epoch}-{int(number) + 1000}\r\n\r\n".encode()
    )
    for _ in range(ASKED_MAX):
        connection.send(request)
        # Figures are told beside the loop: asked for at the same moment, they take the one place themselves.
        assert api.connection.request("GET", "/version").status == 200
        if figure(api, "requests_under_way") == 2:
            return
        connection.receive()
    raise AssertionError("never under way, beside the question")


def figure(api: Api, name: str) -> float:
    lines = api.connection.request("GET", "/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"registry_{name} ")).split()[1])


def test_request_that_is_one_too_many_is_refused_unless_it_beats(busy: Replica) -> None:
    api = busy.api("shop")
    service_id = api.service()
    instance_id = api.instance(service_id)
    with busy.connect() as connection:
        keep_busy(api, connection)
        refused = api.get("/microservices")
        assert_refused(refused, 503001)
        assert refused.header("Retry-After") == "5"
        assert_refused(api.register(service_id, endpoints=["rest://a"]), 503001)
        ok(api.put(f"/microservices/{service_id}/instances/{instance_id}/heartbeat"))
        beats = {"instances": [{"serviceId": service_id, "instanceId": instance_id}]}
        ok(api.put("/heartbeats", beats))
        for path in (f"{R}/health", "/health", f"{R}/health/readiness", f"{R}/version", "/version"):
            assert api.connection.request("GET", path).status == 200
        assert figure(api, "requests_refused_total") >= 2
    until_sync(lambda: figure(api, "requests_under_way") == 1, "it to be over")
    ok(api.get("/microservices"))


def test_request_whose_body_is_awaited_is_not_under_way(busy: Replica) -> None:
    """Else a few clients that send a byte a second would keep out all others."""
    api = busy.api("slow")
    with busy.connect() as connection:
        connection.send(f"PUT {R}/dependencies HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{{".encode())
        until_sync(lambda: figure(api, "request_bytes") == 1, "it to have begun")
        ok(api.get("/microservices"))
        ok(api.batch([wanted()]))
