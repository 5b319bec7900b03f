"""How much memory the processes of a server hold, and how much Redis says its data take."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from benchmarks import processes

_LINE: Final = re.compile(r"^(Rss|Pss):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory, by the name of the process."""

    rss: dict[str, int]
    """Resident; what processes share counts for each of them."""
    pss: dict[str, int]
    """Proportional: what n processes share counts a n-th for each, so that workers add up."""

    def registry_bytes(self, kind: str) -> int:
        """Of everything but Redis; `kind` is `rss` or `pss`."""
        held = self.rss if kind == "rss" else self.pss
        return sum(held_bytes for name, held_bytes in held.items() if not name.startswith("redis"))


def read(roots: Iterable[int]) -> Held:
    """What the given processes and all their descendants hold now."""
    held: dict[str, dict[str, int]] = {"Rss": defaultdict(int), "Pss": defaultdict(int)}
    for pid, process in processes.tree(roots).items():
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # It ended, or is somebody else's.
        for kind, kilobytes in _LINE.findall(text):
            held[kind][process.name] += int(kilobytes) * 1024
    return Held(dict(held["Rss"]), dict(held["Pss"]))


def redis_bytes(url: str) -> int:
    """`used_memory` of a Redis."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])
