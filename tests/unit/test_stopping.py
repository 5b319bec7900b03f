"""Stopping a replica: its loops end, also when something between us and the event loop loses a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from registry.running.replica import _cancel, _unless, starting


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


@pytest.mark.slow
async def test_stop_ends_a_start_that_swallows_a_cancellation() -> None:
    """Ctrl-C at the wrong moment of a start left a process behind that nobody could stop but with SIGTERM."""
    begun, stop = asyncio.Event(), asyncio.Event()

    async def start() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    task = asyncio.create_task(start())
    waiting = asyncio.create_task(_unless(stop, task))
    await begun.wait()
    stop.set()
    async with asyncio.timeout(5):
        assert not await waiting
    assert task.cancelled()


async def test_a_start_that_ends_by_itself_goes_on_or_fails() -> None:
    async def start(fails: bool) -> None:
        if fails:
            raise ValueError("no Redis")

    assert await _unless(asyncio.Event(), asyncio.create_task(start(False)))
    with pytest.raises(ValueError, match="no Redis"):
        await _unless(asyncio.Event(), asyncio.create_task(start(True)))


async def test_start_that_swallows_an_interruption_is_interrupted_all_the_same() -> None:
    """Ctrl-C cancels the start once. redis-py swallowed it, the registry came up, and nobody told it to stop again."""
    begun = asyncio.Event()

    async def start() -> None:
        with starting("redis://"):
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    task = asyncio.create_task(start())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
