"""Stopping a replica: its loops end, also when something between us and the event loop loses a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from registry.running.replica import _cancel


@pytest.mark.slow
async def test_loop_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """Before Python 3.12 `asyncio.wait_for` returns its result instead of the cancellation that came with it.

    redis-py sends commands through it, so about one stop in thirty hung for ever in the expiry loop.
    """
    swallowed = 0

    async def loop() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await _cancel(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_failure_of_a_loop_is_looked_at() -> None:
    """A second part that failed while the first one was being reported must not end as a stray traceback."""

    async def loop() -> None:
        raise ValueError("also failed")

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    await _cancel(task)
    assert task.done()
