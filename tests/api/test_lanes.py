"""Both lanes say the same: generated requests, cut into arbitrary TCP segments, go to a registry with the fast lane and
to one without, over one Redis; the bytes that come back must be equal, in the same order.

Only the `Date` is left out. Without sockets, and for header blocks that are known, see test_known_heads.py.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.api import ok
from tests.support.http import Connection
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: Both lanes must have ended the connection by then (seconds).
LIMIT_S = 20.0
#: The last request of every conversation asks for the end of the connection, so that reading has an end.
LAST = b"GET /version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
TENANT = "lanes"
#: More than the buffers of two sockets hold together.
SOCKETS_HOLD_BYTES = 64 * 1024 * 1024
#: The date, and the ids of requests that have not brought one.
_VOLATILE = re.compile(rb"Date: [^\r]+\r\n|X-Request-Id: [0-9a-f]{12}-[0-9a-f]+\r\n")


@pytest.fixture(scope="module")
def lanes(redis_url: str) -> Iterator[tuple[Replica, Replica]]:
    """A registry with the fast lane and one without, which hold the same and stay at one position."""
    options = ("--redis-url", redis_url, "--redis-prefix", f"lanes-{uuid.uuid4().hex[:8]}:")
    with replica(*options) as fast, replica(*options, "--fast-lane", "off") as plain:
        api = fast.api(TENANT)
        api.service("cart", serviceId="cart")
        api.service("buyer", serviceId="buyer")
        api.service("empty", serviceId="empty")
        for number in range(12):
            api.register("cart", instanceId=f"i{number}", endpoints=[f"rest://10.0.0.{number}:80"])
        # Recorded now, so that no later find writes.
        for name in ("cart", "empty"):
            ok(api.find(name, consumer="buyer"))
        ok(api.batch([{"service": {"serviceName": "*"}}], consumer="buyer"))
        position = api.find().position
        with plain.connect() as connection:
            until_sync(lambda: plain.api(TENANT).find().position == position, "both at one position")
            connection.close()
        yield fast, plain


def _rev(lane: Replica) -> str:
    return lane.api(TENANT).find().rev


BASE = b"/v4/default/registry"
#: The present rev takes its place; it is as long, so that lengths of bodies and chunks are right.
REV = b"R" * 40
TARGETS = [
    BASE + b"/instances?appId=shop&serviceName=cart",
    BASE + b"/instances?appId=shop&serviceName=cart&version=0%2B&rev=" + REV,
    BASE + b"/instances?appId=shop&serviceName=cart&version=0+",
    BASE + b"/instances?appId=shop&serviceName=cart&version=latest&noCache=1&rev=" + REV,
    BASE + b"/instances?appId=shop&serviceName=empty&rev=wrong",
    BASE + b"/instances?appId=shop&serviceName=none",
    BASE + b"/instances?appId=shop&serviceName=cart&version=nonsense",
    BASE + b"/instances?appId=shop&appId=other&serviceName=cart",
    BASE + b"/instances?appId=shop",
    BASE + b"/instances?",
    BASE + b"/instances",
    BASE + b"/instances/",
    BASE + b"//instances?appId=shop&serviceName=cart",
    BASE + b"/./instances?appId=shop&serviceName=cart",
    b"/v4//registry/instances?appId=shop&serviceName=cart",
    b"/v4/def%61ult/registry/instances?appId=shop&serviceName=cart",
    BASE + b"/instances?appId=shop&serviceName=cart&x=//",
    BASE + b"/instances?appId=shop&serviceName=cart&",
    BASE + b"/instances?appId=%ff&serviceName=cart",
    BASE + b"/instances?appId=shop&serviceName=cart&x=" + b"y" * 2100,
    BASE + b"/microservices/cart/instances/i1/heartbeat",
    BASE + b"/microservices/cart/instances/i2/heartbeat?x=y",
    BASE + b"/microservices/cart/instances/none/heartbeat",
    BASE + b"/microservices/none/instances/i1/heartbeat",
    BASE + b"/microservices/cart/instances/i%31/heartbeat",
    BASE + b"/microservices/cart/instances//heartbeat",
    BASE + b"/microservices/cart/instances/../heartbeat",
    BASE + b"/instances/action?type=query",
    BASE + b"/instances/action?type=query&rev=0",
    BASE + b"/instances/action?type=other",
    BASE + b"/instances/action",
    BASE + b"/microservices/cart",
    b"/version",
    b"/nowhere",
]
_KEY = {"appId": "shop", "serviceName": "cart", "version": "0+"}
BODIES = [
    b"",
    b"{}",
    b"nonsense",
    b"\xff",
    json.dumps({"services": [{"service": _KEY, "rev": REV.decode()}]}).encode(),
    json.dumps({"services": [{"service": _KEY}, {"service": {**_KEY, "serviceName": "none"}}]}).encode(),
    json.dumps({"services": [{"service": {"serviceName": "*"}}], "instances": []}).encode(),
    json.dumps({"instances": [{"instance": {"serviceId": "cart", "instanceId": "i1"}}]}).encode(),
    json.dumps({"services": [{"service": {**_KEY, "version": "x"}}]}).encode(),
    b'{"services":[' + b" " * 300_000 + b"]}",
]
#: Without `Expect`: whether a body has come before it is asked for is a matter of time here, and none in
#: `test_known_heads`.
HEADERS = [
    b"X-ConsumerId: buyer",
    b"x-consumer_id: buyer",
    b"X-ConsumerId: none",
    b"X-ConsumerId: " + b"c" * 65,
    b"X-ConsumerId:",
    b"X-Domain-Name: other",
    b"Accept-Encoding: gzip, deflate",
    b"Accept-Encoding: gzip;q=0",
    b"Connection: keep-alive",
    b"Connection: Keep-Alive",
    b"Origin: http://console.example",
    b"X-Registry-Position: 0-0",
    b"X-Registry-Position: nonsense",
    b"Content-Type: application/json",
    b"User-Agent: \xc3\xa9",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, often one that the fast lane takes, seldom a broken one."""
    method = draw(st.sampled_from([b"GET", b"GET", b"PUT", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"]))
    target = draw(st.sampled_from(TARGETS))
    body = draw(st.sampled_from(BODIES)) if method in (b"POST", b"PUT") else b""
    version = draw(st.sampled_from([b"1.1"] * 9 + [b"1.0"]))
    headers = [b"Host: h", b"X-Domain-Name: " + TENANT.encode()]
    headers += draw(st.lists(st.sampled_from(HEADERS), max_size=2))
    if method in (b"POST", b"PUT"):
        if draw(st.integers(0, 5)) == 0 and version == b"1.1":
            headers.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            headers.append(b"Content-Length: %d" % len(body))
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


def hot(target: bytes, method: bytes = b"GET", body: bytes = b"", *headers: bytes) -> bytes:
    """A request that the fast lane takes."""
    lines = [b"Host: h", b"X-Domain-Name: " + TENANT.encode(), *headers]
    if method != b"GET":
        lines.append(b"Content-Length: %d" % len(body))
    return method + b" " + target + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


#: What follows a chunked body is no header of the request: here it would name another tenant.
TRAILED = (
    b"POST " + TARGETS[27] + b" HTTP/1.1\r\nHost: h\r\nX-Domain-Name: lanes\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\nX-Domain-Name: other\r\n\r\n" % (len(BODIES[7]), BODIES[7])
)


def converse(lane: Replica, data: bytes, cuts: list[int]) -> bytes:
    """Send the bytes in segments cut there, read until the registry ends the connection, and leave out the dates."""
    with socket.create_connection((lane.host, lane.port), LIMIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
        received = []
        try:
            for start, end in itertools.pairwise(places):
                connection.sendall(data[start:end])
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up on a broken request; what it said first is still to be read
        try:
            while chunk := connection.recv(1 << 16):
                received.append(chunk)
        except ConnectionResetError:
            pass
    return _VOLATILE.sub(b"", b"".join(received))


@settings(max_examples=150)
@given(st.lists(requests(), min_size=1, max_size=6), st.lists(st.integers(0, 4000), max_size=6))
@example([hot(TARGETS[1]), hot(TARGETS[20], b"PUT"), hot(TARGETS[0])], [])
@example([hot(TARGETS[20], b"PUT"), hot(TARGETS[20], b"PUT"), hot(TARGETS[27], b"POST", BODIES[4])], [7, 90, 150])
@example([hot(TARGETS[27], b"POST", BODIES[-1]), hot(TARGETS[0])], [])
@example([hot(TARGETS[22], b"PUT"), hot(TARGETS[31]), hot(TARGETS[0], b"GET", b"", b"X-ConsumerId: buyer")], [])
@example([TRAILED], [])
def test_both_lanes_answer_the_same_bytes(
    lanes: tuple[Replica, Replica], conversation: list[bytes], cuts: list[int]
) -> None:
    """Which lane a request takes must be of no consequence to any client."""
    fast, plain = lanes
    data = b"".join(conversation).replace(REV, _rev(plain).encode()) + LAST
    assert converse(fast, data, cuts) == converse(plain, data, cuts)


def test_a_lapsed_heartbeat_is_answered_alike(lanes: tuple[Replica, Replica]) -> None:
    """The short way ends where the lease is gone; the long one then decides what is true."""
    answers = []
    for lane in lanes:
        # A tenant of its own: in the other one both stay at one position.
        api = lane.api(f"{TENANT}-lapsed")
        api.instance(api.service(serviceId="s"), instanceId="gone")
        beat = hot(BASE + b"/microservices/s/instances/gone/heartbeat", b"PUT")
        beat = beat.replace(TENANT.encode(), api.domain.encode())
        with Connection(lane.host, lane.port) as connection:
            assert connection.exchange(beat).status == 200
            api.delete("/microservices/s/instances/gone")
            answers.append(connection.exchange(beat))
    assert [answer.status for answer in answers] == [400, 400]
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize("ending", ["half a head", "half a body", "an unanswered heartbeat"])
def test_connections_that_break_off_leave_the_lane_in_order(lanes: tuple[Replica, Replica], ending: str) -> None:
    """A client that dies in the middle costs the others nothing."""
    fast, plain = lanes
    whole = hot(TARGETS[27], b"POST", BODIES[4])
    sent = {
        "half a head": whole[:40],
        "half a body": whole[:-20],
        "an unanswered heartbeat": hot(TARGETS[20], b"PUT") * 3,
    }[ending]
    for _ in range(100):
        with socket.create_connection((fast.host, fast.port), LIMIT_S) as connection:
            connection.sendall(sent)
    assert converse(fast, hot(TARGETS[0]) + LAST, []) == converse(plain, hot(TARGETS[0]) + LAST, [])


def test_known_requests_are_answered_alike_over_sockets(lanes: tuple[Replica, Replica]) -> None:
    """One request at a time, over several connections: from its second on, each has a header block that is known."""
    rev = _rev(lanes[1]).encode()
    requests = [
        hot(TARGETS[1].replace(REV, rev)),
        hot(TARGETS[0]),
        hot(TARGETS[20], b"PUT"),
        hot(TARGETS[22], b"PUT"),
    ]
    requests += [hot(TARGETS[27], b"POST", body) for body in BODIES[:4]] + [hot(TARGETS[0], b"GET", b"", HEADERS[6])]
    said = []
    for lane in lanes:
        connections = [Connection(lane.host, lane.port) for _ in range(3)]
        answers = [each.exchange(request) for _ in range(3) for request in requests for each in connections]
        said.append([(_VOLATILE.sub(b"", answer.head), answer.body) for answer in answers])
        for each in connections:
            each.close()
    assert said[0] == said[1]


# -- on real sockets, with a Redis that hangs --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module", params=["on", "off"])
def lane(server: RedisServer, request: pytest.FixtureRequest) -> Iterator[Replica]:
    """One lane over a Redis of its own, with what `hot` asks for."""
    with replica("--redis-url", server.url, "--fast-lane", request.param) as one:
        api = one.api(TENANT)
        api.service("cart", serviceId="cart")
        for number in range(3):
            api.register("cart", instanceId=f"i{number}")
        yield one


def descriptors(lane: Replica) -> int:
    """TCP sockets that its process holds, those that are dead to the kernel included; Redis's are others."""
    unix = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    held = 0
    for place in Path(f"/proc/{lane.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            kind, _, inode = str(place.readlink()).partition(":[")
            held += kind == "socket" and inode.rstrip("]") not in unix
    return held


def reset(connection: socket.socket) -> None:
    """End it as a client does that crashes with bytes unread."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_connections_lost_while_redis_hangs_cost_the_others_nothing(server: RedisServer, lane: Replica) -> None:
    """Heartbeats under way, alone and with more behind them; the others' heartbeats are answered, and all is freed."""
    beat = hot(TARGETS[20], b"PUT")
    with lane.connect() as other:
        other.exchange(beat)
        before = descriptors(lane)
        server.pause()
        try:
            lost = []
            for behind in (b"", beat, hot(TARGETS[0]), hot(TARGETS[27], b"POST", BODIES[4])[:-9]) * 10:
                lost.append(socket.create_connection((lane.host, lane.port), LIMIT_S))
                lost[-1].sendall(beat + behind)
            other.send(beat)
            for connection in lost:
                reset(connection)
            assert other.receive().status == 200
        finally:
            server.resume()
        assert other.exchange(beat).status == 200
        until_sync(lambda: descriptors(lane) <= before, "the lost connections to be freed")
    assert [
        line for line in lane.log() if line["level"] != "warning" and line["action"] not in ("listening", "started")
    ] == []


def test_client_that_only_sends_is_not_read_for_ever(lane: Replica) -> None:
    """What it sends waits in its own socket: the registry holds no more for it than it has answered."""
    segment, sent, blocked = hot(TARGETS[0]) * 200 + hot(TARGETS[20], b"PUT") * 20, 0, 0
    with lane.connect() as other, socket.socket() as connection:
        other.exchange(hot(TARGETS[0]))
        before = descriptors(lane)
        connection.connect((lane.host, lane.port))
        connection.setblocking(False)
        while blocked < 50:
            try:
                sent += connection.send(segment)
                blocked = 0
            except BlockingIOError:
                assert other.exchange(hot(TARGETS[0])).status == 200
                blocked += 1
            assert sent < SOCKETS_HOLD_BYTES
        assert descriptors(lane) == before + 1
        reset(connection)
        assert other.exchange(hot(TARGETS[0])).status == 200
        until_sync(lambda: descriptors(lane) == before, "the connection to be freed")


def test_a_reader_that_pauses_gets_every_byte_in_order(lanes: tuple[Replica, Replica]) -> None:
    """Answers that do not fit into the socket wait; they are neither dropped nor mixed up."""
    data = hot(TARGETS[0]) * 3000 + LAST
    expected = converse(lanes[1], hot(TARGETS[0]) + LAST, [])
    one = expected[: expected.index(b"HTTP/1.1", 1)]
    assert converse(lanes[0], data, []) == one * 3000 + expected[len(one) :]
