"""Observer: how many requests of each operation there were, how they ended, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

#: Upper bounds of the latency buckets, seconds.
BUCKETS_S: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class Tally:
    """What came of one operation's requests."""

    __slots__ = ("buckets", "by_status", "seconds")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        #: Requests by latency bucket; the last one has no bound.
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0

    def add(self, status: int, seconds: float) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self.seconds += seconds

    def add_instant(self, status: int) -> None:
        """As `add`, for what takes less time than to look at a clock twice would be worth."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.buckets[0] += 1


class Observer:
    """The tallies of all operations, by name. Operations are few, so they are bounded."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def tally(self, operation: str) -> Tally:
        """The tally of an operation, to be added to."""
        return self._tallies.setdefault(operation, Tally())

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """One request of the operation was answered."""
        self.tally(operation).add(status, seconds)

    def answered(self, operations: Iterable[str]) -> int:
        """How many requests of these operations there were."""
        tallies = (self._tallies.get(operation) for operation in operations)
        return sum(sum(tally.by_status.values()) for tally in tallies if tally is not None)

    def lines(self) -> list[str]:
        """The tallies in the Prometheus text format. Operations that nobody has called are left out."""
        requests = ["# HELP registry_requests_total Requests answered.", "# TYPE registry_requests_total counter"]
        seconds = [
            "# HELP registry_request_seconds Time from a request's head to its answer.",
            "# TYPE registry_request_seconds histogram",
        ]
        for name, tally in self._tallies.items():
            label = f'operation="{name}"'
            for status, count in sorted(tally.by_status.items()):
                requests.append(f'registry_requests_total{{{label},status="{status}"}} {count}')
            if not tally.by_status:
                continue
            total = 0
            for bound, count in zip((*BUCKETS_S, "+Inf"), tally.buckets, strict=True):
                total += count
                seconds.append(f'registry_request_seconds_bucket{{{label},le="{bound}"}} {total}')
            seconds.append(f"registry_request_seconds_sum{{{label}}} {tally.seconds:.9g}")
            seconds.append(f"registry_request_seconds_count{{{label}}} {total}")
        return [*requests, *seconds]
