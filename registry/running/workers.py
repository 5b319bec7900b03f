"""Workers: several replicas, each a process of its own, on one port.

The kernel spreads new connections over the workers' sockets. A worker that dies is started again; its socket is kept
open here meanwhile, so connections wait for it instead of being refused.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from typing import Final

from registry.episode import Actions, Episode
from registry.running.board import make_pieces
from registry.running.listening import Sockets, close, listen, listening_sockets, with_ports
from registry.running.private_redis import die_with_parent
from registry.running.signals import stop_signals
from registry.settings import Settings, variable

logger = logging.getLogger(__name__)

#: A worker that ends sooner than this after its start (seconds) is failing, not unlucky.
STABLE_AFTER_S: Final = 5.0
#: The number of failing starts in a row that ends everything - unless some worker has lived: then the cause may pass.
FAILURES_MAX: Final = 3
#: Seconds before a failing worker is started again.
RESTART_PAUSE_S: Final = 1.0
POLL_S: Final = 0.1


class Workers:
    """The worker processes of one `registry serve`."""

    def __init__(self, settings: Settings, redis_url: str) -> None:
        # Taken exclusively first: sharing a port would hide that somebody else listens on it.
        probe = listening_sockets(settings, share=False)
        settings = with_ports(settings, probe)
        close(probe)
        passed = replace(settings, redis_url=redis_url)
        # Modules are where this process has found them: the working folder may hold another `registry`.
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **{variable(f.name): str(getattr(passed, f.name)) for f in fields(Settings)},
        }
        self._sockets: list[Sockets] = []
        for _ in range(settings.workers):
            bound = listening_sockets(settings, share=True)
            listen(bound)
            self._sockets.append(bound)
        self._pieces = make_pieces(settings.workers)
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * settings.workers
        self._started_s = [0.0] * settings.workers
        ended = Actions("worker_ended", "worker_back")
        self._down = [Episode(logger, ended, level=logging.ERROR) for _ in range(settings.workers)]
        self._failures = 0
        self._stopping = False

    def run(self) -> int:
        """Run until a stop is asked for. Returns the exit code: that of a worker that keeps failing, else 0."""
        for signum in stop_signals():
            signal.signal(signum, self._stop)
        for index, bound in enumerate(self._sockets):
            self._start(index, bound)
        code = 0
        while not self._stopping:
            time.sleep(POLL_S)
            code = self._restart_dead()
            if code:
                break
        self._end_all()
        return code

    def _start(self, index: int, bound: Sockets) -> None:
        command = [sys.executable, "-P", "-m", "registry", "serve"]
        command += [f"--fd={speech}:{one.fileno()}" for speech, one in bound.items()]
        command.append(f"--board={index}:{','.join(map(str, self._pieces))}")
        passed = [*(one.fileno() for one in bound.values()), *self._pieces]
        self._processes[index] = subprocess.Popen(
            command, env=self._environment, pass_fds=passed, preexec_fn=die_with_parent
        )
        self._started_s[index] = time.monotonic()

    def _restart_dead(self) -> int:
        for index, process in enumerate(self._processes):
            if process is None or self._stopping:
                continue
            lived_s = time.monotonic() - self._started_s[index]
            if process.poll() is None:
                if lived_s > STABLE_AFTER_S:
                    self._down[index].ends("worker %d serves again", index)
                continue
            code = process.returncode
            self._down[index].occurs("worker %d ended with code %d", index, code)
            self._failures = self._failures + 1 if lived_s < STABLE_AFTER_S else 0
            if self._failures >= FAILURES_MAX and not self._has_lived():
                return code if code > 0 else 1
            if self._failures:
                time.sleep(RESTART_PAUSE_S)
            self._start(index, self._sockets[index])
        return 0

    def _has_lived(self) -> bool:
        """Whether a worker runs that has proved itself: the settings are good then, whatever stops another."""
        now = time.monotonic()
        return any(
            process is not None and process.poll() is None and now - started_s > STABLE_AFTER_S
            for process, started_s in zip(self._processes, self._started_s, strict=True)
        )

    def _stop(self, signum: int, frame: object) -> None:
        self._stopping = True

    def _end_all(self) -> None:
        running = [process for process in self._processes if process is not None and process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
        for bound in self._sockets:
            close(bound)
