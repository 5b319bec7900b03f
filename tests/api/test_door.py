"""What any client may send or leave undone, of a registry with the hot way and of one without (`client`).

Beside it: unread answers, requests that are none and half-closed clients of any application in `tests/serving`,
upgrades in `test_upgrades.py`, time-outs in `test_limits.py`.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import uuid
from collections.abc import Iterator
from typing import Final

import pytest

from registry.http_api.operation import Kind
from registry.http_api.operations import OPERATIONS
from tests.support.api import Api, assert_refused, ok, wanted
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync
from tests.support.websocket import WebSocket

BASE: Final = "/v4/default/registry"
FIND: Final = f"{BASE}/instances?appId=shop&serviceName=cart&version=0%2B"
UPGRADE: Final = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LIMIT_S: Final = 20.0


@pytest.fixture
def cart(client: Api) -> str:
    """The microservice shop/cart with one instance, `a`."""
    service_id = client.service(serviceId="cart")
    client.instance(service_id, instanceId="a", endpoints=["rest://1.1.1.1:1"])
    return service_id


def message(client: Api, line: str, body: bytes = b"", headers: bytes = b"", version: str = "1.1") -> bytes:
    """A request of the client's tenant that goes the hot way, if there is one and it fits."""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    tenant = client.domain.encode()
    return b"%b HTTP/%b\r\nHost: h\r\nX-Domain-Name: %b\r\n%b%b\r\n%b" % (
        *(line.encode(), version.encode(), tenant, length, headers, body),
    )


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


# -- clients that shut their sending side ------------------------------------------------------------------------------

BATCH: Final = json.dumps({"services": [wanted()]}).encode()
NEW: Final = json.dumps({"instance": {"hostName": "h", "endpoints": ["rest://1.1.1.2:1"], "instanceId": "b"}}).encode()
MICROSERVICE: Final = json.dumps({"service": {"appId": "shop", "serviceName": "till"}}).encode()


@pytest.mark.parametrize(
    ("line", "body", "answer"),
    [
        (f"GET {FIND}", b"", rb'"instanceId":"a"'),
        (f"GET {FIND}&rev=old", b"", rb'"instanceId":"a"'),
        (f"POST {BASE}/instances/action?type=query", BATCH, rb'"updated":'),
        (f"PUT {BASE}/microservices/cart/instances/a/heartbeat", b"", rb"\r\n\r\n$"),
        (f"POST {BASE}/microservices/cart/instances", NEW, rb'\{"instanceId":"b"\}$'),
        (f"POST {BASE}/microservices", MICROSERVICE, rb'\{"serviceId":"[^"]+"\}$'),
        (f"PUT {BASE}/microservices/cart/instances/a/status?value=DOWN", b"", rb"\r\n\r\n$"),
    ],
)
def test_half_closed_client_is_answered(client: Api, cart: str, line: str, body: bytes, answer: bytes) -> None:
    """The write is done: a client that is not told repeats it. Then the connection ends, since nothing more comes."""
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(message(client, line, body))
        connection.shutdown(socket.SHUT_WR)
        said = read_to_the_end(connection)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert re.search(answer, said)
    assert said.count(b"HTTP/1.1 ") == 1


def test_half_closed_client_is_answered_all_that_it_has_asked(client: Api, cart: str) -> None:
    """In order, by whatever way each goes, also what had not begun when the end came."""
    beat = message(client, f"PUT {BASE}/microservices/cart/instances/a/heartbeat")
    write = message(client, f"POST {BASE}/microservices", MICROSERVICE)
    find = message(client, f"GET {FIND}")
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(beat + write + beat + find)
        connection.shutdown(socket.SHUT_WR)
        said = read_to_the_end(connection)
    assert said.count(b"HTTP/1.1 200 ") == 4
    assert said.index(b'"serviceId"') < said.index(b'"instances"')


@pytest.mark.parametrize("line", [f"POST {BASE}/microservices", f"PUT {BASE}/microservices/cart/instances/a/heartbeat"])
@pytest.mark.parametrize("left_out", [1, len(MICROSERVICE) + 1], ids=["body", "head"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "answered before"])
def test_half_a_request_is_none(client: Api, cart: str, line: str, left_out: int, late: bool) -> None:
    """What stands before it is answered, and then the connection ends: nothing that comes could complete it."""
    beat = message(client, f"PUT {BASE}/microservices/cart/instances/a/heartbeat")
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(beat + message(client, line, MICROSERVICE)[:-left_out])
        said = connection.recv(1 << 16) if late else b""
        connection.shutdown(socket.SHUT_WR)
        assert (said + read_to_the_end(connection)).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("line", ["DELETE {}", "PUT {}/status?value=DOWN"])
def test_half_a_request_changes_nothing(client: Api, cart: str, line: str) -> None:
    """Also where nobody needs the body."""
    instance = f"{BASE}/microservices/cart/instances/a"
    half = message(client, line.format(instance), MICROSERVICE)[:-1]
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(half)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_the_end(connection) == b""
    assert client.read_instance("cart", "a")["status"] == "UP"


# -- HEAD --------------------------------------------------------------------------------------------------------------

#: What the queries of reads need.
QUERIES: Final = {
    "find-instances": "?appId=shop&serviceName=cart&version=0%2B",
    "search-instances": "?text=a",
    "explain-find": "?appId=shop&serviceName=cart&version=0%2B",
    "follow-events": "?wait=10ms",
    "check-existence": "?type=microservice&appId=shop&serviceName=cart&version=0%2B",
}
#: Their answers differ from one request to the next.
VOLATILE: Final = {"get-metrics", "dump", "list-replicas", "get-store", "get-lease"}


@pytest.mark.parametrize(
    "operation",
    [one for one in OPERATIONS if one.method == "GET" and one.kind is not Kind.SOCKET],
    ids=lambda operation: operation.name,
)
def test_head_is_get_without_the_body(client: Api, cart: str, operation: object) -> None:
    """Of every GET: status, headers and the length of the body that is left out (api-rules.md D22)."""
    (row,) = (one for one in OPERATIONS if one is operation)
    known = {"project": "default", "service_id": "cart", "instance_id": "a", "schema_id": "s", "kind": "retry"}
    path = re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], "x"), row.path) + QUERIES.get(row.name, "")
    headers = {"X-Domain-Name": client.domain}
    got, headed = (client.connection.request(method, path, None, headers) for method in ("GET", "HEAD"))
    assert (headed.status, headed.body) == (got.status, b"")
    varying = {"Date", "X-Request-Id", *(("Content-Length", "Content-Encoding") if row.name in VOLATILE else ())}
    assert [one for one in headed.headers if one[0] not in varying] == [
        one for one in got.headers if one[0] not in varying
    ]
    assert client.connection.surplus() == b""


# -- targets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["http://h", "http://elsewhere.example:8080", "https://h", "HTTP://h"])
def test_absolute_form_means_its_path(client: Api, cart: str, host: str) -> None:
    """A proxy sends it; a server must read it (RFC 9112, 3.2.2)."""
    headers = {"X-Domain-Name": client.domain}
    assert b'"a"' in ok(client.connection.request("GET", host + FIND, None, headers)).body
    ok(client.connection.request("PUT", f"{host}{BASE}/microservices/cart/instances/a/heartbeat", None, headers))
    for path in ("watcher", "instances/a/heartbeat"):
        with WebSocket(client.connection.address, f"{host}{BASE}/microservices/cart/{path}", headers) as socket_:
            assert socket_.status == 101


@pytest.mark.parametrize(
    "path",
    [
        "/v4/default/registry/..%2f..%2fadmin%2fdump",
        "/v4/default/registry/microservices/cart%2Finstances",
        "/v4/default%2fregistry/version",
        "/v4/default/registry/microservices/cart/instances/a%2Fheartbeat",
    ],
)
def test_encoded_slash_parts_no_path(client: Api, cart: str, path: str) -> None:
    """What a proxy has checked as one segment must not become two behind it; nor is anybody sent elsewhere."""
    headers = {"X-Domain-Name": client.domain}
    for method in ("GET", "PUT", "DELETE"):
        response = client.connection.request(method, path, None, headers)
        assert (response.status, response.header("Location")) == (404, "")
    with WebSocket(client.connection.address, path, headers) as socket_:
        assert socket_.status == 404
    assert ok(client.get("/microservices/cart/instances")).json()["instances"]


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        (f"GET {FIND} HTTP/1.1", [b"a", b"b"]),
        (f"GET {FIND} HTTP/1.1", []),
        (f"GET {FIND} HTTP/0.9", [b"h"]),
        (f"GET {FIND} HTTP/2.0", [b"h"]),
        (f"PUT {BASE}/microservices/cart/instances/a/heartbeat HTTP/1.1", [b"a", b"b"]),
        (f"PUT {BASE}/microservices/cart/instances/a/heartbeat HTTP/1.1", []),
        (f"GET {BASE}/version HTTP/1.1", [b"a", b"b"]),
    ],
)
def test_host_is_named_once(client: Api, cart: str, line: str, hosts: list[bytes]) -> None:
    """Two proxies in a row that read different ones are how requests are smuggled (RFC 9112, 3.2)."""
    lines = [line.encode(), *(b"Host: " + host for host in hosts), b"X-Domain-Name: " + client.domain.encode()]
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        said = read_to_the_end(connection)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"errorCode":"400001"' in said


def test_host_given_twice_alike_is_one(client: Api, cart: str) -> None:
    """Nothing is unclear then; and HTTP/1.0 needs none."""
    twice = message(client, f"GET {FIND}", headers=b"Host: h\r\n")
    ok(client.connection.exchange(twice))
    none = message(client, f"GET {FIND}", version="1.0").replace(b"Host: h\r\n", b"")
    ok(client.connection.exchange(none))


# -- websockets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/nowhere", f"{BASE}/microservices/cart", "/v4/default//registry/x", "/v4/default/registry/..%2fx"]
)
def test_refused_handshake_is_no_error_in_the_log(client: Api, registry: Replica, path: str) -> None:
    """Anyone who can reach the port could fill the log otherwise; and every line says what it is about."""
    before = len(registry.log())
    headers = {"X-Domain-Name": client.domain}
    for _ in range(20):
        with WebSocket(client.connection.address, path, headers) as socket_:
            assert socket_.status in (301, 400, 404)
    ok(client.get("/version"))
    said = registry.log()[before:]
    assert [line for line in said if line["level"] in ("error", "warning") or not line.get("action")] == []


def test_handshake_with_a_body_is_answered(client: Api, cart: str) -> None:
    """As the ordinary request that it is then, at once; what follows its body is the next request."""
    line = f"GET {BASE}/microservices/cart/watcher"
    behind = message(client, f"GET {FIND}", headers=b"Connection: close\r\n")
    with socket.create_connection(client.connection.address, LIMIT_S) as connection:
        connection.sendall(message(client, line, b"12345", UPGRADE) + behind)
        said = read_to_the_end(connection)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"instanceId":"a"' in said


# -- large answers, and who does not read them ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=["on", "off"])
def tight(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Replica]:
    """A registry that sends small answers only, and gives clients a second to read them; with the hot way, without."""
    options = ("--redis-url", redis_url, "--redis-prefix", f"tight-{uuid.uuid4().hex[:8]}:")
    limits = ("--answer-max-bytes", "100000", "--send-timeout-s", "1", "--unsent-max-bytes", "2000000")
    with replica(*options, *limits, "--fast-lane", request.param) as process:
        yield process


def filled(tight: Replica, instances: int) -> Api:
    """A tenant whose shop/cart has a number of instances of some 2,000 bytes."""
    api = tight.api(f"tenant-{uuid.uuid4().hex[:12]}")
    service_id = api.service(serviceId="cart")
    for number in range(instances):
        api.instance(service_id, instanceId=f"i{number}", properties={"p": "x" * 1800})
    return api


def test_answer_beyond_the_limit_says_how_to_narrow(tight: Replica) -> None:
    """Of every read, by whatever way; what fits is answered (REGISTRY_ANSWER_MAX_BYTES)."""
    api = filled(tight, 60)
    many = [wanted()] * 4
    for refused in (api.find(version="0+"), api.find(version="0+"), api.batch(many), api.instances_of("cart")):
        assert_refused(refused, 400001, at="REGISTRY_ANSWER_MAX_BYTES")
        assert "ask for less" in refused.json()["detail"]
    assert ok(api.get("/microservices/cart/instances/i1")).json()["instance"]["instanceId"] == "i1"


@pytest.mark.slow
def test_client_that_does_not_read_is_let_go(tight: Replica) -> None:
    """Its answers are held for `REGISTRY_SEND_TIMEOUT_S`, and no longer."""
    api = filled(tight, 40)
    find = message(api, f"GET {FIND}")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LIMIT_S)
        connection.connect(api.connection.address)
        connection.sendall(find * 200)
        until_sync(lambda: not _is_open(connection), "the registry to let it go", LIMIT_S)
    ok(api.find(version="0+"))


def _is_open(connection: socket.socket) -> bool:
    """Whether the other side still has this connection: without reading, by writing to it."""
    try:
        connection.send(b"\r\n", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
