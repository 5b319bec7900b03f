"""Latencies: many of them kept in four bytes each, and what they come to.

An open loop's latency is counted from the moment at which a request was *meant* to be sent. A client that waits for a
slow answer before it sends the next request would leave out just the requests that had to wait.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.outcome import Number

#: What an unsigned int of four bytes holds: 71 minutes.
MAX_US: Final = 2**32 - 1
_PARTS: Final = 1000


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values are not above (nearest rank); 0 of none.

    Args:
        percent: 0 to 100, in thousandths; so counted that 99.9 of 1000 values is exactly the 999th.
    """
    if not ascending:
        return 0.0
    rank = -(-len(ascending) * round(percent * _PARTS) // (100 * _PARTS))
    return ascending[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Summary:
    """Latencies in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    def numbers(self, prefix: str) -> dict[str, Number]:
        """The percentiles as numbers of an outcome, each called `<prefix> p50` and so on."""
        values = {"p50": self.p50_ms, "p99": self.p99_ms, "p99.9": self.p999_ms, "max": self.max_ms}
        return {f"{prefix} {name}".strip(): Number(value, "ms", "less") for name, value in values.items()}


def summarise(latencies_us: Sequence[int]) -> Summary:
    """Order them once and read the percentiles off."""
    ascending = sorted(latencies_us)
    at = [percentile(ascending, percent) / 1000 for percent in (50, 99, 99.9, 100)]
    return Summary(len(ascending), *at)


def new() -> array[int]:
    """An empty collection of latencies in microseconds."""
    return array("I")


def microseconds(seconds: float) -> int:
    """A duration as it is collected: never negative, never more than `MAX_US`."""
    return min(max(int(seconds * 1e6), 0), MAX_US)
