"""Pacer: few kinds of request, each at a steady rate, sent as evenly and as cheaply as Python can.

Plain sockets and one epoll in place of an event loop: half of what a call costs `driver`, so that one process can offer
half of what a registry answers. In exchange it knows every right answer beforehand, byte for byte, and replies must
carry their length.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.latency import microseconds
from benchmarks.load.connection import whole_reply
from benchmarks.load.driver import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S, TICK_US
from benchmarks.load.record import Record
from benchmarks.load.ticker import timer
from benchmarks.wire import Address

_READ_BYTES: Final = 1 << 18
_SHOWN_BYTES: Final = 160


class Stream:
    """One kind of request.

    Args:
        requests: whole requests, sent in turn.
        status, body: what each of them must be answered with.
        rate: requests per second, evenly spread; each counts from the moment at which it was due.
        connections: as many can be under way.
    """

    def __init__(
        self, kind: str, requests: Sequence[bytes], status: int, body: bytes, rate: float, connections: int
    ) -> None:
        self.kind = kind
        self.status = status
        self.body = body
        self.rate = rate
        self.connections = connections
        self.requests = requests
        self.record = Record()
        self.start_s = 0.0
        self.total = 0
        self.sent = 0
        self.idle: deque[_Line] = deque()
        self.busy = 0
        self._begin = b"HTTP/1.1 %d " % status
        self._end = b"\r\n\r\n" + body

    def send_due(self, now_s: float) -> None:
        """Send what is due, as long as a connection is free."""
        due = min(int((now_s - self.start_s) * self.rate) + 1, self.total)
        while self.sent < due and self.idle:
            line = self.idle.popleft()
            line.number = self.sent
            self.sent += 1
            self.busy += 1
            line.send(self.requests[line.number % len(self.requests)])

    def answered(self, line: _Line, data: bytes, now_s: float) -> None:
        """Take a reply, or a piece of one, of this line's request."""
        if line.pieces:
            data = line.pieces + data
        right = data.startswith(self._begin) and data.find(b"\r\n\r\n") == len(data) - len(self._end)
        if not right or not data.endswith(self._end):
            try:
                reply = whole_reply(data)
            except ValueError:  # no status
                reply = 0, b"", data
            if reply is None:
                line.pieces = data
                return
            status, _, body = reply
            self._fail(status, body)
        else:
            due_s = line.number / self.rate
            self.record.add(self.kind, due_s, microseconds(now_s - self.start_s - due_s))
        self.release(line)

    def _fail(self, status: int, body: bytes) -> None:
        what = "wrong answer" if status == self.status else str(status)
        shown = body[:_SHOWN_BYTES].decode(errors="replace")
        expected = f"expected {self.status} and the same {len(self.body)} bytes as before the load"
        self.record.fail(self.kind, what, f"{self.kind} was answered wrongly: {expected} ({status}, {shown!r})")

    def release(self, line: _Line) -> None:
        """Its request is done with."""
        line.pieces = b""
        line.number = -1
        self.busy -= 1
        self.idle.append(line)

    def give_up(self) -> None:
        """What has no answer by now gets none."""
        for _ in range(self.total - self.sent + self.busy):
            self.record.fail(self.kind, "no answer", f"{self.kind} had no answer {REPLY_TIMEOUT_S:.0f} s after the end")

    def done(self) -> bool:
        return self.sent == self.total and not self.busy


class _Line:
    """One keep-alive connection of a stream."""

    __slots__ = ("number", "pieces", "sock", "stream")

    def __init__(self, stream: Stream, address: Address) -> None:
        self.stream = stream
        #: Of the request under way, -1 for none.
        self.number = -1
        self.pieces = b""
        try:
            self.sock = socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S)
        except OSError as exc:
            raise BenchmarkError(f"{address.url} could not be connected to: {exc!r}.") from exc
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)

    def send(self, request: bytes) -> None:
        try:
            sent = self.sock.send(request)
        except OSError:
            return  # reading says so, too
        assert sent == len(request), "a request fits into an idle connection's buffer"


class _Pacing:
    """All streams from one epoll."""

    def __init__(self, address: Address, streams: Sequence[Stream], seconds: float) -> None:
        self._address = address
        self._seconds = seconds
        self._streams = streams
        self._epoll = select.epoll()
        self._lines: dict[int, _Line] = {}
        for stream in streams:
            stream.total = int(stream.rate * seconds)
            for _ in range(stream.connections):
                self._connect(stream)
        self._late_s = 0.0

    def _connect(self, stream: Stream) -> None:
        line = _Line(stream, self._address)
        self._lines[line.sock.fileno()] = line
        self._epoll.register(line.sock.fileno(), select.EPOLLIN)
        stream.idle.append(line)

    def run(self) -> None:
        start_s = time.monotonic()
        used_s = time.process_time()
        for stream in self._streams:
            stream.start_s = start_s
        gc.disable()  # A collection would hold up every request that is due meanwhile.
        try:
            with timer(TICK_US) as ticks:
                self._epoll.register(ticks, select.EPOLLIN)
                self._turn_until_done(ticks, start_s)
        finally:
            gc.enable()
            elapsed_s = time.monotonic() - start_s
            for stream in self._streams:
                stream.record.elapsed_s = elapsed_s
                stream.record.client_busy = (time.process_time() - used_s) / elapsed_s
                stream.record.client_late_us = int(self._late_s * 1e6)
            for line in self._lines.values():
                line.sock.close()
            self._epoll.close()

    def _turn_until_done(self, ticks: int, now_s: float) -> None:
        last_s = now_s
        end_s = now_s + self._seconds + REPLY_TIMEOUT_S
        while not all(stream.done() for stream in self._streams) and now_s < end_s:
            for stream in self._streams:
                stream.send_due(now_s)
            for fd, _ in self._epoll.poll():
                if fd == ticks:
                    os.read(ticks, 8)
                else:
                    self._read(self._lines[fd])
            now_s = time.monotonic()
            self._late_s = max(self._late_s, now_s - last_s - TICK_US / 1e6)
            last_s = now_s
        for stream in self._streams:
            stream.give_up()

    def _read(self, line: _Line) -> None:
        try:
            data = line.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return  # told of a connection that had this number before
        except OSError:
            data = b""
        if data and line.number >= 0:
            line.stream.answered(line, data, time.monotonic())
            return
        if data:
            line.stream.record.fail("", "unasked answer", "an answer that nobody asked for")
        self._lost(line)

    def _lost(self, line: _Line) -> None:
        """The connection has ended; open another."""
        stream = line.stream
        if line.number >= 0:
            stream.record.fail(stream.kind, "no answer", f"{stream.kind} got no answer on its connection")
            stream.release(line)
        stream.idle.remove(line)
        del self._lines[line.sock.fileno()]
        line.sock.close()
        self._connect(stream)


def pace(address: Address, streams: Sequence[Stream], seconds: float) -> list[Record]:
    """Send all streams for this time, and wait for the last answer; what became of each."""
    _Pacing(address, streams, seconds).run()
    return [stream.record for stream in streams]
