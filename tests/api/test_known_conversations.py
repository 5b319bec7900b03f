"""Two registries that are told and asked the same answer the same bytes: one that knows what it said, one that reads.

The conversations are random, and each is the same every time. Both registries stand over a store of their own, so that
what they record is compared as well.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest

from registry.domain.tenant import Tenant
from registry.serving.batch_finds import BatchFinds
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import VIRTUAL, virtual_ms
from tests.support.wires import Lane, follow, header, status, whole

TENANTS: Final = ("default", "other")
APPS: Final = ("shop", "shop", "default")
NAMES: Final = ("cart", "till")
IDS: Final = tuple(f"s{number}" for number in range(10))
STEPS: Final = 1000
#: Connections to each replica.
WIRES: Final = 3
#: Values of a header that means nothing: what a client may send, and what it may not.
TRACES: Final = (b"1", b"2", b"33", b"", b"a\r\nX-ConsumerId: s1", b"a\nX-Domain-Name: other", b"a\0", b"\xff")
SETTINGS: Final = (Settings(), Settings(quota_dependency=2), Settings(shared_services="till"))


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    return VIRTUAL


class World:
    """A registry of two replicas. The first one is asked; changes come by either."""

    def __init__(self, fast: bool, settings: Settings) -> None:
        server = MemoryServer(virtual_ms)
        self.lanes = (Lane(server, fast, settings), Lane(server, False, settings))
        #: Connections, of which each has sent something before.
        self._wires = [[lane.connect() for _ in range(WIRES)] for lane in self.lanes]

    async def say(self, number: int, place: int, request: bytes) -> bytes:
        lane, wires = self.lanes[number], self._wires[number]
        wire = wires[place]
        wire.sent = b""
        answer = await lane.say(wire, request)
        if not answer:  # it has written, and waits for what stands before that
            await follow(lane)
            await lane.settle(wire)
            answer = wire.sent
        if wire.ended or wire.is_closing():
            wires[place] = lane.connect()
        return answer


class Conversation:
    """What is said to two worlds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        settings = SETTINGS[seed % len(SETTINGS)]
        self.worlds = (World(True, settings), World(False, settings))
        #: By tenant and provider what clients hold, and what was asked lately.
        self._revs: dict[tuple[str, str], str] = {}
        self._asked: list[tuple[bytes, list[tuple[str, str]]]] = []

    async def say(self, number: int, request: bytes) -> bytes:
        place = self._random.randrange(WIRES)
        fast, plain = [await world.say(number, place, request) for world in self.worlds]
        assert fast == plain, request
        return fast

    async def step(self) -> None:
        kind = self._random.random()
        if kind < 0.25:
            await self.change()
        elif kind < 0.3:
            tenant = Tenant(self._random.choice(TENANTS), "default")
            for world in self.worlds:
                await follow(world.lanes[0])
                if kind > 0.29:
                    await world.lanes[0].replica.projector.rebuild(tenant, "it is a test")
        elif self._asked and kind < 0.75:
            request, held = self._random.choice(self._asked[-20:])
            trace = self._random.choice(TRACES[:3] if kind < 0.73 else TRACES)
            await self.ask(request.replace(b"traceparent: 1", b"traceparent: " + trace, 1), held)
        else:
            self._asked.append(self.question())
            await self.ask(*self._asked[-1])

    async def change(self) -> None:
        draw = self._random
        id, instance = draw.choice(IDS), f"i{draw.randint(0, 3)}"
        properties = {"allowCrossApp": draw.choice(["true", "false"])}
        environment = draw.choice(["", "production"])
        service = {"appId": draw.choice(APPS), "serviceName": draw.choice(NAMES), "version": draw.choice("123")}
        service |= {"serviceId": id, "environment": environment, "alias": draw.choice(["", "", "till"])}
        endpoints = [f"rest://10.0.0.{draw.randint(0, 99)}:1"]
        method, path, body = draw.choice(
            [
                *[("POST", "", {"service": service | {"properties": properties}})] * 3,
                *[
                    (
                        "POST",
                        f"/{id}/instances",
                        {"instance": {"hostName": "h", "instanceId": instance, "endpoints": endpoints}},
                    )
                ]
                * 3,
                ("DELETE", f"/{id}/instances/{instance}", None),
                ("DELETE", f"/{id}?force=1", None),
                ("PUT", f"/{id}/properties", {"properties": properties}),
                ("PUT", f"/{id}/instances/{instance}/status?value={draw.choice(['UP', 'DOWN'])}", None),
            ]
        )
        number, tenant = draw.randint(0, 1), draw.choice(TENANTS)
        for world in self.worlds:
            await follow(world.lanes[number])
        data = b"" if body is None else json.dumps(body).encode()
        path = f"/v4/default/registry/microservices{path}"
        await self.say(
            number, whole(method.encode(), path.encode(), b"Host: h\r\nX-Domain-Name: " + tenant.encode(), data)
        )

    def question(self) -> tuple[bytes, list[tuple[str, str]]]:
        """A find or a batch find, and whose revs it is answered with."""
        draw = self._random
        tenant = draw.choice(TENANTS)
        lines = ["Host: h", f"X-Domain-Name: {tenant}", *draw.choice([[], [f"X-ConsumerId: {draw.choice(IDS)}"]])]
        for line in draw.sample(["User-Agent: x", "traceparent: 1", "X-Request-Id: mine", "Accept-Encoding: gzip"], 2):
            if draw.random() < 0.3:
                lines.insert(draw.randint(0, len(lines)), line)
        block = "\r\n".join(lines).encode()
        wanted = [(draw.choice(APPS), draw.choice(NAMES), draw.choice(["0+", "0+", "latest", "1"])) for _ in range(3)]
        if draw.random() < 0.5:
            app, name, version = wanted[0]
            held = tenant, "/".join(wanted[0])
            query = (
                f"appId={app}&serviceName={name}&version={version.replace('+', '%2B')}&rev={self._revs.get(held, '')}"
            )
            return whole(b"GET", f"/v4/default/registry/instances?{query}".encode(), block), [held]
        elements = []
        for app, name, version in wanted[: draw.randint(1, 3)]:
            rev = self._revs.get((tenant, f"{app}/{name}/{version}"), "")
            elements.append({"service": {"appId": app, "serviceName": name, "version": version}, "rev": rev})
        body = json.dumps({"services": elements}, separators=(",", ":")).encode()
        target = b"/v4/default/registry/instances/action?type=query"
        return whole(b"POST", target, block, body), [(tenant, "/".join(one)) for one in wanted]

    async def ask(self, request: bytes, held: list[tuple[str, str]]) -> None:
        answer = await self.say(0, request)
        rev = header(answer, b"X-Resource-Revision").decode()
        if rev:
            self._revs[held[0]] = rev
        elif status(answer) == 200 and b"Content-Encoding" not in answer:
            for updated in json.loads(answer.partition(b"\r\n\r\n")[2])["services"].get("updated", []):
                self._revs[held[updated["index"]]] = updated["rev"]


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_known_is_answered_as_what_is_read(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = 0

    def counted(*args: Any) -> bool:
        nonlocal batches
        again = say_again(*args)
        batches += again
        return again

    say_again = BatchFinds.say_again
    monkeypatch.setattr(BatchFinds, "say_again", counted)
    conversation = Conversation(seed)
    for world in conversation.worlds:
        await follow(*world.lanes)
    for _ in range(60):
        await conversation.change()
    for _ in range(STEPS):
        await conversation.step()
    fast, plain = [world.lanes[0] for world in conversation.worlds]
    assert fast.hot.finds.repeated > 0
    assert batches > 0
    observers = [lane.replica.api.observer for lane in (fast, plain)]
    for operation in ("find-instances", "batch-find-instances"):
        one, other = [observer.tally(operation) for observer in observers]
        assert one.by_status == other.by_status
        assert (one.sent.sum, one.received.sum) == (other.sent.sum, other.received.sum)
    assert observers[0].polled == observers[1].polled
    assert observers[0].tenants.counts == observers[1].tenants.counts
