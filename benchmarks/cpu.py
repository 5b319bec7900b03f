"""How much processor time the processes of a server have used, from /proc.

The kernel counts in ticks (10 ms on most machines), rounded down per process. One run of a few seconds is hundreds of
ticks, so the rounding is below a percent on a busy process; `Usage.error_us` says how large it can be, and the report
marks what is too coarse. Kernel work done in interrupts may be charged to the process that runs at that moment, wrk
included.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks import processes
from benchmarks.outcome import Number

TICK_US: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")
#: A processor time whose rounding error may exceed this share is marked with "~".
COARSE: Final = 0.05


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

    def us_of(self, name: str) -> int:
        """Of the processes whose name begins so."""
        return sum(us for process, us in self.by_name.items() if process.startswith(name))

    def since(self, earlier: Usage) -> Usage:
        """What was used between two readings."""
        used = {name: us - earlier.by_name.get(name, 0) for name, us in self.by_name.items()}
        return Usage(used, max(self.processes, earlier.processes))

    def numbers(self, requests: int, seconds: float) -> dict[str, Number]:
        """Processor time per request and cores kept busy; nothing when no process is known."""
        if not self.processes or not requests:
            return {}
        mark = "~" if self.error_us > COARSE * self.total_us else ""
        return {
            "CPU per request": Number(self.total_us / requests, "µs", "less", mark=mark),
            "of it redis": Number(self.us_of("redis") / requests, "µs", "less", mark=mark),
            "busy": Number(self.total_us / (seconds * 1e6), "cores"),
        }


def read_usage(roots: Iterable[int]) -> Usage:
    """What the given processes and all their descendants have used until now.

    A child that has ended is in its parent's count of waited-for children, under the parent's name, so nothing is lost
    when Redis forks to write a file. A process that left the tree (a daemon) is not seen: the report names what was.
    """
    found = processes.tree(roots)
    by_name: dict[str, int] = defaultdict(int)
    for process in found.values():
        by_name[process.name] += process.ticks * TICK_US
    return Usage(dict(by_name), len(found))
