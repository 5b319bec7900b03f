"""PrivateRedis: a real redis-server of our own, for a registry that is given none.

It listens on a Unix socket only, keeps its data in the data folder with the append-only file on, and ends with us.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from registry.episode import Actions, Episode
from registry.running.held_signals import held_signals
from registry.running.lock import take_lock
from registry.running.redis_program import NoRedisProgram, RedisProgram, find_program
from registry.running.socket_folder import SocketFolder, make_socket_folder
from registry.settings import OF_PRIVATE_REDIS
from registry.store.loading import Loading

logger = logging.getLogger(__name__)

#: Seconds of silence until a server that starts is given up. While it says that it loads its data it is not silent.
SILENCE_MAX_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
#: Seconds that a server whose registry was killed, and which may still be writing, has to end.
LOCK_WAIT_S: Final = 5.0
#: Seconds between looks whether it lives.
LOOK_EVERY_S: Final = 0.2
#: Seconds between two questions whether it is ready, and until one of them counts as unanswered.
ASK_EVERY_S: Final = 0.01
ASK_TIMEOUT_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
#: Process, role, date and level before each message of redis-server's log.
_LOG_HEAD: Final = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ \S ")


class CannotStart(Exception):
    """The registry cannot start; the message is the one sentence to show."""


class PrivateRedis:
    """One server process on the data folder, which it alone uses.

    Args:
        program: the server's program, a path or a name on the PATH; blank: as `find_program` chooses.
    """

    def __init__(self, data_dir: str, program: str = "") -> None:
        self._wanted = program
        self._data_dir = Path(data_dir)
        self._socket_folder: SocketFolder | None = None
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}{OF_PRIVATE_REDIS}"

    @property
    def _log(self) -> Path:
        return self._data_dir / "redis.log"

    @property
    def _socket(self) -> Path:
        assert self._socket_folder is not None, "it was not started"
        return self._socket_folder.socket

    def start(self) -> None:
        """Start and wait until it has loaded its data and takes commands.

        Raises:
            CannotStart: there is no server, the folder cannot be written or is in use, or the server ended.
        """
        self._lock_folder()
        # A stop that came between making a folder or a process and remembering it would leave it behind.
        with held_signals(self._stopping.set):
            self._make_socket_folder()
            self._program = self._find_program()
            self._start_server()
        logger.info("%s keeps the data in %s", self._program, self._data_dir, extra={"action": "private_redis"})
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

    def _make_socket_folder(self) -> None:
        try:
            self._socket_folder = make_socket_folder(self._data_dir)
        except OSError as exc:
            raise CannotStart(
                f"there is no folder for a socket, neither for temporary files nor {self._data_dir}: {exc.strerror}"
            ) from exc

    def _find_program(self) -> RedisProgram:
        try:
            program = find_program(self._wanted)
        except NoRedisProgram as exc:
            raise CannotStart(str(exc)) from exc
        overlooked = program.overlooks(self._data_dir)
        if overlooked:
            raise CannotStart(overlooked)
        return program

    def _start_server(self) -> None:
        assert self._lock is not None
        assert self._socket_folder is not None
        command = [
            self._program.path,
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._data_dir), "--appendonly", "yes", "--save", ""),
            *("--maxmemory", "0", "--maxmemory-policy", "noeviction"),
            *("--notify-keyspace-events", "Ex", "--logfile", str(self._log), "--daemonize", "no"),
        ]
        try:
            with self._log.open("ab") as log:
                said_before = log.tell()
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent,
                    # As long as it lives, both folders are in use, also when we are killed.
                    pass_fds=(self._lock, *self._socket_folder.descriptors),
                )
        except OSError as exc:
            raise CannotStart(f"the private {self._program} cannot be run: {exc}") from exc
        self._wait_ready(self._process, said_before)

    def _wait_ready(self, process: subprocess.Popen[bytes], said_before: int) -> None:
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
                said = self._said(said_before)
                raise CannotStart(
                    self._program.cannot_read(self._data_dir, said)
                    or f"the private {self._program} ended at once: {self._last_words(said)}"
                )
            if time.monotonic() > heard_s + SILENCE_MAX_S:
                self._end_server()
                raise CannotStart(
                    f"the private {self._program} did not answer within {SILENCE_MAX_S:.0f} s; see {self._log}"
                )
            self._stopping.wait(ASK_EVERY_S)

    def _said(self, since: int) -> str:
        """What its log holds behind the first `since` bytes."""
        try:
            return self._log.read_bytes()[since:].decode("utf-8", "replace")
        except OSError as exc:
            return str(exc)

    def _last_words(self, said: str) -> str:
        """The last line of what it has said."""
        last = said.strip().split("\n")[-1]
        if last:
            return _LOG_HEAD.sub("", last)
        free = shutil.disk_usage(self._data_dir).free
        return f"{self._log} does not say why; its disk has {free} bytes left"

    def _lock_folder(self) -> None:
        try:
            self._data_dir = self._data_dir.absolute()
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self._data_dir / "registry.lock", LOCK_WAIT_S)
            if self._lock is not None:
                # A disk that is full or a log that may not be written is noticed here, where it can be told.
                os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
                self._log.open("ab").close()
        except FileExistsError as exc:
            raise CannotStart(f"the data folder {self._data_dir} is not a folder; give another --data-dir") from exc
        except OSError as exc:
            raise CannotStart(
                f"the data folder {self._data_dir} cannot be written: {exc.strerror}; "
                "mend that, or give another --data-dir or a --redis-url"
            ) from exc
        if self._lock is None:
            raise CannotStart(
                f"the data folder {self._data_dir} is in use by another registry; "
                "end that one, or give this one a --data-dir of its own, or both the same --redis-url"
            )

    def _persistence(self) -> dict[str, str] | None:
        """What it says of its data, also while it loads them; None while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ASK_TIMEOUT_S)
                connection.connect(str(self._socket))
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
        if self._socket_folder is not None:
            self._socket_folder.remove()
        if self._lock is not None:
            os.close(self._lock)

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
