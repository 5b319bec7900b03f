"""The wire: header case, lengths, compression, keep-alive, unknown paths and methods.

api-rules.md 1.2, 1.3, 1.5 and 9.1; clients.md 0.1, 0.2, 0.5, 0.8, 0.15, 0.21.
"""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from registry.settings import Settings
from tests.support.api import Api, assert_empty, assert_refused, ok, wanted
from tests.support.http import Connection
from tests.support.replica import Replica

GZIP = {"Accept-Encoding": "gzip"}


# -- heads and bodies --------------------------------------------------------------------------------------------------


def test_json_is_compact(api: Api) -> None:
    """sc-client searches the raw text for `"errorCode":"400012"`, without a space (clients.md 0.1)."""
    service_id = api.service()
    api.instance(service_id, properties={"k": "v"}, endpoints=["rest://a:1"])
    answers = [api.find("nobody"), api.find(), api.get(f"/microservices/{service_id}"), api.batch([wanted()])]
    answers += [api.get("/microservices"), api.get("/version"), api.get("/health")]
    for answer in answers:
        assert b'": ' not in answer.body
        assert b", " not in answer.body.replace(b"registered, ", b"")
    assert b'"errorCode":"400012"' in answers[0].body


def test_json_answers_carry_type_length_and_server(api: Api) -> None:
    """The documented head of every answer with content (api-rules.md 1.3)."""
    api.service()
    response = ok(api.find())
    assert response.header("Content-Type") == "application/json; charset=UTF-8"
    assert response.header("Content-Length") == str(len(response.body))
    assert response.header("Server").startswith("SERVICECENTER/")
    assert "Accept-Encoding" in ", ".join(response.all("Vary"))


def test_header_names_keep_the_documented_case(api: Api) -> None:
    """Java compares header names case-sensitively; lower case costs it its cache (clients.md 0.8)."""
    service_id = api.service()
    instance_id = api.instance(service_id)
    paths = ["/instances?appId=shop&serviceName=cart", f"/microservices/{service_id}/instances"]
    for path in (*paths, f"/microservices/{service_id}/instances/{instance_id}"):
        head = api.get(path).head
        for name in (b"X-Resource-Revision", b"X-Registry-Position", b"Content-Type", b"Content-Length"):
            assert head.count(b"\r\n" + name + b": ") == 1


def test_not_modified_has_neither_body_nor_encoding(api: Api) -> None:
    """304 with the revision and nothing else; go's client trips over an encoding (clients.md 0.8, 0.21)."""
    api.service()
    response = api.get(f"/instances?appId=shop&serviceName=cart&rev={api.find().rev}", GZIP)
    assert (response.status, response.body) == (304, b"")
    assert response.header("Content-Encoding") == ""
    assert response.header("Content-Length") in ("", "0")
    assert api.connection.surplus() == b""


def test_every_answer_without_content_is_empty(api: Api) -> None:
    """200, `Content-Length: 0`, not a byte: also for clients that would take gzip (D16, clients.md 0.2)."""
    service_id = api.service()
    instance = f"/microservices/{service_id}/instances/{api.instance(service_id)}"
    assert_empty(api.put(f"{instance}/heartbeat", None, GZIP))
    assert_empty(api.put(f"{instance}/status?value=DOWN", None, GZIP))
    assert_empty(api.put(f"{instance}/properties", {}, GZIP))
    assert_empty(api.put(f"/microservices/{service_id}/properties", {}, GZIP))
    assert_empty(api.delete(instance, GZIP))
    assert_empty(api.delete(f"/microservices/{service_id}", GZIP))
    assert_empty(api.get("/health/readiness", GZIP))


def test_texts_of_any_language_are_answered_as_sent(api: Api) -> None:
    """UTF-8 in, UTF-8 out."""
    service_id = api.service(description="Wägen 购物车")
    assert "Wägen 购物车".encode() in api.get(f"/microservices/{service_id}").body


def test_put_without_a_body_needs_no_length(api: Api) -> None:
    """Go clients and k6 send PUT without body and without Content-Type (clients.md 0.21)."""
    service_id = api.service()
    path = f"/v4/default/registry/microservices/{service_id}/instances/{api.instance(service_id)}/heartbeat"
    request = f"PUT {path} HTTP/1.1\r\nHost: h\r\nX-Domain-Name: {api.domain}\r\n\r\n"
    assert_empty(api.connection.exchange(request.encode()))


def test_position_of_every_answer_is_told(api: Api) -> None:
    """Reads and writes alike say at which position of the log they were made."""
    service_id = api.service()
    instance_id = api.instance(service_id)
    assert api.find().position == api.instances_of(service_id).position
    assert api.put(f"/microservices/{service_id}/instances/{instance_id}/heartbeat").position == api.find().position
    assert api.find(rev=api.find().rev).position == api.find().position


# -- compression -------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(api: Api) -> Api:
    """A tenant whose shop/cart has many instances."""
    service_id = api.service()
    for number in range(20):
        api.instance(service_id, instanceId=f"i{number}", endpoints=[f"rest://10.0.0.{number}:8080"])
    return api


LARGE: list[tuple[str, str, Any]] = [
    ("GET", "/instances?appId=shop&serviceName=cart", None),
    ("POST", "/instances/action?type=query", {"services": [wanted()]}),
]


@pytest.mark.parametrize(("method", "path", "body"), LARGE, ids=["find", "batch"])
def test_large_answer_is_compressed_for_who_asks(large: Api, method: str, path: str, body: Any) -> None:
    """And is the same after decompression, every time (api-rules.md 1.3)."""
    plain = ok(large.call(method, path, body))
    for _ in range(2):
        packed = ok(large.call(method, path, body, {"Accept-Encoding": "deflate, gzip"}))
        assert packed.header("Content-Encoding") == "gzip"
        assert len(packed.body) < len(plain.body)
        assert packed.header("Content-Length") == str(len(packed.body))
        assert gzip.decompress(packed.body) == plain.body
        assert packed.rev == plain.rev


@pytest.mark.parametrize("accepted", ["gzip", "GZIP, deflate", "br;q=0, gzip;q=0.5", "gzip;q=1.0"])
def test_asking_for_gzip_takes_several_forms(large: Api, accepted: str) -> None:
    """Codings have no letter case and may have a weight (RFC 9110 12.5.3)."""
    response = ok(large.get("/instances?appId=shop&serviceName=cart", {"Accept-Encoding": accepted}))
    assert response.header("Content-Encoding") == "gzip"


def test_compressed_answer_follows_the_content(large: Api) -> None:
    """What is kept compressed is not served beyond its content."""
    path = "/instances?appId=shop&serviceName=cart"
    before = large.get(path, GZIP)
    large.instance(large.service(), instanceId="new")
    after = large.get(path, GZIP)
    assert after.rev != before.rev
    assert gzip.decompress(after.body) == large.get(path).body


@pytest.mark.parametrize("accepted", ["", "identity", "deflate", "gzip;q=0", "br, gzip; q=0.0"])
def test_nothing_is_compressed_for_who_does_not_ask(large: Api, accepted: str) -> None:
    """`q=0` means "not this one" (RFC 9110 12.4.2)."""
    response = ok(large.get("/instances?appId=shop&serviceName=cart", {"Accept-Encoding": accepted}))
    assert response.header("Content-Encoding") == ""
    assert len(response.json()["instances"]) == 20


def test_small_answer_is_not_compressed(api: Api) -> None:
    """Below 1400 bytes it would only cost (api-rules.md 1.3)."""
    api.instance(api.service())
    response = ok(api.get("/instances?appId=shop&serviceName=cart", GZIP))
    assert response.header("Content-Encoding") == ""
    assert response.json()


# -- connections -------------------------------------------------------------------------------------------------------


def test_connection_is_kept_alive(registry: Replica, api: Api) -> None:
    """Clients pool connections: successes, refusals and unknown paths leave them open (clients.md 0.15)."""
    with registry.connect() as connection:
        client = api.on(connection)
        service_id = client.service()
        client.find()
        client.find("nobody")
        client.get("/nowhere")
        client.post("/microservices", b"no json")
        client.post(f"/microservices/{service_id}/instances", b" " * 100_000)
        client.put("/instances")
        client.find()
        assert connection.opened == 1


def test_connection_idles_longer_than_client_pools_keep_it() -> None:
    """Java 2 keeps idle connections 59 s; a server that hangs up earlier breaks heartbeats (clients.md 0.15)."""
    assert Settings().keep_alive_s >= 75


def test_connection_close_is_honoured(registry: Replica) -> None:
    """HTTP/1.0 tools and probes ask for it."""
    with registry.connect() as connection:
        response = connection.request("GET", "/v4/default/registry/health/readiness", None, {"Connection": "close"})
        assert response.header("Connection") == "close"
        connection.request("GET", "/v4/default/registry/health/readiness")
        assert connection.opened == 2


def test_pipelined_requests_are_answered_in_order(registry: Replica, api: Api) -> None:
    """Two requests in one segment: two answers, the first first."""
    api.service("one")
    api.service("two")
    requests = [
        f"GET /v4/default/registry/instances?appId=shop&serviceName={name} HTTP/1.1\r\nHost: h\r\n"
        f"X-Domain-Name: {api.domain}\r\n\r\n"
        for name in ("one", "nobody", "two")
    ]
    with registry.connect() as connection:
        connection.send("".join(requests).encode())
        answers = [connection.receive() for _ in requests]
    assert [answer.status for answer in answers] == [200, 400, 200]
    assert [answers[0].rev, answers[2].rev] == [api.find("one").rev, api.find("two").rev]


def test_pipelined_heartbeats_keep_their_order(registry: Replica, api: Api) -> None:
    """Beats wait for Redis, finds do not: they must not overtake each other on one connection."""
    service_id = api.service()
    instance = f"/v4/default/registry/microservices/{service_id}/instances/{api.instance(service_id)}"
    find = "GET /v4/default/registry/instances?appId=shop&serviceName="
    lines = [f"PUT {instance}/heartbeat", f"{find}cart", f"PUT {instance}x/heartbeat", f"{find}nobody"]
    lines += [f"PUT {instance}/heartbeat", f"PUT {instance}/heartbeat", f"GET {instance}", f"{find}cart"]
    requests = [f"{line} HTTP/1.1\r\nHost: h\r\nX-Domain-Name: {api.domain}\r\n\r\n" for line in lines]
    with registry.connect() as connection:
        connection.send("".join(requests).encode())
        answers = [connection.receive() for _ in requests]
        assert [answer.status for answer in answers] == [200, 200, 400, 400, 200, 200, 200, 200]
        assert [bool(answer.rev) for answer in answers] == [False, True, False, False, False, False, True, True]
        assert b"400017" in answers[2].body
        assert b"400012" in answers[3].body
        assert connection.surplus() == b""


def test_what_is_no_http_is_refused(registry: Replica) -> None:
    """A TLS client on the plain port gets an answer instead of silence."""
    with registry.connect() as connection:
        assert connection.exchange(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").status == 400


# -- paths and methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/v4", "/v4/default", "/v4/default/registry", "/v4/default/registry/nowhere", "/registry/v9/instances"),
        *("/v4/default/registry/microservices/", "/v4/default/registry/instances/"),
        *("/v4/default/registry/microservices/a%2Fb", "/V4/default/registry/instances"),
        *("/v4/default/registry/microservices/s/instances/i/heartbeat/", "/v4/default/registry/instances/action/"),
    ],
)
def test_unknown_path_is_404_text(connection: Connection, target: str) -> None:
    """Plain text in the reference's words; clients fall back on 404 and on nothing else (clients.md 0.5)."""
    for method in ("GET", "PUT"):
        response = connection.request(method, target)
        assert (response.status, response.body) == (404, b"404 page not found\n")
        assert response.header("Content-Type").lower() == "text/plain; charset=utf-8"
        assert response.header("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        ("/v4/default/registry//health", "/v4/default/registry/health"),
        ("//version", "/version"),
        ("/v4/default/registry/microservices/../health?a=b%20c", "/v4/default/registry/health?a=b%20c"),
        ("/v4/./default/registry/health/", "/v4/default/registry/health/"),
        ("/v4/default/registry/microservices//instances", "/v4/default/registry/microservices/instances"),
        ("/v4/%C3%BC/registry//health", "/v4/%C3%BC/registry/health"),
    ],
)
def test_unclean_path_is_301_to_the_clean_one(connection: Connection, target: str, clean: str) -> None:
    """As the reference's router does; an empty id must not reach another resource (api-rules.md 1.2)."""
    response = connection.request("GET", target)
    assert (response.status, response.header("Location")) == (301, clean)


@pytest.mark.parametrize("target", ["/v4/default/registry/health", "/nowhere"])
def test_options_is_answered_by_itself(connection: Connection, target: str) -> None:
    """Browsers ask first, from consoles on another origin (api-rules.md 1.3)."""
    response = connection.request("OPTIONS", target, None, {"Origin": "http://console"})
    assert_empty(response)
    assert response.header("Access-Control-Allow-Origin") == "*"
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert method in response.header("Access-Control-Allow-Methods")
    assert "x-consumerid" in response.header("Access-Control-Allow-Headers").lower()


def test_origin_is_allowed_on_answers_and_refusals(api: Api) -> None:
    """A console reads both; without `Origin` nothing is said (api-rules.md 1.3)."""
    for path in ("/version", "/microservices/nobody"):
        assert api.get(path, {"Origin": "http://console"}).header("Access-Control-Allow-Origin") == "*"
        assert api.get(path).header("Access-Control-Allow-Origin") == ""


def test_head_of_a_request_has_a_limit(registry: Replica) -> None:
    """431 above 32768 and the reference's slack of 4096 bytes; below it is read (api-rules.md 1.2)."""
    for size, status in ((32_000, 200), (40_000, 431)):
        with registry.connect() as connection:
            response = connection.request("GET", "/v4/default/registry/version", None, {"X-Pad": "x" * size})
            assert response.status == status


def test_token_route_is_404_without_accounts(connection: Connection) -> None:
    """Java asks for a token first and works without one on 404 only (api-rules.md 9.1-4)."""
    assert connection.request("POST", "/v4/token", b'{"name":"root","password":"x"}').status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/instances", "GET"),
        ("GET", "/instances/action", "POST"),
        ("GET", "/microservices/s/instances/i/status", "PUT"),
        ("POST", "/microservices/s/instances/i/heartbeat", "PUT"),
        ("PATCH", "/microservices", "GET, POST"),
        ("DELETE", "/microservices/s/instances", "GET, POST"),
        ("PUT", "/microservices/s/instances/i", "DELETE, GET"),
        ("POST", "/health/readiness", "GET"),
    ],
)
def test_wrong_method_is_405_with_allow(api: Api, method: str, path: str, allowed: str) -> None:
    """The methods that the path has are named (api-rules.md 1.5)."""
    response = api.call(method, path)
    assert response.status == 405
    named = {name.strip() for name in response.header("Allow").split(",")}
    assert set(allowed.split(", ")) <= named
    assert method not in named
    assert response.body == b"Method Not Allowed\n"


def test_head_is_answered_as_get_without_the_body(connection: Connection) -> None:
    """On every GET; probes and proxies ask so."""
    for path in ("/v4/default/registry/health", "/version", "/metrics"):
        got, headed = connection.request("GET", path), connection.request("HEAD", path)
        assert (headed.status, headed.body) == (200, b"")
        assert headed.header("Content-Type") == got.header("Content-Type")
        assert int(headed.header("Content-Length")) > 0


def test_ids_are_percent_decoded(api: Api) -> None:
    """`%41` is `A`; matching is on the decoded path (api-rules.md 1.5)."""
    service_id = api.service(serviceId="A-ü:1")
    ok(api.get("/microservices/%41-%C3%BC%3A1"))
    instance_id = api.instance("%41-%C3%BC:1", instanceId="i.1")
    assert api.read_instance("A-%c3%bc:1", "i%2E1")["serviceId"] == service_id
    assert_empty(api.put(f"/microservices/%41-%C3%BC:1/instances/{instance_id}/heartbeat"))


def long_target(size: int, query: bool) -> str:
    target = "/v4/default/registry/instances?serviceName=" if query else "/v4/default/registry/microservices/"
    return target + "x" * (size - len(target))


@pytest.mark.parametrize("query", [True, False], ids=["query", "path"])
def test_uri_of_2048_bytes_is_refused(connection: Connection, query: bool) -> None:
    """As text, before anything else looks at it; one byte less reaches the API (api-rules.md 1.2)."""
    refused = connection.request("GET", long_target(2048, query))
    assert refused.status == 400
    assert refused.header("Content-Type").startswith("text/plain")
    assert_refused(connection.request("GET", long_target(2047, query)), 400001)


@pytest.mark.parametrize("query", ["a=1;", "a=1&", "a=1?", "a=1@", "a=//b"])
def test_uri_that_the_reference_refuses_is_refused(connection: Connection, query: str) -> None:
    """As text; a final `+` is let through because the batch page shows it (api-rules.md 1.2)."""
    response = connection.request("GET", f"/v4/default/registry/instances?{query}")
    assert response.status == 400
    assert response.header("Content-Type").startswith("text/plain")


# -- the registry itself -----------------------------------------------------------------------------------------------


def test_version_names_the_api(connection: Connection) -> None:
    """Six texts; `apiVersion` tells v4 from v3, `version` is a dotted number (api-rules.md 3.1)."""
    names = {"version", "buildTag", "goVersion", "os", "arch", "apiVersion"}
    for target, api_version in (("/v4/default/registry/version", "4.0.0"), ("/version", "3.0.0")):
        version = ok(connection.request("GET", target)).json()
        assert set(version) == names
        assert all(isinstance(value, str) and value for value in version.values())
        assert version["apiVersion"] == api_version
        assert all(part.isdigit() for part in version["version"].split("."))


def test_readiness_is_200_and_empty(api: Api) -> None:
    """Clients that probe take 2xx for ready and anything but 404 for isolated (clients.md 0.5)."""
    assert_empty(api.get("/health/readiness"))
