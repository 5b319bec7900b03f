"""BigReads: an answer that takes long holds up nobody, and one that is too large is given up as soon as it is."""

from __future__ import annotations

import asyncio

import pytest

from registry.domain.errors import InvalidParams
from registry.domain.steps import Steps
from registry.http_api import big_reads
from registry.http_api.big_reads import AT_ONCE, BigReads

pytestmark = pytest.mark.anyio


def counting(made: list[str], name: str, number: int, size: int = 10) -> Steps:
    for n in range(number):
        made.append(f"{name}{n}")
        yield size
    return [name.encode(), b"!"]


async def test_others_have_their_turn_between_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(big_reads, "SLICE_S", 0.0)
    made: list[str] = []

    async def other() -> None:
        for n in range(3):
            made.append(f"other{n}")
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert await BigReads(1000).make(counting(made, "a", 3)) == [b"a", b"!"]
    await task
    assert made == ["a0", "other0", "a1", "other1", "a2", "other2"]


async def test_what_is_quickly_made_is_made_at_once() -> None:
    """A pause for each step would make many small answers wait for one another."""
    made: list[str] = []
    task = asyncio.create_task(asyncio.sleep(0))
    await BigReads(1000).make(counting(made, "a", 5))
    assert not task.done()
    await task


async def test_an_answer_that_is_too_large_is_not_made_to_its_end() -> None:
    """It may be a thousand times as large as what there is."""
    made: list[str] = []
    with pytest.raises(InvalidParams, match="110 bytes or more, 100 at most"):
        await BigReads(100).make(counting(made, "a", 1_000_000))
    assert len(made) == 11
    assert await BigReads(100).make(counting(made, "b", 10)) == [b"b", b"!"]


async def test_only_so_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of each would be filled by the others, and nobody else have any."""
    monkeypatch.setattr(big_reads, "SLICE_S", 0.0)
    reads = BigReads(1000)
    made: list[str] = []

    async def ask(name: str) -> None:
        async with reads.turn:
            await reads.make(counting(made, name, 4))

    await asyncio.gather(*(ask(name) for name in "abcd"))
    assert {name[0] for name in made[: 4 * AT_ONCE]} == set("abcd"[:AT_ONCE])
    assert len(made) == 16
