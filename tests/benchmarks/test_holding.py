"""Holding: a process that is held to a share of a core takes no more, and is let go afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.cpu import TICK_US
from benchmarks.holding import held

SPIN = "while True: pass"


def used_s(pid: int, for_s: float) -> float:
    """Processor time that it uses meanwhile, per second."""
    before, began_s = processes.tree([pid])[pid].ticks, time.monotonic()
    until_s = began_s + for_s
    while time.monotonic() < until_s:
        time.sleep(0.01)  # not a wait for anything: the time in which is measured
    return (processes.tree([pid])[pid].ticks - before) * TICK_US / 1e6 / (time.monotonic() - began_s)


def groups_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.slow
def test_held_to_a_share_while_the_block_lasts() -> None:
    """And let go afterwards: what it then gets depends on what else the machine does, so its groups are looked at."""
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            free = groups_of(process.pid)
            with held([process.pid], 0.2) as allowed:
                if not allowed:
                    pytest.skip("this user may not make cgroups")
                assert groups_of(process.pid) != free
                assert used_s(process.pid, 0.4) < 0.35
            assert groups_of(process.pid) == free
        finally:
            process.kill()


def test_who_is_gone_cannot_be_held() -> None:
    """The run goes on without, and says so."""
    with held([2**22 + 1], 0.2) as allowed:
        assert not allowed
