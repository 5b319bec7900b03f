"""Proof that a property can see: a rule broken on purpose must have a counterexample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def counterexample(examples: SearchStrategy[T], holds: Callable[[T], bool]) -> T | None:
    """An example for which `holds` is false; None when none is found.

    Always the same search, so that a test that relies on it does not come and go.
    """
    search = settings(max_examples=3000, derandomize=True, database=None, phases=[Phase.generate])
    try:
        return find(examples, lambda example: not holds(example), settings=search)
    except NoSuchExample:
        return None
