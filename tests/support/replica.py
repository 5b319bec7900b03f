"""A real registry process of our own: started on a free port, ready when its readiness route says so."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.api import Api
from tests.support.http import Connection
from tests.support.waiting import until_sync

REPOSITORY = Path(__file__).resolve().parents[2]
#: A start is mostly Python's imports; several at once share two cores (seconds).
START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
_URL = re.compile(r"http://(.+):(\d+)$")
_PLACES = re.compile(r"(https?)://[^ ,]+:(\d+)( \(probes\))?")


class Replica:
    """One `registry serve`, with one worker or several.

    Args:
        options: of `serve`; the port is a free one unless `port` names it.
        environment: further environment variables; those of this process that set the registry are left out, except
            the one that says which Redis the tests run on.
        program: Python's arguments in place of `-m registry`; what it is told on the command line is the same.
        wrapper: a command that runs in front of Python and becomes it, such as `nohup`.
    """

    def __init__(
        self,
        *options: str,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "registry"),
        wrapper: Sequence[str] = (),
    ) -> None:
        self._command = [*wrapper, sys.executable, *program, "serve", "--port", str(port), *options]
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("REGISTRY_") or name == "REGISTRY_REDIS_SERVER"
        }
        self._environment = inherited | dict(environment or {})
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by clean_up
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []
        self.host = "127.0.0.1"
        self.port = 0

    # -- life ----------------------------------------------------------------------------------------------------------

    def launch(self) -> Replica:
        """Start the process without waiting for anything."""
        assert self._process is None, "it was started already"
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            cwd=REPOSITORY,
            env=self._environment,
            # A process group of its own, so that a test can press Ctrl-C for it alone.
            start_new_session=True,
            # Tests that are run by `nohup` hand on to it that it shall not hear of the end of the terminal.
            preexec_fn=_hear_of_hang_ups,
        )
        return self

    def wait_ready(self) -> Replica:
        """Wait until it listens and its readiness route answers 200."""
        until_sync(self._is_ready, "the registry to be ready", START_LIMIT_S)
        return self

    def start(self) -> Replica:
        return self.launch().wait_ready()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"the registry ended with {self.process.returncode}: {self.output()}"
        for line in self.log():
            place = _URL.search(line["message"]) if line.get("action") == "listening" else None
            if place:
                self.port = int(place[2])
                with Connection(self.host, self.port) as connection, contextlib.suppress(OSError):
                    return connection.request("GET", "/v4/default/registry/health/readiness").status == 200
        return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    @property
    def ports(self) -> dict[str, int]:
        """Where it has said that it listens, by what is spoken there: http, https, probes."""
        message = self.said("listening")[0]["message"]
        return {"probes" if probes else speech: int(port) for speech, port, probes in _PLACES.findall(message)}

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait until it has; its exit code."""
        self.process.send_signal(signum)
        return self.wait()

    def interrupt(self) -> int:
        """Press Ctrl-C: SIGINT to its whole process group; its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended; its exit code."""
        return self.process.wait(STOP_LIMIT_S)

    def kill(self) -> None:
        """End it without any notice, as a crash does. Its workers are other processes and live on."""
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def clean_up(self) -> None:
        """End whatever is left of it."""
        for connection in self._connections:
            connection.close()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in self.worker_pids():
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        self._errors.close()

    # -- what it says --------------------------------------------------------------------------------------------------

    def output(self) -> str:
        """Everything it has written, standard output and standard error together."""
        return os.pread(self._errors.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def log(self) -> list[dict[str, Any]]:
        """The log records written so far."""
        lines = self.output().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    def said(self, action: str) -> list[dict[str, Any]]:
        """The log records of one kind."""
        return [record for record in self.log() if record.get("action") == action]

    def tells(self, action: str, *words: str) -> dict[str, Any]:
        """Wait for a log record of this kind with all of these words: the log is written beside what is answered."""

        def found() -> list[dict[str, Any]]:
            told = ((record, " ".join(map(str, record.values()))) for record in self.said(action))
            return [record for record, text in told if all(word in text for word in words)]

        until_sync(lambda: bool(found()), f"{action} {' '.join(words)} in the log")
        return found()[0]

    def worker_pids(self) -> list[int]:
        """The processes that have ever served for it, in the order in which they began to listen."""
        # Version 0.1.0 (commit 6cd3c24) does not tell it; where tests run that, it has no workers.
        pids = [record["pid"] for record in self.said("listening") if "pid" in record]
        return [pid for pid in pids if pid != self.process.pid]

    # -- talking to it -------------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """A new connection, closed with the registry."""
        connection = Connection(self.host, self.port)
        self._connections.append(connection)
        return connection

    def api(self, domain: str, project: str = "default") -> Api:
        """A tenant's client, over a connection of its own."""
        return Api(self.connect(), domain, project)


def _hear_of_hang_ups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextlib.contextmanager
def replica(*options: str, port: int = 0, environment: Mapping[str, str] | None = None) -> Iterator[Replica]:
    """A registry that is ready, and has ended afterwards."""
    process = Replica(*options, port=port, environment=environment)
    try:
        yield process.start()
    finally:
        process.clean_up()


def is_running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
