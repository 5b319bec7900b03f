"""Tenants: what do very many of them cost while nothing happens in any?"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from benchmarks import cpu, filling, memory, workload
from benchmarks.errors import BenchmarkError
from benchmarks.load.driver import Call, Check
from benchmarks.outcome import Number, Outcome
from benchmarks.scenes.scene import Scene
from benchmarks.servers import Target
from benchmarks.setup import succeed
from benchmarks.stage import Stage
from benchmarks.wire import Request

TENANTS: Final = 10_000
TENANTS_QUICK: Final = 50
SERVICE: Final = f"{workload.PREFIX}tenant"
IDLE_S: Final = 30.0
#: Seconds for which replicas may compare what is new, in three rounds of some 150 s, and between two looks at that.
COMPARED_MAX_S: Final = 900.0
LOOK_EVERY_S: Final = 5.0
#: Of the instances that nobody beats: long enough for all to be registered before the first is due.
LEASE_S: Final = 60
#: How long after its lease an instance may be found.
LATE_S: Final = 2.0
_MB: Final = 1e6


def _run(stage: Stage, outcome: Outcome) -> None:
    tenants = TENANTS_QUICK if stage.options.quick else TENANTS
    idle_s, lease_s = (1.0, 5) if stage.options.quick else (IDLE_S, LEASE_S)
    outcome.setting |= {"tenants": tenants, "idle s": idle_s, "lease s": lease_s}
    with stage.registry("--quota-tenant", str(2 * tenants), "--mass-lapse-share", "1") as target:
        _send(stage, target, tenants, "services registered", _create)
        _idle(target, idle_s, "just made", outcome)
        outcome.numbers["until they are compared"] = Number(_await_compared(stage, target), "s", "less")
        _idle(target, idle_s, "idle", outcome)
        outcome.numbers["registry pss"] = Number(memory.read(target.pids).registry_bytes("pss") / _MB, "MB", "less")
        started_s = time.monotonic()
        with stage.replica_of(target):
            outcome.numbers["until another replica is ready"] = Number(time.monotonic() - started_s, "s", "less")
        registered = _send(stage, target, tenants, "instances registered", partial(_register, lease_s=lease_s))
        time.sleep(max(registered + lease_s + LATE_S - time.monotonic(), 0))
        found: list[int] = []
        _send(stage, target, tenants, "tenants asked who is left", partial(_find, found=found))
    outcome.numbers[f"instances left {LATE_S:.0f} s after the last lease"] = Number(len(found), "", "less")
    if found:
        outcome.problem = f"{len(found)} of {tenants} instances outlived their leases by {LATE_S:.0f} s"


def _idle(target: Target, idle_s: float, name: str, outcome: Outcome) -> None:
    """What all processes use while nobody asks for anything."""
    before, started_s = cpu.read_usage(target.pids), time.monotonic()
    time.sleep(idle_s)
    used = cpu.read_usage(target.pids).since(before)
    elapsed_us = (time.monotonic() - started_s) * 1e6
    outcome.numbers[name] = Number(100 * used.total_us / elapsed_us, "% of a core", "less")
    outcome.numbers[f"{name}, of it redis"] = Number(100 * used.us_of("redis") / elapsed_us, "% of a core", "less")


def _await_compared(stage: Stage, target: Target) -> float:
    """Wait until no tenant is compared for its news any more; how long that took."""
    started_s = time.monotonic()
    while (left := _lively(target)) and time.monotonic() - started_s < COMPARED_MAX_S:
        stage.say(f"{left} tenants are still compared")
        time.sleep(LOOK_EVERY_S)
    if left:
        raise BenchmarkError(f"{left} tenants are still compared after {COMPARED_MAX_S:.0f} s")
    return time.monotonic() - started_s


def _lively(target: Target) -> int:
    text = succeed(target.address, Request("GET", "/metrics")).body.decode()
    line = next(line for line in text.splitlines() if line.startswith("registry_agreement_lively_tenants "))
    return int(float(line.split()[1]))


def _send(stage: Stage, target: Target, tenants: int, what: str, request: object) -> float:
    """Ask for every tenant; when the last was answered (`time.monotonic()`)."""
    assert callable(request)
    calls = (_in_tenant(target, number, *request(number)) for number in range(tenants))
    filling.send_all(target.address, calls, tenants, what, stage.say)
    return time.monotonic()


def _in_tenant(target: Target, number: int, request: Request, check: Check) -> Call:
    call = filling.call(target.address, "tenant", request, check)
    return call._replace(data=call.data.replace(b"\r\n", b"\r\nX-Domain-Name: tenant-%06d\r\n" % number, 1))


def _create(_: int) -> tuple[Request, Check]:
    return workload.create_service(SERVICE), filling.has_service_id


def _register(number: int, lease_s: int) -> tuple[Request, Check]:
    body = workload.numbered_body("only", number) | {"healthCheck": {"mode": "push", "interval": lease_s, "times": 0}}
    return workload.register_instance(SERVICE, body), lambda head, reply: None if b'"only"' in reply else "no id"


def _find(number: int, found: list[int]) -> tuple[Request, Check]:
    def check(head: bytes, body: bytes) -> str | None:
        if b'"instanceId"' in body:
            found.append(number)
        return None

    return workload.list_instances(SERVICE), check


SCENE: Final = Scene(
    "tenants",
    f"{TENANTS:,} tenants: processor time just after they are made and when idle, start of a replica, and all on time?",
    _run,
    own="does not make tenants where they cannot be taken away",
)
