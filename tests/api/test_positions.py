"""`X-Registry-Position`: what a client has seen, at whichever replica it asks next (D12)."""

from __future__ import annotations

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.http import Connection


def test_write_advances_the_position_by_its_events(api: Api) -> None:
    """Positions are ordered, so that a client can keep the greatest."""
    service_id = api.service()
    first = api.register(service_id).position
    second = api.register(service_id).position
    epoch, sequence = first.split("-")
    assert second == f"{epoch}-{int(sequence) + 1}"


def test_answer_includes_the_position_asked_for(api: Api) -> None:
    """Read your writes: an answer is at the position of the header, or beyond it (D12)."""
    service_id = api.service()
    written = api.register(service_id, instanceId="i").position
    response = api.get("/instances?appId=shop&serviceName=cart", {"X-Registry-Position": written})
    assert ids(response) == ["i"]
    assert response.position == written


def test_position_holds_on_every_kind_of_read(api: Api) -> None:
    """Find, batch, list, get, service: each may be the first to be asked."""
    service_id = api.service()
    written = {"X-Registry-Position": api.register(service_id, instanceId="i").position}
    instances = f"/microservices/{service_id}/instances"
    for path in (instances, f"{instances}/i", f"/microservices/{service_id}", "/microservices"):
        assert ok(api.get(path, written)).position == written["X-Registry-Position"]
    ok(api.post("/instances/action?type=query", {"services": [{"service": {"serviceName": "*"}}]}, written))


@pytest.mark.parametrize("position", ["", "0-0"])
def test_no_position_waits_for_nothing(api: Api, position: str) -> None:
    """Blank as absent; the origin is included in everything, also in a tenant that does not exist."""
    headers = {"X-Registry-Position": position}
    assert ok(api.get("/microservices", headers)).body == b"{}"


@pytest.mark.parametrize(
    "position",
    [
        "1",
        "-",
        "1-",
        "-1",
        "1-2-3",
        "a-b",
        "1.0-1",
        " ",
        "+1-1",
        "1_0-1",
        "١-١",
        f"{2**64}-0",
        f"0-{2**64}",
        "9" * 5000,
    ],
)
def test_malformed_position_is_400001(api: Api, position: str) -> None:
    """Never a 500, and never ignored: the client would believe to read its writes."""
    response = api.get("/microservices", {"X-Registry-Position": position})
    if position == " ":
        ok(response)  # HTTP strips white space around a value: nothing was sent
    else:
        assert_refused(response, 400001, "X-Registry-Position")


def test_position_given_twice_is_refused(connection: Connection) -> None:
    """Which of the two should be waited for?"""
    request = b"GET /v4/default/registry/microservices HTTP/1.1\r\nHost: h\r\n"
    request += b"X-Registry-Position: 0-0\r\nX-Registry-Position: 1-1\r\n\r\n"
    assert_refused(connection.exchange(request), 400001)


@pytest.mark.slow
def test_position_that_never_comes_is_our_failure_not_a_wrong_answer(api: Api) -> None:
    """500 with a code after a bounded wait (5 s): the client may ask another replica, and is not misled."""
    epoch, sequence = api.register(api.service()).position.split("-")
    headers = {"X-Registry-Position": f"{epoch}-{int(sequence) + 1000}"}
    assert_refused(api.get("/microservices", headers), 500011, "position")
