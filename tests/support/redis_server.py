"""A real redis-server of our own: on a Unix socket, in a short-lived directory, ready when it answers PING."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import redis

from registry.running.redis_program import RedisProgram, find_program
from tests.support.waiting import until_sync


@cache
def redis_program() -> RedisProgram:
    """The server that the tests run on: that of `REGISTRY_REDIS_SERVER`, else the one that the registry takes."""
    return find_program(os.environ.get("REGISTRY_REDIS_SERVER", ""))


#: One that loads its data slowly takes long on a busy machine; one that has ended is noticed at once.
START_LIMIT_S: Final = 60.0
#: Options with which a server loads its data slowly, some 600 keys a second, and answers meanwhile.
SLOW_LOADING: Final = ("--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024")


class RedisServer:
    """One server process. It may be stopped, killed, paused and started again; its directory and address stay.

    Args:
        directory: where its socket and data live; short, because a socket's path has about 100 characters.
        appendonly: keep an append-only file (fsynced on every write), so that data survive a kill.
        options: further options of redis-server, e.g. `("--maxmemory-policy", "allkeys-lru")`.
    """

    def __init__(self, directory: Path, appendonly: bool = False, options: Sequence[str] = ()) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._log = directory / "redis.log"
        self._command = [
            redis_program().path,
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(directory), "--logfile", str(self._log)),
            *("--save", "", "--appendonly", "yes" if appendonly else "no", "--appendfsync", "always"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def launch(self, *options: str) -> None:
        """Start, with further options, without waiting for anything."""
        assert self._process is None, "the server runs already"
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen([*self._command, *options], stdin=subprocess.DEVNULL)

    def start(self) -> None:
        """Start and wait until PING is answered."""
        self.launch()
        try:
            until_sync(self._answers, f"redis-server on {self.socket} to answer", START_LIMIT_S)
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = self._log.read_text() if self._log.exists() else "no log"
            raise RuntimeError(f"redis-server ended with {self._process.returncode}: {log}")
        # Without HELLO, which a test may take away.
        with redis.Redis.from_url(self.url, socket_timeout=5.0, protocol=2) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False

    def stop(self) -> None:
        """Stop it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without any notice, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def pause(self) -> None:
        """Make it stop answering while its connections stay open."""
        assert self._process is not None, "the server does not run"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        assert self._process is not None, "the server does not run"
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(
    directory: Path | None = None, appendonly: bool = False, options: Sequence[str] = ()
) -> Iterator[RedisServer]:
    """A running server, stopped at the end. Without a directory it gets a temporary one that goes with it."""
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp")))
        server = RedisServer(directory, appendonly, options)
        server.start()
        stack.callback(server.stop)
        yield server
