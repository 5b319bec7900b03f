"""Server: uvicorn's server around our connections. It listens, ticks, and stops; every byte is ours."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from registry.serving.certificates import Certificates
from registry.serving.connection import Connection
from registry.serving.crowd import Crowd
from registry.serving.gate import Gate
from registry.serving.shared import Shared

#: Connections that may wait to be accepted.
BACKLOG: Final = 4096
#: Connections at the port for probes.
PROBES_MAX: Final = 64


class Entrance(NamedTuple):
    """A bound socket, and what each connection that it accepts is given to."""

    bound: socket.socket
    protocol: Callable[[], asyncio.Protocol]


def plain(bound: socket.socket, shared: Shared) -> Entrance:
    """HTTP as it is."""
    return Entrance(bound, lambda: Connection(shared, asyncio.get_running_loop()))


def secure(bound: socket.socket, shared: Shared, certificates: Certificates) -> Entrance:
    """HTTP by TLS."""

    def gate() -> Gate:
        loop = asyncio.get_running_loop()
        return Gate(shared, loop, certificates, Connection(shared, loop))

    return Entrance(bound, gate)


def probes(bound: socket.socket, shared: Shared, app: ASGIApp) -> Entrance:
    """HTTP for who asks how the replica is. It has places of its own: a probe is not refused for what others do."""
    crowd = Crowd(PROBES_MAX)
    return Entrance(bound, lambda: Connection(shared, asyncio.get_running_loop(), (app, None), crowd))


class Server(uvicorn.Server):
    """Leaves signals to the replica, which has more than a server to stop, and says when it listens.

    Args:
        shared: what all connections have in common.
        entrances: where it listens.
        stop_timeout_s: seconds that requests under way may take at a stop.
        started: called when it listens.
    """

    def __init__(
        self,
        shared: Shared,
        entrances: Sequence[Entrance],
        stop_timeout_s: int,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        # uvicorn looks at it, and makes none.
        protocol: Any = Connection
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
            )
        )
        self._shared = shared
        self._entrances = entrances
        self._on_started = started
        # At a stop uvicorn tells each connection, and waits for these sets to empty.
        shared_connections: Any = shared.connections
        self.server_state.connections = shared_connections
        self.server_state.tasks = shared.tasks

    async def on_tick(self, counter: int) -> bool:
        self._shared.tick()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        loop = asyncio.get_running_loop()
        for entrance in self._entrances:
            self.servers.append(await loop.create_server(entrance.protocol, sock=entrance.bound, backlog=BACKLOG))
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown([entrance.bound for entrance in self._entrances])
        for connection in list(self._shared.connections):
            connection.abort()  # its client does not read what it was sent
        await asyncio.sleep(0)  # they are told in the next turn

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
