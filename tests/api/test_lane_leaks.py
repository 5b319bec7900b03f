"""Connections that pause, stop in the middle or are lost: nothing is left of them, and nobody else notices.

Both lanes, without sockets and in virtual time (tests/support/wires.py). What real sockets add is in test_lanes.py.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref
from typing import Any
from weakref import ref

import pytest

from registry.domain.find import FindQuery
from registry.domain.tenant import DEFAULT_TENANT
from registry.serving.connection import HELD_MAX_BYTES, Connection
from registry.serving.heads import BLOCK_MAX_BYTES, BLOCKS_MAX, Head, Heads
from registry.serving.recognise import MEANT_MAX, MEANT_MAX_BYTES
from registry.usecases.writes import DECIDE_TIMEOUT_S
from tests.support.memory_replica import VIRTUAL, elapse, elapse_until
from tests.support.wires import (
    BASE,
    BATCH,
    BEAT,
    BLOCK,
    FIND,
    HIGH_WATER,
    KEEP_ALIVE_S,
    Lane,
    Wire,
    fill,
    follow,
    header,
    register,
    status,
    two_lanes,
    whole,
)

BATCH_BODY = json.dumps({"services": [{"service": {"appId": "shop", "serviceName": "cart"}}]}).encode()
CHANGED_BATCH = whole(b"POST", BATCH, body=BATCH_BODY.replace(b"}}", b'}, "rev": "old"}'))
SLOW = whole(b"GET", b"/version")
WATCH = b"/v4/default/registry/microservices/cart/watcher"
#: What a client may leave behind: requests that it has sent, and a part of one.
LEFT = {
    "nothing": [],
    "half a line": [b"GET /v4/def"],
    "half a head": [whole(b"GET", FIND)[:-8]],
    "half a body": [whole(b"POST", BATCH, body=BATCH_BODY)[:-5]],
    "half a body after a known request": [whole(b"GET", FIND)] * 3 + [whole(b"POST", BATCH, body=BATCH_BODY)[:-5]],
    "half a chunk": [whole(b"PUT", BEAT, BLOCK + b"\r\nTransfer-Encoding: chunked") + b"9\r\n{"],
    "half a body behind a whole request": [SLOW + whole(b"POST", BATCH, body=BATCH_BODY)[:-5]],
    "half a head behind a heartbeat": [whole(b"PUT", BEAT) + whole(b"GET", FIND)[:-8]],
}


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


@pytest.fixture(params=["fast", "plain"])
async def lane(request: pytest.FixtureRequest) -> Lane:
    """A lane that knows the header block of all these tests."""
    fast, plain = await two_lanes()
    chosen = fast if request.param == "fast" else plain
    await fill(chosen)
    await follow(chosen)
    wire = chosen.connect()
    await chosen.say(wire, whole(b"GET", FIND))
    wire.drop(None)
    return chosen


async def assert_nothing_is_left(lane: Lane, wire: Wire) -> None:
    """Of a connection that is lost."""
    await lane.settle()
    assert wire.protocol not in lane.shared.connections
    assert not lane.shared.tasks
    protocol = weakref.ref(wire.protocol)
    del wire.protocol
    wire._inbox.clear()
    gc.collect()
    assert protocol() is None, gc.get_referrers(protocol())


async def assert_the_next_is_served(lane: Lane) -> None:
    wire = lane.connect()
    for request in (whole(b"GET", FIND), whole(b"PUT", BEAT), whole(b"POST", BATCH, body=BATCH_BODY)):
        assert status(await lane.say(wire, request)) == 200
    wire.drop(None)


# -- lost --------------------------------------------------------------------------------------------------------------


class BrokenWire(Wire):
    """Its client has gone, which the first write shows."""

    def write(self, data: Any) -> None:
        self.close()


async def test_client_that_goes_before_its_upgrade_gets_no_websocket(lane: Lane) -> None:
    """A transport tells one protocol that it is lost; a websocket that came after it would be counted for ever."""
    wire = BrokenWire(Connection(lane.shared, asyncio.get_running_loop()))
    block = BLOCK + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    watch = whole(b"GET", WATCH, block + b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    await lane.say(wire, SLOW + watch)
    assert wire.lost
    await assert_nothing_is_left(lane, wire)
    await assert_the_next_is_served(lane)


@pytest.mark.parametrize("exc", [None, ConnectionResetError()], ids=["ended", "reset"])
@pytest.mark.parametrize("left", LEFT)
async def test_lost_connection_leaves_nothing(lane: Lane, left: str, exc: Exception | None) -> None:
    """Each would cost memory, and a timer that holds it, for as long as connections are kept."""
    wire = lane.connect()
    await lane.say(wire, *LEFT[left])
    wire.drop(exc)
    await assert_nothing_is_left(lane, wire)
    await assert_the_next_is_served(lane)


@pytest.mark.parametrize("exc", [None, ConnectionResetError()], ids=["ended", "reset"])
@pytest.mark.parametrize("behind", [b"", whole(b"PUT", BEAT) * 3, whole(b"GET", FIND) * 3 + b"PUT /"], ids=str)
async def test_connection_lost_under_a_heartbeat_costs_only_itself(
    lane: Lane, behind: bytes, exc: Exception | None
) -> None:
    """One batch tells many connections: the answer to one that is gone must not keep the others from theirs."""
    lost, other = lane.connect(), lane.connect()
    await lane.say(other, whole(b"GET", FIND))
    already = len(other.sent)
    lane.store.hang()
    lost.feed(whole(b"PUT", BEAT) + behind if behind else whole(b"PUT", BEAT))
    other.feed(whole(b"PUT", BEAT))
    for _ in range(3):
        await asyncio.sleep(0)
    lost.drop(exc)
    lane.store.come_back()
    await elapse_until(lambda: len(other.sent) > already, "the other's answer")
    assert status(other.sent[already:]) == 200
    assert other.sent.count(b"HTTP/1.1") == 2
    assert lost.sent == b""
    await assert_nothing_is_left(lane, lost)
    await assert_the_next_is_served(lane)


async def test_client_that_pauses_in_a_broken_store_is_dropped_without_a_trace(lane: Lane) -> None:
    """Everything at once: unread answers, a heartbeat under way, requests behind it, and then the end."""
    wire = lane.connect()
    wire.client_reads = False
    wire.feed(whole(b"GET", FIND) * 3)
    lane.store.hang()
    wire.feed(whole(b"PUT", BEAT) * 2 + whole(b"GET", FIND) * 100, whole(b"PUT", BEAT)[:30])
    for _ in range(3):
        await asyncio.sleep(0)
    wire.drop(ConnectionResetError())
    lane.store.come_back()
    await lane.settle(wire)
    await assert_nothing_is_left(lane, wire)
    await assert_the_next_is_served(lane)


# -- idle --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", LEFT)
async def test_client_that_owes_something_is_let_go(lane: Lane, left: str) -> None:
    """After the time that an idle connection is kept, whatever it was in the middle of."""
    wire = lane.connect()
    await lane.say(wire, *LEFT[left])
    await elapse(KEEP_ALIVE_S - 1)
    assert not wire.is_closing()
    await elapse(3)
    assert wire.is_closing()
    await assert_nothing_is_left(lane, wire)


async def test_connection_is_kept_from_its_last_request_on(lane: Lane) -> None:
    """A request that needs no parser counts as any other; the timer is set seldom, and must not be early or late."""
    wire = lane.connect()
    for pause_s in (1, KEEP_ALIVE_S - 1, 20, KEEP_ALIVE_S - 1):
        assert status(await lane.say(wire, whole(b"GET", FIND))) == 200
        await elapse(pause_s)
        assert not wire.is_closing()
    await elapse(2)
    assert wire.is_closing()
    await assert_nothing_is_left(lane, wire)


async def test_heartbeats_keep_the_connection(lane: Lane) -> None:
    """An instance that only beats, every 30 s, is the usual one."""
    wire = lane.connect()
    for _ in range(10):
        before = len(wire.sent)
        wire.feed(whole(b"PUT", BEAT))
        await elapse(30)
        assert status(wire.sent[before:]) == 200
    await elapse(KEEP_ALIVE_S)
    assert wire.is_closing()


async def test_heartbeat_under_way_keeps_the_connection(lane: Lane) -> None:
    """One that waits for the store when the time is over is answered, not cut off."""
    wire = lane.connect()
    before = len(await lane.say(wire, whole(b"PUT", BEAT)))
    await elapse(KEEP_ALIVE_S - 0.1)
    lane.store.hang()
    wire.feed(whole(b"PUT", BEAT))
    await elapse(5)
    lane.store.come_back()
    assert status(wire.sent[before:]) == 200
    assert not wire.is_closing()
    await elapse(KEEP_ALIVE_S)
    assert wire.is_closing()
    await assert_nothing_is_left(lane, wire)


@pytest.mark.parametrize("request_", [whole(b"PUT", BEAT, body=b"x" * 1000), whole(b"POST", BATCH, body=b"x" * 1000)])
async def test_each_byte_of_a_body_does_not_buy_more_time(lane: Lane, request_: bytes) -> None:
    """A byte now and then would hold a connection for days."""
    wire = lane.connect()
    wire.feed(whole(b"GET", FIND) + request_[:-1000])
    for _ in range(20):
        await elapse(KEEP_ALIVE_S / 10)
        wire.feed(b"x")
    assert wire.ended
    assert b" 408 " in wire.sent
    wire.drop(None)
    await assert_nothing_is_left(lane, wire)


# -- slow readers and fast senders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [1, 7, 50], ids=lambda n: f"{n} in a segment")
async def test_client_that_does_not_read_is_not_read(lane: Lane, together: int) -> None:
    """What waits for it is bounded; when it reads again it gets every answer, in order."""
    wire = lane.connect()
    one = await lane.say(wire, whole(b"GET", FIND))
    beat = await lane.say(wire, whole(b"PUT", BEAT))
    wire.sent, wire.client_reads = b"", False
    rounds = 100 // together + 1
    for _ in range(rounds):
        wire.feed(*[whole(b"GET", FIND) * together] * 3, whole(b"PUT", BEAT) * together)
        await lane.settle(wire)
    assert len(wire.unread) <= HIGH_WATER + 2 * len(one)
    assert wire.waiting_bytes > 0
    assert wire.protocol._held.size <= HELD_MAX_BYTES + len(whole(b"PUT", BEAT)) * together
    assert len(wire.protocol._turns.waiting) <= together
    while wire.unread or wire.waiting_bytes:
        wire.read(HIGH_WATER // 2)
        await lane.settle(wire)
        assert len(wire.unread) <= HIGH_WATER + 2 * len(one)
    assert wire.sent == (one * 3 * together + beat * together) * rounds
    wire.drop(None)
    await assert_nothing_is_left(lane, wire)


@pytest.mark.parametrize("behind", [b"", SLOW], ids=["", "and another behind"])
async def test_a_body_that_comes_behind_an_unread_answer_is_read_after_it(lane: Lane, behind: bytes) -> None:
    """Its turn has come when the client has taken what it was sent. It stood still, and was called too slow."""
    wire = lane.connect()
    wire.client_reads = False
    batch = whole(b"POST", BATCH, body=BATCH_BODY)
    await lane.say(wire, SLOW + behind + batch[:-5])
    assert wire.unread
    wire.client_reads = True
    wire.read()
    answers = 2 + bool(behind)
    await lane.say(wire, batch[-5:])
    assert wire.sent.count(b"HTTP/1.1 200 OK") == answers
    wire.drop(None)
    await assert_nothing_is_left(lane, wire)


async def test_requests_that_wait_for_their_turn_are_bounded(lane: Lane) -> None:
    """One that sends faster than it is answered waits in its own socket, not in our memory."""
    wire = lane.connect()
    most = 0
    wire.feed(*[SLOW * 20] * 20)
    while wire.sent.count(b"HTTP/1.1 200 OK") < 400:
        await asyncio.sleep(0)
        most = max(most, len(wire.protocol._turns.waiting))
    assert most <= 20


# -- what is kept ------------------------------------------------------------------------------------------------------


async def test_idle_connection_keeps_no_body(lane: Lane) -> None:
    """Ten thousand clients that once asked for much would else cost gigabytes for as long as they stay."""
    wire = lane.connect()
    body = BATCH_BODY + b" " * 200_000
    for request in (whole(b"POST", BATCH, body=body), whole(b"PUT", BEAT, body=body)):
        assert status(await lane.say(wire, request[:1000], request[1000:])) == 200
        assert not wire.protocol._held.size
        assert wire.protocol._turns.arriving is wire.protocol._turns.active is None


async def test_answer_that_is_out_of_date_is_not_kept(lane: Lane) -> None:
    """A service of a thousand instances has a new answer of half a megabyte with every change."""
    wire = lane.connect()
    await lane.say(wire, whole(b"GET", FIND), whole(b"GET", FIND))
    answer = lane.replica.api.discovery.find_now(DEFAULT_TENANT, FindQuery("shop", "cart"))
    await register(lane, "cart", "new")
    await lane.say(wire, whole(b"GET", FIND), whole(b"GET", FIND))
    assert sys.getrefcount(answer) == 2  # this test's, and the argument


async def test_answer_that_clients_hold_is_not_kept_when_it_is_out_of_date(lane: Lane) -> None:
    """They are told by a line that it is as it was; the next rev is another request, and this one never comes again."""
    wire = lane.connect()
    rev = header(await lane.say(wire, whole(b"GET", FIND)), b"X-Resource-Revision")
    polled = whole(b"GET", FIND + b"&rev=" + rev)
    for _ in range(2):
        assert status(await lane.say(wire, polled)) == 304
    answer = lane.replica.api.discovery.find_now(DEFAULT_TENANT, FindQuery("shop", "cart"))
    await register(lane, "cart", "new")
    assert status(await lane.say(wire, whole(b"GET", FIND))) == 200
    assert sys.getrefcount(answer) == 2  # this test's, and the argument


async def test_what_requests_meant_is_kept_within_bounds(lane: Lane) -> None:
    """A hostile client asks something new each time, as long as it can be."""
    recogniser = lane.hot.recogniser
    for number in range(MEANT_MAX // 10):
        recogniser.recognise(b"GET", FIND + b"&tags=" + b"a," * 900 + b"&rev=%d" % number, Head(key=b""))
        recogniser.recognise(b"GET", FIND, Head(consumer=b"c%d" % number, key=b"c%d" % number + b" " * 5000))
    assert 0 < recogniser.size <= MEANT_MAX_BYTES


def test_known_blocks_are_bounded() -> None:
    """A hostile client sends a new block each time: others are forgotten, and learned again with their next request."""
    heads = Heads()
    for number in range(2 * BLOCKS_MAX):
        assert heads.read(b"Host: h%d" % number) is not None
        assert len(heads) <= BLOCKS_MAX


def test_block_of_excessive_size_is_not_learned() -> None:
    """The table's bytes are bounded, too."""
    pad = b"Host: h\r\nCookie: " + b"x" * (BLOCK_MAX_BYTES - len(b"Host: h\r\nCookie: "))
    assert Heads().read(pad) is not None
    assert Heads().read(pad + b"x") is None


#: Of services that are not there: what refuses it would not be there either, had the log not been asked.
NOWHERE = [
    whole(b"PUT", BEAT.replace(b"i1", b"none")),
    whole(b"POST", BASE + b"/microservices/none/instances", body=b'{"instance":{"hostName":"h"}}'),
    whole(b"PUT", BASE + b"/microservices/none/properties", body=b'{"properties":{}}'),
]
PRESENT = [whole(b"GET", FIND), whole(b"PUT", BEAT), whole(b"GET", FIND + b"&rev=old"), CHANGED_BATCH]


@pytest.mark.parametrize("away", [False, True], ids=["", "away"])
@pytest.mark.parametrize(("asked", "answered"), [*((one, 200) for one in PRESENT), *((one, 400) for one in NOWHERE)])
async def test_lost_connection_is_gone_at_once(lane: Lane, asked: bytes, answered: int, away: bool) -> None:
    """Clients that connect anew each time would fill the memory until the collector looks, which is seldom."""
    if away:
        lane.store.go_away()
        answered = 200 if answered == 200 else 500
    gc.collect()
    gc.disable()
    try:
        wire = lane.connect()
        assert status(await lane.say(wire, asked)) == answered
        protocol = ref(wire.protocol)
        wire.drop(None)
        await lane.settle(wire)
        if away:
            await elapse(DECIDE_TIMEOUT_S)  # what was refused may be kept until then
        wire.protocol = None  # as uvloop's transports do
        del wire
        assert protocol() is None
    finally:
        gc.enable()
