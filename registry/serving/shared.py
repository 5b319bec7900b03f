"""Shared: what all connections of one replica have in common - the application, limits, the time, and slow clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final, Protocol

from starlette.types import ASGIApp

from registry.clock import Clock
from registry.http_api.client_address import TrustedProxies
from registry.metrics.figure import Figure
from registry.serving.again import Repeats
from registry.serving.backlog import Backlog
from registry.serving.crowd import Crowd
from registry.serving.hot import HotWay
from registry.settings import HEAD_MAX_BYTES, HEADERS_MAX

#: Seconds between two looks for connections whose time has run out.
SWEEP_EVERY_S: Final = 0.5
#: For how many seconds the store has not been heard from, in every answer meanwhile.
STALE: Final = b"X-Registry-Stale"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client may take, in seconds, and how many bytes may wait for it."""

    #: From the first byte of a request to the end of its head.
    head_timeout_s: float = 20.0
    #: From the end of the head to the end of the body.
    body_timeout_s: float = 60.0
    #: Between two requests.
    idle_timeout_s: float = 90.0
    #: For a client that has stopped reading its answer; a large answer has longer, see `SEND_BYTES_PER_S`.
    send_timeout_s: float = 30.0
    #: Bytes that clients which do not read leave unsent, all together. Beyond, the one that waits longest is let go.
    unsent_max_bytes: int = 512 * 1024 * 1024
    #: Bytes of events that wait for watchers which do not read, all together.
    watch_max_bytes: int = 128 * 1024 * 1024
    #: Bytes of requests that are not answered yet, all together. Beyond, the one that arrives longest is refused.
    bodies_max_bytes: int = 512 * 1024 * 1024
    #: Bytes of a request's line and headers, and headers.
    head_max_bytes: int = HEAD_MAX_BYTES
    headers_max: int = HEADERS_MAX
    #: Of TLS, from the connection to the end of the handshake.
    handshake_timeout_s: float = 10.0
    #: Connections and websockets, in all and of each client address (0: any number).
    connections_max: int = 100_000
    connections_per_address: int = 0
    websockets_max: int = 50_000
    websockets_per_address: int = 0


@dataclass(slots=True)
class Tallies:
    """What has happened so often since the start."""

    heads_refused: int = 0
    bodies_refused: int = 0
    too_slow: int = 0
    unread: int = 0
    handshakes: int = 0
    handshakes_failed: int = 0


#: What a client must take at least, bytes per second, on top of `send_timeout_s`.
SEND_BYTES_PER_S: Final = 64 * 1024


class Timed(Protocol):
    """A connection, as the sweep and the stop see it."""

    #: When its time runs out, in seconds of a clock that never jumps.
    deadline: float

    def timed_out(self) -> None:
        """Its deadline has passed."""

    def abort(self) -> None:
        """End it at once; what is unsent is dropped."""

    def shutdown(self) -> None:
        """Finish the request under way, then end."""


class Holder(Timed, Protocol):
    """A connection, as the limit on what has come sees it."""

    @property
    def is_arriving(self) -> bool:
        """A request has come in part."""

    def let_go(self) -> None:
        """Refuse that request."""


class Shared:
    """One for each server.

    Args:
        app: answers what is not hot.
        hot: answers hot requests; None turns that way off.
        stale_s: for how many seconds the store has been away; 0 when it is not.
        proxies: those that may say for which client they ask.
    """

    def __init__(
        self,
        app: ASGIApp,
        hot: HotWay | None,
        limits: Limits,
        stale_s: Callable[[], int] = lambda: 0,
        clock: Clock | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self.app = app
        self.hot = hot
        self.limits = limits
        self.proxies = proxies or TrustedProxies()
        self.crowd = Crowd(limits.connections_max, limits.connections_per_address, self.proxies.trusts)
        # Here the clients behind a trusted proxy are known.
        self.sockets = Crowd(limits.websockets_max, limits.websockets_per_address)
        self.tallies = Tallies()
        self.connections: set[Timed] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._stale_s = stale_s
        self._clock = clock or Clock()
        self._said_at = (-1, -1)
        self.unsent: dict[Timed, int] = {}
        self._unsent_bytes = 0
        self.backlog = Backlog(limits.watch_max_bytes)
        self.repeats = Repeats()
        self._held: dict[Holder, int] = {}
        self._held_bytes = 0
        self._next_sweep_s = 0.0
        self.tick()

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """To be called several times a second: renew what follows from the time, and end what has run out of it."""
        self.now_s = self._clock.steady_ms() / 1000
        self.idle_deadline = self.now_s + self.limits.idle_timeout_s
        second, stale_s = self._clock.wall_ms() // 1000, self._stale_s()
        if (second, stale_s) != self._said_at:
            self._said_at = (second, stale_s)
            #: Header lines of every answer.
            self.lines = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
            if stale_s:
                self.lines += b"%b: %d\r\n" % (STALE, stale_s)
        if self.now_s >= self._next_sweep_s:
            self._next_sweep_s = self.now_s + SWEEP_EVERY_S
            for connection in [one for one in self.connections if one.deadline <= self.now_s]:
                connection.timed_out()

    def figures(self) -> list[Figure]:
        """What is to be said of all connections in numbers."""
        crowd, sockets, tallies = self.crowd, self.sockets, self.tallies
        return [
            Figure("connections", "Connections of clients, websockets included.", crowd.count),
            Figure("connections_refused_total", "Connections refused: too many in all.", crowd.refused["all"], True),
            Figure(
                "connections_of_address_refused_total", "... too many of one address.", crowd.refused["address"], True
            ),
            Figure("websockets", "Websockets of clients.", sockets.count),
            Figure("websockets_refused_total", "Websockets refused: too many in all.", sockets.refused["all"], True),
            Figure(
                "websockets_of_address_refused_total", "... too many of one address.", sockets.refused["address"], True
            ),
            Figure("watchers_slow", "Watchers for which events wait.", len(self.backlog)),
            Figure("watch_waiting_bytes", "Bytes of the events that wait for them.", self.backlog.size),
            Figure("watchers_let_go_total", "Slow watchers let go: too many bytes waited.", self.backlog.let_go, True),
            Figure("heads_refused_total", "Requests with too large or too many headers.", tallies.heads_refused, True),
            Figure("request_bytes", "Bytes of requests that are not answered yet.", self._held_bytes),
            Figure("repeated_request_bytes", "Bytes kept to tell requests that are repeated.", self.repeats.size),
            Figure("bodies_refused_total", "Bodies refused: too large all together.", tallies.bodies_refused, True),
            Figure("requests_too_slow_total", "Heads and bodies that did not come in time.", tallies.too_slow, True),
            Figure("unsent_bytes", "Bytes of answers that clients have not read yet.", self._unsent_bytes),
            Figure("clients_let_go_total", "Clients let go that did not read their answers.", tallies.unread, True),
            Figure("tls_handshakes_total", "Handshakes of TLS that succeeded.", tallies.handshakes, True),
            Figure("tls_handshakes_failed_total", "Handshakes of TLS that failed.", tallies.handshakes_failed, True),
        ]

    # -- clients that send much ----------------------------------------------------------------------------------------

    def hold(self, connection: Holder, size: int) -> None:
        """The connection has `size` bytes of requests that are not answered yet."""
        self._held_bytes += size - self._held.get(connection, 0)
        if size:
            self._held[connection] = size
        else:
            self._held.pop(connection, None)
        while self._held_bytes > self.limits.bodies_max_bytes:
            eldest = next((one for one in self._held if one.is_arriving), None)
            if eldest is None:
                return
            self._held_bytes -= self._held.pop(eldest)
            self.tallies.bodies_refused += 1
            eldest.let_go()

    # -- clients that do not read --------------------------------------------------------------------------------------

    def begin_unsent(self, connection: Timed, size: int) -> None:
        """The connection has `size` bytes that its client does not take."""
        self.end_unsent(connection)
        self.unsent[connection] = size
        self._unsent_bytes += size
        while self._unsent_bytes > self.limits.unsent_max_bytes:
            eldest = next(iter(self.unsent))
            self.end_unsent(eldest)
            self.tallies.unread += 1
            eldest.abort()

    def end_unsent(self, connection: Timed) -> None:
        self._unsent_bytes -= self.unsent.pop(connection, 0)
