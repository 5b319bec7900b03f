"""The one way in which a benchmark run fails."""

from __future__ import annotations

from collections.abc import Mapping


class BenchmarkError(Exception):
    """The run cannot go on, or its numbers would not mean what the table says. The message is one sentence.

    Args:
        errors: bad answers by what they were, where they were counted.
    """

    def __init__(self, message: str, errors: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.errors = dict(errors or {})
