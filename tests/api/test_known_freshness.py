"""What a request with a known header block is answered follows the registry, the clock and its own headers, always.

Each test asks with blocks that are known, lets something change, and asks both lanes again: without sockets
(tests/support/wires.py), so that all bytes are compared.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.domain.fold import move
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView, Standing
from registry.projection.restoring import Restored
from registry.serving import lane as lane_module
from registry.serving.elements import Element
from registry.serving.heads import PASSED
from registry.serving.known import (
    BATCHES_MAX,
    BATCHES_MAX_BYTES,
    FINDS_MAX,
    FINDS_MAX_BYTES,
    KnownBatch,
    KnownBatches,
    key_of,
)
from registry.serving.polls import Poll
from registry.serving.recognise import BatchFind
from registry.store.damage import Damaged
from tests.support.memory_replica import VIRTUAL
from tests.support.wires import (
    BASE,
    BATCH,
    BEAT,
    BLOCK,
    FIND,
    Lane,
    Wire,
    fill,
    follow,
    header,
    register,
    status,
    two_lanes,
    whole,
    write,
)

BATCH_BODY = json.dumps(
    {
        "services": [{"service": {"appId": "shop", "serviceName": "cart"}}],
        "instances": [{"instance": {"serviceId": "cart", "instanceId": "i1"}}],
    }
).encode()
ASKED = (whole(b"GET", FIND), whole(b"PUT", BEAT), whole(b"POST", BATCH, body=BATCH_BODY))


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


class Both:
    """One client of each lane."""

    def __init__(self, fast: Lane, plain: Lane) -> None:
        self.lanes = (fast, plain)
        self.wires: list[Wire] = [lane.connect() for lane in self.lanes]

    async def ask(self, request: bytes) -> bytes:
        """What both answer."""
        fast, plain = [await lane.say(wire, request) for lane, wire in zip(self.lanes, self.wires, strict=True)]
        assert fast == plain
        return fast

    async def ask_known(self, request: bytes) -> bytes:
        """The same, where the fast lane has needed no parser."""
        hot = self.lanes[0].hot
        before = hot.recognised
        answer = await self.ask(request)
        assert hot.recognised == before + 1
        return answer

    async def learn(self, *requests: bytes) -> None:
        for request in requests:
            await self.ask(request)
            await self.ask_known(request)

    async def write(self, method: bytes, path: bytes, body: object = None) -> bytes:
        """Change something; both know of it."""
        answer = await write(self.lanes[1], method, path, body)
        await follow(*self.lanes)
        return answer


@pytest.fixture
async def both() -> Both:
    """Both lanes over cart, buyer, empty and twelve instances; the block of `whole` is known."""
    fast, plain = await two_lanes()
    await fill(plain)
    await follow(fast, plain)
    both = Both(fast, plain)
    await both.learn(*ASKED)
    return both


# -- without the parser ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ASKED, ids=["find", "heartbeat", "batch"])
async def test_known_block_needs_no_parser_on_any_connection(both: Both, request_: bytes) -> None:
    """What this file and test_known_heads.py are about does happen."""
    fast = both.lanes[0]
    for _ in range(2):
        wire = fast.connect()
        for _ in range(3):
            assert status(await fast.say(wire, request_)) == 200
        assert wire.protocol._reader is None


async def test_header_that_is_not_on_the_list_needs_the_parser(both: Both) -> None:
    """The day it means something, it must not be passed over."""
    fast = both.lanes[0]
    for block in (BLOCK + b"\r\nX: y", BLOCK + b"\r\nProxy-Authorization: x", b"X-Domain-Name: default", b""):
        before = fast.hot.recognised
        await both.ask(whole(b"GET", FIND, block))
        assert fast.hot.recognised == before


async def test_headers_that_differ_with_each_request_are_passed_over(both: Both) -> None:
    """Tracing and request ids: nothing of them is remembered."""
    fast = both.lanes[0]
    await both.ask(whole(b"GET", FIND, BLOCK + b"\r\ntraceparent: 00-0-0-0"))
    known, requests = len(fast.hot.heads), len(fast.hot.known)
    for number in range(20):
        block = BLOCK + b"\r\ntraceparent: 00-%d-0-0\r\nUser-Agent: x\r\nX-Request-Id: %d" % (number, number)
        await both.ask_known(whole(b"GET", FIND, block))
    assert (len(fast.hot.heads), len(fast.hot.known)) == (known, requests)


async def test_line_ends_between_requests_never_add_up(both: Both) -> None:
    """Old clients send one after a body (RFC 9112 2.2). The limit of a head is not one of all of them together."""
    for wire in both.wires:
        wire.sent = b""
        wire.feed(*[b"\r\n" * 100, whole(b"GET", FIND)] * 200)
    for lane, wire in zip(both.lanes, both.wires, strict=True):
        await lane.settle(wire)
        assert not wire.is_closing()
    assert both.wires[0].sent == both.wires[1].sent


# -- the registry changes ----------------------------------------------------------------------------------------------


async def test_finds_and_heartbeats_follow_the_instances(both: Both) -> None:
    """Unregistered, registered again, in another service: a known request is answered from the view of its moment."""
    await both.write(b"DELETE", b"/microservices/cart/instances/i1")
    assert b'"i1"' not in await both.ask_known(ASKED[0])
    assert b"400017" in await both.ask_known(ASKED[1])
    assert b"400017" in await both.ask_known(ASKED[2])
    await register(both.lanes[1], "empty", "i1")
    await follow(*both.lanes)
    assert b"400017" in await both.ask_known(ASKED[1])
    elsewhere = BASE + b"/microservices/empty/instances/i1/heartbeat"
    assert status(await both.ask_known(whole(b"PUT", elsewhere))) == 200
    await register(both.lanes[1], "cart", "i1")
    await follow(*both.lanes)
    assert b'"i1"' in await both.ask_known(ASKED[0])
    assert status(await both.ask_known(ASKED[1])) == 200


async def test_finds_and_heartbeats_follow_the_services(both: Both) -> None:
    """Deleted with its instances, and registered again with none."""
    await both.write(b"DELETE", b"/microservices/cart?force=1")
    assert [status(await both.ask_known(request)) for request in ASKED] == [400, 400, 200]
    await both.write(
        b"POST", b"/microservices", {"service": {"serviceName": "cart", "appId": "shop", "serviceId": "cart"}}
    )
    assert (await both.ask_known(ASKED[0])).endswith(b"\r\n\r\n{}")
    assert b"400017" in await both.ask_known(ASKED[1])


async def test_not_modified_ends_with_the_next_change(both: Both) -> None:
    """And begins anew with the rev of the new answer; either is the same request to the lane but for its line."""
    rev = header(await both.ask_known(ASKED[0]), b"X-Resource-Revision")
    polled = whole(b"GET", FIND + b"&rev=" + rev)
    assert status(await both.ask_known(polled)) == 304
    await both.write(b"PUT", b"/microservices/cart/instances/i1/status?value=DOWN")
    changed = await both.ask_known(polled)
    assert status(changed) == 200
    new = header(changed, b"X-Resource-Revision")
    assert status(await both.ask_known(whole(b"GET", FIND + b"&rev=" + new))) == 304


async def test_every_known_answer_tells_the_position_of_its_moment(both: Both) -> None:
    """Clients keep the greatest: one that is out of date would let them read what is older than their own write."""
    for number in range(3):
        written = header(
            await both.write(b"PUT", b"/microservices/empty/properties", {"properties": {"n": str(number)}}),
            b"X-Registry-Position",
        )
        assert [header(await both.ask_known(request), b"X-Registry-Position") for request in ASKED] == [written] * 3


async def test_lapsed_lease_is_found_out(both: Both) -> None:
    """The log still holds the instance: the heartbeat restores its lease. Both lanes, and then all is as before."""
    for lane in both.lanes:
        tenant = lane.replica.projector.tenants[0]
        lane.server.of(tenant).leases.clear()
        assert status(await both.ask_known(ASKED[1])) == 200
        assert lane.server.of(tenant).leases


# -- what is said again ------------------------------------------------------------------------------------------------


async def test_what_has_been_said_is_said_again_while_nothing_happens(both: Both) -> None:
    """On any connection, also when something else has changed; what it says of itself is made anew."""
    fast = both.lanes[0]
    before = fast.hot.finds.repeated
    both.wires = [lane.connect() for lane in both.lanes]
    await both.ask_known(ASKED[0])
    assert fast.hot.finds.repeated == before + 1
    written = await both.write(b"PUT", b"/microservices/empty/properties", {"properties": {"n": "1"}})
    answer = await both.ask_known(ASKED[0])
    assert fast.hot.finds.repeated == before + 2
    assert header(answer, b"X-Registry-Position") == header(written, b"X-Registry-Position")
    await register(both.lanes[1], "cart", "late")
    await follow(*both.lanes)
    assert b'"late"' in await both.ask_known(ASKED[0])
    assert fast.hot.finds.repeated == before + 2
    await both.ask_known(ASKED[0])
    assert fast.hot.finds.repeated == before + 3


async def test_what_is_shared_by_all_tenants_is_not_said_again_after_it_changed(both: Both) -> None:
    """It stands in the default tenant's log, of which the other tenant's position says nothing."""
    registration = both.lanes[1].replica.registration
    await registration.register()
    await follow(*both.lanes)
    other = BLOCK.replace(b"default", b"other")
    asked = whole(b"GET", BASE + b"/instances?appId=default&serviceName=SERVICECENTER", other)
    await both.learn(asked, asked)
    assert both.lanes[0].hot.finds.repeated
    assert b'"rest://h:1/"' in await both.ask_known(asked)
    await registration.leave()
    await follow(*both.lanes)
    assert b'"rest://h:1/"' not in await both.ask_known(asked)


async def test_what_another_view_said_is_not_said_again(both: Both) -> None:
    """Of a tenant whose own log goes on; a rebuilt one may stand at the same place, and hold something else."""
    other = BLOCK.replace(b"default", b"other")
    service = json.dumps({"service": {"serviceName": "cart", "appId": "shop", "serviceId": "cart"}}).encode()
    instance = json.dumps({"instance": {"hostName": "h", "instanceId": "i1"}}).encode()
    asked = whole(b"GET", FIND, other)

    async def change(path: bytes, body: bytes) -> None:
        assert status(await both.lanes[1].say(both.wires[1], whole(b"POST", BASE + path, other, body))) == 200
        await follow(*both.lanes)

    await change(b"/microservices", service)
    await both.learn(asked, asked)
    await change(b"/microservices/cart/instances", instance)
    assert b'"i1"' in await both.ask_known(asked)
    await both.learn(asked, asked)
    for lane in both.lanes:
        projector = lane.replica.projector
        tenant = Tenant("other", "default")
        view = RegistryView(tenant)
        move(view, projector.view(tenant).position)
        projector.adopt(tenant, Restored(view))
    assert status(await both.ask_known(asked)) == 400


def known_batch(number: int) -> KnownBatch:
    """What is known of a batch find with this number of elements."""
    poll = Poll(0, (Element((0, b""), None, Standing(), True),) * number, 0, True, [])
    return KnownBatch(BatchFind(DEFAULT_TENANT, False), "", 0, None, poll)


async def test_known_batch_finds_are_bounded() -> None:
    """Each client may ask something else each time."""
    batches, known = KnownBatches(), known_batch(10)
    for number in range(2 * BATCHES_MAX):
        batches.put(key_of(b"%d" % number), known)
    assert batches.find(key_of(b"%d" % (2 * BATCHES_MAX - 1))) is known
    assert batches.find(key_of(b"0")) is None
    assert BATCHES_MAX_BYTES // 3 < batches.size <= BATCHES_MAX_BYTES


async def test_many_clients_are_known_at_once(both: Both) -> None:
    """Each has a head of its own. Those that say nothing but their program beside it are known once, and not twice."""
    lane, understood = both.lanes[0], Understood(both)
    asked = await poll(both, "cart")
    for _ in range(2):
        wire, before = lane.connect(), understood.count
        for number in range(30_000):
            head = b"Cookie: %0160d\r\nUser-Agent: Go-http-client/1.1\r\n" % number
            wire.feed(asked.replace(b"Content-Length:", head + b"Content-Length:", 1))
            wire.sent = b""
    assert understood.count - before < 100


async def test_what_is_kept_to_be_said_again_is_bounded(both: Both) -> None:
    """A hostile client asks something new each time."""
    lane, wire = both.lanes[0], both.lanes[0].connect()
    for number in range(2 * FINDS_MAX):
        wire.feed(whole(b"GET", FIND + b"&a=%d" % number))
        wire.sent = wire.sent[-1:]
    requests = lane.hot.known
    assert 0 < len(requests) <= FINDS_MAX
    assert FINDS_MAX_BYTES // 3 < requests.size <= FINDS_MAX_BYTES


# -- headers -----------------------------------------------------------------------------------------------------------


async def test_tenants_take_turns_on_one_connection(both: Both) -> None:
    """The tenant is the request's, never the connection's or the one before's."""
    other = BLOCK.replace(b"default", b"other")
    await both.ask(whole(b"GET", FIND, other))
    for _ in range(2):
        assert status(await both.ask_known(ASKED[0])) == 200
        assert b"400012" in await both.ask(whole(b"GET", FIND, other))
        assert b"400017" in await both.ask(whole(b"PUT", BEAT, other))
        assert status(await both.ask_known(ASKED[1])) == 200
    project = FIND.replace(b"/default/", b"/elsewhere/")
    assert b"400012" in await both.ask_known(whole(b"GET", project))


async def test_consumer_of_one_request_is_not_that_of_the_next(both: Both) -> None:
    """An unknown consumer is refused, no matter who asked before, with which block, on which connection."""
    buyer, nobody = BLOCK + b"\r\nX-ConsumerId: buyer", BLOCK + b"\r\nX-ConsumerId: nobody"
    await both.lanes[1].say(both.wires[1], whole(b"GET", FIND, buyer))  # which records it, and writes
    await follow(*both.lanes)
    both.wires = [lane.connect() for lane in both.lanes]
    await both.learn(whole(b"GET", FIND, buyer))
    both.wires = [lane.connect() for lane in both.lanes]
    assert status(await both.ask(whole(b"GET", FIND, nobody))) == 400
    assert status(await both.ask_known(whole(b"GET", FIND, buyer))) == 200
    assert status(await both.ask_known(ASKED[0])) == 200
    assert status(await both.ask(whole(b"GET", FIND, nobody))) == 400


@pytest.mark.parametrize("lane", [0, 1], ids=["fast", "plain"])
async def test_known_find_of_a_consumer_records_what_it_depends_on(both: Both, lane: int) -> None:
    """A new provider is recorded even when both the consumer's block and the question are known."""
    block = BLOCK + b"\r\nX-ConsumerId: buyer"
    late = BASE + b"/instances?appId=shop&serviceName=late"
    one, wire = both.lanes[lane], both.wires[lane]
    for _ in range(2):
        await one.say(wire, whole(b"GET", FIND, block), whole(b"GET", late, block))
    await write(one, b"POST", b"/microservices", {"service": {"serviceName": "late", "appId": "shop"}})
    assert status(await one.say(wire, whole(b"GET", late, block))) == 200
    providers = await write(one, b"GET", b"/microservices/buyer/providers")
    assert b'"late"' in providers


async def test_gzip_is_the_requests_own(both: Both) -> None:
    """Compressed for one client, plain for the next, of the same answer."""
    packed = whole(b"GET", FIND, BLOCK + b"\r\nAccept-Encoding: gzip")
    await both.learn(packed)
    for _ in range(2):
        assert header(await both.ask_known(packed), b"Content-Encoding") == b"gzip"
        assert header(await both.ask_known(ASKED[0]), b"Content-Encoding") == b""


@pytest.mark.parametrize("durability", [b"memory", b"two-copies", b"nonsense"])
async def test_durability_is_no_matter_of_what_appends_nothing(both: Both, durability: bytes) -> None:
    """Heartbeats and finds with the header are answered alike, known or not, whatever it says."""
    block = BLOCK + b"\r\nX-Registry-Durability: " + durability
    for request in (whole(b"GET", FIND, block), whole(b"PUT", BEAT, block)):
        await both.ask(request)


async def test_position_asked_for_is_never_a_known_request(both: Both) -> None:
    """It has to be looked at each time: it may have to wait."""
    block = BLOCK + b"\r\nX-Registry-Position: 0-0"
    before = both.lanes[0].hot.recognised
    for _ in range(3):
        assert status(await both.ask(whole(b"GET", FIND, block))) == 200
    assert both.lanes[0].hot.recognised == before


async def test_age_of_the_view_is_told_as_long_as_it_lasts(both: Both) -> None:
    """`X-Registry-Stale` stands in the lines of every answer, which are renewed when the time moves."""
    for stale_s in (3, 4, 0):
        for lane in both.lanes:
            lane.stale_s = stale_s
            lane.shared.tick()
        for request in (*ASKED, whole(b"GET", FIND + b"&rev=old")):
            assert header(await both.ask_known(request), b"X-Registry-Stale") == (b"%d" % stale_s if stale_s else b"")


# -- counting ----------------------------------------------------------------------------------------------------------


async def test_known_requests_are_counted(both: Both) -> None:
    """The metrics tell of both lanes alike."""
    before = [dict(lane.replica.api.observer.tally("find-instances").by_status) for lane in both.lanes]
    for _ in range(3):
        await both.ask_known(ASKED[0])
    for lane, counted in zip(both.lanes, before, strict=True):
        assert lane.replica.api.observer.tally("find-instances").by_status == {**counted, 200: counted[200] + 3}


async def test_heartbeats_remembered_by_known_requests_are_in_the_metrics(both: Both) -> None:
    """An operator sees the outage whichever way the heartbeats came."""
    for lane, wire in zip(both.lanes, both.wires, strict=True):
        lane.store.go_away()
        assert status(await lane.say(wire, ASKED[1])) == 200
        metrics = await lane.say(wire, whole(b"GET", b"/metrics"))
        assert b"\nregistry_heartbeats_remembered_total 1.0\n" in metrics
        assert b"\nregistry_heartbeats_waiting 1.0\n" in metrics


async def test_known_heartbeat_that_fails_within_the_registry_is_answered_and_logged(
    both: Both, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in the registry leaves no client without an answer, and no log without it."""

    async def beat(*args: object) -> None:
        raise ZeroDivisionError

    for lane in both.lanes:
        lane.server.of(lane.replica.projector.tenants[0]).leases.clear()
        monkeypatch.setattr(type(lane.replica.api.heartbeats), "beat", beat)
    assert status(await both.ask(ASKED[1])) == 500
    assert sum(record.exc_info is not None for record in caplog.records) == 2


async def test_meaning_of_a_request_does_not_depend_on_who_asked_first(both: Both) -> None:
    """A fresh lane and one that has answered everything else before say the same."""
    fast = both.lanes[0]
    used = [await fast.say(fast.connect(), request) for request in ASKED]
    fast.forget()
    assert [await fast.say(fast.connect(), request) for request in ASKED] == used


# -- known batch finds -------------------------------------------------------------------------------------------------

BUYER = BLOCK + b"\r\nX-ConsumerId: buyer"


async def poll(both: Both, *names: str, block: bytes = BLOCK) -> bytes:
    """A batch find of these services by a client that has them as they are."""
    services = []
    for name in names:
        answer = await both.ask(whole(b"GET", BASE + b"/instances?appId=shop&serviceName=" + name.encode()))
        rev = header(answer, b"X-Resource-Revision").decode()
        services.append({"service": {"appId": "shop", "serviceName": name}, "rev": rev})
    return whole(b"POST", BATCH, block, json.dumps({"services": services}, separators=(",", ":")).encode())


class Understood:
    """Counts the requests that the fast lane had to understand."""

    def __init__(self, both: Both) -> None:
        self._hot, self.count = both.lanes[0].hot, 0
        self._answer = self._hot._answer
        self._hot._answer = self._counted  # type: ignore[method-assign, assignment]

    def _counted(self, *args: Any) -> Any:
        self.count += 1
        return self._answer(*args)


async def test_known_batch_find_is_answered_without_being_read(both: Both) -> None:
    asked = await poll(both, "cart", "empty")
    await both.ask(asked)
    understood = Understood(both)
    assert (await both.ask_known(asked)).endswith(b'{"services":{"notModified":[0,1]}}')
    await both.write(b"PUT", b"/microservices/buyer/properties", {"properties": {"n": "1"}})
    await both.ask_known(asked)
    assert understood.count == 0


@pytest.mark.parametrize("name", ["cart", "empty"])
async def test_known_batch_find_ends_with_the_next_change_of_any_of_its_services(both: Both, name: str) -> None:
    """A 304 that lies would leave a client with instances that are gone."""
    asked = await poll(both, "cart", "empty")
    await both.learn(asked, asked)
    await register(both.lanes[1], name, "late")
    await follow(*both.lanes)
    assert b'"late"' in await both.ask_known(asked)
    assert b'"late"' in await both.ask_known(asked)


async def test_known_batch_finds_differ_by_consumer_and_body(both: Both) -> None:
    """What one consumer was answered is no answer to another, and no body stands for another."""
    one, other = await poll(both, "cart", block=BUYER), await poll(both, "cart", "empty", block=BUYER)
    for request in (one, other):
        await both.lanes[1].say(both.wires[1], request)  # which records what it finds
    await follow(*both.lanes)
    both.wires = [lane.connect() for lane in both.lanes]
    await both.learn(one, other, await poll(both, "cart"))
    assert (await both.ask_known(one)).endswith(b'{"services":{"notModified":[0]}}')
    assert (await both.ask_known(other)).endswith(b'{"services":{"notModified":[0,1]}}')
    nobody = one.replace(b"X-ConsumerId: buyer", b"X-ConsumerId: nobody")
    assert b'"failed"' in await both.ask(nobody)
    await both.write(b"DELETE", b"/microservices/buyer?force=1")
    assert b'"failed"' in await both.ask(one)


async def test_known_batch_find_records_what_was_forgotten(both: Both) -> None:
    """Of a consumer that left and came back nothing is recorded, though it asks the same."""
    asked = await poll(both, "cart", block=BUYER)
    for lane, wire in zip(both.lanes, both.wires, strict=True):
        await lane.say(wire, asked)
        await follow(*both.lanes)
    await both.learn(asked)
    await both.write(b"DELETE", b"/microservices/buyer?force=1")
    service = {"service": {"serviceName": "buyer", "appId": "shop", "serviceId": "buyer"}}
    await both.write(b"POST", b"/microservices", service)
    assert status(await both.lanes[0].say(both.wires[0], asked)) == 200
    await follow(*both.lanes)
    assert b'"cart"' in await both.write(b"GET", b"/microservices/buyer/providers")


# -- headers that are passed over --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"X-Request-Id", b"x-request-id", b"X-REQUEST-ID"])
@pytest.mark.parametrize("kind", ["find", "batch"])
async def test_id_is_that_of_the_request_also_of_a_known_one(both: Both, name: bytes, kind: str) -> None:
    """Its own, never that of the one before, and none where there is none."""
    new = whole(b"GET", FIND + b"&a=1", BLOCK + b"\r\n" + name + b": first")
    for _ in range(3):
        assert header(await both.ask(new), b"X-Request-Id") == b"first"
    asked = whole(b"GET", FIND) if kind == "find" else await poll(both, "cart")
    for id in (b"one", b"two", b"two", b"", b"not one", b"three"):
        line = b"\r\nX-Domain-Name: default\r\n" + name + b": " + id
        answer = await both.ask_known(asked.replace(b"\r\nX-Domain-Name: default", line, 1))
        assert header(answer, b"X-Request-Id") == (b"" if b" " in id else id)
        assert header(await both.ask_known(asked), b"X-Request-Id") == b""
    both_ids = b"\r\nX-Domain-Name: default\r\nX-Request-Id: a\r\ntraceparent: x\r\n" + name + b": b"
    for _ in range(4):
        answer = await both.ask_known(asked.replace(b"\r\nX-Domain-Name: default", both_ids, 1))
        assert header(answer, b"X-Request-Id") == b"b"


@pytest.mark.parametrize("passed", sorted(PASSED))
async def test_no_header_that_is_passed_over_needs_understanding(both: Both, passed: bytes) -> None:
    asked = whole(b"GET", FIND)
    await both.learn(asked)
    understood = Understood(both)
    for number, name in enumerate((passed, passed.title(), passed.upper())):
        await both.ask_known(whole(b"GET", FIND, b"%b: %d\r\n" % (name, number) + BLOCK))
        await both.ask_known(whole(b"GET", FIND, BLOCK + b"\r\n%b:%d" % (name, number)))
    assert understood.count == 0


@pytest.mark.parametrize(
    "line",
    [
        b"traceparent: a\xff",
        b"traceparent: a\0",
        b"traceparent: a\r\n b",
        b"traceparent: a\rb",
        b"traceparent: a\nX-Domain-Name: other",
        b"traceparent : a",
        b" traceparent: a",
        b"traceparents: a",
        b"x-traceparent: a",
        b"traceparent: a\r\n\r\nX-Domain-Name: other",
    ],
)
async def test_what_only_looks_like_a_header_that_is_passed_over_is_not(both: Both, line: bytes) -> None:
    """Folded, cut, with bytes that no header may have: both lanes say the same, whatever the connection said before."""
    for asked in (whole(b"GET", FIND), await poll(both, "cart")):
        for template in (b"%b\r\n" + BLOCK, BLOCK + b"\r\n%b"):
            both.wires = [lane.connect() for lane in both.lanes]
            await both.learn(
                asked, *[asked.replace(BLOCK, template % b"traceparent: %d" % number) for number in (1, 2)]
            )
            await both.ask(asked.replace(BLOCK, template % line))


@pytest.mark.parametrize("passed", [b"traceparent: " + b"x" * 40_000, b"\r\n".join([b"b3: 1"] * 300)])
@pytest.mark.parametrize("kind", ["find", "batch"])
async def test_headers_that_are_passed_over_count_for_the_limits(both: Both, passed: bytes, kind: str) -> None:
    """REGISTRY_HEAD_MAX_BYTES and REGISTRY_HEADERS_MAX hold for what is known, too."""
    asked = whole(b"GET", FIND) if kind == "find" else await poll(both, "cart")
    traced = [asked.replace(BLOCK, BLOCK + b"\r\ntraceparent: %d" % number) for number in (1, 2)]
    await both.learn(asked, *traced)
    answer = await both.ask(asked.replace(BLOCK, BLOCK + b"\r\n" + passed, 1))
    assert status(answer) == 431


@pytest.mark.parametrize("kind", ["find", "batch"])
async def test_what_a_connection_repeats_is_neither_hashed_nor_cut(
    both: Both, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a trace or an id of its own; and that is answered."""
    asked = whole(b"GET", FIND) if kind == "find" else await poll(both, "cart")
    traced = [
        asked.replace(BLOCK, BLOCK + b"\r\nX-Request-Id: %d\r\nUser-Agent: x" % number, 1) for number in range(20)
    ]
    await both.learn(asked, *traced[:2])
    for name in ("key_of", "without_passed"):
        monkeypatch.setattr(lane_module, name, None)
    for number, request in enumerate(traced):
        assert header(await both.ask_known(request), b"X-Request-Id") == b"%d" % number


async def test_what_a_connection_repeats_is_not_answered_from_what_was(both: Both) -> None:
    """It is looked for under its key, and that holds no longer than for any other connection."""
    for asked in (whole(b"GET", FIND), await poll(both, "cart")):
        traced = [asked.replace(BLOCK, BLOCK + b"\r\ntraceparent: %d" % number) for number in range(3)]
        await both.learn(asked, asked, *traced)
        await register(both.lanes[1], "cart", f"new{len(asked)}")
        await follow(*both.lanes)
        for request in (asked, *traced):
            assert b'"new%d"' % len(asked) in await both.ask(request)
        both.lanes[0].hot.known_batches.forget()
        for request in (asked, *traced):
            assert b'"new%d"' % len(asked) in await both.ask(request)


# -- tenants that are set aside ----------------------------------------------------------------------------------------


async def test_what_is_known_of_a_tenant_that_is_set_aside_is_not_said_as_if_it_were_not(both: Both) -> None:
    """Its answers say for how long nothing was read of it."""
    batch = await poll(both, "cart")
    await both.learn(whole(b"GET", FIND), batch)
    for lane in both.lanes:
        lane.replica.projector.aside.put(Damaged(Tenant("default", "default"), "log", "it is damaged"))
    for asked in (whole(b"GET", FIND), batch):
        assert header(await both.ask(asked), b"X-Registry-Set-Aside") == b"0"
