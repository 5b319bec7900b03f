"""A server of our own around any ASGI application, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from starlette.types import ASGIApp

from registry.http_api.client_address import TrustedProxies
from registry.serving.certificates import Certificates
from registry.serving.hot import HotWay
from registry.serving.server import Server, plain, secure
from registry.serving.shared import Limits, Shared

#: Seconds after which a test has failed.
LIMIT_S = 10.0


class Running:
    """A server that listens, and the port at which it does."""

    def __init__(self, shared: Shared, port: int, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self.shared = shared
        self.port = port
        self.loop = loop
        self.server = server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LIMIT_S)

    def connect_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        return context.wrap_socket(self.connect(), server_hostname="127.0.0.1")

    def exchange(self, *segments: bytes, half_close: bool = False) -> bytes:
        """Send segments, and read until the server ends the connection."""
        with self.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for segment in segments:
                    connection.sendall(segment)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the server's loop, and return what it returns."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(LIMIT_S)


def read_all(connection: socket.socket) -> bytes:
    received = []
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            received.append(chunk)
    return b"".join(received)


@contextlib.contextmanager
def running(
    app: ASGIApp,
    limits: Limits | None = None,
    hot: HotWay | None = None,
    certificates: Certificates | None = None,
    proxies: TrustedProxies | None = None,
) -> Iterator[Running]:
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    started = threading.Event()
    found: list[Running] = []

    async def serve() -> None:
        shared = Shared(app, hot, limits or Limits(), proxies=proxies)
        entrance = plain(bound, shared) if certificates is None else secure(bound, shared, certificates)
        server = Server(shared, [entrance], 2, started.set)
        found.append(Running(shared, bound.getsockname()[1], asyncio.get_running_loop(), server))
        await server.serve()

    thread = threading.Thread(target=uvloop.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(LIMIT_S)
        yield found[0]
    finally:
        found[0].server.should_exit = True
        thread.join(LIMIT_S)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
