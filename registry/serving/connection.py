"""Connection: one client. Its requests are answered in the order in which they came, one at a time.

Bytes go to the hot way first, while the parser stands between two requests and nothing is owed to the client. What
the hot way does not take goes to the parser, and from there to the application as ASGI. Bytes that come while an
answer is owed are held, and beyond a limit the client is not read from.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, cast

from starlette.types import ASGIApp

from registry.http_api.shared_parts import Part
from registry.serving import refusals
from registry.serving.again import Again
from registry.serving.crowd import Crowd
from registry.serving.exchange import BODY_WAITING_MAX_BYTES, Exchange
from registry.serving.held import Held
from registry.serving.hot import INCOMPLETE, NOT_HOT, HotWay, Owed
from registry.serving.reader import BadRequest, Head, Reader
from registry.serving.seat import Seat
from registry.serving.shared import Shared
from registry.serving.turns import Turns
from registry.serving.websocket import Socket
from registry.serving.wire import Wire

#: Bytes held while an answer is owed; then the client is not read from.
HELD_MAX_BYTES: Final = 64 * 1024
#: Seconds for which a client that is refused in the middle of a request may go on sending, so that it gets to read why.
LINGER_S: Final = 2.0
#: Seconds for which a connection that is one too many is listened to: what beats is answered, all else is told why not.
EXTRA_WAIT_S: Final = 5.0
NEVER: Final = math.inf


class Connection(asyncio.Protocol):
    """Given to the server as its protocol.

    Args:
        shared: what all connections have in common.
        loop: the one that is running.
        entrance: what answers here, when it is not what answers elsewhere.
        crowd: where it is counted, when that is not where all are.
    """

    def __init__(
        self,
        shared: Shared,
        loop: asyncio.AbstractEventLoop,
        entrance: tuple[ASGIApp, HotWay | None] | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self._shared = shared
        self._loop = loop
        self._app, self._hot = entrance or (shared.app, shared.hot)
        self.seat = Seat(shared, crowd or shared.crowd)
        self._reader: Reader | None = None
        self.wire: Wire
        #: That of the wire, without a step in between.
        self.write: Callable[[Sequence[Part]], None]
        self.client_address = ""
        #: See `HotConnection`.
        self.again: Again | None = None
        self.deadline = NEVER
        #: What is being answered: by the hot way, or by the application.
        self._owed: Owed | None = None
        self._turns = Turns()
        self._held = Held()
        #: A handshake, and what came after it, that waits for its turn.
        self._upgrade: tuple[Head, bytes] | None = None
        #: The last word to a client that has sent what is no request. It waits for its turn too.
        self._refusal = b""
        #: The client sends nothing more.
        self._half_closed = False
        #: Nothing that comes is looked at any more.
        self._ended = False
        #: Nothing is owed to the client, nothing of a request has come, and it reads: as `balance` saw it last.
        self._idle = True
        #: This is the last answer.
        self.stopping = False

    # -- the transport -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = Wire(transport, self._shared)
        self.write = self.wire.write
        if not self.enter(transport):
            return
        self._shared.connections.add(self)
        self.deadline = self._shared.idle_deadline
        if self.seat.excess:
            # Its requests go through the parser, which tells what they are, and the first answer is the last.
            self._hot, self.stopping = None, True
            self.deadline = self._shared.now_s + EXTRA_WAIT_S

    def enter(self, transport: asyncio.BaseTransport) -> bool:
        """Be counted; False: there are too many to tell it even that."""
        if self.seat.take(transport):
            self.client_address = self.seat.client_address
            return True
        self._ended = True
        cast(asyncio.Transport, transport).abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._idle = True, False
        self.deadline = NEVER
        self.seat.leave()
        self._shared.connections.discard(self)
        self.wire.drain(self)
        if self._reader is not None:
            self._reader.close()
        self._turns.disconnect()
        self._owed = self._reader = None
        self.keep(None)
        self._take_held()  # and with it what is counted

    @property
    def lines(self) -> bytes:
        """Header lines of every answer."""
        return self._shared.lines

    def keep(self, again: Again | None) -> None:
        """See `HotConnection`."""
        self.again = self._shared.repeats.keep(again, self.again)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        hot = self._hot
        if not self._idle or hot is None:
            self._receive(data)
            return
        self.deadline = self._shared.idle_deadline
        end = hot.receive(data, 0, self)
        if end == NOT_HOT:
            self._read(data)
        elif end != len(data):
            self._receive(data[end:] if end > 0 else data)

    def _receive(self, data: bytes) -> None:
        """What comes at any time: also while an answer is owed, or the client does not read."""
        if self._ended:
            return
        if self._owed is not None or self._upgrade is not None or (self.wire.is_full and self._is_between()):
            self._hold(data)
            return
        until = NEVER
        if self._held.size:
            # It is the begin of a request, and what else comes of that buys no more time.
            until = self.deadline
            data = self._take_held() + data
        if self._hot is not None and self._is_between():
            self.deadline = self._shared.idle_deadline
            data = self._receive_hot(self._hot, data, until)
        if data:
            self._read(data)
        self.balance()

    def _is_between(self) -> bool:
        """Nothing is owed to the client, and it has not begun another request."""
        return self._owed is None and self._turns.active is None and (self._reader is None or self._reader.between)

    def _receive_hot(self, hot: HotWay, data: bytes, until: float) -> bytes:
        """Answer hot requests one after the other; what is left is the parser's.

        Args:
            until: when all of the first one has to be there.
        """
        at, size = 0, len(data)
        while at < size and self._owed is None and not self.wire.is_full:
            end = hot.receive(data, at, self)
            if end == NOT_HOT:
                return data[at:]
            if end == INCOMPLETE:
                self.deadline = min(self.deadline, until, self._shared.now_s + self._shared.limits.body_timeout_s)
                break
            at, until = end, NEVER
        if at < size:
            self._hold(data[at:])
        return b""

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            limits = self._shared.limits
            self._reader = Reader(self, limits.head_max_bytes, limits.headers_max)
        try:
            self._upgrade = self._reader.feed(data)
        except BadRequest as bad:
            self._shared.tallies.heads_refused += bad.response is refusals.TOO_LARGE
            self._refuse(bad.response)
            return
        if self._half_closed and not self._half_close():
            self._end()
        if self._upgrade is not None and self._turns.active is None:
            self._continue()
        self.balance()

    def eof_received(self) -> bool:
        """The client has sent its last byte. It is still answered what it has asked."""
        self._half_closed = True
        return self._half_close() and not self.wire.is_secure

    def _half_close(self) -> bool:
        """Tell those that are answered, or will be, that nothing more comes. Returns whether anything is still owed."""
        self._turns.half_close()
        # What is held while nothing is answered is half a request, and nothing that comes could complete it.
        held = self._held.size > 0 and (self.wire.is_full or not self._is_between())
        return held or self._turns.are_owed or self._owed is not None or bool(self._upgrade or self._refusal)

    def _hold(self, data: bytes) -> None:
        self._held.add(data)
        self._count_bytes()
        self.balance()

    def _take_held(self) -> bytes:
        """What is held; it is counted no longer."""
        data = self._held.take()
        self._count_bytes()
        return data

    def _count_bytes(self) -> None:
        """Tell how much has come from the client that is not answered yet."""
        self._shared.hold(self, self._held.size + self._turns.arrived_bytes)

    @property
    def is_arriving(self) -> bool:
        return not self._ended and bool(self._turns.arriving or self._held.size)

    def let_go(self) -> None:
        """See `Holder`."""
        arriving = self._turns.arriving
        if arriving.is_heartbeat if arriving is not None else self._held.is_heartbeat:
            self.abort()  # it is not told that it was too much (D17)
        else:
            self._refuse(refusals.BODIES)

    def balance(self) -> None:
        """Read from the client, or let it wait: it has sent more than is being answered, or does not read itself."""
        self._idle = not self.wire.is_full and not self._ended and not self._held.size and self._is_between()
        if self._ended or self.wire.is_closing:
            return
        arriving = self._turns.arriving
        self.wire.read(
            not (
                self._turns.waiting
                or self._refusal
                or (self._held.size > HELD_MAX_BYTES and not self._is_between())
                or (arriving is not None and arriving.waiting_bytes > BODY_WAITING_MAX_BYTES)
                or (self.wire.is_full and arriving is None)
            )
        )

    # -- what the reader tells -----------------------------------------------------------------------------------------

    def request_begun(self) -> None:
        self.deadline = self._shared.now_s + self._shared.limits.head_timeout_s

    def head_read(self, head: Head) -> None:
        if self.seat.excess and not head.is_heartbeat:
            raise BadRequest(refusals.CONNECTIONS[self.seat.excess])
        exchange = Exchange(self, head)
        self.deadline = self._shared.now_s + self._shared.limits.body_timeout_s
        self._turns.arriving = exchange
        if self._turns.active is None and not self.wire.is_full:
            self._begin(exchange)
        else:
            self._turns.waiting.append(exchange)

    def body_read(self, chunk: bytes) -> None:
        if self._turns.arriving is not None:
            self._turns.arriving.body_read(chunk)
            self._count_bytes()

    def request_read(self) -> None:
        exchange, self._turns.arriving = self._turns.arriving, None
        self.deadline = NEVER
        if exchange is not None:
            exchange.request_read()
            if exchange.complete:
                self._turns.active = None
                self._continue()

    # -- answering -----------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self._turns.active = exchange
        self.run(exchange.run(self._app))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._shared.tasks.add(task)
        task.add_done_callback(self._shared.tasks.discard)

    def owe(self, owed: Owed) -> None:
        self._owed = owed
        self._idle = False
        self.deadline = NEVER

    def owes(self, owed: Owed) -> bool:
        return owed is self._owed

    def settle(self, owed: Owed, response: Sequence[Part]) -> None:
        if owed is not self._owed:
            return
        self._owed = None
        if self.stopping:
            response = _last(response)
        self.write(response)
        # Nearly always nothing has happened meanwhile: then there is nothing to go on with.
        if self._held.size or self._half_closed or self._refusal or self.stopping or self._ended or self.wire.is_full:
            self._continue()
        else:
            self._idle = True
            self.deadline = self._shared.idle_deadline

    def exchange_complete(self, exchange: Exchange) -> None:
        """The active exchange's response has been written, or nobody is left to read one."""
        if self._ended:
            return
        self._count_bytes()
        if not exchange.keep_alive:
            self._end(linger=not exchange.read)
        elif exchange.read:
            self._turns.active = None
            self._continue()
        else:
            self.balance()  # the rest of its body goes by

    def _continue(self) -> None:
        """Nothing is being answered: go on with what waits, once the client has taken what it was sent."""
        if self._ended or self.wire.is_full:
            return
        if self._turns.waiting:
            self._begin(self._turns.waiting.popleft())
        elif self._refusal:
            self.write((self._refusal,))
            self._end(linger=True)
        elif self._upgrade is not None:
            self._become_socket(*self._upgrade)
        elif self.stopping:
            self._end()
        else:
            if self._is_between():
                self.deadline = self._shared.idle_deadline
            if self._held.size:
                self._receive(self._take_held())
            if self._half_closed and self._owed is None and self._turns.active is None and not self.wire.is_full:
                self._end()
        self.balance()

    def _refuse(self, response: bytes) -> None:
        """Answer what is no request, in its turn. Nothing after it is read."""
        self._refusal = response
        # It may be the body of a request under way that is wrong.
        has_begun = self._turns.drop_arriving()
        self._take_held()
        if has_begun:
            self._end(linger=True)
            return
        self.deadline = NEVER
        if self._turns.active is None and self._owed is None:
            self._continue()
        self.balance()

    def _become_socket(self, head: Head, rest: bytes) -> None:
        if self.wire.is_closing:
            # It is this protocol that will be told that the client has gone.
            return
        refusal, leave = self.seat.take_for_socket(head)
        if refusal:
            self._upgrade = None
            self._refuse(refusal)
            return
        self._shared.connections.discard(self)
        self.keep(None)
        self._ended, self._idle = True, False
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        socket = Socket(self._shared, self._loop, head, self._app, leave, self._half_closed)
        self.wire.hand_over(socket)
        came = rest + self._take_held()
        if came:
            socket.data_received(came)

    # -- what goes -----------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.deadline = self.wire.fill(self)
        self.balance()

    def resume_writing(self) -> None:
        self.wire.drain(self)
        if self._ended:
            return
        arrives = self._turns.arriving is not None
        self.deadline = self._shared.now_s + self._shared.limits.body_timeout_s if arrives else NEVER
        if self._owed is None and self._turns.active is None:
            self._continue()
        self.balance()

    # -- the end -------------------------------------------------------------------------------------------------------

    def timed_out(self) -> None:
        """The deadline has passed: of the client's reading, of a request's head or body, or of the idle connection."""
        if self.wire.is_full or self._ended:
            self._shared.tallies.unread += self.wire.is_full
            self.abort()
        elif self._held.size or (self._reader is not None and not self._reader.between):
            self._shared.tallies.too_slow += 1
            self._refuse(refusals.TOO_SLOW)
        else:
            self._end()

    def shutdown(self) -> None:
        self.stopping = True
        if self._owed is None and self._turns.active is None:
            self._end()

    def abort(self) -> None:
        self._ended, self._idle = True, False
        self.wire.abort()

    def _end(self, linger: bool = False) -> None:
        """Close, once everything is sent. With `linger` the client may go on sending for a moment, unheard."""
        self._ended, self._idle = True, False
        lingers = linger and not self._half_closed and self.wire.can_half_close
        self.deadline = self._shared.now_s + (LINGER_S if lingers else self._shared.limits.send_timeout_s)
        self.wire.end(lingers)


def _last(response: Sequence[Part]) -> Sequence[Part]:
    """The response, saying that the connection ends with it."""
    head, end, body = bytes(response[0]).partition(b"\r\n\r\n")
    return (head + b"\r\nConnection: close" + end + body, *response[1:])
