"""Nobody reads the log: who is served is served on, with one process and with several, and a stop comes to its end.

Standard error is a pipe. It holds 64 KiB, and a write beyond them waits until somebody has read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pytest

from tests.support.api import Api, ids, ok
from tests.support.http import Connection
from tests.support.replica import REPOSITORY, STOP_LIMIT_S
from tests.support.waiting import until_sync

#: Each leaves a line of some 350 bytes in the log when its lease ends.
SHORT_LIVED = 400
SHORT = {"mode": "push", "interval": 5, "times": 0}
GONE_WITHIN_S = 30.0
#: What an answer may take; one that waits for a reader of the log never comes.
ANSWER_WITHIN_S = 5.0
#: What a pipe holds at least when there is no room for one more line: no line is divided between its 16 pages.
PIPE_FULL_BYTES = 56 * 1024
MODULE = ("-m", "registry")
#: A registry whose queue is full after a few lines.
SMALL_QUEUE = """
import sys
from registry import cli, log_queue
log_queue.LINES_MAX = 50
sys.exit(cli.main())
"""
#: A registry with a mistake in it, which shows itself when it has listened for a moment.
BROKEN = """
import asyncio, sys
from registry import cli
from registry.upkeep.pulses import Pulses
async def run(self):
    await asyncio.sleep(0.1)
    raise ZeroDivisionError("planted")
Pulses.run = run
sys.exit(cli.main())
"""


@dataclass
class Unread:
    """A registry whose log was read until it listened, and not further."""

    process: subprocess.Popen[bytes]
    port: int
    #: What has been read of the log.
    read: bytes

    @property
    def errors(self) -> IO[bytes]:
        assert self.process.stderr is not None
        return self.process.stderr

    def waiting_bytes(self) -> int:
        """What stands in the pipe."""
        (size,) = struct.unpack("i", fcntl.ioctl(self.errors, termios.FIONREAD, b"\0" * 4))
        return int(size)

    def read_on(self) -> str:
        """Read until it has ended; its whole log."""
        self.read += self.errors.read()
        return self.read.decode()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read_on().splitlines()]

    def figure(self, name: str) -> int:
        with Connection("127.0.0.1", self.port) as connection:
            text = ok(connection.request("GET", "/metrics")).body.decode()
        (value,) = re.findall(rf"^registry_{name} (\S+)$", text, re.MULTILINE)
        return int(float(value))


@contextlib.contextmanager
def unread(
    redis_url: str, *options: str, workers: int = 1, program: tuple[str, ...] = MODULE, log_level: str = "debug"
) -> Iterator[Unread]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ("--redis-url", redis_url, "--redis-prefix", f"unread-{uuid.uuid4().hex[:8]}:")
    command = [sys.executable, *program, "serve", "--port", str(port), *store, *options]
    command += ["--workers", str(workers), "--log-level", log_level]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY, bufsize=0)
    assert process.stderr is not None
    try:
        read = b""
        while read.count(b'"listening"') < workers:
            line = process.stderr.readline()
            assert line, f"the registry ended: {read!r}"
            read += line
        yield Unread(process, port, read)
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(STOP_LIMIT_S)


def let_many_go(one: Unread) -> None:
    """Register many that leave a line each, and one that beats; ask on until all of them have left theirs."""
    with Connection("127.0.0.1", one.port) as connection:
        api = Api(connection, "team")
        api.service(serviceId="cart")
        api.instance("cart", instanceId="stays")
        for number in range(SHORT_LIVED):
            api.instance("cart", instanceId=f"goes{number}", healthCheck=SHORT)
        deadline = time.monotonic() + GONE_WITHIN_S
        answered = 0
        while answered < 10:
            began = time.monotonic()
            ok(api.put("/microservices/cart/instances/stays/heartbeat"))
            left = ids(api.find())
            assert time.monotonic() - began < ANSWER_WITHIN_S
            assert time.monotonic() < deadline, f"{len(left)} are still there"
            answered += left == ["stays"]


@pytest.mark.parametrize("workers", [1, 2])
def test_everybody_is_served_while_nobody_reads_the_log(redis_url: str, workers: int) -> None:
    """Heartbeats and finds are answered while the log's pipe is full, and a stop comes to its end."""
    with unread(redis_url, workers=workers) as one:
        let_many_go(one)
        until_sync(lambda: one.waiting_bytes() > PIPE_FULL_BYTES, "the pipe to be full")
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(STOP_LIMIT_S) == 0


def test_lines_that_were_not_read_in_time_are_counted(redis_url: str) -> None:
    """In the metrics at once, and in the log as soon as somebody reads it: no line is missing without a word."""
    with unread(redis_url, program=("-c", SMALL_QUEUE)) as one:
        let_many_go(one)
        dropped = one.figure("log_lines_dropped_total")
        one.process.send_signal(signal.SIGTERM)
        records = one.records()
    told = sum(r["dropped"] for r in records if r.get("action") == "log_lines_dropped")
    missing = SHORT_LIVED - sum(r.get("action") == "instance_expired" for r in records)
    # Other lines were dropped, too, also after the figures were asked for.
    assert 0 < dropped <= told
    assert 0 < missing <= told


def test_the_last_lines_are_written_before_the_end(redis_url: str) -> None:
    """What is said at a stop is what an operator looks for first; also the number of what was not said."""
    with unread(redis_url, log_level="info") as one:
        let_many_go(one)
        one.process.send_signal(signal.SIGTERM)
        records = one.records()
        assert one.process.wait(STOP_LIMIT_S) == 0
    expired = [r for r in records if r.get("action") == "instance_expired"]
    assert len(expired) + sum(r["unsaid"] - 1 for r in expired if "unsaid" in r) == SHORT_LIVED


def test_a_crash_leaves_its_traceback(redis_url: str) -> None:
    """Python writes it itself, to the same place, after everything else has ended."""
    with unread(redis_url, program=("-c", BROKEN)) as one:
        output = one.read_on()
        assert one.process.wait(STOP_LIMIT_S) == 1
    assert '"action": "part_ended"' in output
    assert output.endswith("ZeroDivisionError: planted\n")
    assert "Traceback (most recent call last):" in output
