"""Churn: how much happened when - events counted per step of time and kind, for a timeline."""

from __future__ import annotations

from collections import Counter
from typing import Final

from msgspec import Struct

from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.history.told import kind_of, moment_text, subject

#: Steps of one timeline, and microservices of which it counts each on its own; the others are counted together.
STEPS_MAX: Final = 1000
SERVICES_MAX: Final = 1000
#: Under this name those beyond are counted.
OTHERS: Final = "*"


class Step(Struct, frozen=True, omit_defaults=True):
    """`kinds`: events by kind, `services`: by service id. Refused events changed nothing, so they count apart."""

    at: str
    kinds: dict[str, int] = {}
    services: dict[str, int] = {}
    refused: int = 0


class Timeline(Struct, frozen=True):
    """Steps in which nothing happened are left out."""

    step: int
    steps: list[Step]


class Churn:
    """Counts events as they go by.

    Args:
        from_ms, to_ms: the moments between which it counts, the second one left out.
        step_ms: of one step; (to - from) / step is at most `STEPS_MAX`.
        by_service: count each microservice too.
    """

    def __init__(self, from_ms: int, to_ms: int, step_ms: int, by_service: bool) -> None:
        self._from_ms = from_ms
        self._to_ms = to_ms
        self._step_ms = step_ms
        self._by_service = by_service
        self._kinds: dict[int, Counter[str]] = {}
        self._services: dict[int, Counter[str]] = {}
        self._refused: Counter[int] = Counter()
        self._named: set[str] = set()

    def add(self, moment_ms: int, event: Event, outcome: Outcome) -> None:
        """Count an event. `moment_ms`: the moment that the log had reached with it."""
        if not self._from_ms <= moment_ms < self._to_ms:
            return
        step = (moment_ms - self._from_ms) // self._step_ms
        kinds = self._kinds.setdefault(step, Counter())
        if outcome.error is not None:
            self._refused[step] += 1
            return
        kinds[kind_of(event)] += 1
        service_id = subject(event)[0]
        if self._by_service and service_id:
            if service_id not in self._named and len(self._named) >= SERVICES_MAX:
                service_id = OTHERS
            self._named.add(service_id)
            self._services.setdefault(step, Counter())[service_id] += 1

    def timeline(self) -> Timeline:
        steps = [
            Step(
                moment_text(self._from_ms + step * self._step_ms),
                dict(sorted(kinds.items())),
                dict(sorted(self._services.get(step, Counter()).items())),
                self._refused[step],
            )
            for step, kinds in sorted(self._kinds.items())
        ]
        return Timeline(self._step_ms, steps)
