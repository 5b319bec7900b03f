"""World: the registries that are fuzzed, by both ways through the server, with and without TLS and accounts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import uvloop

from registry.projection.projector import REMEMBERED_MAX_BYTES
from tests.fuzz.client import Tally, Target, talk
from tests.fuzz.requests import Requests
from tests.support.redis_modes import make_certificates
from tests.support.redis_server import redis_server
from tests.support.replica import Replica

ROOT_PASSWORD: Final = "Root-password_1"
#: Connections at a time.
AT_ONCE: Final = 128
#: After this share of the requests caches are full, and what may be stored is.
WARM_AFTER: Final = 0.4
#: How often memory is looked at.
LOOKS: Final = 50
#: What a registry may be larger at the end than when it was warm (MiB).
GROWTH_MAX_MIB: Final = 16.0
LONG: Final = 100_000
#: The share of requests that may fail for a reason that excuses the registry.
EXCUSED_MAX: Final = 0.01
#: Clients that are late are let go soon, and what may be stored is little, so that memory is level soon.
OPTIONS: Final = (
    *("--head-timeout-s", "1", "--body-timeout-s", "1", "--keep-alive-s", "1", "--tls-port", "0"),
    *("--tls-handshake-timeout-s", "2", "--log-level", "info"),
)
QUOTAS: Final = {
    "QUOTA_TENANT": "30",
    "QUOTA_SERVICE": "200",
    "QUOTA_INSTANCE": "400",
    "QUOTA_SCHEMA": "10",
    "QUOTA_TAG": "20",
    "QUOTA_POLICY": "50",
    "QUOTA_DEPENDENCY": "50",
    "QUOTA_ACCOUNT": "20",
    "QUOTA_ROLE": "20",
    "QUOTA_TENANT_BYTES": "4000000",
}


@dataclass(frozen=True)
class Options:
    requests: int
    seconds: float
    seed: int
    #: `off`, `on`, or `both`.
    rbac: str = "both"
    say: Callable[[str], object] = print


@dataclass
class Report:
    """What came of it. `memory`: of each registry in MiB, when it was warm and at the end."""

    tally: Tally
    seconds: float = 0.0
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    #: Errors in the registries' logs, and what else is wrong with them.
    complaints: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return self.tally.findings + self.complaints


@dataclass
class Registry:
    """One registry under test."""

    name: str
    process: Replica
    targets: list[Target]
    memory: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.memory.append(resident_mib(self.process.process.pid))


def run(options: Options, folder: Path) -> Report:
    """Start the registries, fuzz them, and look at what they are then."""
    with redis_server() as redis, registries(options, redis.url, folder) as fuzzed:
        began = time.monotonic()
        tally = uvloop.run(_fuzz(options, fuzzed))
        report = Report(tally, time.monotonic() - began)
        if tally.excused > EXCUSED_MAX * tally.requests:
            report.complaints.append(f"{tally.excused} failures that are excused are too many")
        for one in fuzzed:
            report.complaints += complaints(one)
            warm = max(one.memory[: max(int(len(one.memory) * WARM_AFTER), 1)])
            report.memory[one.name] = (warm, one.memory[-1])
            # Only in a long run do the events that it remembers become many.
            remembers = REMEMBERED_MAX_BYTES / (1 << 20) if options.requests > LONG else 0
            if one.memory[-1] > warm + GROWTH_MAX_MIB + remembers:
                report.complaints.append(f"{one.name} grew from {warm:.1f} to {one.memory[-1]:.1f} MiB")
        return report


async def _fuzz(options: Options, fuzzed: list[Registry]) -> Tally:
    tally = Tally()
    targets = [target for one in fuzzed for target in one.targets]
    deadline = time.monotonic() + options.seconds
    look_every = max(options.requests // LOOKS, 1)
    numbers = iter(range(10**9))

    async def send() -> None:
        while tally.requests < options.requests and time.monotonic() < deadline:
            number = next(numbers)
            await talk(targets[number % len(targets)], Random(f"{options.seed}-{number}"), tally)
            if tally.requests >= look_every * (len(fuzzed[0].memory) + 1):
                for one in fuzzed:
                    one.look()
                if len(fuzzed[0].memory) % 5 == 0:
                    sizes = ", ".join(f"{one.name} {one.memory[-1]:.0f}" for one in fuzzed)
                    options.say(f"{tally.requests} requests, {len(tally.findings)} findings; MiB: {sizes}")

    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    for one in fuzzed:
        one.look()
    return tally


@contextlib.contextmanager
def registries(options: Options, redis_url: str, folder: Path) -> Iterator[list[Registry]]:
    """All that are wanted, ready; all ended afterwards."""
    files = make_certificates(folder)
    context = ssl.create_default_context(cafile=files.ca)
    accounts = {"off": (False,), "on": (True,), "both": (False, True)}[options.rbac]
    started: list[tuple[str, bool, Replica]] = []
    with contextlib.ExitStack() as stack:
        for guarded in accounts:
            for lane in ("on", "off"):
                name = f"lane {lane}, accounts {'on' if guarded else 'off'}"
                environment = dict(QUOTAS)
                if guarded:
                    environment |= {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}
                process = Replica(
                    *("--redis-url", redis_url, "--redis-prefix", f"fuzz-{guarded}-{lane}:", "--fast-lane", lane),
                    *("--tls-cert-file", str(files.server), "--tls-key-file", str(files.server_key), *OPTIONS),
                    environment=environment,
                )
                stack.callback(process.clean_up)
                started.append((name, guarded, process.launch()))
        found = []
        for name, guarded, process in started:
            process.wait_ready()
            requests = Requests(tokens(process) if guarded else [])
            plain = Target(f"{name}, plain", process.port, requests)
            secure = Target(f"{name}, TLS", process.ports["https"], requests, context)
            found.append(Registry(name, process, [plain, secure]))
        yield found


def tokens(process: Replica) -> list[str]:
    """Good ones of three accounts, and others."""

    def post(path: str, content: Any, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(
            f"http://127.0.0.1:{process.port}{path}", json.dumps(content).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"{}")

    root: str = post("/v4/token", {"name": "root", "password": ROOT_PASSWORD})["token"]
    post("/v4/roles", {"name": "reader", "perms": [{"resources": [{"type": "service"}], "verbs": ["get"]}]}, root)
    found = [root, root, root]
    for name, role in (("a-developer", "developer"), ("a-reader", "reader")):
        post("/v4/accounts", {"name": name, "password": ROOT_PASSWORD, "roles": [role]}, root)
        found.append(post("/v4/token", {"name": name, "password": ROOT_PASSWORD})["token"])
    return [*found, root[:-4] + "AAAA", "none", "a.b.c"]


def resident_mib(pid: int) -> float:
    """The memory that a process really has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def complaints(one: Registry) -> list[str]:
    """What a registry says of itself that it should not, and whether it still works."""
    found = [
        f"{one.name} said: {line['message'][:2000]}"
        for line in one.process.log()
        if line["level"] in ("error", "critical")
    ]
    output = one.process.output()
    if "Traceback" in output:
        found.append(f"{one.name}: {output[output.index('Traceback') :][:3000]}")
    if one.process.process.poll() is not None:
        found.append(f"{one.name} ended with {one.process.process.returncode}")
    else:
        with one.process.connect() as connection:
            status = connection.request("GET", "/health").status
            if status != 200:
                found.append(f"{one.name}: health is {status}")
    return found
