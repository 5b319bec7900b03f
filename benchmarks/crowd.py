"""Do many clients lose anything in a rolling restart: instances, or what they have found? And what memory do they take?

    python -m benchmarks.crowd --clients 10000 --processes 4
    python -m benchmarks.crowd --clients 1500 --processes 2 --cores 0.13
    python -m benchmarks.crowd --clients 1500 --processes 2 --faults both-away,one-hangs

Two replicas on one private Redis. Each client registers one instance, beats every 30 s, and polls every 15 s for two
services of ten instances each. When all of them see everything, the faults come one after the other, and after each of
them every client has polled: `rolling` stops each replica and starts it again, one after the other; `both-away` stops
both, for 2 s; `one-hangs` lets one stand still for 40 s. Counted are instances that a client saw leave, lists that it
saw empty, the instances that the registry has at the end, and warnings that clients wrote. Memory is what the processes
of the clients grew by. How fast anything is, this does not say: registry and clients share the machine.

`--cores` bounds the processor of all clients together from the moment on in which everything is registered (Linux, as
root). Progress goes to standard error. A step that does not come to its end is named, and the run goes on; it is over
in 15 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from benchmarks.crowd_clients import GROUP, Ask, Begin, Told, crowd
from benchmarks.machine import machine
from benchmarks.servers import STORE
from registry.client import AsyncRegistry
from registry.client.errors import ClientError
from registry.running.private_redis import PrivateRedis
from tests.support.replica import Replica

#: Seconds for everything, and for each step of it.
WHOLE_LIMIT_S: Final = 840.0
LIMITS_S: Final = {"register": 420.0, "whole": 120.0, "poll": 180.0, "end": 120.0}
#: Seconds beyond its limit after which a process is no longer listened for.
GRACE_S: Final = 60.0
AWAY_S: Final = 2.0
HANGS_S: Final = 40.0
#: After the last fault: a lease that was not renewed has ended by then.
LEASE_S: Final = 120.0
CGROUP: Final = Path("/sys/fs/cgroup/cpu")
CGROUP_PERIOD_US: Final = 100_000


class Silent(Exception):
    """A process of clients says nothing any more; the message names the step."""


class Run:
    """Two replicas, and processes of clients."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._begun = time.monotonic()
        self._folder = folder
        self._redis_url = redis_url
        self.replicas: list[Replica] = []
        self.processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self.missing: dict[str, int] = {}

    def start(self, clients: int, processes: int) -> None:
        self.replicas += [self._replica() for _ in range(2)]
        context = multiprocessing.get_context("spawn")
        share = clients // processes
        for index in range(processes):
            here, there = context.Pipe()
            numbers = range(index * share, (index + 1) * share)
            begin = Begin(numbers, share * processes // GROUP, self.servers, self._folder)
            process = context.Process(target=crowd, args=(begin, there), daemon=True)
            process.start()
            self.processes.append(process)
            self._pipes.append(here)

    def _replica(self, port: int = 0) -> Replica:
        return Replica("--redis-url", self._redis_url, port=port).start()

    @property
    def servers(self) -> list[str]:
        return [f"http://127.0.0.1:{one.port}" for one in self.replicas]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        load = os.getloadavg()[0]
        sys.stderr.write(f"crowd: {self.seconds:4.0f} s, load {load:4.1f}: {text}\n")
        sys.stderr.flush()

    # -- steps ---------------------------------------------------------------------------------------------------------

    def ask(self, what: str, name: str = "") -> list[Told]:
        """Have all processes do something, and hear of it; what did not come to its end is noted as `name`."""
        name = name or what
        left_s = WHOLE_LIMIT_S - self.seconds - (LIMITS_S["end"] if what != "end" else 0.0)
        limit_s = max(5.0, min(LIMITS_S[what], left_s))
        begun = time.monotonic()
        for pipe in self._pipes:
            pipe.send(Ask(what, limit_s))
        told = [self._hear(pipe, name, begun + limit_s + GRACE_S) for pipe in self._pipes]
        missing = sum(one.missing for one in told)
        if missing:
            self.missing[name] = missing
        seen = sum((Counter(one.seen) for one in told), Counter[str]())
        took_s = time.monotonic() - begun
        self.say(f"{name}: {took_s:.0f} s, {missing} did not come to it; seen {dict(seen) or 'nothing'}")
        return told

    def _hear(self, pipe: Connection, name: str, until: float) -> Told:
        if not pipe.poll(max(0.0, until - time.monotonic())):
            raise Silent(name)
        told: Told = pipe.recv()
        return told

    def instances(self) -> list[int]:
        """What each replica has, of the crowd."""
        return [asyncio.run(_instances(server)) for server in self.servers]

    # -- faults --------------------------------------------------------------------------------------------------------

    def restart(self, *indexes: int, away_s: float = 0.0) -> None:
        for index in indexes:
            self.replicas[index].process.send_signal(signal.SIGTERM)
        for index in indexes:
            assert self.replicas[index].wait() == 0
        time.sleep(away_s)
        for index in indexes:
            old = self.replicas[index]
            self.replicas[index] = self._replica(old.port)
            old.clean_up()

    def hang(self, index: int) -> None:
        process = self.replicas[index].process
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(HANGS_S)
        finally:
            process.send_signal(signal.SIGCONT)

    def clean_up(self) -> None:
        for process in self.processes:
            process.kill()
        for one in self.replicas:
            one.clean_up()


Fault = Callable[[Run], None]
FAULTS: Final[dict[str, list[tuple[str, Fault]]]] = {
    "rolling": [
        ("the first replica is restarted", lambda run: run.restart(0)),
        ("the second replica is restarted", lambda run: run.restart(1)),
    ],
    "both-away": [("both replicas are away", lambda run: run.restart(0, 1, away_s=AWAY_S))],
    "one-hangs": [("a replica hangs", lambda run: run.hang(1))],
}


async def _instances(server: str) -> int:
    async with AsyncRegistry(server, timeout_s=60.0, learn=False, watch=False) as client:
        try:
            details = await client.api.all_details("instances")
        except ClientError as exc:
            sys.stderr.write(f"crowd: {server}: {exc}\n")
            return -1
    return sum(len(one.instances) for one in details if one.micro_service.app_id == "crowd")


def measure(clients: int, processes: int, faults: list[str], cores: float) -> dict[str, Any]:
    """The figures, as far as it came."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = PrivateRedis(str(Path(folder) / "data"), STORE)
        store.start()
        stack.callback(store.stop)
        run = Run(Path(folder), store.url)
        stack.callback(run.clean_up)
        figures: dict[str, Any] = {
            "machine": machine(),
            "cores": cores,
            "clients": clients // processes * processes,
            "processes": processes,
        }
        try:
            run.start(clients, processes)
            _through(run, faults, cores, figures)
        except Silent as exc:
            run.missing[str(exc)] = clients
        return {**figures, "did_not_come_to_it": run.missing, "seconds": round(run.seconds)}


def _through(run: Run, faults: list[str], cores: float, figures: dict[str, Any]) -> None:
    run.ask("register")
    figures["seconds_to_register"] = round(run.seconds)
    whole = run.ask("whole")
    figures["kib_per_client"] = round(sum(one.kib for one in whole) / figures["clients"])
    figures["instances_before"] = run.instances()
    with _bounded([process.pid or 0 for process in run.processes], cores):
        _faults(run, faults, sum(one.cpu_s for one in whole), figures)
    told = run.ask("end")
    warnings = sum((Counter(one.warnings) for one in told), Counter[str]())
    figures |= {"instances_after_end": run.instances(), "warnings": dict(warnings.most_common(10))}


def _faults(run: Run, faults: list[str], cpu_s: float, figures: dict[str, Any]) -> None:
    took: dict[str, str] = {}
    for name, fault in (each for one in faults for each in FAULTS[one]):
        begun = run.seconds
        fault(run)
        told = run.ask("poll", name)
        cpu_s, before = sum(one.cpu_s for one in told), cpu_s
        took[name] = f"{run.seconds - begun:.0f} s until every client had polled, {cpu_s - before:.1f} s of processor"
        figures |= {"faults": took, "load": round(os.getloadavg()[0], 1)}
    # Those that could not beat lose their leases only now.
    time.sleep(max(0.0, min(LEASE_S, WHOLE_LIMIT_S - LIMITS_S["end"] - run.seconds)))
    told = run.ask("poll", "a lease later")
    seen = sum((Counter(one.seen) for one in told), Counter[str]())
    figures |= {"seen_removed": seen["removed"], "seen_empty": seen["empty"], "instances_after": run.instances()}
    run.say(f"the replicas have {figures['instances_after']}")


def row(figures: dict[str, Any]) -> str:
    """The figures as a row of the table in README.md."""
    names = (
        "clients",
        "load",
        "seen_removed",
        "seen_empty",
        "instances_after",
        "kib_per_client",
        "seconds_to_register",
    )
    return f"| {' | '.join(str(figures.get(name, '?')) for name in names)} |"


@contextmanager
def _bounded(pids: list[int], cores: float) -> Iterator[None]:
    """These processes have so much processor together; 0: what there is."""
    if not cores:
        yield
        return
    group = CGROUP / f"crowd-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(str(CGROUP_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(cores * CGROUP_PERIOD_US)))
        # Beside other work they get that much, not less.
        (group / "cpu.shares").write_text("8192")
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for pid in pids:
            (CGROUP / "cgroup.procs").write_text(str(pid))
        group.rmdir()


if __name__ == "__main__":
    # What was started is ended also when this process is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--faults", default="rolling", help=f"of {', '.join(FAULTS)}; with commas between them")
    parser.add_argument("--cores", type=float, default=0.0, help="of all clients together; 0: what there is")
    given = parser.parse_args()
    found = measure(given.clients, given.processes, given.faults.split(","), given.cores)
    print(json.dumps(found, indent=2))
    print(row(found))
