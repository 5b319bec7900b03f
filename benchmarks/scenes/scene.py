"""Scene: one question to a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.outcome import Outcome
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """One question, and how it is answered."""

    name: str
    question: str
    run: Callable[[Stage, Outcome], None]
    """Fills the outcome in; what it holds when a `BenchmarkError` ends the scene is still reported."""
    filled: bool = False
    """Whether it asks for the filled registry: such scenes come last, one filling for all."""
    own: str = ""
    """Why only a registry of our own can be measured, to be read after "the tool"; empty: any can."""
    second_url: bool = False
    """Whether a foreign one can be measured after all when `--second-url` is given."""
