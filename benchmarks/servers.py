"""Start the contenders, each in a process of its own, and stop them with SIGINT."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Reply, Request, send
from benchmarks.workload import BASE

ROOT: Final = Path(__file__).resolve().parent.parent
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 20.0
READINESS: Final = Request("GET", f"{BASE}/health/readiness")


@contextlib.contextmanager
def registry(directory: Path, more: Sequence[str]) -> Iterator[tuple[Address, int]]:
    """Run `registry serve` with its data in a directory; yields where it listens and its process id."""
    address = Address("127.0.0.1", free_port())
    arguments = ["serve", "--port", str(address.port), "--data-dir", str(directory / "data"), *more]
    with _process(["-m", "registry", *arguments], directory / "registry.log") as process:
        _wait(process, address, READINESS, lambda reply: reply.status == 200, directory / "registry.log")
        yield address, process.pid


@contextlib.contextmanager
def bare(directory: Path, like: Reply) -> Iterator[tuple[Address, int]]:
    """Run the bare app with a body of the same size as a reply of the registry."""
    address = Address("127.0.0.1", free_port())
    options = {
        "--port": address.port,
        "--status": like.status,
        "--size": len(like.body),
        "--content-type": like.headers.get("content-type", ""),
    }
    log = directory / "bare.log"
    with _process(["-m", "benchmarks.bare", *(f"{name}={value}" for name, value in options.items())], log) as process:
        _wait(process, address, Request("GET", "/"), lambda reply: reply.status == like.status, log)
        yield address, process.pid


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def _process(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=out, stderr=out)
    try:
        yield process
    finally:
        _stop(process, " ".join(arguments[:2]))


def _stop(process: subprocess.Popen[bytes], name: str) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        print(f"bench: {name} did not stop within {STOP_TIMEOUT_S:.0f} s of SIGINT and was killed.", file=sys.stderr)


def _wait(
    process: subprocess.Popen[bytes], address: Address, probe: Request, ready: Callable[[Reply], bool], log: Path
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    last = "no reply"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            reply = send(address, probe, timeout_s=2)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        if ready(reply):
            return
        last = f"status {reply.status}"
        time.sleep(0.05)
    state = "still runs" if process.poll() is None else f"ended with {process.returncode}"
    tail = log.read_text(errors="replace")[-800:].strip()
    raise BenchmarkError(f"the server of {log.name} never became ready ({last}; it {state}): {tail}")
