"""Waiting for a condition, with a limit: what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

#: Far beyond what any condition needs, so that only a broken promise reaches it.
LIMIT_S = 10.0
PAUSE_S = 0.002


async def until(condition: Callable[[], Awaitable[bool]], what: str, limit_s: float = LIMIT_S) -> None:
    """Ask again and again until the condition holds; fail naming `what` when it does not come true in time."""
    deadline = time.monotonic() + limit_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s} s for: {what}")
        await asyncio.sleep(PAUSE_S)


def until_sync(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """The same outside an event loop."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s} s for: {what}")
        time.sleep(PAUSE_S)
