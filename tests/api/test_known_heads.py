"""Requests whose header block is known, and all that only looks like one: both lanes answer them byte for byte alike.

Without sockets (tests/support/wires.py): each example's segments arrive exactly as generated, in both lanes, and no
byte of an answer is volatile. What real sockets add is in test_lanes.py; there uvicorn's `date` is left out.
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

from registry.serving.reader import HEAD_SLACK_BYTES
from registry.settings import HEAD_MAX_BYTES
from tests.support.memory_replica import VirtualLoop
from tests.support.wires import BASE, BATCH, BEAT, BLOCK, FIND, Lane, Wire, fill, follow, header, two_lanes, whole

KEY = {"appId": "shop", "serviceName": "cart", "version": "0+"}
BODY = json.dumps({"services": [{"service": KEY}]}).encode()

REGISTER = BASE + b"/microservices/cart/instances"
#: What is registered already: it is a heartbeat, and writes nothing. Sent as it is only: changed, it might write.
SAME = json.dumps(
    {"instance": {"hostName": "h", "instanceId": "i1", "endpoints": [f"rest://10.0.0.1:{sum(b'i1')}"]}}
).encode()

#: Header blocks as clients send them; those of one example are known when it begins.
BLOCKS = [
    b"",
    BLOCK,
    b"Host: h\r\nX-Domain-Name: other",
    b"Host: h\r\nX-ConsumerId: buyer\r\nContent-Type: application/json",
    b"host:h\r\nx-domain-name:default\r\naccept-encoding:gzip\r\nx-consumer_id:  buyer ",
    b"Host: h\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\nUser-Agent: \xc3\xa9",
    b"Host: h\r\nX-ConsumerId:\r\nX-consumer_id: buyer\r\nX-Registry-Durability: nonsense",
]
#: What the lane takes, by method.
HOT = {
    b"GET": [FIND, FIND + b"&rev=REV", FIND + b"&version=0+", BASE + b"/instances?appId=shop&serviceName=empty&rev=x"],
    b"PUT": [BEAT, BASE + b"/microservices/cart/instances/i2/heartbeat"],
    b"POST": [BATCH, BATCH + b"&rev=0", REGISTER, BASE + b"/microservices/none/instances"],
}
#: What it must leave to the other one, or take with care.
ODD = [
    b"/version",
    b"*",
    b"",
    b"http://h" + FIND,
    b"HTTP://H:1" + BEAT,
    FIND + b"#fragment",
    FIND + b"&x=a b",
    FIND + b" HTTP/1.1",
    b" " + FIND,
    FIND + b"&x=\xc3\xbc",
    FIND + b"&x=%zz\\^`{|}\"<>'",
    FIND + b"&x=a\tb",
    FIND + b"&x=" + b"y" * 2100,
    FIND + b"&",
    BASE + b"/instances?appId=shop&serviceName=none",
    BASE + b"/instances?appId=nobody&serviceName=",
    b"/v4/\xc3\xbc/registry/instances?appId=shop&serviceName=cart",
    b"/v4/a\tb/registry/instances?appId=shop&serviceName=cart",
    b"/v4/%C3%BC/registry/instances?appId=shop&serviceName=cart",
    b"/v4/" + b"p" * 300 + b"/registry/instances?appId=shop&serviceName=cart",
    b'/v4/x\\^{|}"<>/registry/instances?appId=shop&serviceName=cart',
    BASE + b"/microservices/\xc3\xbc/instances/i1/heartbeat",
    BASE + b"/microservices/cart/instances/none/heartbeat",
    BASE + b"/microservices/cart/instances/i1/heartbeat?",
    BASE + b"/microservices/cart/instances//heartbeat",
    BASE + b"/instances/action",
    REGISTER + b"?x=1",
    REGISTER + b"/",
    BASE + b"/microservices//instances",
    BASE + b"/microservices/" + b"s" * 65 + b"/instances",
    BASE + b"//instances?appId=shop&serviceName=cart",
]
BODIES = [
    b"",
    b"{}",
    BODY,
    b"nonsense\xff",
    b'{"instance":{"hostName":1}}',
    b'{"instance":{"status":"' + b"x" * 6000 + b'"}}',
    b'{"instances":[{"instance":{"serviceId":"cart","instanceId":"i1"}}]}',
]
#: Headers that are new to a block.
EXTRA = [
    b"Connection: close",
    b"Connection: keep-alive, x",
    b"Proxy-Connection: close",
    b"Expect: 100-continue",
    b"Upgrade: h2c\r\nConnection: Upgrade",
    b"Origin: http://console",
    b"X-Domain-Name: other",
    b"x-domain-name: default",
    b"X-Tenant-Name: a\r\nX-Tenant-Name: b",
    b"X-ConsumerId: none",
    b"X-ConsumerId: \xff",
    b"X-Domain-Name: \xc3\xbc",
    b"X-Registry-Position: 0-0",
    b"X-Registry-Position: x",
    b"Content-Length: 0",
    b"Content-Length: 00",
    b"Content-Length: +2",
    b"Content-Length: 1, 1",
    b"Content-Length: 18446744073709551616",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"X-Domain-Name : other",
    b" X-Domain-Name: other",
    b"X-Domain-Name: default\r\n other",
    b"X-Domain-Name: default\nX-ConsumerId: none",
    b"X-Domain-Name: def\0ault",
    b"X-Domain-Name: def\rault",
    b"X-\xe9: 1",
    b"NoColon",
    b": empty",
    b"X-Pad: " + b"x" * 3000,
    b"X-Pad: " + b"x" * (HEAD_MAX_BYTES + HEAD_SLACK_BYTES),
    b"X-Pad: " + b"x" * (HEAD_MAX_BYTES - 400),
]


#: Ends every conversation: it completes whatever body is owed, and is no HTTP. The plain lane may answer before a body
#: that nobody looks at is complete, the fast one waits for it; the order is the same.
END = b"x" * 300 + b"\r\n\r\n"


class Step(NamedTuple):
    """Bytes for one of the connections, as segments."""

    wire: int
    segments: list[bytes]


def chunked(method: bytes, target: bytes, block: bytes, body: bytes, trailer: bytes = b"") -> bytes:
    chunks = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *([block] if block else []), b""])
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


@st.composite
def one_request(draw: st.DrawFn, blocks: list[bytes]) -> bytes:
    """Mostly a request with a known block that the lane takes; else one that differs from such a one somewhere."""
    method = draw(st.sampled_from([b"GET", b"PUT", b"POST"]))
    target = draw(st.sampled_from(HOT[method]))
    block = draw(st.sampled_from(blocks))
    body = draw(st.sampled_from(BODIES)) if method != b"GET" else b""
    request = whole(method, target, block, body)
    kind = draw(st.integers(0, 16))
    match kind:
        case 0 | 1:
            return whole(method, draw(st.sampled_from(ODD)), block, body)
        case 2 | 3:
            lines = [line for line in block.split(b"\r\n") if line]
            lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(EXTRA)))
            return whole(method, target, b"\r\n".join(lines), body)
        case 4:
            version = draw(st.sampled_from([b"HTTP/1.0", b"HTTP/1.1 ", b"http/1.1", b"HTTP/2.0", b"", b"HTTP/1.11"]))
            return whole(method, target, block, body, version)
        case 5:
            strange = [b"HEAD", b"OPTIONS", b"DELETE", b"get", b"G", b"", b"CONNECT", b"PATCH", b"GET ", b"\xff"]
            return whole(draw(st.sampled_from(strange)), target, block, body)
        case 6:
            return chunked(method, target, block, body, draw(st.sampled_from([b"", b"X-Domain-Name: other\r\n"])))
        case 7:
            # One byte is something else, is missing, or is one too many.
            place = draw(st.integers(0, len(request) - 1))
            byte = draw(st.sampled_from([b"", b"\0", b"\n", b"\r", b" ", b"\t", b"\x7f", b"\xe9", b"x", b":", b"\r\n"]))
            return request[:place] + byte + request[place + draw(st.integers(0, 1)) :]
        case 8:
            return request.replace(b"\r\n", b"\n", draw(st.integers(1, 9)))
        case 9:
            return draw(st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n"])) + request
        case 10:
            return request + draw(st.sampled_from([b"\r\n", b"\n", b"garbage", b"\0", b"GET", b"{}"]))
        case 11:
            return b"\r\n".join(line.swapcase() for line in request.split(b"\r\n"))
        case 13 | 14:
            return whole(b"POST", REGISTER, block, SAME)
        case 12:
            return request.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % draw(st.integers(0, 99)))
    return request


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[Step]]:
    """The blocks that are known at the beginning, and what three connections then send."""
    blocks = draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=2, unique=True))
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        requests = draw(st.lists(one_request(blocks), min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 3]))))
        data = b"".join(requests)
        cuts = draw(st.lists(st.integers(1, max(1, len(data) - 1)), max_size=3)) if draw(st.booleans()) else []
        places = sorted({0, *cuts, len(data)})
        steps.append(Step(draw(st.integers(0, 2)), [data[a:b] for a, b in itertools.pairwise(places)]))
    return blocks, steps


class World(NamedTuple):
    runner: asyncio.Runner
    fast: Lane
    plain: Lane
    rev: bytes


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two replicas that hold the same and stay at one position: what finds would record is recorded before."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        fast, plain = runner.run(two_lanes())
        yield World(runner, fast, plain, runner.run(_fill(fast, plain)))


async def _fill(fast: Lane, plain: Lane) -> bytes:
    """What both hold; cart's rev."""
    await fill(plain)
    wire = plain.connect()
    for target in HOT[b"GET"]:
        await plain.say(wire, whole(b"GET", target, BLOCKS[3]))
    answer = await plain.say(wire, whole(b"GET", FIND))
    await follow(fast, plain)
    return header(answer, b"X-Resource-Revision")


async def converse(lane: Lane, blocks: list[bytes], steps: list[Step], rev: bytes) -> list[tuple[bytes, bool]]:
    """What three connections were answered, and whether the registry ended them."""
    lane.forget()
    first = lane.connect()
    for block in blocks:
        for body in BODIES:
            await lane.say(first, whole(b"PUT", BEAT, block, body))
        await lane.say(first, whole(b"GET", FIND, block))
        await lane.say(first, whole(b"POST", REGISTER, block, SAME))
    assert not first.is_closing()
    lane.hot.recognised = 0
    wires: list[Wire] = [first, lane.connect(), lane.connect()]
    for number, segments in steps:
        for segment in segments:
            wires[number].feed(segment.replace(b"REV", rev))
            await lane.settle(*wires)
    for wire in wires:
        await lane.say(wire, END)
    answers = [(wire.sent, wire.is_closing()) for wire in wires]
    for wire in wires:
        wire.drop(None)
    await lane.settle()
    return answers


def known(request: bytes, *others: bytes) -> tuple[list[bytes], list[Step]]:
    return [BLOCK], [Step(0, [request]), *(Step(1, [other]) for other in others)]


def _examples() -> int:
    """Three times as many as of other properties: an example takes some milliseconds."""
    return 3 * settings.default.max_examples if settings.default else 100


def disguised() -> tuple[list[bytes], list[Step]]:
    """The end of a body looks like the beginning of the request behind it; then both come as one request."""
    tail = whole(b"GET", FIND, b"X-Domain-Name: evil")[:-4]
    body, request = b"{}" + tail, whole(b"GET", FIND)
    both = whole(b"PUT", BEAT, BLOCK, body) + request
    return [b""], [Step(0, [both[: -len(tail + request)], tail + request]), Step(1, [tail + request])]


@settings(max_examples=_examples())
@given(conversations())
@example(disguised())
@example(known(whole(b"GET", FIND) + whole(b"PUT", BEAT) + whole(b"GET", FIND)))
@example(known(whole(b"GET", FIND) + whole(b"PUT", BEAT) + b"garbage\r\n\r\n"))
@example(known(whole(b"GET", FIND, BLOCK), whole(b"PUT", BEAT, BLOCK)))
def test_known_or_not_both_lanes_answer_the_same_bytes(
    world: World, conversation: tuple[list[bytes], list[Step]]
) -> None:
    """Whether the registry has seen a client's headers before must be of no consequence to it."""
    blocks, steps = conversation
    position = world.plain.position
    fast = world.runner.run(converse(world.fast, blocks, steps, world.rev))
    event(f"{min(world.fast.hot.recognised, 5)} requests recognised (5: or more)")
    plain = world.runner.run(converse(world.plain, blocks, steps, world.rev))
    assert fast == plain
    assert world.fast.position == world.plain.position == position, (
        "the conversation has written: the lanes are not comparable any more"
    )


def strange_requests() -> list[bytes]:
    """Each strange thing once, in a request whose other parts are known."""
    found = [whole(method, target, BLOCK, body) for method in HOT for target in ODD for body in (b"", BODY)]
    for method, targets in HOT.items():
        body = SAME if method == b"POST" else b""
        for extra in EXTRA:
            found += [
                whole(method, target, b"\r\n".join(lines), body)
                for lines in ((extra, BLOCK), (BLOCK, extra))
                for target in targets[-2:]
            ]
    return found


def test_one_strange_thing_beside_known_ones_changes_no_byte(world: World) -> None:
    """What generated conversations may miss: all targets with all methods, all headers before and after the block."""
    for request in strange_requests():
        steps = [Step(0, [request]), Step(1, [whole(b"GET", FIND, BLOCK)]), Step(1, [request]), Step(1, [request])]
        fast, plain = (world.runner.run(converse(lane, [BLOCK], steps, world.rev)) for lane in world[1:3])
        assert fast == plain, request
