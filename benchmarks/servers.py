"""Start the contenders, each in processes of its own, and stop them with SIGINT."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Reply, Request, send
from benchmarks.workload import BASE
from registry.running.private_redis import PrivateRedis, die_with_parent

ROOT: Final = Path(__file__).resolve().parent.parent
#: The program of the store, as the registry itself would choose it.
STORE: Final = os.environ.get("REGISTRY_REDIS_SERVER", "")
#: The replay of a large log may last.
START_TIMEOUT_S: Final = 600.0
STOP_TIMEOUT_S: Final = 30.0
READINESS: Final = Request("GET", f"{BASE}/health/readiness")
#: Quotas far above every population; the registry's own are made for production.
QUOTAS: Final = {"QUOTA_INSTANCE": "100000000", "QUOTA_SERVICE": "100000000"}
_LOOK_EVERY_S: Final = 0.005
_PROBES: Final = 20


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load."""

    address: Address
    pids: Sequence[int] = ()
    """The roots of its process trees, Redis's too; empty when nobody told us."""
    redis_url: str = ""
    """Of the Redis that is all its own; empty when there is none, or it is somebody else's."""


@contextlib.contextmanager
def registry(directory: Path, more: Sequence[str]) -> Iterator[Target]:
    """Run `registry serve` on an empty Redis, which is set as the one it would start by itself."""
    directory.mkdir(parents=True, exist_ok=True)
    store = PrivateRedis(str(directory / "data"), STORE)
    store.start()
    try:
        with redis.Redis.from_url(store.url) as client:
            redis_pid = int(client.info("server")["process_id"])
        with replica(directory, store.url, more) as (address, pid):
            _wait_for_all_workers(address)
            yield Target(address, [pid, redis_pid], store.url)
    finally:
        store.stop()


@contextlib.contextmanager
def replica(directory: Path, redis_url: str, more: Sequence[str]) -> Iterator[tuple[Address, int]]:
    """Run `registry serve` on a Redis that runs; yields where it listens and its process id, once it is ready."""
    address = Address("127.0.0.1", free_port())
    arguments = ["serve", "--port", str(address.port), "--redis-url", redis_url, *more]
    log = directory / f"registry-{address.port}.log"
    with _process(["-m", "registry", *arguments], log) as process:
        _wait(process, address, READINESS, lambda reply: reply.status == 200, log)
        yield address, process.pid


def _wait_for_all_workers(address: Address) -> None:
    """The kernel spreads connections over the workers; one that still starts answers late."""
    for _ in range(_PROBES):
        send(address, READINESS, timeout_s=START_TIMEOUT_S)


@contextlib.contextmanager
def bare(directory: Path, like: Reply) -> Iterator[Target]:
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
        yield Target(address, [process.pid])


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def _process(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # What is set for a registry of the user's own must not change what is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")} | QUOTAS
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env=environment,
            # A run that is killed leaves no server behind.
            preexec_fn=die_with_parent,
        )
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
            reply = send(address, probe, timeout_s=START_TIMEOUT_S)
        except (OSError, http.client.HTTPException):
            time.sleep(_LOOK_EVERY_S)
            continue
        if ready(reply):
            return
        last = f"status {reply.status}"
        time.sleep(_LOOK_EVERY_S)
    state = "still runs" if process.poll() is None else f"ended with {process.returncode}"
    tail = log.read_text(errors="replace")[-800:].strip()
    raise BenchmarkError(f"the server of {log.name} never became ready ({last}; it {state}): {tail}")
