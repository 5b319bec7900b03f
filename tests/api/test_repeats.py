"""A connection that repeats itself, and then sends what only looks like it: it is answered as by the parser, always.

What a connection keeps of its last request is a short way to what is known (`serving.again`), and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from registry.serving import again as again_module
from registry.serving.again import AGAIN_MAX_BYTES
from registry.serving.hot import HotConnection
from tests.support.memory_replica import VIRTUAL, VirtualLoop
from tests.support.wires import BATCH, BLOCK, FIND, Lane, Wire, fill, follow, header, register, two_lanes, whole

#: The lines that clients add to `BLOCK`; `%d` differs from one request to the next.
LINES = [
    b"traceparent: %d",
    b"X-Request-Id: %d",
    b"x-request-id: same",
    b"X-Request-Id: not one",
    b"b3: same",
    b"X-Forwarded-For: 10.0.0.1",
    b"User-Agent: x",
    b"Accept-Encoding: gzip",
    b"X-ConsumerId: buyer",
]
#: Stands for the rev that a client holds.
HELD = "R" * 40
BODIES = [
    {"services": [{"service": {"appId": "shop", "serviceName": "cart"}, "rev": HELD}]},
    {"services": [{"service": {"appId": "shop", "serviceName": "cart"}, "rev": "\r\ntraceparent: 1\r\n"}]},
]
#: What stands in place of a value, or behind it.
ODD_VALUES = [
    *(b"", b" 1 ", b"\t", b"a\xff", b"a\0", b"a\x0b", b"a\r\n b", b"a\rb", b"a\n", b"x" * AGAIN_MAX_BYTES),
    *(
        b"1\r\nX-ConsumerId: none",
        b"1\nX-Domain-Name: other",
        b"1\r\nX-Request-Id: two",
        b"1\r\nX-Registry-Position: x",
    ),
    *(b"1\r\nConnection: close", b"1\r\nExpect: 100-continue", b"1\r\nContent-Length: 0"),
    b"1\r\n\r\nGET /version HTTP/1.1",
]


class Request(NamedTuple):
    """One that a client sends again and again. `%d` in it differs each time."""

    method: bytes
    target: bytes
    block: bytes
    body: bytes

    def text(self, number: int) -> bytes:
        return whole(self.method, self.target, self.block.replace(b"%d", b"%d" % number), self.body)


#: Requests, how often each is repeated, and what is sent then, as segments.
Conversation = list[tuple[Request, int, list[list[bytes]]]]


class World(NamedTuple):
    runner: asyncio.Runner
    lanes: tuple[Lane, Lane]
    rev: bytes

    async def say(self, wires: list[Wire], segments: list[bytes]) -> None:
        """Both answer the same; a connection that was ended is opened again."""
        answers = []
        for place, lane in enumerate(self.lanes):
            if wires[place].is_closing() or wires[place].ended:
                wires[place].drop(None)
                wires[place] = lane.connect()
            answers.append(await lane.say(wires[place], *segments))
        assert answers[0] == answers[1], segments
        assert (wires[0].is_closing(), wires[0].ended) == (wires[1].is_closing(), wires[1].ended)

    async def converse(self, conversation: Conversation) -> None:
        for lane in self.lanes:
            lane.forget()
        wires = [lane.connect() for lane in self.lanes]
        for request, times, odd in conversation:
            request = Request(*(part.replace(HELD.encode(), self.rev) for part in request))
            for number in range(times):
                await self.say(wires, [request.text(number)])
            event(f"kept: {wires[0].protocol.again is not None}")
            for segments in odd:
                await self.say(wires, [segment.replace(HELD.encode(), self.rev) for segment in segments])
        for wire, lane in zip(wires, self.lanes, strict=True):
            wire.drop(None)
            assert lane.shared.repeats.size == 0


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A lane that remembers and one that does not; what a consumer finds is recorded before."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        lanes = runner.run(two_lanes())
        yield World(runner, lanes, runner.run(_fill(*lanes)))


async def _fill(fast: Lane, plain: Lane) -> bytes:
    await fill(plain, 2)
    answer = await plain.say(plain.connect(), whole(b"GET", FIND, BLOCK + b"\r\nX-ConsumerId: buyer"))
    await follow(fast, plain)
    return header(answer, b"X-Resource-Revision")


@st.composite
def requests(draw: st.DrawFn) -> Request:
    lines = [*BLOCK.split(b"\r\n"), *draw(st.lists(st.sampled_from(LINES), max_size=3))]
    block = b"\r\n".join(draw(st.permutations(lines)))
    if draw(st.booleans()):
        return Request(b"GET", FIND + draw(st.sampled_from([b"", b"&rev=" + HELD.encode()])), block, b"")
    return Request(b"POST", BATCH, block, json.dumps(draw(st.sampled_from(BODIES))).encode())


@st.composite
def pieces(draw: st.DrawFn, request: Request) -> list[bytes]:
    """Nearly the same once more, as segments."""
    text = request.text(draw(st.integers(1, 9)))
    match draw(st.integers(0, 9)):
        case 0 | 1:
            text = request.text(1).replace(b": 1\r\n", b": %b\r\n" % draw(st.sampled_from(ODD_VALUES)), 1)
        case 2:
            place = draw(st.integers(0, len(text) - 1))
            byte = draw(st.sampled_from([b"", b"\0", b"\r", b"\n", b" ", b":", b"x", b"\r\n"]))
            text = text[:place] + byte + text[place + draw(st.integers(0, 1)) :]
        case 3:
            method = draw(st.sampled_from([b"HEAD", b"PUT", b"get", b"OPTIONS"]))
            text = request._replace(method=method).text(1)
        case 4:
            text = text.replace(b"HTTP/1.1", draw(st.sampled_from([b"HTTP/1.0", b"HTTP/1.1 ", b"HTTP/2.0"])), 1)
        case 5:
            odd = [b"X-Domain-Name: other", b"X-Registry-Position: 0-0", b"Connection: close", b"X-Request-Id: late"]
            text = request._replace(block=request.block + b"\r\n" + draw(st.sampled_from(odd))).text(1)
        case 6:
            text += draw(
                st.sampled_from([b"\r\n", b"G", b"garbage", request.text(2), b"GET /version HTTP/1.1\r\n\r\n"])
            )
    cuts = draw(st.lists(st.integers(1, len(text) - 1), max_size=2)) if draw(st.integers(0, 3)) == 0 else []
    return [text[a:b] for a, b in itertools.pairwise(sorted({0, *cuts, len(text)}))]


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    found = draw(st.lists(requests(), min_size=1, max_size=3))
    return [(one, draw(st.integers(2, 5)), draw(st.lists(pieces(one), min_size=1, max_size=4))) for one in found]


SAME_ID = Request(b"GET", FIND, BLOCK + b"\r\nX-Request-Id: same\r\nb3: same", b"")


@settings(deadline=None)
@example([(SAME_ID, 4, [[SAME_ID.text(1)]])])
@example([(SAME_ID._replace(method=b"POST", target=BATCH, body=b'{"services":[]}'), 4, [[b"G"]])])
@given(conversations())
def test_what_a_connection_keeps_changes_no_answer(world: World, conversation: Conversation) -> None:
    """Neither whose it is, nor what it is called, nor whether the connection goes on."""
    world.runner.run(world.converse(conversation))


# -- what is kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL


async def repeat(lane: Lane, wire: Wire, line: bytes) -> HotConnection:
    """Say the same three times, but for a trace, with a line of its own."""
    for number in range(3):
        await lane.say(wire, whole(b"GET", FIND, BLOCK + b"\r\n%b\r\ntraceparent: %d" % (line, number)))
    connection: HotConnection = wire.protocol
    return connection


async def test_what_connections_keep_together_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone may open a hundred thousand, and say something else on each. Who comes later is answered as well."""
    monkeypatch.setattr(again_module, "REPEATS_MAX_BYTES", 3 * AGAIN_MAX_BYTES)
    lane, _ = await two_lanes()
    await fill(lane, 2)
    wires = [lane.connect() for _ in range(8)]
    kept = [await repeat(lane, wire, b"Accept: %d%b" % (n, b"x" * 2000)) for n, wire in enumerate(wires)]
    assert [connection.again is not None for connection in kept] == [True, True] + [False] * 6
    assert sum(one.again.size for one in kept if one.again) == lane.shared.repeats.size <= 3 * AGAIN_MAX_BYTES
    wires[0].drop(None)
    assert (await repeat(lane, wires[7], b"Accept: late")).again is not None
    for wire in wires:
        wire.drop(None)
    assert lane.shared.repeats.size == 0


async def test_what_a_connection_keeps_is_never_an_answer() -> None:
    """What has changed meanwhile is told, by whatever way."""
    lane, plain = await two_lanes()
    await fill(plain, 2)
    await follow(lane)
    wire = lane.connect()
    await repeat(lane, wire, b"X-Request-Id: same")
    await register(plain, "cart", "late")
    await follow(lane)
    text = whole(b"GET", FIND, BLOCK + b"\r\nX-Request-Id: same\r\ntraceparent: 2")
    assert b'"late"' in await lane.say(wire, text)
