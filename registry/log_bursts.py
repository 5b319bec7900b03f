"""Bursts: of lines of one kind that come many at once the first are said, and of the others how many there were.

No matter what makes them - a client that tries the same thing again and again, ten thousand instances that go at once -
the log stays readable and small. At level debug each line is said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

#: Lines of one kind are counted within this number of seconds.
SAID_MAX: Final = 20
WITHIN_S: Final = 5.0
#: Tenants that are named with the number, those with the most lines.
TENANTS_NAMED_MAX: Final = 3


@dataclass(slots=True)
class _Unsaid:
    """Lines of one tenant that were not said: their number, and where in its log the first and the last stand."""

    number: int = 0
    first: str = ""
    last: str = ""


@dataclass(slots=True)
class _Burst:
    ends_s: float
    level: int = 0
    said: int = 0
    unsaid: int = 0
    #: Says the number when the time is over.
    timer: threading.Timer | None = None
    by_tenant: defaultdict[str, _Unsaid] = field(default_factory=lambda: defaultdict(_Unsaid))


class Bursts(logging.StreamHandler[TextIO]):
    """A handler. The kind of a record is its `action`, else the name of its logger."""

    def __init__(self, stream: TextIO | None = None, within_s: float = WITHIN_S) -> None:
        super().__init__(stream)
        self._within_s = within_s
        self._bursts: dict[str, _Burst] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(record)
        except Exception:  # no line is worth the work of the code that says it
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        kind = record.__dict__.get("action", record.name)
        burst = self._bursts.get(kind)
        if burst is None or (burst.timer is None and time.monotonic() >= burst.ends_s):
            burst = self._bursts[kind] = _Burst(time.monotonic() + self._within_s)
        if burst.said < SAID_MAX:
            burst.said += 1
            super().emit(record)
        else:
            self._count(kind, burst, record)

    def _count(self, kind: str, burst: _Burst, record: logging.LogRecord) -> None:
        if burst.timer is None:
            timer = threading.Timer(max(burst.ends_s - time.monotonic(), 0), self._end, (kind,))
            timer.daemon = True
            timer.start()
            burst.timer = timer
        burst.unsaid += 1
        burst.level = max(burst.level, record.levelno)
        fields = record.__dict__
        if "tenant" in fields:
            unsaid = burst.by_tenant[fields["tenant"]]
            unsaid.number += 1
            unsaid.last = fields.get("position", "")
            unsaid.first = unsaid.first or unsaid.last

    def _end(self, kind: str) -> None:
        with self.lock:  # type: ignore[union-attr]  # every handler has one
            burst = self._bursts.pop(kind, None)
            if burst is not None and burst.timer is not None:
                burst.timer.cancel()
                super().emit(_summary(kind, burst, self._within_s))

    def end_all(self) -> None:
        """Say now what has been counted."""
        for kind in list(self._bursts):
            self._end(kind)


def _summary(kind: str, burst: _Burst, within_s: float) -> logging.LogRecord:
    named = sorted(burst.by_tenant.items(), key=lambda item: item[1].number, reverse=True)[:TENANTS_NAMED_MAX]
    tenants = "; ".join(
        f"{unsaid.number} of {tenant}" + (f", positions {unsaid.first} to {unsaid.last}" if unsaid.first else "")
        for tenant, unsaid in named
    )
    fields: dict[str, Any] = {
        "msg": "%d more of these within %g s%s; REGISTRY_LOG_LEVEL=debug says each",
        "args": (burst.unsaid, within_s, f" ({tenants})" if tenants else ""),
        "name": kind,
        "levelno": burst.level,
        "levelname": logging.getLevelName(burst.level),
        "action": kind,
        "unsaid": burst.unsaid,
    }
    return logging.makeLogRecord(fields)
