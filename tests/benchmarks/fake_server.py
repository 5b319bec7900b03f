"""A tiny HTTP server that answers what a test says, right or wrong, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from benchmarks.wire import Address

#: Given the request's number (from 0) and its head, the bytes to send back, or None to hang up.
Answer = Callable[[int, bytes], bytes | None]


def reply(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    """A whole answer with its length."""
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class FakeServer:
    """Answers one request after the other on each connection, and notes when."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._count = 0
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.answered_s: list[float] = []
        """`time.monotonic()` just before each answer was sent, in order."""
        self.address = Address("127.0.0.1", 0)

    async def serve(self, started: Future[int], over: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        started.set_result(server.sockets[0].getsockname()[1])
        await over.wait()
        server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        del self._open[task]

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_length(head))
        number, self._count = self._count, self._count + 1
        answer = self._answer(number, head)
        if answer is None:
            return False
        self.answered_s.append(time.monotonic())
        writer.write(answer)
        await writer.drain()
        return True


@contextlib.contextmanager
def fake_server(answer: Answer) -> Iterator[FakeServer]:
    """A server that listens, until the end of the block."""
    server = FakeServer(answer)
    started: Future[int] = Future()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(server.serve(started, over))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    server.address = Address("127.0.0.1", started.result(10))
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
