"""Websockets as ASGI promises them, spoken to by the `websockets` package's own client."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from registry.http_api.sockets import EXTENSION, text_frame
from registry.serving.again import same
from registry.serving.certificates import Certificates
from registry.serving.fragments import MESSAGE_MAX_BYTES
from registry.serving.hot import NOT_HOT, HotConnection
from registry.serving.reader import Head
from registry.serving.shared import Limits, Shared
from registry.serving.websocket import FRAME_MAX_BYTES, Socket
from tests.serving import apps
from tests.serving.conftest import LIMIT_S, Running, read_all, running
from tests.support.redis_modes import make_certificates
from tests.support.waiting import until, until_sync


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(apps.app) as server:
        yield server


def dial(server: Running, path: str, **options: Any) -> ClientConnection:
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{server.port}{path}",
        open_timeout=LIMIT_S,
        close_timeout=LIMIT_S,
        compression=None,
        **options,
    )
    return client


def test_messages_come_back_as_they_were_sent(server: Running) -> None:
    """Text and bytes, whole and in fragments."""
    with dial(server, "/socket") as client:
        client.send("täxt")
        assert client.recv(LIMIT_S) == "täxt"
        client.send(b"\x00\xff")
        assert client.recv(LIMIT_S) == b"\x00\xff"
        client.send(["in ", "three ", "parts"])
        assert client.recv(LIMIT_S) == "in three parts"
        client.ping("are you there").wait(LIMIT_S)


def test_subprotocol_and_headers_of_the_accept_are_sent(server: Running) -> None:
    with dial(server, "/socket", subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["X-Extra"] == "1"


def test_close_by_the_client_is_told_with_its_code(server: Running) -> None:
    apps.happened.clear()
    with dial(server, "/socket") as client:
        client.close(4001, "enough")
    until_sync(lambda: apps.happened == ["closed 4001"], "the application to be told")


def test_close_by_the_application_is_told_with_code_and_reason(server: Running) -> None:
    with dial(server, "/socket") as client:
        client.send("bye")
        with pytest.raises(ConnectionClosed):
            client.recv(LIMIT_S)
        assert (client.protocol.close_code, client.protocol.close_reason) == (4002, "as you wish")


HEADERS = [
    (b"Host", b"h"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]
HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("before", [b"", b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"], ids=["alone", "behind a request"])
@pytest.mark.parametrize(("path", "status"), [(b"accepted", 101), (b"refused", 418), (b"closed", 403)])
def test_handshake_of_a_client_that_sends_nothing_more_is_answered(
    server: Running, before: bytes, path: bytes, status: int
) -> None:
    """Then it is over: a websocket is not closed by halves."""
    apps.happened.clear()
    with server.connect() as client:
        client.sendall(before + HANDSHAKE % b"/late_socket/%b" % path)
        client.shutdown(socket.SHUT_WR)
        for _ in range(2):
            server.call(lambda: None)  # between two turns it reads what has come, which is the end
        apps.happened.append("go")
        said = read_all(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [*([b"200"] if before else []), b"%d" % status]
    if status == 101:
        until_sync(lambda: apps.happened == ["go", "closed 1005"], "the application to be told")


def test_client_that_dies_is_told(server: Running) -> None:
    apps.happened.clear()
    with dial(server, "/socket") as client:
        client.socket.shutdown(socket.SHUT_RDWR)
        until_sync(lambda: apps.happened == ["closed 1005"], "the application to be told")


@pytest.mark.parametrize(("path", "status"), [("/refusing_socket", 418), ("/closing_socket", 403), ("/nowhere", 403)])
def test_handshake_can_be_refused(server: Running, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        dial(server, path)
    assert refused.value.response.status_code == status
    if status == 418:
        assert refused.value.response.body == b"not here"


def test_failing_application_closes_with_1011(server: Running) -> None:
    with dial(server, "/broken_socket") as client:
        with pytest.raises(ConnectionClosed):
            client.recv(LIMIT_S)
        assert client.protocol.close_code == 1011


@pytest.mark.parametrize("size", [MESSAGE_MAX_BYTES, MESSAGE_MAX_BYTES + 1, FRAME_MAX_BYTES + 1])
def test_message_has_a_limit(server: Running, size: int) -> None:
    """Clients of the registry have nothing to say."""
    with dial(server, "/socket") as client:
        client.send("x" * size)
        if size <= MESSAGE_MAX_BYTES:
            assert client.recv(LIMIT_S) == "x" * size
            return
        with pytest.raises(ConnectionClosed):
            client.recv(LIMIT_S)
        assert client.protocol.close_code == 1009


def test_handshake_without_a_key_is_refused(server: Running) -> None:
    answer = server.exchange(b"GET /socket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_frames_before_the_handshake_was_answered_are_not_lost(server: Running) -> None:
    echo = b"\x81\x02hi"
    received = b""
    with server.connect() as connection:
        connection.sendall(HANDSHAKE % b"/socket" + b"\x81\x82\0\0\0\0hi")
        while echo not in received:
            chunk = connection.recv(1 << 16)
            assert chunk, received
            received += chunk


def test_what_came_before_a_handshake_in_its_turn_is_counted_no_longer(server: Running) -> None:
    """Else it would be counted for ever, for the connection is told no more when its client goes."""

    def held() -> float:
        return next(figure.value for figure in server.shared.figures() if figure.name == "request_bytes")

    apps.happened.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n" + HANDSHAKE % b"/socket")
        until_sync(lambda: server.call(lambda: len(server.shared.tasks)) == 1, "the request to be under way")
        connection.sendall(b"\x81\x82\0\0\0\0hi")
        until_sync(lambda: server.call(held) > 0, "the frame to be held")
        apps.happened.append("go")
        said = b""
        while b"\x81\x02hi" not in said:
            said += connection.recv(1 << 16)
        assert server.call(held) == 0


class Keeping:
    """Keeps what comes, and answers nothing."""

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        connection.keep(same(data, b"key"))
        return NOT_HOT


def test_what_a_connection_repeats_is_not_kept_beyond_a_handshake() -> None:
    """As with what came before it."""
    with running(apps.app, hot=Keeping()) as server, server.connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert server.call(lambda: server.shared.repeats.size) > 0
        connection.sendall(HANDSHAKE % b"/socket")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 101 ")
        assert server.call(lambda: server.shared.repeats.size) == 0


class Unsent(asyncio.Transport):
    """As uvloop's by TLS is while something is unsent: it says so as soon as it is told what it may keep."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__({"socket": client})
        self.protocol: Socket
        self.written: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return 100

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


async def test_websocket_begins_while_answers_before_it_are_unsent() -> None:
    shared = Shared(quiet, None, Limits())
    head = Head(b"GET", b"/", b"", "1.1", HEADERS, True, True)
    with socket.socket() as client:
        transport = Unsent(client)
        transport.protocol = one = Socket(shared, asyncio.get_running_loop(), head, quiet)

        async def is_complete() -> bool:
            return one.handshake_complete

        async def is_over() -> bool:
            return not shared.tasks

        one.connection_made(transport)
        await until(is_complete, "the handshake")
        assert transport.written == [], "it waits for its turn"
        one.resume_writing()
        assert transport.written[0].startswith(b"HTTP/1.1 101 ")
        one.connection_lost(None)
        await until(is_over, "its end")


def test_pings_keep_a_socket_and_silence_ends_it() -> None:
    """A peer that does not answer a ping is gone."""
    with running(apps.app) as server, dial(server, "/socket", ping_interval=None) as client:
        (one,) = server.call(lambda: set(server.shared.connections))
        server.call(one.timed_out)  # a ping is due
        until_sync(lambda: server.call(lambda: one.deadline - server.shared.now_s < 25), "the pong")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.call(lambda: (one.timed_out(), one.timed_out()))  # and the next one is not answered in time
        with pytest.raises(ConnectionClosed):
            client.recv(LIMIT_S)
        assert not server.call(lambda: set(server.shared.connections))


def test_stop_drops_sockets_without_a_close_frame() -> None:
    """Clients come back after a break, and not all of them after a farewell."""
    with running(apps.app) as server, dial(server, "/socket") as client:
        server.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(LIMIT_S)
        assert not isinstance(closed.value, ConnectionClosedOK)
        assert closed.value.rcvd is None


def test_frame_for_many_is_written_as_it_is_and_slow_clients_are_dropped() -> None:
    sockets = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sockets.append(scope["extensions"][EXTENSION])
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    with running(app) as server, dial(server, "/") as client:
        server.call(lambda: sockets[0].deliver(b"\x81\x02hi"))
        assert client.recv(LIMIT_S) == "hi"
        client.socket.close()
        with server.connect() as slow:
            slow.sendall(
                b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            until_sync(lambda: len(sockets) == 2 and sockets[1].handshake_complete, "the handshake")
            frame = b"\x82\x7f" + (1_000_000).to_bytes(8, "big") + b"x" * 1_000_000
            until_sync(lambda: server.call(lambda: sockets[1].deliver(frame)) or sockets[1].is_over, "it to be dropped")
            assert len(read_all(slow)) > 100_000


async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that only accepts; the test delivers."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def unread(server: Running, context: ssl.SSLContext | None = None) -> socket.socket:
    """A watcher that does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    connection.sendall(
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return connection


def sockets_of(server: Running) -> list[Socket]:
    return [one for one in server.shared.connections if isinstance(one, Socket)]


def deliver(server: Running, *frames: bytes) -> None:
    """Hand the frames to every socket, in one turn of the loop."""

    def each() -> None:
        for frame in frames:
            for one in sockets_of(server):
                one.deliver(frame)

    server.call(each)


def frame_of(number: int) -> bytes:
    return text_frame(b"%06d " % number + b"x" * 993)


def test_all_that_do_not_read_have_one_limit_and_others_miss_nothing() -> None:
    """Each alone is far from its own limit. The slowest is let go, and one that reads never is."""
    most = 2_000_000
    with running(quiet, Limits(watch_max_bytes=most)) as server, dial(server, "/") as reader:
        (watcher,) = sockets_of(server)
        slow = []
        for number in range(1, 5):
            slow.append(unread(server))
            until_sync(lambda n=number: len(sockets_of(server)) == n + 1, "it to be served")  # type: ignore[misc]
        until_sync(lambda: all(one.handshake_complete for one in sockets_of(server)), "the handshakes")
        for number in range(3000):
            frame = frame_of(number)
            deliver(server, frame)
            assert reader.recv(LIMIT_S) == frame[4:].decode()
            assert server.shared.backlog.size <= most
        assert server.call(lambda: server.shared.backlog.let_go) > 0
        assert server.call(lambda: watcher in server.shared.connections)
        for connection in slow:
            connection.close()
        until_sync(lambda: server.call(lambda: server.shared.backlog.size) == 0, "what waited to be forgotten")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_what_waited_comes_in_order_when_the_client_reads_again(secure: bool, tmp_path: Path) -> None:
    """A pause of the client is no reason for it to miss an event, nor to see one before another."""
    number, certificates, context = 2000, None, None
    if secure:
        files = make_certificates(tmp_path, rsa=True)
        certificates = Certificates(str(files.server), str(files.server_key))
        context = ssl.create_default_context(cafile=str(files.ca))
    with running(quiet, certificates=certificates) as server, unread(server, context) as slow:
        until_sync(lambda: len(sockets_of(server)) == 1 and sockets_of(server)[0].handshake_complete, "the handshake")
        (watcher,) = sockets_of(server)
        deliver(server, *map(frame_of, range(number)))
        assert server.call(lambda: server.shared.backlog.size) > 0
        expected = b"".join(map(frame_of, range(number)))
        slow.settimeout(LIMIT_S)
        received = b""
        while not received.endswith(expected[-1000:]):
            received += slow.recv(1 << 20)
        assert received.partition(b"\r\n\r\n")[2] == expected
        until_sync(lambda: server.call(lambda: (server.shared.backlog.size, len(server.shared.backlog))) == (0, 0), "0")
        server.call(lambda: watcher.deliver(frame_of(0)))
        assert slow.recv(1 << 16) == frame_of(0), "and goes on as before"
