"""BigReads: an answer that takes long holds up nobody, and one that is too large is given up as soon as it is."""

from __future__ import annotations

import asyncio
import json

import pytest

from registry.domain.batch_find import BatchResult
from registry.domain.errors import InvalidParams
from registry.domain.steps import Steps
from registry.http_api import big_reads, discovery
from registry.http_api.big_reads import AT_ONCE, BigReads
from registry.http_api.shared_parts import Part
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import run, virtual_ms
from tests.support.wires import BATCH, BLOCK, Lane, fill, status, whole

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


def test_a_batch_find_whose_answer_is_too_large_is_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand finds of two megabytes would be two gigabytes before anybody refuses them."""
    made: list[BatchResult] = []

    def noting(result: BatchResult) -> list[Part]:
        made.append(result)
        return [b"{}"]

    monkeypatch.setattr(discovery, "encode_batch", noting)

    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), False, Settings(answer_max_bytes=2000))
        await lane.replica.projector.start()
        await fill(lane)
        asked = [{"service": {"appId": "shop", "serviceName": name, "version": "0+"}} for name in ("cart", "empty")]
        for finds, expected in ((asked[1:], 200), (asked, 400)):
            body = json.dumps({"services": finds}).encode()
            assert status(await lane.say(lane.connect(), whole(b"POST", BATCH, BLOCK, body))) == expected

    run(main)
    assert len(made) == 1
