"""Our server keeps every promise of ASGI that applications rely on: Starlette's own responses, over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

import registry
from tests.serving import apps
from tests.serving.conftest import LIMIT_S, Running, read_all, running
from tests.support.waiting import until_sync


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(apps.app) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    client.request(method, path, body)  # type: ignore[arg-type]  # an iterator of bytes is sent in chunks
    response = client.getresponse()
    return response.status, response.read()


def test_request_is_told_whole(client: http.client.HTTPConnection) -> None:
    """Method, decoded path, query, and a body with its length or in chunks; several on one connection."""
    assert ask(client, "GET", "/echo?a=%20b") == (200, b"GET /echo a=%20b 0 ")
    assert ask(client, "POST", "/echo", b"hello") == (200, b"POST /echo  5 hello")
    assert ask(client, "PUT", "/echo", iter([b"in ", b"three ", b"parts"])) == (200, b"PUT /echo  14 in three parts")


def test_header_names_are_sent_as_they_are_given(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/echo")
    response = client.getresponse()
    response.read()
    # Starlette writes lower case; what it does not touch, the server does not either.
    assert ("x-case-kept", "yes") in response.getheaders()


def test_large_body_comes_in_several_messages(client: http.client.HTTPConnection) -> None:
    """More than the server holds for an application that does not look."""
    body = b"x" * 3_000_000
    assert ask(client, "POST", "/chunks", body) == (200, b"3000000")
    assert ask(client, "POST", "/chunks", iter([body])) == (200, b"3000000")


def test_stream_without_a_length_is_chunked(client: http.client.HTTPConnection) -> None:
    client.request("GET", "/stream")
    response = client.getresponse()
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert response.read() == b"".join(b"part %d\n" % number for number in range(5))
    assert ask(client, "GET", "/echo")[0] == 200


def test_stream_to_an_old_client_ends_with_the_connection(server: Running) -> None:
    """HTTP/1.0 knows no chunks."""
    answer = server.exchange(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"chunked" not in answer
    assert answer.endswith(b"part 4\n")


def test_file_is_sent(client: http.client.HTTPConnection) -> None:
    with open(registry.__file__, "rb") as file:
        assert ask(client, "GET", "/file") == (200, file.read())


def test_statuses_without_a_body_have_none(client: http.client.HTTPConnection) -> None:
    assert ask(client, "GET", "/nothing") == (204, b"")
    assert ask(client, "GET", "/elsewhere")[0] == 307
    assert ask(client, "HEAD", "/echo") == (200, b"")
    assert ask(client, "GET", "/echo")[0] == 200


def test_work_after_the_response_is_done(client: http.client.HTTPConnection) -> None:
    apps.happened.clear()
    assert ask(client, "GET", "/afterwards") == (200, b"first")
    until_sync(lambda: apps.happened == ["second"], "the background task")


def test_answer_before_the_body_leaves_the_connection_in_order(client: http.client.HTTPConnection) -> None:
    """The rest of the body goes by."""
    assert ask(client, "POST", "/early", b"x" * 2_000_000) == (200, b"early")
    assert ask(client, "GET", "/echo")[0] == 200


def test_expected_continue_is_given_when_the_body_is_wanted(server: Running) -> None:
    head = b"POST /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head % b"echo")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert b"POST /echo  2 hi" in read_all(connection)
    assert b"100 Continue" not in server.exchange(head % b"early")


@pytest.mark.parametrize("path", ["/endless", "/waits"])
def test_application_is_told_that_the_client_has_gone(server: Running, path: str) -> None:
    apps.happened.clear()
    with server.connect() as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        if path == "/endless":
            assert connection.recv(10)
    until_sync(lambda: len(apps.happened) == 1, "the end of the call")


def test_failure_before_the_response_is_500(client: http.client.HTTPConnection) -> None:
    assert ask(client, "GET", "/broken")[0] == 500
    assert ask(client, "GET", "/echo")[0] == 200


def test_failure_in_the_middle_of_a_response_breaks_the_connection(client: http.client.HTTPConnection) -> None:
    """Else half a response would be taken for a whole one."""
    client.request("GET", "/broken_stream")
    with pytest.raises((http.client.HTTPException, ConnectionResetError)):
        client.getresponse().read()


def test_requests_in_one_segment_are_answered_in_order(server: Running) -> None:
    requests = [b"GET /echo?%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(50)]
    answer = server.exchange(*requests, b"GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    places = [answer.index(b"GET /echo %d " % number) for number in range(50)]
    assert places == sorted(places)
    assert answer.endswith(b"0\r\n\r\n")


def test_large_answer_is_sent_whole_to_a_slow_reader(server: Running) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_all(connection).endswith(apps.BIG)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": b""},
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]},
        {"type": "http.response.start", "status": 200, "headers": [(b"a b", b"c")]},
        {"type": "nonsense"},
    ],
    ids=["body first", "split header", "no header name", "unknown"],
)
def test_what_asgi_does_not_allow_is_refused(message: dict[str, object]) -> None:
    """The application's mistake is an exception in the application, and a 500 for the client."""
    raised: list[BaseException] = []

    async def app(scope: object, receive: object, send: object) -> None:
        try:
            await send(message)  # type: ignore[operator]
        except RuntimeError as error:
            raised.append(error)
            raise

    with running(app) as server:
        answer = server.exchange(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert len(raised) == 1


def test_body_that_is_not_as_long_as_it_says_is_the_applications_mistake() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        await send(  # type: ignore[operator]
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        )
        await send({"type": "http.response.body", "body": b"three"})  # type: ignore[operator]

    with running(app) as server:
        assert server.exchange(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == b""
