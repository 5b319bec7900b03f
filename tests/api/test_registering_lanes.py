"""Registrations on the fast lane: written, refused and answered as on the other, whatever happens meanwhile.

Without sockets (tests/support/wires.py). What writes nothing is compared byte for byte in test_known_heads.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from registry.domain.errors import StoreUnavailable
from registry.domain.events import InstanceRegistered, decode_event
from registry.domain.tenant import DEFAULT_TENANT
from tests.support.memory_replica import VIRTUAL, elapse_until
from tests.support.wires import BASE, BLOCK, Lane, Wire, fill, follow, header, status, two_lanes, whole

REGISTER = BASE + b"/microservices/cart/instances"


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


@pytest.fixture
async def lanes() -> tuple[Lane, Lane]:
    """The fast lane, which knows the header block, and the plain one."""
    fast, plain = await two_lanes()
    await fill(plain)
    await follow(fast, plain)
    for name in ("warm0", "warm1"):
        assert status(await fast.say(fast.connect(), request(name))) == 200
    return fast, plain


def request(instance_id: str, block: bytes = BLOCK, **members: object) -> bytes:
    endpoint = f"rest://10.1.0.1:{sum(instance_id.encode())}"
    instance = {"hostName": "h", "instanceId": instance_id, "endpoints": [endpoint], **members}
    return whole(b"POST", REGISTER, block, json.dumps({"instance": instance}).encode())


def newest(lane: Lane) -> InstanceRegistered:
    event = decode_event(lane.server.of(DEFAULT_TENANT).events[-1][1])
    assert isinstance(event, InstanceRegistered)
    return event


async def test_a_registration_is_answered_and_written_as_on_the_other_lane(lanes: tuple[Lane, Lane]) -> None:
    """The same bytes but for its own place in the log; the event names who asked, the lease is granted."""
    answers, events = [], []
    for lane, name in zip(lanes, ("new00", "new01"), strict=True):
        await follow(*lanes)
        before = lane.hot.recognised
        answers.append(await lane.say(lane.connect(), request(name)))
        assert lane.hot.recognised == before + (lane is lanes[0])
        events.append(newest(lane))
        assert header(answers[-1], b"X-Registry-Position") == lane.position
        assert (DEFAULT_TENANT, "cart", name) in {
            (tenant, *key) for tenant in (DEFAULT_TENANT,) for key in lane.server.of(tenant).leases
        }
    fast, plain = (re.sub(rb"new0.|\d{13}-\d+", b"", answer) for answer in answers)
    assert fast == plain
    assert [event.instance.instance_id for event in events] == ["new00", "new01"]
    assert events[0].actor == events[1].actor


async def test_an_instance_without_an_id_is_given_one(lanes: tuple[Lane, Lane]) -> None:
    """The id in the answer is the one that is found."""
    fast, _ = lanes
    body = json.dumps({"instance": {"hostName": "h", "endpoints": ["rest://10.2.0.1:1"]}}).encode()
    answer = await fast.say(fast.connect(), whole(b"POST", REGISTER, BLOCK, body))
    instance_id = json.loads(answer.partition(b"\r\n\r\n")[2])["instanceId"]
    assert newest(fast).instance.instance_id == instance_id != ""


SERVICES = BASE + b"/microservices"
CART = {"appId": "shop", "serviceName": "cart", "serviceId": "cart"}


@pytest.mark.parametrize(
    "body",
    [
        {"service": CART},
        {"service": CART, "tags": {"zone": "a"}},
        {"service": CART, "instances": [{"hostName": "h", "endpoints": ["rest://10.3.0.1:1"], "instanceId": "i"}]},
        {"service": {**CART, "serviceId": "another"}},
        {"service": {**CART, "version": "x.y"}},
        {"service": {"serviceName": "new", "serviceId": "new", "appId": "shop"}},
        {"service": None},
        {},
    ],
)
async def test_a_microservice_is_registered_as_on_the_other_lane(
    lanes: tuple[Lane, Lane], body: dict[str, object]
) -> None:
    answers = []
    for lane in lanes:
        await follow(*lanes)
        before = lane.hot.recognised
        answers.append(await lane.say(lane.connect(), whole(b"POST", SERVICES, BLOCK, json.dumps(body).encode())))
        assert lane.hot.recognised == before + (lane is lanes[0])
    fast, plain = (re.sub(rb"\d{13}-\d+", b"", answer) for answer in answers)
    assert fast == plain


@pytest.mark.parametrize("named", [b"memory", b"disk", b"nonsense"])
async def test_the_durability_that_is_asked_for_is_checked(lanes: tuple[Lane, Lane], named: bytes) -> None:
    """A header that the lane does not look at would be a promise not kept."""
    block = BLOCK + b"\r\nX-Registry-Durability: " + named
    answers = []
    for lane, name in zip(lanes, ("dur00", "dur01"), strict=True):
        await follow(*lanes)
        wire = lane.connect()
        answers.append([status(await lane.say(wire, request(name + str(again), block))) for again in range(2)])
    assert answers[0] == answers[1]
    assert answers[0] == [200 if named == b"memory" else 400 if named == b"nonsense" else answers[1][0]] * 2


async def patiently(wire: Wire, asked: bytes) -> bytes:
    """The answer to a request, however long it takes."""
    before = len(wire.sent)
    wire.feed(asked)
    await elapse_until(lambda: len(wire.sent) > before, "the answer")
    return wire.sent[before:]


async def test_a_store_that_is_away_is_our_failure(lanes: tuple[Lane, Lane]) -> None:
    """500011 on both lanes, and the connection goes on."""
    bodies = []
    for lane, name in zip(lanes, ("away1", "away2"), strict=True):
        await follow(*lanes)

        async def away(name: str) -> None:
            raise StoreUnavailable(f"{name}: away")

        lane.store.before = away
        wire = lane.connect()
        answer = await patiently(wire, request("away0"))
        bodies.append(answer.partition(b"\r\n\r\n")[2])
        assert (status(answer), b'"errorCode":"500011"' in answer) == (500, True)
        lane.store.come_back()
        assert status(await patiently(wire, request(name))) == 200
    assert bodies[0] == bodies[1]


async def test_pipelined_requests_wait_for_the_registration(lanes: tuple[Lane, Lane]) -> None:
    """Answers come in the order of the requests, though a find could be answered at once; and it holds the new one."""
    find = whole(b"GET", BASE + b"/instances?appId=shop&serviceName=cart")
    for lane, name in zip(lanes, ("pip00", "pip01"), strict=True):
        await follow(*lanes)
        wire = lane.connect()
        answer = await lane.say(wire, request(name) + find + find)
        first, second, third = answer.split(b"HTTP/1.1 ")[1:]
        assert b'{"instanceId":"' + name.encode() in first
        assert name.encode() in second
        assert name.encode() in third


async def test_a_client_that_goes_away_leaves_its_registration_and_nothing_else(lanes: tuple[Lane, Lane]) -> None:
    """It had arrived: it is written, and nobody is told; the replica goes on."""
    lane = lanes[0]
    wire = lane.connect()
    wire.feed(request("gone0"))
    wire.drop(ConnectionResetError())
    await lane.settle()
    assert wire.sent == b""
    assert newest(lane).instance.instance_id == "gone0"
    assert not lane.shared.tasks
    assert wire.protocol not in lane.shared.connections


async def test_a_bug_of_ours_is_answered_500(lanes: tuple[Lane, Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    """And logged; the connection is not left without an answer."""
    answers = []
    for lane in lanes:

        async def broken(*_: object) -> str:
            raise ZeroDivisionError

        monkeypatch.setattr(lane.replica.api.instances, "register", broken)
        answers.append(await lane.say(lane.connect(), request("bug00")))
    assert status(answers[0]) == 500
    assert answers[0] == answers[1]
