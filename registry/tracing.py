"""Tracing: what the registry tells of a request while it is under way. What is told goes nowhere unless somebody asks.

The parts that have something to tell know only this; who sends it on is `running.otel_spans`, with `REGISTRY_TRACES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Span(Protocol):
    """A stretch of time with a name."""

    def answered(self, status: int, request_id: str) -> None:
        """The request was answered."""


class Spans(Protocol):
    """Begins spans; each lasts as long as its context is open."""

    def request(
        self, operation: str, headers: Mapping[bytes, bytes], tenant: str, target: str
    ) -> AbstractContextManager[Span]:
        """One request. Its `traceparent` is honoured."""

    def part(self, name: str) -> AbstractContextManager[object]:
        """A part of what is traced here and now; nothing where nothing is."""

    def here(self) -> object | None:
        """What is traced here and now, for `at`; None: nothing."""

    def at(self, place: object | None) -> AbstractContextManager[object]:
        """Go on with what was traced at another place."""
