"""The front door: what is answered before any route looks at a request - origins, heads, unclean paths, odd URIs.

api-rules.md 1.2, 1.3, 1.5. What each answer looks like on the wire otherwise is in test_wire.py.
"""

from __future__ import annotations

import select
import socket

import pytest

from registry.settings import HEADERS_MAX
from tests.support.api import Api, assert_empty, assert_refused, ok
from tests.support.http import Connection
from tests.support.replica import Replica, replica
from tests.support.websocket import WebSocket

VERSION = "/v4/default/registry/version"
ORIGIN = {"Origin": "http://console"}
#: 32768 and the reference's slack (1.2).
HEAD_MAX = 32768 + 4096


def head(headers: str, target: str = VERSION) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode()


# -- origins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", VERSION, 200),
        ("GET", "/v4/default/registry/microservices/nobody", 400),
        ("GET", "/v4/default/registry/nowhere", 404),
        ("POST", VERSION, 405),
        ("GET", "/v4/default//registry/version", 301),
        ("GET", f"{VERSION}?a=//", 400),
        ("GET", "/v4/default/registry/microservices/s/watcher", 400),
    ],
)
def test_every_kind_of_answer_may_be_read_by_a_console_elsewhere(
    connection: Connection, method: str, target: str, status: int
) -> None:
    """A browser shows a script nothing of an answer that does not allow its origin, not even the status (1.3)."""
    response = connection.request(method, target, None, ORIGIN)
    assert response.status == status
    assert response.header("Access-Control-Allow-Origin") == "*"
    assert "Origin" in response.all("Vary")


def test_answers_vary_by_origin_with_and_without_one(connection: Connection) -> None:
    """A cache must not give a console the answer without the permission (1.3)."""
    response = connection.request("GET", VERSION)
    assert "Origin" in response.all("Vary")
    assert response.header("Access-Control-Allow-Origin") == ""


def test_preflight_allows_the_methods_and_headers_that_consoles_use(connection: Connection) -> None:
    """As documented; nothing is exposed, so a browser reads no revision (1.3)."""
    asked = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-domain-name"}
    response = connection.request("OPTIONS", VERSION, None, asked)
    assert_empty(response)
    assert response.header("Access-Control-Allow-Methods") == "GET, POST, PUT, DELETE, UPDATE"
    assert (
        response.header("Access-Control-Allow-Headers") == "Origin, Accept, Content-Type, X-Domain-Name, X-ConsumerId"
    )
    assert response.header("Access-Control-Expose-Headers") == ""


@pytest.mark.parametrize(
    ("options", "environment", "allowed"),
    [
        (("--cors-origins", "http://console"), {}, "http://console"),
        (("--cors-origins", "http://other"), {}, ""),
        ((), {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": "Root-password_1"}, ""),
    ],
    ids=["named", "another", "accounts"],
)
def test_origins_are_those_that_are_set_and_none_with_accounts(
    redis_url: str, options: tuple[str, ...], environment: dict[str, str], allowed: str
) -> None:
    """Nor does a page of another origin open a websocket, which no browser asks about."""
    prefix = f"origins-{len(options)}{allowed[7:]}:"
    with (
        replica("--redis-url", redis_url, "--redis-prefix", prefix, *options, environment=environment) as one,
        one.connect() as connection,
    ):
        response = connection.request("GET", VERSION, None, ORIGIN)
        assert (response.status, response.header("Access-Control-Allow-Origin")) == (200, allowed)
        preflight = connection.request("OPTIONS", VERSION, None, ORIGIN)
        assert bool(preflight.header("Access-Control-Allow-Methods")) is bool(allowed)
        if not environment:
            asked = {**ORIGIN, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            asked["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
            watch = connection.request("GET", "/v4/default/registry/microservices/s/watcher", None, asked)
            assert watch.status == (101 if allowed else 403)


def test_options_goes_no_further(api: Api) -> None:
    """It is answered without a tenant, a body or a route being looked at (1.3)."""
    target = "/v4/default/registry/microservices"
    headers = {"X-Domain-Name": "a", "x-domain-name": "b", **ORIGIN}
    assert_empty(api.connection.request("OPTIONS", target, b"{", headers))


# -- heads -------------------------------------------------------------------------------------------------------------


def assert_refused_as_too_large(connection: Connection) -> None:
    """431, text, and the connection ends: what follows is not read as a request."""
    response = connection.receive()
    assert response.status == 431
    assert response.header("Content-Type").startswith("text/plain")
    assert response.header("Connection") == "close"


def test_large_head_in_many_segments_is_431(registry: Replica) -> None:
    """The limit is on the head, not on what happens to arrive at once (1.2)."""
    with registry.connect() as connection:
        connection.send(f"GET {VERSION} HTTP/1.1\r\nHost: h\r\n".encode())
        for number in range(38):
            connection.send(f"X-Pad-{number}: {'x' * 1000}\r\n".encode())
        assert_refused_as_too_large(connection)


@pytest.mark.parametrize(
    "beginning",
    [f"GET {VERSION} HTTP/1.1\r\nHost: h\r\nX-Pad: ", f"GET {VERSION} HTTP/1.1\r\nHost: h\r\n", f"GET {VERSION}?a="],
    ids=["value", "name", "URI"],
)
def test_line_without_end_is_431(registry: Replica, beginning: str) -> None:
    """What never ends must not be collected for ever (1.2). The answer comes while the client still sends."""
    with socket.create_connection((registry.host, registry.port), 20) as raw:
        raw.sendall(beginning.encode())
        sent = 0
        while not select.select([raw], [], [], 0.005)[0]:
            assert sent < 1_000_000, "a megabyte of one line is not enough"
            sent += raw.send(b"x" * 1000)
        assert raw.recv(1000).startswith(b"HTTP/1.1 431 ")
    assert sent > HEAD_MAX - 1000


def test_many_small_headers_are_431(registry: Replica) -> None:
    """It is their sum that counts (1.2)."""
    with registry.connect() as connection:
        connection.send(head("".join(f"X-{number}: y\r\n" for number in range(4000))))
        assert_refused_as_too_large(connection)


def test_many_small_headers_below_the_limit_are_read(registry: Replica) -> None:
    """Proxies add a lot (1.2)."""
    fits = "".join(f"X-{number}: y\r\n" for number in range(HEADERS_MAX - 1))
    with registry.connect() as connection:
        assert connection.exchange(head(fits)).status == 200
        connection.send(head(f"X-Last: y\r\n{fits}"))
        assert_refused_as_too_large(connection)


def test_head_is_counted_anew_for_each_request(registry: Replica) -> None:
    """A connection that is kept alive has no budget for all its requests together (1.2)."""
    with registry.connect() as connection:
        for _ in range(3):
            assert connection.exchange(head(f"X-Pad: {'x' * 30_000}\r\n")).status == 200
        one = head(f"X-Pad: {'x' * 15_000}\r\n")
        connection.send(one * 4)
        assert [connection.receive().status for _ in range(4)] == [200] * 4
        assert connection.opened == 1


def test_body_does_not_count_as_head(registry: Replica, api: Api) -> None:
    """It has limits of its own, in chunks or not (1.2)."""
    body = b'{"service":{"serviceName":"cart","description":"","unknown":"%s"}}' % (b"x" * 100_000)
    path = "/v4/default/registry/microservices"
    with registry.connect() as connection:
        ok(connection.request("POST", path, body, {"X-Domain-Name": api.domain}))
        chunks = b"".join(
            b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i : i + 5000] for i in range(0, len(body), 5000))
        )
        request = (
            f"POST {path} HTTP/1.1\r\nHost: h\r\nX-Domain-Name: {api.domain}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        ok(connection.exchange(request.encode() + chunks + b"0\r\n\r\n"))


def test_request_with_a_large_head_is_not_done(registry: Replica, api: Api, service_id: str) -> None:
    """431 means that nothing was done (1.2)."""
    headers = {"X-Domain-Name": api.domain, "X-Pad": "x" * HEAD_MAX}
    with registry.connect() as connection:
        target = f"/v4/default/registry/microservices/{service_id}"
        assert connection.request("DELETE", target, None, headers).status == 431
    assert_all_services(api, service_id, api.service("behind"))


def assert_all_services(api: Api, *service_ids: str) -> None:
    """Of one tenant writes are done in the order in which they came: what was done before the last of these is seen."""
    listed = [service["serviceId"] for service in ok(api.get("/microservices")).json()["services"]]
    assert sorted(listed) == sorted(service_ids)


def test_request_behind_a_large_head_is_not_served(registry: Replica, api: Api) -> None:
    """Else a client that smuggles one behind it gets it served (1.2)."""
    body = b'{"service":{"serviceName":"smuggled","appId":"shop"}}'
    behind = (
        f"POST /v4/default/registry/microservices HTTP/1.1\r\nHost: h\r\nX-Domain-Name: {api.domain}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with registry.connect() as connection:
        connection.send(head(f"X-Pad: {'x' * HEAD_MAX}\r\n") + behind.encode() + body)
        assert_refused_as_too_large(connection)
        assert connection.surplus() == b""
    assert_all_services(api, api.service("behind"))


def test_large_head_of_a_handshake_is_431(registry: Replica) -> None:
    """A watcher's door is no larger (1.2)."""
    target = "/v4/default/registry/microservices/s/watcher"
    with WebSocket((registry.host, registry.port), target, {"X-Pad": "x" * HEAD_MAX}) as watcher:
        assert watcher.status == 431


def test_registry_serves_on_after_large_heads(registry: Replica, connection: Connection) -> None:
    """And does not complain: they are the client's mistake, not ours."""
    known = len(registry.log())
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    for headers in (b"", upgrade) * 10:
        with socket.create_connection((registry.host, registry.port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n" + headers + b"X: " + b"x" * 100_000 + b"\r\n\r\n")
    ok(connection.request("GET", VERSION))
    assert not [record for record in registry.log()[known:] if record["level"] == "error"]


# -- unclean paths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_unclean_path_is_301_for_every_method(api: Api, method: str) -> None:
    """An empty id must not reach another resource: `DELETE microservices//instances/i` (1.2)."""
    response = api.call(method, "/microservices//instances/i")
    assert (response.status, response.header("Location")) == (301, "/v4/default/registry/microservices/instances/i")


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        ("/../../etc/passwd", "/etc/passwd"),
        ("/v4/default/registry/..", "/v4/default"),
        ("/v4/default/registry/.", "/v4/default/registry"),
        ("/v4/default/registry/../", "/v4/default/"),
        ("///", "/"),
        (
            "/v4/default/registry//instances?appId=a&serviceName=b",
            "/v4/default/registry/instances?appId=a&serviceName=b",
        ),
        ("//evil.example/v4", "/evil.example/v4"),
    ],
)
def test_redirection_stays_on_this_server(connection: Connection, target: str, clean: str) -> None:
    """Never to a host that the path names, and never above the root (1.2)."""
    response = connection.request("GET", target)
    assert (response.status, response.header("Location")) == (301, clean)


@pytest.mark.parametrize("segment", ["...", ".a", "a.", "a..b", "%2E%2Ea"])
def test_dots_inside_a_segment_are_clean(connection: Connection, segment: str) -> None:
    """Ids may hold and begin with dots (1.2, 7)."""
    response = connection.request("GET", f"/v4/default/registry/microservices/{segment}")
    assert_refused(response, 400012)


def test_redirection_cannot_split_headers(connection: Connection) -> None:
    """A path's percent-encoded line end stays encoded in `Location` (1.2)."""
    response = connection.request("GET", "/v4//a%0D%0AX-Evil:%201")
    assert response.status == 301
    assert response.header("Location") == "/v4/a%0D%0AX-Evil:%201"
    assert response.header("X-Evil") == ""


# -- unknown paths and methods -----------------------------------------------------------------------------------------


def test_unknown_path_is_404_before_its_tenant_is_looked_at(connection: Connection) -> None:
    """The order of checks: URI, origin, route, tenant (1.5)."""
    headers = {"X-Domain-Name": "a", "x-domain-name": "b"}
    assert connection.request("GET", "/v4/default/registry/nowhere", None, headers).status == 404
    assert connection.request("POST", VERSION, None, headers).status == 405
    assert_refused(connection.request("GET", VERSION, None, headers), 400001)


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE"])
def test_method_that_no_path_has_is_405(connection: Connection, method: str) -> None:
    """With the methods that the path has (1.5)."""
    response = connection.request(method, VERSION)
    assert (response.status, response.header("Allow")) == (405, "GET, HEAD")


# -- odd URIs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [";", "&", "?", "@"])
def test_path_that_ends_oddly_is_refused_as_text(connection: Connection, end: str) -> None:
    """Before routing, so it is no 404 (1.2)."""
    response = connection.request("GET", f"/nowhere?a=b{end}")
    assert response.status == 400
    assert response.header("Content-Type").startswith("text/plain")


def test_odd_characters_inside_are_no_matter(api: Api, service_id: str) -> None:
    """Only the end and `//` are looked at (1.2)."""
    assert ok(api.get("/instances?x=a;b@c?d&appId=shop&serviceName=cart&version=0+")).body == b"{}"


def test_length_is_of_path_and_query_together(connection: Connection) -> None:
    """As sent, percent-encoding included (1.2)."""
    target = f"{VERSION}?a={'%41' * 700}"
    assert len(target) > 2048
    assert connection.request("GET", target).status == 400
    fitting = f"{VERSION}?a=" + "b" * (2047 - len(VERSION) - 3)
    assert connection.request("GET", fitting).status == 200
    assert connection.request("GET", fitting + "b").status == 400
