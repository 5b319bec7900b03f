"""Clients that pipeline, stop to read, and cut their requests anywhere, while the store hangs and fails now and then.

Each is answered every request once and in its order, by the name that it has given to it, and nothing is left of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re

import pytest

from registry.domain.errors import StoreUnavailable
from tests.support.memory_replica import VIRTUAL, elapse
from tests.support.wires import BASE, BATCH, BEAT, BLOCK, FIND, Lane, Wire, fill, follow, two_lanes, whole

CLIENTS = 4
STEPS = 60
#: Of what is left of a request another part comes later.
CUT_MAX = 60
INSTANCE = json.dumps({"instance": {"hostName": "h", "instanceId": "n", "endpoints": ["rest://1.1.1.1:1"]}}).encode()
CART = {"appId": "shop", "serviceName": "cart"}


@pytest.fixture(scope="module")
def anyio_backend() -> object:
    return VIRTUAL


class Store:
    """Hangs from time to time, and fails some of what had hung."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._answers = asyncio.Event()
        self._answers.set()

    async def before(self, name: str) -> None:
        if not self._answers.is_set():
            await self._answers.wait()
            if self._draw.random() < 0.3:
                raise StoreUnavailable("away")

    def turn(self) -> None:
        if self._answers.is_set():
            self._answers.clear()
        else:
            self._answers.set()

    def come_back(self) -> None:
        self._answers.set()


class Client:
    def __init__(self, lane: Lane) -> None:
        self.wire: Wire = lane.connect()
        self.asked = 0
        self._rest = b""

    def ask(self, draw: random.Random) -> None:
        data = self._rest
        for _ in range(draw.randrange(1, 5)):
            data += self._request(draw)
            self.asked += 1
        cut = len(data) - draw.choice((0, 0, draw.randrange(1, CUT_MAX)))
        self._rest = data[cut:]
        middle = draw.randrange(cut)
        self.wire.feed(*filter(None, (data[:middle], data[middle:cut])))

    def _request(self, draw: random.Random) -> bytes:
        block = BLOCK + b"\r\nX-Request-Id: id-%d" % self.asked
        block += draw.choice(
            (b"", b"\r\nAccept-Encoding: gzip", b"\r\ntraceparent: %d" % draw.randrange(99), b"\r\nX: y")
        )
        method, target, body = draw.choice(
            (
                (b"PUT", BEAT, b""),
                (b"PUT", BEAT.replace(b"i1", b"none"), b""),
                (b"GET", FIND, b""),
                (b"GET", FIND + b"&rev=old", b""),
                (b"POST", BATCH, json.dumps({"services": [{"service": CART}]}).encode()),
                (b"POST", BATCH, json.dumps({"services": [{"service": CART, "rev": "old"}]}).encode()),
                (b"POST", BASE + b"/microservices/cart/instances", INSTANCE),
                (b"GET", b"/version", b""),
            )
        )
        return whole(method, target, block, body)

    def read(self) -> None:
        self.wire.client_reads = True
        self.wire.read()

    def finish(self) -> None:
        self.read()
        if self._rest:
            self.wire.feed(self._rest)
            self._rest = b""

    def answered(self) -> list[bytes]:
        assert self.wire.sent.count(b"HTTP/1.1 ") == self.wire.sent.count(b"X-Request-Id: ")
        return re.findall(rb"X-Request-Id: id-(\d+)\r\n", self.wire.sent)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_every_request_is_answered_once_and_in_its_order(seed: int, fast: bool) -> None:
    draw = random.Random(seed)
    lane = (await two_lanes())[not fast]
    await fill(lane, 3)
    await follow(lane)
    store = Store(draw)
    lane.store.before = store.before
    clients = [Client(lane) for _ in range(CLIENTS)]
    for _ in range(STEPS):
        client = draw.choice(clients)
        match draw.choice(("ask", "ask", "ask", "store", "stop reading", "read")):
            case "ask":
                client.ask(draw)
            case "store":
                store.turn()
            case "stop reading":
                client.wire.client_reads = False
            case "read":
                client.read()
        for _ in range(draw.randrange(6)):
            await asyncio.sleep(0)
    store.come_back()
    for client in clients:
        client.finish()
    await elapse(5)  # what waited for the store has been told by then
    await lane.settle(*(client.wire for client in clients))
    assert [client.answered() for client in clients] == [
        [b"%d" % number for number in range(client.asked)] for client in clients
    ]
    for client in clients:
        client.wire.drop(None)
    await lane.settle()
    assert not lane.shared.tasks
    assert not lane.shared.connections
