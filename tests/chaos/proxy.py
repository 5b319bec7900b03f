"""Proxy: the way from one replica to Redis, which can be cut, clogged or slowed down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: How it passes on what it is given.
OPEN: Final = "open"
#: Connections break, new ones end at once.
CUT: Final = "cut"
#: Connections stand, nothing comes through: in neither direction, or only in the other one.
HANGING: Final = "hanging"
DEAF: Final = "deaf"  # requests are kept back, answers pass
MUTE: Final = "mute"  # requests pass, answers are kept back
STATES: Final = (CUT, HANGING, DEAF, MUTE)

TO_REDIS: Final = "to redis"
FROM_REDIS: Final = "from redis"
_HOLDS: Final = {HANGING: (TO_REDIS, FROM_REDIS), DEAF: (TO_REDIS,), MUTE: (FROM_REDIS,)}
CHUNK_BYTES: Final = 1 << 16
#: Turns of the loop in which a connection that is just being accepted becomes one that can be ended.
LAST_TURNS: Final = 10


class Proxy:
    """Listens on a port of its own and passes on to the Unix socket that `target` names at that moment."""

    def __init__(self, target: Callable[[], Path]) -> None:
        self._target = target
        self._state = OPEN
        self._delay_s = 0.0
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    # -- faults --------------------------------------------------------------------------------------------------------

    def break_with(self, state: str, delay_s: float = 0.0) -> None:
        """From now on be in this state, and delay everything that passes by this time in each direction."""
        self._state, self._delay_s = state, delay_s
        self._tell()
        if state == CUT:
            self.drop()

    def heal(self, drop: bool = False) -> None:
        """Pass everything on again: also what was kept back, unless its connections are dropped."""
        if drop:
            self.drop()
        self._state, self._delay_s = OPEN, 0.0
        self._tell()

    def retarget(self, target: Callable[[], Path]) -> None:
        """Lead to another Redis from now on. Connections that stand stay where they lead."""
        self._target = target

    def drop(self) -> None:
        """Break every connection; what it has kept back is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # -- passing on ----------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.add(writer)
        near = writer
        far: asyncio.StreamWriter | None = None
        try:
            if self._state == CUT:
                return
            from_redis, far = await asyncio.open_unix_connection(str(self._target()))
            self._writers.add(far)
            await asyncio.gather(self._pump(reader, far, TO_REDIS), self._pump(from_redis, near, FROM_REDIS))
        except OSError:
            pass  # Redis is down, or one side has gone
        finally:
            for end in (near, far):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
                    with contextlib.suppress(OSError):
                        await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        """Pass on until either side ends, then end both."""
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                while direction in _HOLDS.get(self._state, ()) and not writer.transport.is_closing():
                    await self._changed.wait()
                if writer.transport.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError("one side has ended")

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for _ in range(LAST_TURNS):
                await asyncio.sleep(0)
        self._state = OPEN
        self._tell()
        self.drop()
        if self._serving:
            await asyncio.wait(self._serving)
