"""RoundTrips: how often the store was asked what, and how long it took to answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter

from registry.histogram import Histogram
from registry.tracing import Spans


class RoundTrips:
    """By the name of what was asked; there are few. What waits for news is no round trip, and not among them."""

    def __init__(self) -> None:
        self.seconds: dict[str, Histogram] = {}
        #: Those that brought no answer; they are among the others too.
        self.failed: dict[str, int] = {}
        #: Where they are told as parts of requests; None: nowhere.
        self.spans: Spans | None = None

    @contextmanager
    def timed(self, call: str) -> Iterator[None]:
        """Time what is asked meanwhile."""
        began = perf_counter()
        try:
            with self.spans.part(f"store {call}") if self.spans is not None else nullcontext():
                yield
        except BaseException:
            self.failed[call] = self.failed.get(call, 0) + 1
            raise
        finally:
            histogram = self.seconds.get(call)
            if histogram is None:
                histogram = self.seconds[call] = Histogram()
            histogram.add(perf_counter() - began)
