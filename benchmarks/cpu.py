"""How much processor time the processes of a server have used, from /proc.

The kernel counts in ticks (10 ms on most machines), rounded down per process. One run of a few seconds is hundreds of
ticks, so the rounding is below a percent on a busy process; `Usage.error_us` says how large it can be, and the report
marks what is too coarse. Kernel work done in interrupts may be charged to whoever runs at that moment, wrk included.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

TICK_US: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    parent: int
    name: str
    ticks: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time of a tree of processes, in microseconds, by the name of the process."""

    by_name: dict[str, int]
    processes: int

    @property
    def total_us(self) -> int:
        """All of them together."""
        return sum(self.by_name.values())

    @property
    def error_us(self) -> int:
        """What rounding to ticks can have added to or taken from a difference."""
        return self.processes * TICK_US

    def since(self, earlier: Usage) -> Usage:
        """What was used between two readings."""
        used = {name: us - earlier.by_name.get(name, 0) for name, us in self.by_name.items()}
        return Usage(used, max(self.processes, earlier.processes))


def read_usage(roots: Iterable[int]) -> Usage:
    """What the given processes and all their descendants have used so far.

    A child that has ended is in its parent's count of waited-for children, under the parent's name, so nothing is lost
    when Redis forks to write a file. A process that left the tree (a daemon) is not seen: the report names what was.
    """
    processes = _read_all()
    children = defaultdict(list)
    for pid, process in processes.items():
        children[process.parent].append(pid)
    waiting, seen = list(roots), set[int]()
    by_name: dict[str, int] = defaultdict(int)
    while waiting:
        pid = waiting.pop()
        if pid in processes and pid not in seen:
            seen.add(pid)
            by_name[processes[pid].name] += processes[pid].ticks * TICK_US
            waiting.extend(children[pid])
    return Usage(dict(by_name), len(seen))


def _read_all() -> dict[int, _Process]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # It ended between the listing and the reading.
        found[int(path.parent.name)] = _parse(text)
    return found


def _parse(stat: str) -> _Process:
    """Read one line of proc(5) stat; the name stands in parentheses and may itself hold spaces and parentheses."""
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    # After the name: state, ppid, ...; utime, stime, cutime and cstime are fields 14 to 17 of the line.
    return _Process(int(fields[1]), name, sum(int(field) for field in fields[11:15]))
