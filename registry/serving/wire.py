"""Wire: the socket of one client. What goes to it, whether it takes that, and whether it is read from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, cast

from registry.http_api.shared_parts import Part
from registry.serving.shared import SEND_BYTES_PER_S, Shared, Timed

#: Parts of a response up to this size are joined into one; larger ones are handed on as they are, and not copied.
JOINED_MAX_BYTES: Final = 64 * 1024


class Wire:
    """A connection has one, and is not held by it: it must go with its last reference, not when the collector looks."""

    def __init__(self, transport: asyncio.BaseTransport, shared: Shared) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one only in what it does
        if not self.is_secure:
            # What the client's socket has no room for counts as unsent. The gate says the same of TLS.
            self._transport.set_write_buffer_limits(high=0)
        self._shared = shared
        self._reading = True
        #: The client does not take what it is sent.
        self.is_full = False
        self._taken: asyncio.Event | None = None
        peer = transport.get_extra_info("peername")
        self.client: tuple[str, int] | None = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None

    @property
    def is_secure(self) -> bool:
        return bool(self._transport.get_extra_info("sslcontext"))

    @property
    def server(self) -> tuple[str, int] | None:
        """The address that the client has reached."""
        name = self._transport.get_extra_info("sockname")
        return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    # -- what goes -----------------------------------------------------------------------------------------------------

    def write(self, parts: Sequence[Part]) -> None:
        """Hand a response, or a part of one, to the transport."""
        if self._transport.is_closing():
            return
        if len(parts) == 1:
            self._transport.write(parts[0])
        elif sum(map(len, parts)) <= JOINED_MAX_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def fill(self, owner: Timed) -> float:
        """The client stops to take what it is sent. Returns when its time for that runs out (`Shared.now_s`).

        Args:
            owner: the connection that is let go if its client does not read.
        """
        self.is_full = True
        size = self._transport.get_write_buffer_size()
        deadline = self._shared.now_s + self._shared.limits.send_timeout_s + size / SEND_BYTES_PER_S
        self._shared.begin_unsent(owner, size)
        return deadline

    def drain(self, owner: Timed) -> None:
        """The client has taken all that it was sent, or has gone."""
        self.is_full = False
        self._shared.end_unsent(owner)
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.set()

    async def drained(self) -> None:
        """Wait until the client has taken what was sent."""
        if self.is_full:
            self._taken = self._taken or asyncio.Event()
            await self._taken.wait()

    # -- what comes ----------------------------------------------------------------------------------------------------

    def read(self, reading: bool) -> None:
        """Read from the client from now on, or let it wait."""
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # -- the end -------------------------------------------------------------------------------------------------------

    @property
    def can_half_close(self) -> bool:
        return self._transport.can_write_eof()

    def end(self, linger: bool) -> None:
        """Close, once everything is sent. With `linger` only the sending ends, and what comes is read on."""
        if linger:
            self._transport.write_eof()
            self.read(True)
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._transport.abort()

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Another protocol has the client from now on."""
        self._transport.set_protocol(protocol)
        self.read(True)
        protocol.connection_made(self._transport)
