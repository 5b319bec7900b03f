"""PastLine: a replica's line to the process that reads the past, which is started when it is first asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from registry.domain.errors import Overloaded
from registry.http_api.call import Call
from registry.http_api.carried import Carried, carry
from registry.http_api.operation import Operation
from registry.http_api.reply import Reply
from registry.running.past_wire import Answered, PastUnavailable, Question, frame, read_frame, socket_path
from registry.settings import Settings, variable

#: Seconds that the process may take to start, and between looks whether it has.
START_TIMEOUT_S: Final = 20.0
LOOK_EVERY_S: Final = 0.05
#: Seconds without a question after which the line is given up; without lines the process ends.
IDLE_S: Final = 300.0
#: Seconds until an answer is given up: the process itself gives up before.
ANSWER_TIMEOUT_S: Final = 70.0
#: Questions of this replica that are under way.
UNDER_WAY_MAX: Final = 64
#: Times a question is asked whose process ends over it. One that was killed may be met twice: as the old connection,
#: and as a new one to the socket that it still holds.
TRIES_MAX: Final = 3

_answers = msgspec.msgpack.Decoder(Answered)


class _Connection:
    """One connection. Its questions fail together when it ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.waiting: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = count(1)
        self._reading = asyncio.create_task(self._read(reader))

    @property
    def ended(self) -> bool:
        return self._reading.done()

    async def ask(self, call: Carried) -> Reply:
        """Raises ConnectionError when the process has ended, TimeoutError."""
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.waiting[number] = answer
        try:
            self._writer.write(frame(Question(number, call)))
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._writer.drain()
                return await answer
        finally:
            del self.waiting[number]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                found = await read_frame(reader, _answers)
                waiting = self.waiting.get(found.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(found.reply)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer.close()
            for waiting in self.waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the process that reads the past has ended"))

    def close(self) -> None:
        self._reading.cancel()


class PastLine:
    """Answers calls about the past by asking the process.

    Args:
        settings: those of the replica, with the URL of its Redis.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._under_way = 0

    async def answer(self, operation: Operation, call: Call) -> Reply:
        """Raises PastUnavailable; what else is wrong the answer says."""
        if self._under_way >= UNDER_WAY_MAX:
            raise Overloaded(f"{self._under_way} questions about the past are being answered: ask again later")
        self._under_way += 1
        try:
            return await self._answer(await carry(operation.name, call, operation.request is not None))
        finally:
            self._under_way -= 1
            self._rest()

    async def _answer(self, call: Carried) -> Reply:
        for _ in range(TRIES_MAX):
            connection = await self._connected()
            try:
                return await connection.ask(call)
            except TimeoutError:
                raise PastUnavailable(f"no answer within {ANSWER_TIMEOUT_S:.0f} s") from None
            except OSError:
                await asyncio.sleep(LOOK_EVERY_S)
        raise PastUnavailable("the process that reads the past ended over this question: ask for less")

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.ended:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> _Connection:
        path = await asyncio.to_thread(socket_path, self._settings)
        for attempt in range(round(START_TIMEOUT_S / LOOK_EVERY_S)):
            with contextlib.suppress(FileNotFoundError, ConnectionError):
                return _Connection(*await asyncio.open_unix_connection(path))
            if attempt == 0 or (self._process is not None and self._process.poll() is not None):
                await asyncio.to_thread(self._start, path)
            await asyncio.sleep(LOOK_EVERY_S)
        raise PastUnavailable(f"the process that reads the past has not started within {START_TIMEOUT_S:.0f} s")

    def _start(self, path: Path) -> None:
        """Start the process. Where there is one already, this one ends at once."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")},
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **{variable(f.name): str(getattr(self._settings, f.name)) for f in fields(Settings)},
        }
        command = [sys.executable, "-P", "-m", "registry.running.past_process", str(path)]
        # A session of its own: it belongs to all replicas of the machine, and Ctrl-C on this one is not for it.
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def _rest(self) -> None:
        """Nothing was asked just now: after a while the line is not needed."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.close)

    def close(self) -> None:
        """Leave the process, which ends when all have. A question that is under way fails."""
        if self._connection is not None and not self._connection.waiting:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.poll()
