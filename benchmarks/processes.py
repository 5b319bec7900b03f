"""Processes of this machine, from /proc: which are whose children."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

#: Who takes Redis's place counts as Redis.
SAME: Final = {"valkey-server": "redis-server"}


class Process(NamedTuple):
    """What one line of proc(5) stat tells."""

    parent: int
    name: str
    ticks: int
    """Processor time of its own and of the children it has waited for, in ticks of the kernel."""


def tree(roots: Iterable[int]) -> dict[int, Process]:
    """The given processes that exist, and all their descendants, by process id."""
    processes = _read_all()
    children = defaultdict(list)
    for pid, process in processes.items():
        children[process.parent].append(pid)
    waiting, found = list(roots), dict[int, Process]()
    while waiting:
        pid = waiting.pop()
        if pid in processes and pid not in found:
            found[pid] = processes[pid]
            waiting.extend(children[pid])
    return found


def _read_all() -> dict[int, Process]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # It ended between the listing and the reading.
        found[int(path.parent.name)] = _parse(text)
    return found


def _parse(stat: str) -> Process:
    """Read one line; the name stands in parentheses and may itself hold spaces and parentheses."""
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split()
    # After the name: state, ppid, ...; utime, stime, cutime and cstime are fields 14 to 17 of the line.
    return Process(int(fields[1]), SAME.get(name, name), sum(int(field) for field in fields[11:15]))
