"""Client: sends requests over a connection of its own, whole or in pieces, and judges what comes back until its end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.fuzz.mutations import mutate
from tests.fuzz.requests import Requests

#: A connection that has not ended after this time hangs: the registries under test let go of a late client in 2 s, and
#: one that waits for news may wait for a minute.
HANG_S: Final = 75.0
#: The share of requests that are spoiled, in half of the conversations.
MUTATED: Final = 0.35
#: The share of connections to a port for TLS that do not speak it.
NO_TLS: Final = 0.1
#: Seconds for which a websocket, or a feed, is listened to.
SOCKET_S: Final = 0.02
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
#: Who asks for a position that is not there yet is told so by 500011. On a busy machine the store may not answer for a
#: second, which is no fault of the request, and who asks for too much at a time is told when to come again.
_MAY_WAIT: Final = re.compile(rb"x-registry-position", re.IGNORECASE)
_EXCUSED: Final = re.compile(
    rb'"detail":"the store has not answered for|\r\nRetry-After: |"The past cannot be read now"'
)


@dataclass(frozen=True)
class Target:
    """One way into a registry."""

    name: str
    port: int
    requests: Requests
    tls: ssl.SSLContext | None = None


@dataclass
class Tally:
    """Counts of what was sent and answered."""

    requests: int = 0
    connections: int = 0
    bytes_sent: int = 0
    #: Failures that are not the registry's: see `_EXCUSED`.
    excused: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


async def talk(target: Target, random: Random, tally: Tally) -> None:
    """One connection. What is wrong becomes a finding, with all that was sent."""
    sent, requests = conversation(target.requests, random)
    tally.requests += requests
    tally.connections += 1
    tally.bytes_sent += len(sent)
    try:
        async with asyncio.timeout(HANG_S):
            came = await _exchange(target, sent, random)
    except TimeoutError:
        tally.findings.append(f"{target.name}: no end within {HANG_S:g} s of {sent!r}")
        return
    except ssl.SSLError as error:
        tally.findings.append(f"{target.name}: {error} after {sent!r}")
        return
    except OSError:
        return  # a client that is refused in the middle may find the connection broken
    statuses = list(map(int, _STATUS.findall(came)))
    tally.statuses.update(statuses)
    failed = sum(status >= 500 for status in statuses)
    # The answer to a HEAD has no body that says why.
    waits = _MAY_WAIT.search(sent) and (b'"500011"' in came or b"HEAD " in sent)
    excused = failed if waits else len(_EXCUSED.findall(came))
    tally.excused += min(failed, excused)
    if failed > excused:
        tally.findings.append(f"{target.name}: {came!r} to {sent!r}")


def conversation(requests: Requests, random: Random) -> tuple[bytes, int]:
    """Some requests as bytes, and how many they are. Most conversations say where they end."""
    parts = []
    number = random.choice((1, 2, 4, 8, 16))
    mutated = MUTATED if random.random() < 0.5 else 0.0
    for left in range(number - 1, -1, -1):
        request = requests.make(random)
        if not left and all(name != "Connection" for name, _ in request.headers):
            request.headers.append(("Connection", "close"))
        data = request.encode("1.0" if random.random() < 0.02 else "1.1")
        parts.append(mutate(data, random) if random.random() < mutated else data)
    return b"".join(parts), number


def hello(context: ssl.SSLContext) -> bytes:
    """What a client says first when it speaks TLS."""
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1").do_handshake()
    return out.read()


async def _exchange(target: Target, sent: bytes, random: Random) -> bytes:
    context = target.tls
    if context is not None and random.random() < NO_TLS:
        # It does not speak TLS where that is expected, or not well.
        sent = sent if random.random() < 0.3 else mutate(hello(context), random)
        context = None
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, ssl=context)
    try:
        for segment in _segments(sent, random):
            if writer.transport.is_closing():
                break
            writer.write(segment)
            await asyncio.sleep(0)
        if random.random() < 0.03:
            return b""  # it goes
        if context is None and random.random() < 0.9 and not writer.transport.is_closing():
            writer.write_eof()
        return await _receive(reader)
    finally:
        writer.transport.abort()


async def _receive(reader: asyncio.StreamReader) -> bytes:
    came = b""
    while chunk := await reader.read(1 << 18):
        came += chunk
        if b"HTTP/1.1 101 " in came or b"text/event-stream" in came:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SOCKET_S):
                    came += await reader.read()
            break
    return came


def _segments(data: bytes, random: Random) -> list[bytes]:
    if random.random() < 0.6 or len(data) < 2:
        return [data]
    cuts = sorted(random.randrange(len(data)) for _ in range(random.choice((1, 2, 5, 30))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
