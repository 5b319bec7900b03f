"""An upgrade that is offered and not accepted changes nothing: the message is read as if it offered none.

The JDK's HttpClient and curl offer h2c with whatever they send. A server that loses such a message's body reads it as
the next request: who writes the body then speaks for the owner of the connection.
"""

from __future__ import annotations

import json
import re
import socket
from typing import Final

import pytest

from tests.support.api import Api, assert_refused, ids, ok
from tests.support.http import Connection

BASE: Final = "/v4/default/registry"
#: What the JDK's HttpClient sends.
H2C: Final = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n"
OFFERS: Final = {
    "h2c": H2C,
    "websocket with a body": b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    "several": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n",
    "several lines": b"Upgrade: TLS/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nConnection: keep-alive\r\n",
}
HANDSHAKE: Final = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#: Bytes that say how a body ends, and the body.
FRAMINGS: Final = {
    "length": lambda body: b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
    "chunked": lambda body: (
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: t\r\n\r\n"
        % (body[:3], len(body) - 3, body[3:])
    ),
}


def head(client: Api, line: str, offer: bytes = b"") -> bytes:
    """A request's line and headers but for what ends them."""
    return b"%b HTTP/1.1\r\nHost: h\r\nX-Domain-Name: %b\r\n%b" % (line.encode(), client.domain.encode(), offer)


def get(client: Api, path: str, offer: bytes = b"") -> bytes:
    return head(client, f"GET {BASE}{path}", offer) + b"\r\n"


def service(name: str) -> bytes:
    return json.dumps({"service": {"serviceName": name, "appId": "shop", "serviceId": name}}).encode()


def nothing_more(connection: Connection) -> bool:
    """Whether the connection is still there, and everything on it has been read and answered."""
    answer = connection.request("GET", f"{BASE}/version")
    return answer.status == 200 and b"apiVersion" in answer.body and connection.surplus() == b""


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("by", [1, 1 << 20], ids=["byte by byte", "at once"])
def test_body_is_read_by_its_own_headers(client: Api, offer: str, framing: str, by: int) -> None:
    """And what follows on the connection is answered, in order."""
    post = head(client, f"POST {BASE}/microservices", OFFERS[offer]) + FRAMINGS[framing](service("cart"))
    stream = post + get(client, "/microservices/cart") + post
    stream += head(client, f"DELETE {BASE}/nowhere", OFFERS[offer]) + b"\r\n"
    for start in range(0, len(stream), by):
        client.connection.send(stream[start : start + by])
    answers = [client.connection.receive() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 404]
    assert answers[0].json() == answers[2].json() == {"serviceId": "cart"}
    assert answers[1].json()["service"]["serviceName"] == "cart"
    assert nothing_more(client.connection)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS)
def test_request_inside_a_body_is_not_carried_out(client: Api, offer: str, framing: str) -> None:
    """The body of a refused POST, which its client may have had from anybody, is no request."""
    service_id = client.service()
    instance = f"{BASE}/microservices/{service_id}/instances/{client.instance(service_id)}"
    smuggled = head(client, f"PUT {instance}/status?value=DOWN") + b"\r\n"
    post = head(client, f"POST {BASE}/microservices", OFFERS[offer]) + FRAMINGS[framing](smuggled)
    client.connection.send(post)
    assert_refused(client.connection.receive(), 400001)
    assert nothing_more(client.connection)
    assert client.find().json()["instances"][0]["status"] == "UP"


@pytest.mark.parametrize("offer", ["h2c", "several lines"])
def test_hot_requests_are_answered_as_without_the_offer(client: Api, offer: str) -> None:
    """Register, heartbeat, find, batch find: the same status and body, whatever was offered."""
    service_id = client.service()
    instances = f"{BASE}/microservices/{service_id}/instances"
    body = json.dumps({"instance": {"hostName": "h", "instanceId": "i", "endpoints": ["rest://a:1"]}}).encode()
    batch = json.dumps({"services": [{"service": {"appId": "shop", "serviceName": "cart"}}]}).encode()
    conversation = [
        (f"POST {instances}", body),
        (f"PUT {instances}/i/heartbeat", b""),
        (f"GET {BASE}/instances?appId=shop&serviceName=cart&version=0%2B", b""),
        (f"POST {BASE}/instances/action?type=query", batch),
        (f"PUT {instances}/nobody/heartbeat", b""),
        (f"DELETE {instances}/i", b""),
    ]
    said = []
    for headers in (b"", OFFERS[offer], b""):
        requests = [head(client, line, headers) + FRAMINGS["length"](content) for line, content in conversation]
        client.connection.send(b"".join(requests))
        answers = [client.connection.receive() for _ in requests]
        # A rev is of the timestamps too, which may have moved on by a second.
        said.append([(answer.status, answer.rev != "", _timeless(answer.body)) for answer in answers])
    assert [answer[0] for answer in said[0]] == [200, 200, 200, 200, 400, 200]
    assert said[0] == said[1] == said[2]


def _timeless(body: bytes) -> bytes:
    """The answer without what tells one registration of an instance from the next."""
    return re.sub(rb'"(timestamp|modTimestamp|rev)":"\w+"', rb'"\1":""', body)


def test_expectation_beside_an_offer_is_met(client: Api) -> None:
    """`Expect: 100-continue`, as curl sends it with large bodies: the body comes when it has been asked for."""
    body = service("cart")
    expecting = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    client.connection.send(head(client, f"POST {BASE}/microservices", H2C) + expecting)
    with socket.socket(fileno=client.connection.detach()) as raw:
        raw.settimeout(20)
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("offer", [H2C, b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"], ids=["h2c", "TLS"])
@pytest.mark.parametrize("path", ["/microservices/s/watcher", "/microservices/s/instances/i/heartbeat"])
def test_only_a_websocket_opens_a_watch(client: Api, offer: bytes, path: str) -> None:
    """Every other token is as good as none."""
    for headers in (b"", offer):
        answer = client.connection.exchange(get(client, path, headers))
        assert_refused(answer, 400001, "websocket")
        assert answer.header("Sec-Websocket-Version") == "13"
    assert nothing_more(client.connection)


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        b"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket , h2c\r\nContent-Length: 0\r\n",
        b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ],
)
def test_websocket_may_be_one_of_several(client: Api, offer: bytes) -> None:
    """A client names what it can do; one that the registry can do is enough."""
    service_id = client.service()
    client.connection.send(get(client, f"/microservices/{service_id}/watcher", offer + HANDSHAKE))
    assert client.connection.receive().status == 101


@pytest.mark.parametrize("framing", FRAMINGS)
def test_websocket_with_a_body_is_not_accepted(client: Api, framing: str) -> None:
    """Nobody could tell where the body ends and the first frame begins."""
    offer = OFFERS["websocket with a body"] + HANDSHAKE
    watch = head(client, f"GET {BASE}/microservices/s/watcher", offer) + FRAMINGS[framing](b"hello")
    client.connection.send(watch)
    assert_refused(client.connection.receive(), 400001, "websocket")
    assert nothing_more(client.connection)


def test_websocket_of_http_1_0_is_not_accepted(client: Api) -> None:
    """That version knows no upgrade."""
    offer = OFFERS["websocket with a body"] + HANDSHAKE
    watch = get(client, "/microservices/s/watcher", offer).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert_refused(client.connection.exchange(watch), 400001, "websocket")


def test_websocket_waits_for_its_turn(client: Api) -> None:
    """Behind a request that is being answered it is accepted after that answer (decision 9)."""
    service_id = client.service()
    watch = f"/microservices/{service_id}/watcher"
    instance = f"{BASE}/microservices/{service_id}/instances/{client.instance(service_id)}"
    beat = head(client, f"PUT {instance}/heartbeat") + b"\r\n"
    client.connection.send(beat + get(client, watch, OFFERS["websocket with a body"] + HANDSHAKE))
    assert ok(client.connection.receive()).body == b""
    assert client.connection.receive().status == 101


def test_many_offers_in_one_segment_are_answered(client: Api) -> None:
    """Each of them is read again from its beginning."""
    client.connection.send(get(client, "/version", H2C) * 300)
    assert [client.connection.receive().status for _ in range(300)] == [200] * 300
    assert nothing_more(client.connection)


def test_broken_body_behind_an_offer_ends_the_connection(client: Api) -> None:
    """Nothing behind it is a request (no length, no chunk)."""
    service_id = client.service()
    client.instance(service_id, instanceId="i")
    behind = head(client, f"DELETE {BASE}/microservices/{service_id}/instances/i") + b"\r\n"
    broken = head(client, f"POST {BASE}/microservices", H2C) + b"Transfer-Encoding: gzip\r\n\r\n"
    with Connection(*client.connection.address) as connection:
        connection.send(broken + behind)
        assert connection.receive().status == 400
        assert connection.at_end()
    assert ids(client.find()) == ["i"]


@pytest.mark.parametrize("target", ["h:80", f"{BASE}/version"])
def test_tunnel_is_refused(client: Api, target: str) -> None:
    """Nothing behind CONNECT is a request: what a tunnel carries is not for the registry to read."""
    service_id = client.service()
    client.instance(service_id, instanceId="i")
    behind = head(client, f"DELETE {BASE}/microservices/{service_id}/instances/i") + b"\r\n"
    with Connection(*client.connection.address) as connection:
        connection.send(head(client, f"CONNECT {target}") + b"\r\n" + behind)
        assert connection.receive().status == 400
        assert connection.at_end()
    assert ids(client.find()) == ["i"]
