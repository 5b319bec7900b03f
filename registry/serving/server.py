"""Server: uvicorn's server around our connections. It listens, ticks, and stops; every byte is ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from registry.serving.connection import Connection
from registry.serving.shared import Shared

#: Connections that may wait to be accepted.
BACKLOG: Final = 4096


class Server(uvicorn.Server):
    """Leaves signals to the replica, which has more than a server to stop, and says when it listens.

    Args:
        shared: what all connections have in common.
        stop_timeout_s: seconds that requests under way may take at a stop.
        started: called when it listens.
    """

    def __init__(self, shared: Shared, stop_timeout_s: int, started: Callable[[], None] = lambda: None) -> None:
        def connection(*, _loop: asyncio.AbstractEventLoop | None = None, **_: Any) -> Connection:
            return Connection(shared, _loop or asyncio.get_running_loop())

        # uvicorn wants a class, and only calls it.
        protocol: Any = connection
        super().__init__(
            uvicorn.Config(
                shared.app,
                http=protocol,
                ws="none",
                loop="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=stop_timeout_s,
                backlog=BACKLOG,
            )
        )
        self._shared = shared
        self._on_started = started
        # At a stop uvicorn tells each connection, and waits for these sets to empty.
        shared_connections: Any = shared.connections
        self.server_state.connections = shared_connections
        self.server_state.tasks = shared.tasks

    async def on_tick(self, counter: int) -> bool:
        self._shared.tick()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self._shared.connections):
            connection.abort()  # its client does not read what it was sent
        await asyncio.sleep(0)  # they are told in the next turn

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
