"""Batch finds that are known by all their bytes: what they are answered stays true, and what is held is counted.

Without sockets, as in test_known_freshness.py.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest

from registry.serving import elements
from registry.serving.lane import WHOLE_MAX_BYTES
from registry.serving.polls import Polls
from tests.support.memory_replica import VIRTUAL
from tests.support.wires import BATCH, BLOCK, Lane, fill, follow, register, two_lanes, whole


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


@pytest.fixture
async def lanes() -> tuple[Lane, Lane]:
    """A fast lane and a plain one over cart, with twelve instances, buyer and empty."""
    fast, plain = await two_lanes()
    await fill(plain)
    await follow(fast, plain)
    return fast, plain


def batch(*services: dict[str, object], block: bytes = BLOCK) -> bytes:
    return whole(b"POST", BATCH, block, json.dumps({"services": services}, separators=(",", ":")).encode())


def service(name: str = "cart", **members: object) -> dict[str, object]:
    return {"service": {"appId": "shop", "serviceName": name, **members}}


async def rev(lane: Lane) -> str:
    """That of cart."""
    answer = await lane.say(lane.connect(), batch(service()))
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["services"]["updated"][0]["rev"])


class Readings:
    """Counts the bodies that had to be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, read = 0, Polls._read

        def counted(*args: Any) -> Any:
            self.count += 1
            return read(*args)

        monkeypatch.setattr(Polls, "_read", counted)


@pytest.mark.parametrize("rev", ["", "0" * 40], ids=["without rev", "with an old rev"])
async def test_known_body_that_is_told_something_is_not_read_again(
    lanes: tuple[Lane, Lane], rev: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when that has changed: each change is looked up once, and told to all who ask for it."""
    fast, plain = lanes
    asked = [batch({**service(), "rev": rev}, {**service(name), "rev": rev}) for name in ("empty", "buyer")]
    for request in asked:
        await fast.say(fast.connect(), request)
    readings = Readings(monkeypatch)
    for name in ("late", "later"):
        await register(plain, "cart", name)
        await follow(*lanes)
        for request in asked:
            answer = await fast.say(fast.connect(), request)
            assert b'"%b"' % name.encode() in answer
            assert answer == await plain.say(plain.connect(), request)
    assert readings.count == 0


async def test_new_body_is_not_answered_with_what_was_true_of_its_elements(lanes: tuple[Lane, Lane]) -> None:
    """A 304 that lies would leave a client with instances that are gone."""
    fast, plain = lanes
    same = {**service(), "rev": await rev(fast)}
    assert b'"updated"' not in await fast.say(fast.connect(), batch(same))
    await register(plain, "cart", "late")
    await follow(*lanes)
    assert b'"late"' in await fast.say(fast.connect(), batch(same, same))


async def test_a_large_body_is_read_each_time(lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come in many pieces, and would be looked for with each of them."""
    fast, plain = lanes
    asked = batch(*[service(other="x" * (WHOLE_MAX_BYTES // 4)) for _ in range(5)])
    readings = Readings(monkeypatch)
    for _ in range(3):
        assert await fast.say(fast.connect(), asked) == await plain.say(plain.connect(), asked)
    assert readings.count == 3


async def test_answer_that_waits_for_the_log_is_not_older_than_one_given_meanwhile(lanes: tuple[Lane, Lane]) -> None:
    """Both are of the same known body, which the one given meanwhile has brought up to date."""
    fast, plain = lanes
    asked = batch({**service(), "rev": "0" * 40})
    await fast.say(fast.connect(), asked)
    waiting, meanwhile = fast.connect(), fast.connect()
    fast.replica.projector.listen(lambda *told: meanwhile.feed(asked))
    await register(plain, "cart", "late")
    waiting.feed(asked)
    assert not waiting.sent
    await fast.settle(waiting, meanwhile)
    assert b'"late"' in waiting.sent
    assert b'"late"' in meanwhile.sent


def caches(lane: Lane) -> int:
    """Bytes that are counted of all that is remembered."""
    return sum(size() for size in lane.replica.api.caches.values())


async def ask_all(lane: Lane, bodies: int, elements_each: int, rev: str) -> tuple[int, int]:
    """Ask for cart in a way that differs each time; the bytes by which memory has grown, and those that are counted."""
    wire, number = lane.connect(), 0
    await lane.say(wire, batch(service()))
    gc.collect()
    counted = caches(lane)
    tracemalloc.start()
    try:
        for _ in range(bodies):
            several = [{**service(other=(number := number + 1)), "rev": rev} for _ in range(elements_each)]
            wire.sent = b""
            wire.feed(batch(*several))
            assert wire.sent
        wire.sent = b""
        gc.collect()
        return tracemalloc.get_traced_memory()[0], caches(lane) - counted
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("elements_each", [1, 10, 200])
async def test_what_is_remembered_of_batch_finds_takes_what_is_counted(
    lanes: tuple[Lane, Lane], elements_each: int
) -> None:
    """What a client can make grow has a limit in bytes, and the limit is one only if the bytes are those."""
    held, counted = await ask_all(lanes[0], 4000 // elements_each, elements_each, await rev(lanes[0]))
    assert counted / 2 < held < counted, (held, counted)


async def test_known_bodies_do_not_hold_elements_that_are_forgotten(
    lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would hold a hundred times the bytes that are counted of them."""
    monkeypatch.setattr(elements, "ELEMENTS_MAX_BYTES", 512 * 1024)
    lanes[0].forget()
    held, counted = await ask_all(lanes[0], 200, 100, await rev(lanes[0]))
    assert counted / 2 < held < counted, (held, counted)
