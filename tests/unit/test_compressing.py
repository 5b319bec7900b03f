"""Compressor: what is large is compressed beside the loop, and once for all who ask for it meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from typing import Any, Final

import pytest

from registry.http_api import reply
from registry.http_api.reply import BESIDE_MIN_BYTES, Compressor, Reply
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import run, virtual_ms
from tests.support.wires import BASE, BATCH, BLOCK, FIND, Lane, fill, header, register, status, whole, write

GZIP: Final = BLOCK + b"\r\nAccept-Encoding: gzip"
BATCH_BODY: Final = json.dumps({"services": [{"service": {"appId": "shop", "serviceName": "cart"}}]}).encode()
QUESTIONS: Final = [
    (b"GET", FIND, b""),
    (b"GET", FIND + b"&rev=other", b""),
    (b"GET", BASE + b"/microservices/cart/instances", b""),
    (b"GET", BASE + b"/microservices/cart/instances/large", b""),
    (b"POST", BATCH, BATCH_BODY),
    (b"GET", b"/v1/default/find/explain?appId=shop&serviceName=cart", b""),
    (b"GET", b"/v4/default/govern/microservices/cart", b""),
    (b"GET", BASE + b"/microservices", b""),
    (b"GET", b"/v1/default/catalog", b""),
]


@pytest.mark.parametrize("fast", [True, False])
def test_no_large_answer_is_compressed_on_the_loop(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each megabyte takes some ten milliseconds, in which no heartbeat is answered."""
    large: list[int] = []
    compress = Compressor.compress

    def watched(self: Compressor, answer: Reply, rev: str = "") -> Reply:
        if self.takes_long(len(answer.body), rev):
            large.append(len(answer.body))
        return compress(self, answer, rev)

    monkeypatch.setattr(Compressor, "compress", watched)

    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), fast)
        await lane.replica.projector.start()
        await fill(lane)
        big = {f"p{n}": "x" * 1000 for n in range(60)}
        await write(
            lane, b"POST", b"/microservices", {"service": {"serviceName": "till", "appId": "shop", "properties": big}}
        )
        for name in ("large", "other"):
            await register(lane, "cart", name, properties=big)
        for method, path, body in QUESTIONS:
            for _ in range(2):
                answer = await lane.say(lane.connect(), whole(method, path, GZIP, body))
                assert (status(answer), header(answer, b"Content-Encoding")) == (200, b"gzip"), path
                plain = await lane.say(lane.connect(), whole(method, path, BLOCK, body))
                assert gzip.decompress(answer.partition(b"\r\n\r\n")[2]) == plain.partition(b"\r\n\r\n")[2]
        assert not large

    run(main)


async def test_it_is_compressed_once_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change all consumers ask for the new answer at the same moment. One that goes takes it from nobody."""
    threads: list[threading.Thread] = []
    began, goes_on = threading.Event(), threading.Event()

    def compress(*arguments: Any, **options: Any) -> bytes:
        threads.append(threading.current_thread())
        began.set()
        assert goes_on.wait(10)
        return b"compressed"

    monkeypatch.setattr(gzip, "compress", compress)
    compressor, answer = Compressor(), reply.json(b"x" * BESIDE_MIN_BYTES)
    asking = [asyncio.create_task(compressor.compress_beside(answer, "rev")) for _ in range(10)]
    assert await asyncio.to_thread(began.wait, 10)
    asking[0].cancel()
    await asyncio.wait(asking[:1])
    goes_on.set()
    assert {compressed.body for compressed in await asyncio.gather(*asking[1:])} == {b"compressed"}
    assert (await compressor.compress_beside(answer, "rev")).body == b"compressed"
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
