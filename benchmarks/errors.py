"""The one way in which a benchmark run fails."""

from __future__ import annotations


class BenchmarkError(Exception):
    """The run cannot go on, or its numbers would not mean what the table says. The message is one sentence."""
