"""Limits that keep one client from costing the others their registry."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from registry.http_api.queries import BATCH_MAX
from tests.support.api import Api, assert_refused, ok, wanted
from tests.support.http import Connection
from tests.support.replica import Replica, replica
from tests.support.websocket import PING, PONG, beat_by_socket

LIMIT_S = 15.0


def test_batch_of_as_many_as_allowed_is_answered_and_one_more_refused(api: Api, service_id: str) -> None:
    """A batch that names one large service thousands of times would hold up everybody."""
    ok(api.batch([wanted()] * BATCH_MAX))
    assert_refused(api.batch([wanted()] * (BATCH_MAX + 1)), 400001, "$.services")


def test_number_beyond_64_bits_in_a_policy_is_the_clients_mistake(connection: Connection) -> None:
    body = b'{"name":"p","spec":{"maxAttempts":123456789012345678901234567890}}'
    assert_refused(connection.request("POST", "/v1/default/gov/retry", body), 400001, "$.spec")


def test_trailers_of_a_chunked_body_are_no_headers(api: Api, service_id: str) -> None:
    """Else who may send a body may choose the tenant after everything was checked."""
    body = b'{"instance":{"hostName":"h","instanceId":"trailed"}}'
    request = (
        b"POST /v4/default/registry/microservices/%b/instances HTTP/1.1\r\nHost: h\r\nX-Domain-Name: %b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-Domain-Name: evil\r\n\r\n"
    ) % (service_id.encode(), api.domain.encode(), len(body), body)
    assert api.connection.exchange(request).status == 200
    assert api.read_instance(service_id, "trailed")["hostName"] == "h"


@pytest.fixture(scope="module")
def impatient(redis_url: str) -> Iterator[Replica]:
    """A registry that gives its clients a second for everything."""
    options = ("--keep-alive-s", "1", "--head-timeout-s", "1", "--body-timeout-s", "1", "--send-timeout-s", "1")
    with replica("--redis-url", redis_url, "--redis-prefix", "impatient:", *options) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /vers",
        b"GET /version HTTP/1.1\r\nHost: h\r\n",
        b"POST /v4/default/registry/microservices HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{",
        b"GET /version HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "one request"],
)
def test_client_that_owes_something_for_too_long_is_let_go(impatient: Replica, sent: bytes) -> None:
    """Each connection costs a file descriptor, and half-open ones stay for ever otherwise."""
    with socket.create_connection((impatient.host, impatient.port), LIMIT_S) as connection:
        connection.sendall(sent)
        while connection.recv(65536):
            pass


@pytest.mark.slow
def test_websocket_outlives_the_time_that_idle_connections_are_kept(impatient: Replica) -> None:
    """A watcher or a heartbeat socket says nothing for as long as nothing changes."""
    api = impatient.api("patient")
    service_id = api.service()
    instance_id = api.instance(service_id, healthCheck={"mode": "push", "interval": 5, "times": 0})
    with beat_by_socket(api, service_id, instance_id) as socket:
        for _ in range(2):
            frame = socket.receive()
            assert frame is not None
            assert frame.opcode == PING
            socket.send(PONG, frame.payload)
