"""Holding: give processes less of the processor than they would take, so that others have room.

On a machine with few cores nobody can see what a second worker gives: the load generator takes what it would need. With
each worker held to a part of a core there is room for all. The kernel's cgroups do the holding (version 1 or 2); that
needs the rights of root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

#: Microseconds after which a process that has used up its share goes on: short, so that latencies stay small.
PERIOD_US: Final = 5000
_ONE: Final = Path("/sys/fs/cgroup/cpu")
_TWO: Final = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def held(pids: Sequence[int], cores: float) -> Iterator[bool]:
    """Hold each of these processes to a number of cores while the block lasts; False where that is not allowed."""
    with contextlib.ExitStack() as stack:
        try:
            for pid in pids:
                stack.enter_context(_one_held(pid, cores))
            allowed = True
        except OSError:
            stack.close()  # all or none
            allowed = False
        yield allowed


@contextlib.contextmanager
def _one_held(pid: int, cores: float) -> Iterator[None]:
    root = _ONE if (_ONE / "cpu.cfs_quota_us").exists() else _TWO
    before = root / _group_of(pid, root).lstrip("/")
    group = root / f"bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        quota_us = int(PERIOD_US * cores)
        if root is _ONE:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):  # it may have ended
            (before / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _group_of(pid: int, root: Path) -> str:
    """The group in which a process is: lines are `number:controllers:path`, and version 2 names no controllers."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if ("cpu" in controllers.split(",")) if root is _ONE else not controllers:
            return path
    return "/"
