"""What does a token cost? The same requests on the hot way, without accounts and with a token that is known.

Two registries, each with a Redis of its own, are loaded in turn: heartbeat, find, 304 and batch find.

    python -m benchmarks.access [--rounds N --seconds S]     CPU µs per request of each, and the share that is kept
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONNECTIONS = 32
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PASSWORD = "Complicated_password1"
#: Seconds that a registry may take to start.
START_LIMIT_S = 30.0
R = "/v4/default/registry"
BATCH_SERVICES = 10


class Target:
    """One registry with what is asked of it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, guarded: bool) -> None:
        self._process = process
        self._address = f"http://127.0.0.1:{port}"
        self._headers = {"Content-Type": "application/json"}
        self._wait()
        if guarded:
            token = self._ask("POST", "/v4/token", {"name": "root", "password": PASSWORD})["token"]
            developer = {"name": "dev", "password": PASSWORD, "roles": ["developer"]}
            self._headers["Authorization"] = f"Bearer {token}"
            self._ask("POST", "/v4/accounts", developer)
            token = self._ask("POST", "/v4/token", {"name": "dev", "password": PASSWORD})["token"]
            self._headers["Authorization"] = f"Bearer {token}"
        self.requests = dict(self._fill())

    def _wait(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self._address}{R}/health/readiness").close()
                return
            time.sleep(0.1)
        raise RuntimeError("the registry has not started")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, self._headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"{}") | {"rev": answer.headers.get("X-Resource-Revision", "")}

    def _fill(self) -> Iterator[tuple[str, tuple[str, str, str]]]:
        wanted = []
        for number in range(BATCH_SERVICES):
            name = f"s{number}"
            service = {"appId": "shop", "serviceName": name, "version": "1.0.0", "serviceId": name}
            self._ask("POST", f"{R}/microservices", {"service": service})
            instance = {"instanceId": "i", "hostName": "h", "endpoints": [f"rest://10.0.0.{number}:80"]}
            self._ask("POST", f"{R}/microservices/{name}/instances", {"instance": instance})
            rev = self._ask("GET", f"{R}/instances?appId=shop&serviceName={name}")["rev"]
            wanted.append({"service": {"appId": "shop", "serviceName": name}, "rev": rev})
        yield "heartbeat", ("PUT", f"{R}/microservices/s0/instances/i/heartbeat", "")
        yield "find", ("GET", f"{R}/instances?appId=shop&serviceName=s0", "")
        yield "304", ("GET", f"{R}/instances?appId=shop&serviceName=s0&rev={wanted[0]['rev']}", "")
        yield "batch find", ("POST", f"{R}/instances/action?type=query", json.dumps({"services": wanted}))

    def load(self, name: str, seconds: int) -> float:
        """CPU µs of each request."""
        method, path, body = self.requests[name]
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(f"wrk.method = {json.dumps(method)}\n")
            script.write(f"wrk.body = {json.dumps(body)}\n" if body else "")
            for header, value in self._headers.items():
                script.write(f"wrk.headers[{json.dumps(header)}] = {json.dumps(value)}\n")
            script.flush()
            before = self._cpu_s()
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script.name, self._address + path]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        number = re.search(r"(\d+) requests in", said)
        if number is None or "Non-2xx" in said:
            raise RuntimeError(f"wrk says: {said}")
        return (self._cpu_s() - before) / int(number[1]) * 1e6

    def _cpu_s(self) -> float:
        members = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(members[11]) + int(members[12])) / TICKS_PER_S


@contextlib.contextmanager
def running(port: int, guarded: bool) -> Iterator[Target]:
    rbac = {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": PASSWORD} if guarded else {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "registry", "serve", "--port", str(port), "--data-dir", folder]
        process = subprocess.Popen(command, env={**os.environ, **rbac}, stderr=subprocess.DEVNULL)
        try:
            yield Target(process, port, guarded)
        finally:
            process.terminate()
            process.wait()


def measure(rounds: int, seconds: int) -> None:
    with running(30181, False) as plain, running(30182, True) as guarded:
        for name in plain.requests:
            found: dict[Target, list[float]] = {plain: [], guarded: []}
            for target in found:
                target.load(name, 1)
            for _ in range(rounds):
                for target, costs in found.items():
                    costs.append(target.load(name, seconds))
            without, with_ = (statistics.median(costs) for costs in found.values())
            print(f"{name:10}  without {without:6.2f} µs   with a token {with_:6.2f} µs   kept {without / with_:.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a token costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    given = parser.parse_args()
    measure(given.rounds, given.seconds)


if __name__ == "__main__":
    main()
