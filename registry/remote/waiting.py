"""Waiting: for Ctrl-C, which is how verbs that go on end well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupted() -> Iterator[None]:
    """Ctrl-C ends the block, and nothing else."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
