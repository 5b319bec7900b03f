"""What does the way in cost of the processor, without sockets, Redis and other processes? In µs per request.

The same connections and the same store in memory as in the tests, driven from one thread; of some runs the smallest
figure, because on a shared machine all others are larger by what does not belong here. Another tree, an older one for
instance, is measured by its own code: `cd TREE && PYTHONPATH=. python THIS_TREE/benchmarks/way_in.py`; where names have
changed since, by what this file was then: `git show 2ae2aa3:benchmarks/way_in.py` for those before November 29.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
from collections.abc import Callable, Sequence
from time import process_time_ns
from typing import Final

from benchmarks import workload
from registry.domain.tenant import DEFAULT_TENANT
from registry.serving.lane import Lane as HotLane
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import virtual_ms
from tests.support.wires import BASE, BATCH, BLOCK, Lane, Wire, fill, header, register, status, whole, write

RUNS: Final = 8
#: Requests of one run, one after the other; connections that ask at once, and how often they do.
IN_A_ROW: Final = 1000
AT_ONCE: Final = 64
TIMES: Final = 8
#: Services, of which batch finds ask for some; providers of one, different bodies of clients.
SERVICES_MANY: Final = 200
PROVIDERS: Final = 10
BODIES: Final = 20_000
OLD_REV: Final = "0" * 40
SEED: Final = 1
FIND: Final = BASE + b"/instances?appId=shop&serviceName=s1"
SERVICES: Final = BASE + b"/microservices"
KNOWN_SERVICE: Final = json.dumps({"service": {"appId": "shop", "serviceName": "s1", "serviceId": "s1"}}).encode()
TURNS_MAX: Final = 5000


class WayIn:
    """One replica with a hundred instances, and connections to it."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.wire = lane.connect()
        self.crowd = [lane.connect() for _ in range(AT_ONCE)]
        self.figures: dict[str, float] = {}
        self._new = 0

    async def fill(self) -> None:
        await fill(self.lane, AT_ONCE)
        for number in range(SERVICES_MANY):
            name = f"s{number}"
            service = {"appId": "shop", "serviceName": name, "serviceId": name}
            await write(self.lane, b"POST", b"/microservices", {"service": service})
            await register(self.lane, name, "x")
        await self.lane.replica.projector.start()

    async def ask(self, request: bytes) -> bytes:
        return (await self._asked([self.wire], [request]))[0]

    async def _asked(self, wires: Sequence[Wire], requests: Sequence[bytes]) -> list[bytes]:
        for wire, request in zip(wires, requests, strict=True):
            wire.sent = b""
            wire.feed(request)
        for _ in range(TURNS_MAX):
            if all(wire.sent for wire in wires):
                return [wire.sent for wire in wires]
            await asyncio.sleep(0)
        raise TimeoutError("a request is not answered")

    def _note(self, name: str, nanoseconds: int, requests: int) -> None:
        self.figures[name] = min(self.figures.get(name, 1e9), nanoseconds / requests / 1000)

    def in_a_row(self, name: str, requests: Sequence[bytes]) -> None:
        """Requests that are answered at once. Each comes as bytes of its own, as from a socket."""
        requests = [bytes(bytearray(request)) for request in requests]
        began = process_time_ns()
        for request in requests:
            self.wire.sent = b""
            self.wire.feed(request)
        self._note(name, process_time_ns() - began, len(requests))
        assert self.wire.sent

    def counting(self, times: int = 20_000) -> None:
        """What the figures of /metrics cost for each request: of a find that is repeated, and of a batch find."""
        tally = self.lane.replica.api.observer.tally("counting")
        began = process_time_ns()
        for _ in range(times):
            tally.add_instant(DEFAULT_TENANT, 200, 900)
        self._note("counting a find, repeated", process_time_ns() - began, times)
        began = process_time_ns()
        for _ in range(times):
            tally.add(DEFAULT_TENANT, 200, 0.0003, 1500, 9000)
        self._note("counting a request with a body and an answer", process_time_ns() - began, times)

    async def at_once(self, name: str, request_of: Callable[[int], bytes]) -> None:
        """Requests of many connections, which share what they wait for."""
        spent = 0
        for _ in range(TIMES):
            requests = [request_of(number) for number in range(AT_ONCE)]
            began = process_time_ns()
            answers = await self._asked(self.crowd, requests)
            spent += process_time_ns() - began
            assert {status(answer) for answer in answers} == {200}
        self._note(name, spent, AT_ONCE * TIMES)

    def registration(self, service_id: bytes, instance_id: str, endpoint: str) -> bytes:
        instance = {"hostName": "h", "instanceId": instance_id, "endpoints": [endpoint]}
        path = BASE + b"/microservices/%b/instances" % service_id
        return whole(b"POST", path, body=json.dumps({"instance": instance}).encode())

    def same(self, number: int) -> bytes:
        name = f"i{number}"
        return self.registration(b"cart", name, f"rest://10.0.0.1:{sum(name.encode())}")

    def another(self, number: int) -> bytes:
        self._new += 1
        return self.registration(b"empty", f"n{self._new}", f"rest://10.1.{self._new >> 8}.{self._new & 255}:1")

    def another_in_full(self, number: int) -> bytes:
        """As clients write it, and the scenes by sockets: without an id, with all that they know of themselves."""
        self._new += 1
        body = workload.instance_body("empty", self._new)
        return whole(b"POST", BASE + b"/microservices/empty/instances", body=json.dumps({"instance": body}).encode())


async def revs(way: WayIn) -> list[dict[str, object]]:
    """All services with their current revs, as a batch find asks for them."""
    asked: list[dict[str, object]] = []
    for number in range(SERVICES_MANY):
        name = f"s{number}"
        answer = await way.ask(whole(b"GET", BASE + b"/instances?appId=shop&serviceName=" + name.encode()))
        key = {"serviceName": name, "appId": "shop", "version": "0+"}
        asked.append({"service": key, "rev": header(answer, b"X-Resource-Revision").decode()})
    return asked


def batch(asked: Sequence[dict[str, object]], block: bytes = BLOCK) -> bytes:
    return whole(b"POST", BATCH, block, json.dumps({"services": asked}, separators=(",", ":")).encode())


def with_change(asked: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The same, asked by a client that has an old rev of one of them."""
    return [*asked[:3], {**asked[3], "rev": OLD_REV}, *asked[4:]]


async def measure() -> dict[str, float]:
    lane = Lane(MemoryServer(virtual_ms), True)
    # That of the tests counts what it takes, for 0.4 µs of each request.
    lane.shared.hot = HotLane(lane.replica.api, lane.replica.door)
    way = WayIn(lane)
    await way.fill()
    services = await revs(way)
    asked, old = services[:PROVIDERS], OLD_REV.encode()
    known = FIND + b"&rev=" + str(asked[1]["rev"]).encode()
    changed = with_change(asked)
    chance = random.Random(SEED)
    bodies = [batch(chance.sample(services, PROVIDERS)) for _ in range(BODIES)]
    for body in bodies * 2:
        way.wire.sent = b""
        way.wire.feed(body)
    for request in (whole(b"GET", FIND), whole(b"GET", known), batch(asked), batch(changed)):
        assert status(await way.ask(request)) in (200, 304)
    beat = BASE + b"/microservices/cart/instances/i%d/heartbeat"
    gc.collect()
    gc.freeze()
    gc.disable()
    for run in range(RUNS):
        traces = [b"\r\ntraceparent: 00-%032x-%016x-01" % (run + 1, number + 1) for number in range(IN_A_ROW)]
        way.in_a_row("find, repeated", [whole(b"GET", FIND)] * IN_A_ROW)
        way.in_a_row("find with the current rev, repeated", [whole(b"GET", known)] * IN_A_ROW)
        way.in_a_row("find, each with a traceparent of its own", [whole(b"GET", FIND, BLOCK + one) for one in traces])
        way.in_a_row("batch find of 10, nothing changed, repeated", [batch(asked)] * IN_A_ROW)
        known_bodies = chance.sample(bodies, IN_A_ROW)
        traced = [batch(asked, BLOCK + one) for one in traces]
        way.in_a_row("batch find of 10, nothing changed, each with a traceparent of its own", traced)
        way.in_a_row("batch find of 10, nothing changed, 20,000 known bodies", known_bodies)
        new_bodies = [batch(chance.sample(services, PROVIDERS)) for _ in range(IN_A_ROW)]
        way.in_a_row("batch find of 10, nothing changed, new bodies", new_bodies)
        await way.at_once("find with an old rev", lambda _: whole(b"GET", FIND + b"&rev=" + old))
        await way.at_once("batch find of 10, one changed", lambda _: batch(changed))
        await way.at_once(
            "batch find of 10, one changed, new bodies",
            lambda _: batch(with_change(chance.sample(services, PROVIDERS))),
        )
        await way.at_once("heartbeat", lambda number: whole(b"PUT", beat % number))
        await way.at_once("register, unchanged", way.same)
        await way.at_once("register, new", way.another)
        await way.at_once("register, new, a usual body", way.another_in_full)
        await way.at_once("register a service that exists", lambda _: whole(b"POST", SERVICES, body=KNOWN_SERVICE))
        await way.at_once("get one service (no hot request)", lambda _: whole(b"GET", BASE + b"/microservices/cart"))
        way.counting()
        gc.collect()
    return way.figures


if __name__ == "__main__":
    json.dump({name: round(value, 2) for name, value in asyncio.run(measure()).items()}, sys.stdout, indent=1)
