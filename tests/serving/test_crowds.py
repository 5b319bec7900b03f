"""Limits at the door of the house: connections, websockets and headers, in all and of each address."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from registry.http_api.client_address import TrustedProxies
from registry.serving import connection, seat
from registry.serving.certificates import Certificates
from registry.serving.crowd import Crowd, Place
from registry.serving.shared import Limits
from tests.serving import apps
from tests.serving.conftest import LIMIT_S, Running, read_all, running
from tests.support.redis_modes import make_certificates
from tests.support.waiting import until_sync

LAST = b"GET /echo?last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BEAT = b"PUT /v4/default/registry/microservices/a/instances/b/heartbeat HTTP/1.1\r\nHost: h\r\n\r\n"


@given(
    most=st.integers(1, 4),
    each=st.integers(0, 3),
    steps=st.lists(st.one_of(st.sampled_from(["a", "b", "proxy", ""]), st.integers(0, 5)), max_size=40),
)
def test_crowd_counts_as_a_naive_one_does(most: int, each: int, steps: list[str | int]) -> None:
    """Addresses come, and the nth of those that are there goes."""
    crowd = Crowd(most, each, lambda address: address == "proxy")
    there: list[tuple[str, Place]] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(there):
                crowd.leave(there.pop(step)[1])
            continue
        regular = [address for address, place in there if not place.excess]
        expected = ""
        if each and step not in ("proxy", "") and regular.count(step) >= each:
            expected = "address"
        elif len(regular) >= most:
            expected = "all"
        place = crowd.enter(step)
        assert place.excess == expected
        there.append((step, place))
        assert crowd.count == sum(not place.excess for _, place in there) <= most
        assert crowd.extras == len(there) - crowd.count
    for _, place in there:
        crowd.leave(place)
    assert (crowd.count, crowd.extras) == (0, 0)
    assert crowd.enter("a").excess == ""


def shape(answer: bytes) -> tuple[int, str, bool]:
    """Status, code and whether it says when to come again."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    return int(head.split()[1]), json.loads(body)["errorCode"], b"\r\nRetry-After: 5" in head


@contextlib.contextmanager
def full(server: Running, number: int) -> Iterator[None]:
    """A number of connections that do nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(server.connect())
        until_sync(lambda: server.call(lambda: server.shared.crowd.count) == number, "all to be counted")
        yield


@pytest.mark.parametrize(
    ("limits", "refused"),
    [
        (Limits(connections_max=20), (503, "503001", True)),
        (Limits(connections_per_address=20), (429, "429001", True)),
    ],
    ids=["all", "address"],
)
def test_connection_that_is_one_too_many_is_told_so_and_heartbeats_are_answered(
    limits: Limits, refused: tuple[int, str, bool]
) -> None:
    """D17: some clients never beat again after one refusal."""
    with running(apps.app, limits) as server:
        with full(server, 20):
            assert shape(server.exchange(LAST)) == refused
            beaten = server.exchange(BEAT + BEAT)
            assert beaten.count(b"HTTP/1.1 ") == 1
            assert beaten.startswith(b"HTTP/1.1 404 ")  # as the application says
            assert b"Connection: close" in beaten
        until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "them to leave")
        assert server.exchange(LAST).endswith(b"GET /echo last 0 ")
        figures = {figure.name: figure.value for figure in server.shared.figures()}
        in_all = refused[0] == 503
        assert figures["connections_refused_total"] == (2 if in_all else 0)
        assert figures["connections_of_address_refused_total"] == (0 if in_all else 2)


def test_trusted_proxies_are_not_counted() -> None:
    proxies = TrustedProxies("127.0.0.0/8")
    with running(apps.app, Limits(connections_per_address=1), proxies=proxies) as server, full(server, 5):
        assert server.exchange(LAST).endswith(b"GET /echo last 0 ")


def test_those_who_are_too_many_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are opened beyond it and say nothing are let go without a word, at once; the others soon."""
    monkeypatch.setattr(seat, "EXTRAS_MAX", 3)
    monkeypatch.setattr(connection, "EXTRA_WAIT_S", 0.2)
    with running(apps.app, Limits(connections_max=16)) as server, full(server, 16):
        extras = [server.connect() for _ in range(8)]
        until_sync(lambda: server.call(lambda: sum(server.shared.crowd.refused.values())) == 8, "them to come")
        assert server.call(lambda: server.shared.crowd.extras) <= 3
        for extra in extras:
            assert read_all(extra) == b""
            extra.close()
        assert server.call(lambda: server.shared.crowd.extras) == 0
        assert server.call(lambda: server.shared.crowd.count) == 16


def test_connections_by_tls_are_counted_from_the_first_byte_on(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    pair = Certificates(str(files.server), str(files.server_key))
    with running(apps.app, Limits(connections_max=16), certificates=pair) as server:
        with full(server, 16):
            context = ssl.create_default_context(cafile=files.ca)
            with server.connect_tls(context) as connection:
                connection.sendall(LAST)
                assert shape(read_all(connection)) == (503, "503001", True)
            with server.connect_tls(context) as connection:
                connection.sendall(BEAT)
                assert read_all(connection).startswith(b"HTTP/1.1 404 ")
        until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "them to leave")


# -- websockets --------------------------------------------------------------------------------------------------------


def dial(server: Running, path: str = "/socket", **headers: str) -> ClientConnection:
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{server.port}{path}",
        open_timeout=LIMIT_S,
        compression=None,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    return client


@pytest.mark.parametrize(
    ("limits", "status"), [(Limits(websockets_max=2), 503), (Limits(websockets_per_address=2), 429)]
)
def test_websocket_that_is_one_too_many_is_refused_unless_it_beats(limits: Limits, status: int) -> None:
    with running(apps.app, limits) as server:
        with dial(server), dial(server):
            with pytest.raises(InvalidStatus) as refused:
                dial(server)
            assert refused.value.response.status_code == status
            assert refused.value.response.headers["Retry-After"] == "5"
            assert json.loads(refused.value.response.body or b"")["errorCode"] == f"{status}001"
            with pytest.raises(InvalidStatus) as unknown:
                dial(server, "/heartbeat")
            assert unknown.value.response.status_code == 403  # as the application says
        until_sync(lambda: server.call(lambda: server.shared.sockets.count) == 0, "them to leave")
        with dial(server):
            until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 1, "all others to be gone")


def test_websockets_through_a_proxy_are_counted_for_each_client() -> None:
    proxies = TrustedProxies("127.0.0.0/8")
    with (
        running(apps.app, Limits(websockets_per_address=1), proxies=proxies) as server,
        dial(server, X_Forwarded_For="203.0.113.1"),
        dial(server, X_Forwarded_For="203.0.113.2"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            dial(server, X_Forwarded_For="203.0.113.1")
        assert refused.value.response.status_code == 429


# -- bodies ------------------------------------------------------------------------------------------------------------


def slow(path: bytes, length: int) -> bytes:
    """A request of which nearly all comes at once, and the last byte does not."""
    return b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (path, length) + b"x" * (length - 1)


def test_request_that_arrives_longest_gives_way_when_all_are_too_large() -> None:
    """A client that sends little by little holds memory; a newcomer that sends at once is served."""
    with running(apps.app, Limits(bodies_max_bytes=4_000_000)) as server, contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in range(4)]
        for connection in waiting:
            connection.sendall(slow(b"/chunks", 900_000))
        until_sync(lambda: server.call(lambda: held(server)) >= 4 * 899_999, "them to arrive")
        whole = (
            b"POST /chunks HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000
        )
        assert server.exchange(whole).endswith(b"900000")
        assert shape(read_all(waiting[0])) == (503, "503001", True)
        for connection in waiting[1:]:
            connection.sendall(b"x")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
        assert server.call(lambda: held(server)) == 0
        assert server.shared.tallies.bodies_refused == 1


def test_heartbeat_that_arrives_longest_is_not_told_that_it_is_too_much() -> None:
    with running(apps.app, Limits(bodies_max_bytes=1_000_000)) as server, server.connect() as beating:
        beating.sendall(slow(b"/chunks/heartbeats", 900_000))
        until_sync(lambda: server.call(lambda: held(server)) >= 899_999, "it to arrive")
        with server.connect() as other:
            other.sendall(slow(b"/chunks", 300_000))
            assert read_all(beating) == b""


def held(server: Running) -> float:
    return {figure.name: figure.value for figure in server.shared.figures()}["request_bytes"]


# -- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([b"X-%d: a" % number for number in range(62)], 200),
        ([b"X-%d: a" % number for number in range(63)], 431),
        ([b"X-Long: " + b"x" * 12_000], 200),
        ([b"X-Long: " + b"x" * 12_300], 431),
    ],
)
def test_headers_have_limits_by_number_and_by_bytes(headers: list[bytes], status: int) -> None:
    """Two are there already. What stands in one segment is judged as what comes in many."""
    with running(apps.app, Limits(head_max_bytes=8192, headers_max=64)) as server:
        request = b"\r\n".join([LAST[:-4], *headers]) + b"\r\n\r\n"
        for segments in ([request], [request[:100], request[100:]]):
            assert server.exchange(*segments).startswith(b"HTTP/1.1 %d " % status)
        figures = {figure.name: figure.value for figure in server.shared.figures()}
        assert figures["heads_refused_total"] == (2 if status == 431 else 0)


def test_flood_of_header_lines_ends_at_the_limit() -> None:
    with running(apps.app) as server, server.connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: h\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                connection.sendall(b"a: b\r\n" * 1000)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")
