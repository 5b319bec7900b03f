"""A server that says what a test makes it say, when the test makes it: what no real Redis does on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hiredis import Reader

_NOTHING = object()


class FakeRedis:
    """Takes commands and answers nothing by itself."""

    def __init__(self) -> None:
        self.port = 0
        #: How often somebody has connected.
        self.connections = 0
        self._commands: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def command(self) -> list[bytes]:
        """The next command that arrives, on whichever connection."""
        async with asyncio.timeout(5):
            return await self._commands.get()

    def unread(self) -> int:
        """Commands that have arrived and that no test has taken."""
        return self._commands.qsize()

    async def say(self, *pieces: bytes) -> None:
        """Send pieces over the newest connection, each in a segment of its own."""
        for piece in pieces:
            self._writers[-1].write(piece)
            await self._writers[-1].drain()
            await asyncio.sleep(0.001)  # the kernel would join what is sent at once

    def hang_up(self) -> None:
        """Close the newest connection."""
        self._writers[-1].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        requests = Reader(notEnoughData=_NOTHING)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                requests.feed(data)
                while (request := requests.gets()) is not _NOTHING:
                    self._commands.put_nowait(request)
        writer.close()


@contextlib.asynccontextmanager
async def fake_redis() -> AsyncIterator[FakeRedis]:
    fake = FakeRedis()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for writer in fake._writers:
            writer.close()
        await server.wait_closed()
