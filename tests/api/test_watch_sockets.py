"""GET microservices/{serviceId}/watcher: how its websockets begin, idle and end.

api-rules.md 3.9, D13; clients.md 1.0.3, 1.A, 1.B. Which events they carry is in test_watch.py.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from registry.http_api.sockets import PING_EVERY_S
from registry.serving.websocket import PONG_WITHIN_S
from tests.support.api import Api, assert_refused, ok
from tests.support.replica import Replica, replica
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocket, dial, watch

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture
def watcher(api: Api, service_id: str) -> Iterator[WebSocket]:
    """A service that watches what it has found: itself."""
    ok(api.find(consumer=service_id))
    with watch(api, service_id) as socket:
        yield socket


def assert_alive(api: Api, service_id: str, watcher: WebSocket) -> None:
    """The watcher still gets events."""
    instance_id = api.instance(service_id)
    assert [event["instance"]["instanceId"] for event in watcher.events()] == [instance_id]


# -- how they begin ----------------------------------------------------------------------------------------------------


def test_request_without_upgrade_is_400_with_the_version(api: Api, service_id: str) -> None:
    """The reference's answer to a browser's address bar (3.9)."""
    response = api.get(f"/microservices/{service_id}/watcher")
    assert_refused(response, 400001, "this path wants a websocket")
    assert response.header("Sec-Websocket-Version") == "13"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Upgrade", ""),
        ("Connection", ""),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "AAAA"),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Version", "8"),
    ],
)
def test_incomplete_handshake_is_refused(registry: Replica, api: Api, service_id: str, name: str, value: str) -> None:
    """Each of the four headers is needed (RFC 6455 4.2.1); what is not websocket is a plain request."""
    headers = {**UPGRADE, "X-Domain-Name": api.domain, name: value}
    path = f"/v4/default/registry/microservices/{service_id}/watcher"
    with registry.connect() as connection:
        sent = {key: value for key, value in headers.items() if value}
        assert connection.request("GET", path, None, sent).status == 400


def test_origin_is_not_checked_and_nothing_is_negotiated(api: Api, service_id: str) -> None:
    """No compression and no subprotocol, though the client offers both: Go's client has neither (3.9)."""
    offers = {
        "Origin": "http://elsewhere",
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol": "chat",
    }
    with dial(api, f"/microservices/{service_id}/watcher", offers) as socket:
        assert socket.status == 101
        assert b"sec-websocket-extensions" not in socket.head.lower()
        assert b"sec-websocket-protocol" not in socket.head.lower()


@pytest.mark.slow
@pytest.mark.parametrize("service_id", ["nobody", "x" * 65, "no%20body"])
def test_unknown_service_is_told_in_one_text_and_then_dropped(api: Api, service_id: str) -> None:
    """101, one frame that is no JSON, and after at least a second the end of TCP without a farewell.

    sc-client reads "does not exist" in the frame, and its older versions dial again at once (3.9, clients.md 1.0.3).
    """
    start = time.monotonic()
    with dial(api, f"/microservices/{service_id}/watcher") as socket:
        assert socket.status == 101
        frames = socket.until_end()
    assert time.monotonic() - start >= 1.0
    assert [frame.opcode for frame in frames] == [TEXT]
    with pytest.raises(json.JSONDecodeError):
        json.loads(frames[0].payload)
    assert (b"does not exist" in frames[0].payload) == (service_id == "nobody")


def test_service_of_another_tenant_is_unknown(api: Api, service_id: str) -> None:
    """Nobody watches across tenants by guessing an id (1.1)."""
    other = Api(api.connection, api.domain + "-other")
    with dial(other, f"/microservices/{service_id}/watcher") as socket:
        frame = socket.receive()
        assert frame is not None
        assert b"does not exist" in frame.payload


def test_upgrade_elsewhere_is_404(api: Api) -> None:
    """Only watchers and heartbeats are reached by websocket (1.5)."""
    with dial(api, "/microservices") as socket:
        assert socket.status == 404
        assert b"\r\nContent-Type: text/plain" in socket.head


def test_tenant_that_cannot_be_is_refused_before_the_upgrade(api: Api, service_id: str) -> None:
    """Given twice, it is refused as for any request (1.1)."""
    with dial(api, f"/microservices/{service_id}/watcher", {"x-domain-name": "another"}) as socket:
        assert socket.status == 400


# -- while they last ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 4, 64, 65, 125])
def test_pong_echoes_the_payload(watcher: WebSocket, size: int) -> None:
    """Python's `websockets` counts a server whose pong says something else as dead (D13, 9.3-11)."""
    payload = bytes(range(size))
    watcher.send(PING, payload)
    frame = watcher.receive()
    assert frame is not None
    assert (frame.opcode, frame.payload) == (PONG, payload)


def test_server_pings_often_enough() -> None:
    """Java closes a watch that is silent for 60 s; the reference pings every 30 s (clients.md 0.16)."""
    assert PING_EVERY_S <= 30
    assert PING_EVERY_S + PONG_WITHIN_S <= 120


def test_messages_of_clients_are_ignored(api: Api, service_id: str, watcher: WebSocket) -> None:
    """Up to 64 bytes, of either kind, also in fragments (3.9)."""
    watcher.send(TEXT, b"x" * 64)
    watcher.send(0x2, b"\xff" * 64)
    watcher.send(TEXT, b"x" * 32, final=False)
    watcher.send(0x0, b"x" * 32)
    assert_alive(api, service_id, watcher)


@pytest.mark.parametrize("parts", [[65], [32, 33], [126], [60_000]])
def test_message_above_64_bytes_closes_with_1009(watcher: WebSocket, parts: list[int]) -> None:
    """Nobody fills the registry's memory through a watcher (3.9)."""
    for index, size in enumerate(parts):
        watcher.send(0x0 if index else TEXT, b"x" * size, final=index == len(parts) - 1)
    frames = watcher.until_end()
    assert frames[-1].opcode == CLOSE
    assert frames[-1].close_code == 1009


@pytest.mark.parametrize("code", [1000, 1001, 4321])
def test_close_of_the_client_is_echoed(watcher: WebSocket, code: int) -> None:
    """With the same code, and the connection ends (3.9)."""
    assert watcher.close_with(code).close_code == code
    assert watcher.receive() is None


def test_socket_that_ends_leaves_the_others_alone(api: Api, service_id: str, watcher: WebSocket) -> None:
    """A client that vanishes without a word costs nobody an event."""
    with watch(api, service_id):
        pass
    assert_alive(api, service_id, watcher)


# -- how they end ------------------------------------------------------------------------------------------------------


def test_deleted_consumer_is_dropped_without_a_farewell(api: Api, service_id: str) -> None:
    """Back again it is told that it does not exist, and registers (3.9, clients.md 1.A)."""
    consumer_id = api.service("consumer")
    ok(api.find(consumer=consumer_id))
    with watch(api, consumer_id) as socket, watch(api, service_id) as other:
        ok(api.delete(f"/microservices/{consumer_id}"))
        assert socket.until_end() == []
        assert other.events() == []


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stop_ends_the_connection_without_a_farewell(redis_url: str, key_prefix: str, signum: signal.Signals) -> None:
    """After a close frame java 3 stays away until it registers anew; after a break it dials again (clients.md 1.A)."""
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix) as process:
        api = process.api("tenant")
        service_id = api.service()
        with watch(api, service_id) as watcher, dial(api, "/microservices/nobody/watcher") as refused:
            assert process.stop(signum) == 0
            assert watcher.until_end() == []
            assert [frame.opcode for frame in refused.until_end()] == [TEXT]


@pytest.mark.slow
def test_reader_that_stops_reading_is_dropped_and_others_are_not(api: Api, service_id: str) -> None:
    """A hung client must neither fill the registry's memory nor hold up those that read (D13).

    What was cut off ends without a farewell, so the client comes back and pulls.
    """
    ok(api.find(consumer=service_id))
    properties = {"properties": {"text": "x" * 2900}}
    for number in range(200):
        instance_id = api.instance(service_id, instanceId=f"i{number}")
        ok(api.put(f"/microservices/{service_id}/instances/{instance_id}/properties", properties))
    with watch(api, service_id, receive_buffer=4096) as slow, watch(api, service_id) as quick:
        changes = 0
        for _ in range(12):
            for status in ("DOWN", "UP"):
                ok(api.put("/instances/status", {"status": status}))
                changes += 200
                assert len(quick.events()) == 200
        received = slow.until_end()
        assert all(frame.opcode == TEXT for frame in received)
        assert 0 < len(received) < changes
        assert [json.loads(frame.payload)["action"] for frame in received[:2]] == ["UPDATE", "UPDATE"]
        assert_alive(api, service_id, quick)
