"""PastProcess: `python -m registry.running.past_process SOCKET`, which reads the past for the replicas of a machine.

It yields the processor to everybody else, has a limit of memory, and ends when no replica is connected any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from registry import logconfig
from registry.bootstrap import build_replica, redis_store
from registry.domain.errors import AnswerTooLarge, Overloaded, RegistryError
from registry.environment import read_settings
from registry.http_api import reply
from registry.http_api.carried import call_of
from registry.http_api.operations import OPERATIONS
from registry.http_api.past_here import PastHere
from registry.http_api.reply import Reply
from registry.running.lock import take_lock
from registry.running.past_wire import Answered, PastUnavailable, Question, frame, read_frame
from registry.settings import Settings

logger = logging.getLogger(__name__)

#: How much it yields to others (nice).
YIELDING: Final = 10
#: Where Linux weighs sessions against each other, and processes only within one: this one has its own. Less, for with
#: ten busy sessions on two cores a weight of nice 10 left it 2 % of them, and its first answer took over a minute.
SESSION_WEIGHT: Final = Path("/proc/self/autogroup")
SESSION_YIELDING: Final = 5
#: Questions answered at once, and questions that wait; more are refused.
AT_ONCE_MAX: Final = 4
WAITING_MAX: Final = 64
#: Seconds until a question is given up.
QUESTION_TIMEOUT_S: Final = 60.0
#: Seconds without a replica after which it ends.
LONELY_S: Final = 3.0
#: One in how many parts of the memory views of the past may take, stretches of logs, and parts of views.
VIEWS_SHARE: Final = 4
BLOCKS_SHARE: Final = 16
PARTS_SHARE: Final = 32

_OPERATIONS: Final = {operation.name: operation for operation in OPERATIONS}
_questions = msgspec.msgpack.Decoder(Question)


def main(path: Path) -> int:
    """Serve until nobody is connected. 0 also when another process serves there already."""
    settings = read_settings(os.environ)
    logconfig.configure(settings.log_level, f"past-{os.getpid()}", settings.log_format)
    lock = take_lock(path.with_suffix(".lock"))
    if lock is None:
        return 0
    _yield()
    resource.setrlimit(resource.RLIMIT_DATA, (settings.past_max_bytes, resource.RLIM_INFINITY))
    asyncio.run(_serve(settings, path))
    return 0


def _yield() -> None:
    """Let others go first: as a process, and where that counts within a session only, as a session."""
    os.nice(YIELDING)
    with contextlib.suppress(OSError):  # no such file: another system, or sessions are not weighed
        SESSION_WEIGHT.write_text(str(SESSION_YIELDING))


async def _serve(settings: Settings, path: Path) -> None:
    store = redis_store(settings)
    try:
        await store.open()
        here = build_replica(settings, store, "").past
        here.past.views.most_bytes = settings.past_max_bytes // VIEWS_SHARE
        here.past.blocks.most_bytes = settings.past_max_bytes // BLOCKS_SHARE
        here.past.parts.most_bytes = here.past.outlines.most_bytes = settings.past_max_bytes // PARTS_SHARE
        answering = Answering(here, settings.answer_max_bytes)
        server = await asyncio.start_unix_server(answering.connected, sock=_bound(path))
        logger.info("the past can be asked about", extra={"action": "past_started"})
        async with server:
            await answering.until_lonely()
            _forget(path)
    finally:
        await store.close()


def _forget(path: Path) -> None:
    """Nobody finds this process any more. Who has just connected is reset, and asks another one."""
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """Nobody connects before it listens: it gets its name when it does."""
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(unnamed))
    bound.listen()
    unnamed.rename(path)
    return bound


class Answering:
    """Answers questions, some at once, for any number of connections."""

    def __init__(self, here: PastHere, answer_max_bytes: int) -> None:
        self._here = here
        self._answer_max_bytes = answer_max_bytes
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)
        self._asked = 0
        self._connections = 0
        self._changed = asyncio.Event()

    async def until_lonely(self) -> None:
        """Wait until nobody has been connected for a while."""
        while True:
            self._changed.clear()
            if self._connections:
                await self._changed.wait()
                continue
            try:
                async with asyncio.timeout(LONELY_S):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one replica until it leaves. What it has asked by then is not answered any more."""
        self._connections += 1
        self._changed.set()
        answers: set[asyncio.Task[None]] = set()
        try:
            while True:
                question = await read_frame(reader, _questions)
                task = asyncio.create_task(self._answer(question, writer))
                answers.add(task)
                task.add_done_callback(answers.discard)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            for task in answers:
                task.cancel()
            writer.close()
            self._connections -= 1
            self._changed.set()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._reply(question)
        except RegistryError as error:
            answer = reply.error(error)
        except MemoryError:
            self._here.past.forget()
            answer = reply.error(PastUnavailable("it takes more memory than REGISTRY_PAST_MAX_BYTES: ask for less"))
        except Exception:
            logger.exception("%s failed", question.call.operation, extra={"action": "request_failed"})
            answer = reply.error(RegistryError("the registry failed; its log says why"))
        with contextlib.suppress(OSError):
            writer.write(frame(Answered(question.number, answer)))
            await writer.drain()

    async def _reply(self, question: Question) -> Reply:
        if self._asked >= AT_ONCE_MAX + WAITING_MAX:
            raise Overloaded(f"{self._asked} questions about the past are being answered: ask again later")
        self._asked += 1
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S), self._turn:
                answer = await self._here.answer(_OPERATIONS[question.call.operation], call_of(question.call))
        except TimeoutError:
            raise PastUnavailable(f"it took longer than {QUESTION_TIMEOUT_S:.0f} s: ask about a shorter time") from None
        finally:
            self._asked -= 1
        if len(answer.body) > self._answer_max_bytes:
            raise AnswerTooLarge(len(answer.body), self._answer_max_bytes)
        return answer


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
