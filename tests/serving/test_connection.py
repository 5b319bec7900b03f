"""One client and its connection: order, time-outs, upgrades, halves, and answers that nobody reads."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from registry.serving.shared import Limits
from tests.serving import apps
from tests.serving.conftest import Running, read_all, running
from tests.support.waiting import until_sync

HOST = b"Host: h\r\n"
LAST = b"GET /echo?last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
SOON = Limits(head_timeout_s=0.3, body_timeout_s=0.3, idle_timeout_s=0.6, send_timeout_s=0.3)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(apps.app) as server:
        yield server


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    with running(apps.app, SOON) as server:
        yield server


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: h", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def figure(server: Running, name: str) -> float:
    """One of the numbers that are told of all connections."""
    (found,) = (one.value for one in server.call(server.shared.figures) if one.name == name)
    return float(found)


# -- upgrades ----------------------------------------------------------------------------------------------------------

H2C = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")


@pytest.mark.parametrize(
    "upgrade", [H2C, (b"Upgrade: websocket", b"Connection: Upgrade"), (b"upgrade: a, b", *H2C[1:])]
)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [None, 1, 60])
def test_upgrade_that_is_not_given_is_as_if_it_were_not_asked_for(
    server: Running, upgrade: tuple[bytes, ...], chunked: bool, cut: int | None
) -> None:
    """The JDK's client offers h2c with every request. Its body is a body, and never the next request."""
    hidden = b"PUT /echo?hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    if chunked:
        head = b"\r\n".join((b"POST /echo HTTP/1.1", b"Host: h", *upgrade, b"Transfer-Encoding: chunked", b"", b""))
        request = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    else:
        request = post(b"/echo", hidden, *upgrade)
    data = request + LAST
    segments = [data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data]
    answer = server.exchange(*segments)
    assert b"POST /echo  %d PUT /echo?hidden" % len(hidden) in answer
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"GET /echo last 0 ")


def test_upgrade_behind_other_requests_waits_for_its_turn(server: Running) -> None:
    handshake = (
        b"GET /socket HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    close = b"\x88\x82\0\0\0\0\x03\xe8"
    answer = server.exchange(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n" + handshake + close)
    first, _, second = answer.partition(b"HTTP/1.1 101 Switching Protocols")
    assert first.endswith(b"0\r\n\r\n")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in second


def test_websocket_with_a_body_is_an_ordinary_request(server: Running) -> None:
    """Nobody would read its body: it used to be never answered."""
    lines = (b"GET /echo HTTP/1.1", b"Host: h", b"Upgrade: websocket", b"Connection: Upgrade")
    keys = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Content-Length: 5")
    answer = server.exchange(b"\r\n".join((*lines, *keys, b"", b"hello")) + LAST)
    assert b"GET /echo  5 hello" in answer
    assert answer.endswith(b"GET /echo last 0 ")


# -- halves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/echo", b"/chunks", b"/stream"])
def test_client_that_shuts_its_sending_side_is_answered(server: Running, path: bytes) -> None:
    """`nc -N` and some proxies do: what is owed is answered, then the connection ends."""
    for _ in range(20):
        answer = server.exchange(post(path, b"hi"), half_close=True)
        assert answer.startswith(b"HTTP/1.1 200 OK"), answer


def test_half_a_request_and_the_end_is_no_request(server: Running) -> None:
    assert server.exchange(b"GET /echo HTTP/1.1\r\nHost:", half_close=True) == b""
    assert server.exchange(post(b"/echo", b"hi")[:-1], half_close=True) == b""


# -- what is no request ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET /echo HTTP/1.1\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /echo HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET echo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_its_turn(server: Running, head: bytes) -> None:
    """After what came before it on the connection, and nothing after it is read."""
    answer = server.exchange(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n" + head + LAST)
    first, _, second = answer.partition(b"0\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'"errorCode":"400001"' in second
    assert second.count(b"HTTP/1.1") == 1


def test_one_host_given_twice_and_the_absolute_form_are_read(server: Running) -> None:
    answer = server.exchange(b"GET http://other/echo?a=b HTTP/1.1\r\nHost: h\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"GET /echo a=b 0 ")


# -- time-outs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET /ec", b"HTTP/1.1 408 "),
        (b"GET /echo HTTP/1.1\r\nHost: h\r\nX: y", b"HTTP/1.1 408 "),
        (post(b"/echo", b"hi")[:-1], b"HTTP/1.1 408 "),
        (b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "one request"],
)
def test_client_that_owes_something_is_let_go(impatient: Running, sent: bytes, answered: bytes) -> None:
    before = figure(impatient, "requests_too_slow_total")
    assert impatient.exchange(sent).startswith(answered)
    assert figure(impatient, "requests_too_slow_total") == before + (b" 408 " in answered)


@pytest.mark.parametrize("what", ["head", "body"])
def test_each_byte_does_not_buy_more_time(impatient: Running, what: str) -> None:
    """A byte now and then would hold a connection for days."""
    with impatient.connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nX: " if what == "head" else post(b"/echo", b"x" * 10_000)[:-10_000])
        began = time.monotonic()
        connection.settimeout(0.02)
        answer = b""
        while not answer and time.monotonic() - began < 8:
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_application_may_take_longer_than_any_client(impatient: Running) -> None:
    released = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await released.wait()
        await apps.app(scope, receive, send)

    with running(app, SOON) as slow, slow.connect() as connection:
        connection.sendall(LAST)
        until_sync(lambda: slow.call(lambda: len(slow.shared.tasks)) == 1, "the request to be under way")
        began_s = slow.shared.now_s
        until_sync(lambda: slow.shared.now_s > began_s + 2, "all time-outs to be over")
        slow.call(released.set)
        assert read_all(connection).endswith(b"GET /echo last 0 ")


# -- clients that do not read ------------------------------------------------------------------------------------------


def unread(server: Running) -> socket.socket:
    """A connection that asks for a large answer and does not read it."""
    connection = server.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    return connection


def test_client_that_does_not_read_is_let_go() -> None:
    """In the time for sending and a second more for each 64 KiB; others are served meanwhile."""
    limits = Limits(send_timeout_s=0.2)
    with running(apps.app, limits) as server, unread(server):
        until_sync(lambda: server.call(lambda: len(server.shared.connections)) == 1, "it to be served")
        connection = next(iter(server.shared.connections))
        until_sync(lambda: server.call(lambda: connection in server.shared.unsent), "its answer to wait")
        left_s = connection.deadline - server.shared.now_s
        assert 50 < left_s < 160  # 10 MB less what the sockets hold
        assert 0 < figure(server, "unsent_bytes") <= len(apps.BIG)
        server.call(lambda: setattr(connection, "deadline", 0.0))
        until_sync(lambda: not server.shared.connections, "it to be let go")
        assert (figure(server, "unsent_bytes"), figure(server, "clients_let_go_total")) == (0, 1)
        assert server.exchange(LAST).endswith(b"GET /echo last 0 ")


def test_all_unread_answers_together_have_a_limit() -> None:
    """The one that waits longest is let go; a client that reads is none of them."""
    with running(apps.app, Limits(unsent_max_bytes=12_000_000)) as server:
        slow = [unread(server)]
        until_sync(lambda: server.call(lambda: len(server.shared.unsent)) == 1, "the first to wait")
        eldest = next(iter(server.shared.unsent))
        slow += [unread(server) for _ in range(3)]
        until_sync(lambda: server.call(lambda: eldest not in server.shared.connections), "the eldest to be let go")
        assert 0 < server.call(lambda: sum(server.shared.unsent.values())) <= 12_000_000
        assert figure(server, "clients_let_go_total") >= 1
        assert server.exchange(LAST).endswith(b"GET /echo last 0 ")
        for connection in slow:
            connection.close()


def test_requests_behind_an_unread_answer_are_not_answered_yet(server: Running) -> None:
    """Fifty pipelined requests for ten megabytes are ten megabytes, not five hundred."""
    with unread(server) as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 49)
        until_sync(lambda: server.call(lambda: bool(server.shared.unsent)), "the answer to wait")
        assert server.call(lambda: sum(server.shared.unsent.values())) <= len(apps.BIG)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 50


# -- the end -----------------------------------------------------------------------------------------------------------


def test_refused_client_reads_why_while_it_is_still_sending(server: Running) -> None:
    """A reset would take the answer away from it."""
    with server.connect() as connection:
        connection.sendall(b"GARBAGE\r\n\r\n" + b"x" * 200_000)
        connection.sendall(b"x" * 100_000)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_request_that_is_refused_in_its_body_is_not_told_to_go_on() -> None:
    """The application asks for the body of a request of which the client has been told already that it is none."""
    told: list[str] = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            told.append((await receive())["type"])
        except Exception as error:
            told.append(repr(error))

    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    with running(reads) as server:
        answer = server.exchange(head + b"no chunk\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert told == ["http.disconnect"]


def test_stop_answers_what_is_under_way_and_says_that_it_is_the_last() -> None:
    with running(apps.app) as server, server.connect() as busy, server.connect() as idle:
        idle.sendall(b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(1000)
        busy.sendall(post(b"/echo", b"hello")[:-2])
        until_sync(lambda: server.call(lambda: len(server.shared.tasks)) == 1, "the request to be under way")
        server.server.should_exit = True
        assert read_all(idle) == b""
        busy.sendall(b"lo")
        answer = read_all(busy)
    assert answer.endswith(b"POST /echo  5 hello")
    assert b"Connection: close" in answer
