"""Gate: a connection to the port for TLS, until its handshake is over. Then it is a connection like any other."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from registry.serving import refusals
from registry.serving.certificates import Certificates
from registry.serving.connection import LINGER_S, Connection
from registry.serving.shared import Shared

#: Seconds for which the peer is waited for when a connection by TLS ends.
GOODBYE_S: Final = 5.0
#: The first byte of every handshake (RFC 8446 5.1).
HANDSHAKE: Final = 0x16


class Gate(asyncio.Protocol):
    """One client that has to shake hands first.

    Nothing is spent on it before its first bytes have come, and they tell whether it speaks TLS at all.

    Args:
        certificates: what is shown; each handshake takes what there is then.
        connection: what it becomes.
    """

    def __init__(
        self, shared: Shared, loop: asyncio.AbstractEventLoop, certificates: Certificates, connection: Connection
    ) -> None:
        self._shared = shared
        self._loop = loop
        self._certificates = certificates
        self._connection = connection
        self._transport: asyncio.Transport
        self._first: list[bytes] = []
        self._refused = False
        self._over = False
        self.deadline = shared.now_s + shared.limits.handshake_timeout_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in what it does
        # What the client's socket has no room for counts as unsent, as without TLS.
        self._transport.set_write_buffer_limits(high=0)
        if self._connection.enter(self._transport):
            self._shared.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._first:
            self._first.append(data)
        elif data[0] == HANDSHAKE:
            self._first = [data]
            self._transport.pause_reading()
            task = self._loop.create_task(self._shake_hands())
            self._shared.tasks.add(task)
            task.add_done_callback(self._shared.tasks.discard)
        else:
            self._refuse()

    def _refuse(self) -> None:
        """Tell a client that does not speak TLS to do so."""
        self._refused = True
        self._transport.write(refusals.SPEAKS_TLS)
        self._transport.write_eof()
        self.deadline = self._shared.now_s + LINGER_S

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended before the handshake was over."""
        self._fail()

    def _fail(self) -> None:
        if self._over:
            return
        self._over = True
        self._shared.connections.discard(self)
        self._shared.tallies.handshakes_failed += 1
        self._connection.seat.leave()

    async def _shake_hands(self) -> None:
        if self._over:
            return
        self._loop.call_soon(self._feed)
        try:
            secured = await self._loop.start_tls(
                self._transport,
                self,
                self._certificates.context,
                server_side=True,
                ssl_handshake_timeout=max(self.deadline - self._shared.now_s, 0.1),
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except OSError:
            self._fail()
            return
        if secured is None or secured.is_closing():
            self._fail()
            return
        self._over = True
        self._shared.connections.discard(self)
        self._shared.tallies.handshakes += 1
        # uvloop wakes us before it hands on what came behind the handshake.
        secured.set_protocol(self._connection)
        self._connection.connection_made(secured)
        self._loop.call_soon(_limit_unsent, secured)

    def _feed(self) -> None:
        """Give what has come already to the protocol that `start_tls` has put in our place, before it begins."""
        protocol = cast(asyncio.BufferedProtocol, self._transport.get_protocol())
        for data in self._first:
            memoryview(protocol.get_buffer(len(data)))[: len(data)] = data
            protocol.buffer_updated(len(data))
        self._first.clear()

    # -- as the sweep and the stop see it ------------------------------------------------------------------------------

    def timed_out(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._transport.abort()

    def shutdown(self) -> None:
        self._transport.abort()


def _limit_unsent(secured: asyncio.Transport) -> None:
    """Tell the connection at once when its client does not read.

    Not before what belongs to the handshake has been sent: uvloop counts that too, and never tells that it has gone.
    It pauses at the limit, not beyond it.
    """
    if not secured.is_closing():
        secured.set_write_buffer_limits(high=1, low=0)
