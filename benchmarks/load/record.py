"""Record: what is kept of the answers of a load, so small that millions of them fit."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from benchmarks import latency
from benchmarks.outcome import Series

#: Wrong answers that are described; all are counted.
DESCRIBED_MAX: Final = 5


@dataclass(slots=True)
class Samples:
    """The good answers of one kind of request."""

    latencies_us: array[int] = field(default_factory=latency.new)
    due_s: array[float] = field(default_factory=lambda: array("f"))
    """When each was meant to be sent, in seconds from the start of the load."""

    def from_second(self, warm_up_s: float) -> Samples:
        """Those that were due then or later."""
        kept = Samples()
        for due_s, latency_us in zip(self.due_s, self.latencies_us, strict=True):
            if due_s >= warm_up_s:
                kept.due_s.append(due_s)
                kept.latencies_us.append(latency_us)
        return kept

    def p99_by_time(self, width_s: float) -> Series:
        """The p99 in milliseconds of each stretch of the load that had any."""
        stretches: dict[int, array[int]] = {}
        for due_s, latency_us in zip(self.due_s, self.latencies_us, strict=True):
            stretches.setdefault(int(due_s / width_s), latency.new()).append(latency_us)
        return [(at * width_s, latency.summarise(found).p99_ms) for at, found in sorted(stretches.items())]


@dataclass(slots=True)
class Record:
    """One load."""

    samples: dict[str, Samples] = field(default_factory=dict)
    """By kind of request."""
    errors: Counter[str] = field(default_factory=Counter)
    """`<kind> <status>`, `<kind> wrong answer`, `<kind> no answer`: how often."""
    described: list[str] = field(default_factory=list)
    """The first of them in words."""
    client_late_us: int = 0
    """How late our own client woke at the worst: latencies beyond this are the server's."""
    client_busy: float = 0.0
    """Cores that our own client kept busy, of the one it can use: near 1, it was the limit."""
    elapsed_s: float = 0.0
    """From the start until the last answer."""

    def add(self, kind: str, due_s: float, latency_us: int) -> None:
        """Keep a good answer."""
        samples = self.samples.get(kind)
        if samples is None:
            samples = self.samples[kind] = Samples()
        samples.latencies_us.append(latency_us)
        samples.due_s.append(due_s)

    def fail(self, kind: str, what: str, description: str) -> None:
        """Count a bad or missing answer."""
        self.errors[f"{kind} {what}"] += 1
        if len(self.described) < DESCRIBED_MAX:
            self.described.append(description)

    def from_second(self, warm_up_s: float) -> Record:
        """The same without the good answers to what was due before; errors all stay."""
        later = {kind: samples.from_second(warm_up_s) for kind, samples in self.samples.items()}
        return replace(self, samples=later, elapsed_s=self.elapsed_s - warm_up_s)

    @property
    def answered(self) -> int:
        """Good answers of all kinds."""
        return sum(len(samples.latencies_us) for samples in self.samples.values())

    def summary(self, kind: str = "") -> latency.Summary:
        """Of one kind, or of all together."""
        chosen: Iterable[Samples] = self.samples.values() if not kind else [self.samples.get(kind, Samples())]
        together = latency.new()
        for samples in chosen:
            together.extend(samples.latencies_us)
        return latency.summarise(together)

    @property
    def problem(self) -> str:
        """What went wrong, in one sentence; empty when nothing did."""
        if not self.errors:
            return ""
        counted = ", ".join(f"{count} × {what}" for what, count in sorted(self.errors.items()))
        return f"{counted} beside {self.answered} good answers; the first: {self.described[0]}"


def merged(records: Sequence[Record]) -> Record:
    """One record of several clients that loaded at the same time."""
    whole = Record()
    for record in records:
        for kind, samples in record.samples.items():
            into = whole.samples.setdefault(kind, Samples())
            into.latencies_us.extend(samples.latencies_us)
            into.due_s.extend(samples.due_s)
        whole.errors.update(record.errors)
        whole.described = (whole.described + record.described)[:DESCRIBED_MAX]
        whole.client_late_us = max(whole.client_late_us, record.client_late_us)
        whole.client_busy = max(whole.client_busy, record.client_busy)
        whole.elapsed_s = max(whole.elapsed_s, record.elapsed_s)
    return whole
