"""ChaosReplica: what stands at one address - a registry process, killed and started again, with its way to Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.chaos.clocks import Clock
from tests.chaos.http import Connection
from tests.chaos.proxy import Proxy
from tests.support.history import Failure
from tests.support.replica import REPOSITORY, Replica

START_LIMIT_S: Final = 40.0
LOOK_EVERY_S: Final = 0.1
#: The exit code of a registry that could not begin.
NOT_STARTED: Final = 2
#: The folder whose `sitecustomize` plants a bug, and the variable that names the bug.
PLANTED: Final = Path(__file__).parent / "planted"
BUG: Final = "CHAOS_BUG"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class ChaosReplica:
    """One replica of the run."""

    def __init__(
        self,
        name: str,
        proxy: Proxy,
        clock: Clock | None,
        options: tuple[str, ...],
        bug: str,
        report: Callable[[Failure], None],
    ) -> None:
        self.name = name
        self.proxy = proxy
        self.clock = clock
        self._options = options
        self._environment: dict[str, str] = dict(clock.environment) if clock else {}
        if bug:
            self._environment |= {BUG: bug, "PYTHONPATH": f"{PLANTED}{os.pathsep}{REPOSITORY}"}
        self._report = report
        self._lives: list[Replica] = []
        #: Whether it is to run: if it does not, it has ended by itself.
        self._wanted = False
        self.host = "127.0.0.1"
        self.port = _free_port()

    @property
    def life(self) -> str:
        """The name of what runs there now, or ran last."""
        return f"{self.name}.{len(self._lives)}"

    @property
    def process(self) -> Replica:
        return self._lives[-1]

    # -- lives ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin a new life and wait until it is ready. What does not start is reported, and tried again."""
        deadline = time.monotonic() + START_LIMIT_S
        self._launch()
        while not await self.is_ready():
            self.look_after()
            if time.monotonic() > deadline:
                self._report(Failure(replica=self.life, at_ms=now_ms(), text="it does not become ready"))
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _launch(self) -> None:
        options = ("--redis-url", self.proxy.url, "--advertise", f"{self.name}:1", *self._options)
        self._lives.append(Replica(*options, port=self.port, environment=self._environment).launch())
        self._wanted = True

    async def is_ready(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError):
            async with Connection(self.host, self.port) as connection:
                answer = await connection.request("GET", "/v4/default/registry/health/readiness", timeout_s=2.0)
                return answer.status == 200
        return False

    def look_after(self) -> None:
        """Notice a process that has ended by itself, and start another one, as an orchestrator does."""
        if not self._wanted or self.process.process.poll() is None:
            return
        code = self.process.process.returncode
        # One that finds no Redis when it starts says so and ends, as it is to.
        if code != NOT_STARTED or self.process.said("listening"):
            text = f"it ended by itself with {code}: {self.process.output()[-2000:]}"
            self._report(Failure(replica=self.life, at_ms=now_ms(), text=text))
        self._launch()

    def kill(self) -> None:
        self._wanted = False
        self.process.kill()

    async def stop(self) -> None:
        """Ask it to end, as an orchestrator does: it does so in time, and finds nothing wrong."""
        self._wanted = False
        try:
            code = await asyncio.to_thread(self.process.stop)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._report(Failure(replica=self.life, at_ms=now_ms(), text="it did not end when it was asked to"))
            return
        if code:
            text = f"asked to end it ended with {code}: {self.process.output()[-2000:]}"
            self._report(Failure(replica=self.life, at_ms=now_ms(), text=text))

    def pause(self) -> None:
        self.process.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.process.send_signal(signal.SIGCONT)

    def clean_up(self) -> None:
        self._wanted = False
        for replica in self._lives:
            replica.clean_up()

    # -- what they said ------------------------------------------------------------------------------------------------

    def tracebacks(self) -> list[Failure]:
        """Every traceback in the logs of its lives: nothing that a fault does to it may be unforeseen."""
        found = []
        for number, replica in enumerate(self._lives, 1):
            for record in replica.log():
                text = _traceback(record)
                if text:
                    found.append(Failure(replica=f"{self.name}.{number}", at_ms=now_ms(), text=text))
        return found

    def log_lines(self) -> list[str]:
        return [f"{self.name}.{n} {line}" for n, one in enumerate(self._lives, 1) for line in one.output().splitlines()]


def _traceback(record: Mapping[str, Any]) -> str:
    text = next((str(value) for value in record.values() if "Traceback (most recent call last)" in str(value)), "")
    return f"{record.get('message', '')}: {text}" if text else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
