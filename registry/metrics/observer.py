"""Observer: how many requests of each operation there were, how they ended, how long they took, how large they were."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from registry.domain.tenant import Tenant
from registry.histogram import BYTES, SECONDS, Histogram
from registry.metrics.figure import Figure, Spread, Told
from registry.metrics.tenants import TenantCounts


class Tally:
    """What came of one operation's requests. On the hot way adding to it is all that a request costs here."""

    __slots__ = ("_tenants", "by_status", "received", "seconds", "sent")

    def __init__(self, tenants: TenantCounts) -> None:
        self._tenants = tenants
        self.by_status: dict[int, int] = {}
        self.seconds = Histogram(SECONDS)
        #: Bodies of requests and of answers; what has none is not counted.
        self.received = Histogram(BYTES)
        self.sent = Histogram(BYTES)

    def add(self, tenant: Tenant, status: int, seconds: float, received: int = 0, sent: int = 0) -> None:
        """One request was answered. `received`, `sent`: bytes of the bodies, 0 where there is none."""
        self._tenants.add(tenant)
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.seconds.counts[bisect_left(SECONDS, seconds)] += 1
        self.seconds.sum += seconds
        if received:
            self.received.add(received)
        if sent:
            self.sent.add(sent)

    def add_instant(self, tenant: Tenant, status: int, sent: int, received: int = 0) -> None:
        """As `add`, for what takes less time than to look at a clock twice would be worth.

        It is written out, because each call would cost a tenth of a microsecond here.
        """
        try:
            self._tenants.counts[tenant] += 1
        except KeyError:
            self._tenants.add(tenant)
        try:
            self.by_status[status] += 1
        except KeyError:
            self.by_status[status] = 1
        self.seconds.counts[0] += 1
        if sent:
            histogram = self.sent
            histogram.counts[bisect_left(BYTES, sent)] += 1
            histogram.sum += sent
        if received:
            self.received.add(received)


class Observer:
    """The tallies of all operations, by name. Operations are few, so they are bounded."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self.tenants = TenantCounts()
        #: Services asked for in batch finds, by what was answered.
        self.polled = {"200": 0, "304": 0, "failed": 0}

    def tally(self, operation: str) -> Tally:
        """The tally of an operation, to be added to."""
        tally = self._tallies.get(operation)
        if tally is None:
            tally = self._tallies[operation] = Tally(self.tenants)
        return tally

    def answered(self, operations: Iterable[str]) -> int:
        """How many requests of these operations there were."""
        tallies = (self._tallies.get(operation) for operation in operations)
        return sum(sum(tally.by_status.values()) for tally in tallies if tally is not None)

    @property
    def answered_all(self) -> int:
        """How many requests there were."""
        return self.answered(self._tallies)

    def figures(self) -> Iterator[Told]:
        """Operations that nobody has called are left out."""
        for name, tally in self._tallies.items():
            operation = {"operation": name}
            for status, count in sorted(tally.by_status.items()):
                labels = {**operation, "status": str(status)}
                yield Figure("requests_total", "Requests answered; 499: the client had gone.", count, True, labels)
            if tally.by_status:
                yield Spread("request_seconds", "Time from a request's head to its answer.", tally.seconds, operation)
            if tally.received.count:
                yield Spread("request_body_bytes", "Bodies of requests that have one.", tally.received, operation)
            if tally.sent.count:
                yield Spread("response_body_bytes", "Bodies of answers that have one.", tally.sent, operation)
        for answer, count in self.polled.items():
            help = "Services asked for in batch finds, by what was answered."
            yield Figure("batch_find_services_total", help, count, True, {"answer": answer})
        yield from self.tenants.figures()
