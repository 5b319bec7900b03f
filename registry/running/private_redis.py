"""PrivateRedis: a real Redis of our own, or a Valkey, for a registry that is given none.

It listens on a Unix socket only, keeps its data in the data folder with the append-only file on, and ends with us.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Final

from registry.episode import Actions, Episode
from registry.running.held_signals import held_signals
from registry.running.redis_program import NoRedisProgram, RedisProgram, find_program
from registry.store.loading import Loading

logger = logging.getLogger(__name__)

#: Seconds of silence until a server that starts is given up. While it says that it loads its data it is not silent.
SILENCE_MAX_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
#: Seconds between two questions whether it is ready, and until one of them counts as unanswered.
ASK_EVERY_S: Final = 0.01
ASK_TIMEOUT_S: Final = 1.0
#: Seconds between looks whether it lives.
LOOK_EVERY_S: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


class CannotStart(Exception):
    """The registry cannot start; the message is the one sentence to show."""


class PrivateRedis:
    """One server process on the data folder, which it alone uses.

    Args:
        program: the server's program, a path or a name on the PATH; blank: as `find_program` chooses.
    """

    def __init__(self, data_dir: str, program: str = "") -> None:
        self._wanted = program
        self._data_dir = Path(data_dir).resolve()
        # A Unix socket's path may have about 100 bytes, a data folder's more.
        self._socket_dir = tempfile.mkdtemp(prefix="registry-")
        self._socket = f"{self._socket_dir}/redis.sock"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start and wait until it has loaded its data and takes commands.

        Raises:
            CannotStart: there is no server, the folder cannot be written or is in use, or the server ended.
        """
        self._lock_folder()
        with held_signals(self._stopping.set):
            self._program = self._find_program()
            self._start_server()
        threading.Thread(target=self._look_after, name="private-redis", daemon=True).start()

    def _look_after(self) -> None:
        """Start it again when it dies: its data is on disk, and the replicas find it at the same socket."""
        gone = Episode(logger, Actions("private_redis_died", "private_redis_back"), level=logging.ERROR)
        failing = Episode(logger, Actions("private_redis_failed", "private_redis_started"), level=logging.ERROR)
        while not self._stopping.wait(LOOK_EVERY_S):
            if self._process is None or self._process.poll() is None:
                continue
            gone.occurs("the private %s ended with code %d", self._program, self._process.returncode)
            try:
                with self._changing:
                    if not self._stopping.is_set():
                        self._start_server()
                        gone.ends("the private redis-server is back")
                        failing.ends("the private redis-server could be started")
            except CannotStart as exc:
                failing.occurs("%s", exc)

    def _find_program(self) -> RedisProgram:
        try:
            program = find_program(self._wanted)
        except NoRedisProgram as exc:
            raise CannotStart(str(exc)) from exc
        overlooked = program.overlooks(self._data_dir)
        if overlooked:
            raise CannotStart(overlooked)
        logger.info("%s keeps the data in %s", program, self._data_dir, extra={"action": "private_redis"})
        return program

    def _start_server(self) -> None:
        log = self._data_dir / "redis.log"
        command = [
            self._program.path,
            *("--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700"),
            *("--dir", str(self._data_dir), "--appendonly", "yes", "--save", ""),
            *("--maxmemory", "0", "--maxmemory-policy", "noeviction"),
            *("--notify-keyspace-events", "Ex", "--logfile", str(log), "--daemonize", "no"),
        ]
        with log.open("ab") as output:
            said_before = output.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent
            )
        self._wait_ready(self._process, log, said_before)

    def _wait_ready(self, process: subprocess.Popen[bytes], log: Path, said_before: int) -> None:
        """Wait for as long as it says that it loads its data; only silence is given up."""
        loading = Loading()
        heard_s = time.monotonic()
        while not self._stopping.is_set():
            persistence = self._persistence()
            if persistence is not None:
                heard_s = time.monotonic()
                if not loading.goes_on(persistence):
                    return
            if process.poll() is not None:
                said = log.read_bytes()[said_before:].decode("utf-8", "replace")
                last = "".join(said.strip().splitlines()[-1:])
                raise CannotStart(
                    self._program.cannot_read(self._data_dir, said)
                    or f"the private {self._program} ended at once: {last or f'see {log}'}"
                )
            if time.monotonic() > heard_s + SILENCE_MAX_S:
                self._end_server()
                raise CannotStart(f"the private {self._program} did not answer within {SILENCE_MAX_S:.0f} s; see {log}")
            self._stopping.wait(ASK_EVERY_S)

    def _lock_folder(self) -> None:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = (self._data_dir / "registry.lock").open("a")
        except OSError as exc:
            raise CannotStart(f"the data folder {self._data_dir} cannot be written: {exc.strerror}") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise CannotStart(
                f"the data folder {self._data_dir} is in use by another registry; "
                "give this one a --data-dir of its own, or both the same --redis-url"
            ) from exc

    def _persistence(self) -> dict[str, str] | None:
        """What it says of its data, also while it loads them; None while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ASK_TIMEOUT_S)
                connection.connect(self._socket)
                connection.sendall(b"INFO persistence\r\n")
                with connection.makefile("rb") as reply:
                    told = reply.read(int(reply.readline().removeprefix(b"$"))).decode()
        except (OSError, ValueError):
            return None
        return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)

    def stop(self) -> None:
        """Stop it after everything that uses it; its data is on disk when this returns."""
        self._stopping.set()
        with self._changing:
            self._end_server()
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _end_server(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def die_with_parent() -> None:
    """In the child: leave the terminal's process group, so that Ctrl-C reaches us first; end when our process does."""
    os.setpgrp()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
