"""GET microservices/{serviceId}/instances/{instanceId}/heartbeat: a lease that is kept by ping and pong.

api-rules.md 3.10, clients.md 1.0.4. Used by go-chassis.
"""

from __future__ import annotations

import time

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.waiting import until_sync
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocket, beat_by_socket

GONE = 4001


def assert_closed_as_gone(socket: WebSocket) -> None:
    """A close frame with 4001 and then the end: it makes sc-client register again."""
    frame = socket.receive()
    assert frame is not None
    assert frame.close_code == GONE
    socket.send(CLOSE, frame.payload)
    assert socket.receive() is None


def test_unknown_instance_is_closed_with_4001(api: Api, service_id: str) -> None:
    """After the upgrade, because a refused one makes go-chassis fall back to PUT (clients.md 1.0.4)."""
    with beat_by_socket(api, service_id, "nobody") as socket:
        assert_closed_as_gone(socket)


@pytest.mark.parametrize(("service", "instance"), [("nobody", "i"), ("x" * 65, "i"), ("nobody", "%C3%BC")])
def test_whatever_cannot_be_is_closed_with_4001(api: Api, service: str, instance: str) -> None:
    """Unknown services and ids out of their limits alike (3.10: any pre-check error)."""
    with beat_by_socket(api, service, instance) as socket:
        assert_closed_as_gone(socket)


def test_instance_of_another_tenant_is_unknown(api: Api, service_id: str) -> None:
    """Nobody keeps the instances of others alive (1.1)."""
    instance_id = api.instance(service_id)
    other = Api(api.connection, api.domain + "-other")
    with beat_by_socket(other, service_id, instance_id) as socket:
        assert_closed_as_gone(socket)


def test_request_without_upgrade_is_400_with_the_version(api: Api, service_id: str) -> None:
    """The same path that PUT beats (3.10)."""
    instance_id = api.instance(service_id)
    response = api.get(f"/microservices/{service_id}/instances/{instance_id}/heartbeat")
    assert_refused(response, 400001, "this path wants a websocket")
    assert response.header("Sec-Websocket-Version") == "13"


def test_pong_for_an_unregistered_instance_is_closed_with_4001(api: Api, service_id: str) -> None:
    """On the next pong, not before: what has gone is found out when it is to be renewed (3.10)."""
    instance_id = api.instance(service_id)
    with beat_by_socket(api, service_id, instance_id) as socket:
        ok(api.delete(f"/microservices/{service_id}/instances/{instance_id}"))
        assert socket.events() == []
        socket.send(PONG)
        assert_closed_as_gone(socket)


def test_socket_is_no_watcher(api: Api, service_id: str) -> None:
    """Its own changes are not told to it; messages are ignored (3.10)."""
    instance_id = api.instance(service_id)
    ok(api.find(consumer=service_id))
    with beat_by_socket(api, service_id, instance_id) as socket:
        ok(api.put(f"/microservices/{service_id}/instances/{instance_id}/status?value=DOWN"))
        socket.send(TEXT, b"hello")
        assert socket.events() == []


@pytest.mark.slow
def test_pongs_keep_the_shortest_lease_alive(api: Api, service_id: str) -> None:
    """Pings come often enough for a lease of 5 s, which the reference lets lapse between two of them (3.10).

    A pong changes neither the instance nor its rev. An instance whose socket answers no ping lapses.
    """
    check = {"mode": "push", "interval": 5, "times": 0}
    kept = api.instance(service_id, instanceId="kept", healthCheck=check)
    silent = api.instance(service_id, instanceId="silent", healthCheck=check)
    before = api.read_instance(service_id, kept)
    with beat_by_socket(api, service_id, silent), beat_by_socket(api, service_id, kept) as socket:
        start = time.monotonic()
        pings = 0
        while time.monotonic() - start < 6.0:
            frame = socket.receive()
            assert frame is not None
            assert frame.opcode == PING
            socket.send(PONG, frame.payload)
            pings += 1
        assert pings >= 3
        until_sync(lambda: ids(api.find()) == [kept], "the silent instance to lapse")
    assert api.read_instance(service_id, kept) == before
    assert_refused(api.put(f"/microservices/{service_id}/instances/{silent}/heartbeat"), 400017)
