"""Both lanes without sockets: the real protocols over a transport that a test drives segment by segment.

Time is virtual (`VirtualLoop`), so a keep-alive timeout costs nothing, and the store is in memory. It stands still
while both lanes are asked: no byte of an answer is volatile.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, Final

from registry.bootstrap import Replica, build_replica
from registry.clock import Clock
from registry.domain.tenant import DEFAULT_TENANT
from registry.http_api.api import Api
from registry.http_api.door import Door
from registry.serving.connection import Connection
from registry.serving.finds import Finds
from registry.serving.hot import HotConnection
from registry.serving.known import KnownFind
from registry.serving.lane import Lane as HotLane
from registry.serving.shared import SWEEP_EVERY_S, Limits, Shared
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import FlakyStore, virtual_ms

KEEP_ALIVE_S: Final = 75
BASE: Final = b"/v4/default/registry"
FIND: Final = BASE + b"/instances?appId=shop&serviceName=cart"
BEAT: Final = BASE + b"/microservices/cart/instances/i1/heartbeat"
BATCH: Final = BASE + b"/instances/action?type=query"
#: A usual header block.
BLOCK: Final = b"Host: h\r\nX-Domain-Name: default"
#: Bytes of a body that may wait for the application.
HIGH_WATER: Final = 64 * 1024
#: Turns of the loop in which every answer that can be given must be given.
TURNS_MAX: Final = 2000
#: Turns without a change after which nothing more happens by itself.
QUIET_TURNS: Final = 12


def whole(method: bytes, target: bytes, block: bytes = BLOCK, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    """A request with this block; the length of its body, when it has one, is the block's last header."""
    lines = [method + b" " + target + b" " + version]
    lines += [block] if block else []
    lines += [b"Content-Length: %d" % len(body)] if body or method == b"POST" else []
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def header(answer: bytes, name: bytes) -> bytes:
    """The value of a header of the first answer, b"" when it has none."""
    head = answer.partition(b"\r\n\r\n")[0] + b"\r\n"
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0]


def status(answer: bytes) -> int:
    return int(answer[9:12])


class Wire(asyncio.Transport):
    """The server's end of one connection, behaving as uvloop's does."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        #: What the client's socket has no room for.
        self.unread = b""
        self.client_reads = True
        self.lost = False
        #: The server has said its last word, and lets the client finish.
        self.ended = False
        self._closing = False
        self._reading = True
        self._writing_paused = False
        self._inbox: deque[bytes] = deque()
        protocol.connection_made(self)

    # -- the client's end ----------------------------------------------------------------------------------------------

    def feed(self, *segments: bytes) -> None:
        """Let segments arrive, each as soon as the server reads."""
        self._inbox += segments
        self._deliver()

    def read(self, size: int = 1 << 30) -> None:
        """The client, which had stopped reading, takes a number of bytes."""
        self.sent, self.unread = self.sent + self.unread[:size], self.unread[size:]
        if self._writing_paused and not self.unread:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self._closing and not self.unread:
            self.drop(None)

    def drop(self, exc: Exception | None) -> None:
        """The connection is gone: by an error, or without."""
        if not self.lost:
            self._closing = self.lost = True
            self.protocol.connection_lost(exc)

    @property
    def waiting_bytes(self) -> int:
        """What has arrived and is not read by the server."""
        return sum(map(len, self._inbox))

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._closing:
            self.protocol.data_received(self._inbox.popleft())

    # -- the server's end ----------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on a closed transport")  # uvloop's `_ensure_alive`
        if self.client_reads and not self.unread:
            self.sent += data
            return
        self.unread += data
        if self.unread and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.unread = b""
        self.close()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.unread:
                asyncio.get_running_loop().call_soon(self.drop, None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        asyncio.get_running_loop().call_soon(self._deliver)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class CountingFinds(Finds):
    """Counts the finds that were answered with what was said before."""

    repeated = 0

    def say_again(self, known: KnownFind, request_id: str, connection: HotConnection) -> bool:
        again = super().say_again(known, request_id, connection)
        self.repeated += again
        return again


class CountingLane(HotLane):
    """Counts the requests that it has taken."""

    recognised = 0

    def __init__(self, api: Api, door: Door) -> None:
        super().__init__(api, door)
        self.finds: CountingFinds = CountingFinds(api, self._ask_door)

    def receive(self, data: bytes, at: int, connection: HotConnection) -> int:
        end = super().receive(data, at, connection)
        self.recognised += end >= 0
        return end


class Lane:
    """A replica and its connections, the fast lane on or off."""

    def __init__(self, server: MemoryServer, fast: bool, settings: Settings | None = None) -> None:
        self.server = server
        self.store = FlakyStore(server)
        clock = Clock(virtual_ms, virtual_ms)
        self.replica: Replica = build_replica(settings or Settings(), self.store, "h:1", clock)
        #: For how many seconds the store is away.
        self.stale_s = 0
        limits = Limits(KEEP_ALIVE_S, KEEP_ALIVE_S, KEEP_ALIVE_S, KEEP_ALIVE_S)
        self.shared = Shared(self.replica.door, None, limits, lambda: self.stale_s, clock)
        self.hot = CountingLane(self.replica.api, self.replica.door)
        # Both lanes give the same ids, so that their answers can be compared.
        self.replica.api.request_ids = lambda: "made"
        self._fast = fast
        self.forget()
        self._tick()

    def _tick(self) -> None:
        self.shared.tick()
        asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._tick)

    def forget(self) -> None:
        """Know no header block, and nothing that was said."""
        self.hot = CountingLane(self.replica.api, self.replica.door)
        self.shared.hot = self.hot if self._fast else None

    @property
    def position(self) -> bytes:
        """Where it stands in the default tenant's log."""
        return self.replica.api.discovery.position_text(DEFAULT_TENANT)

    def connect(self) -> Wire:
        return Wire(Connection(self.shared, asyncio.get_running_loop()))

    async def settle(self, *wires: Wire) -> None:
        """Let everything happen that happens by itself."""
        quiet = 0
        seen: tuple[object, ...] = ()
        for _ in range(TURNS_MAX):
            await asyncio.sleep(0)
            now = (len(self.shared.tasks), *((len(wire.sent), len(wire.unread), wire.waiting_bytes) for wire in wires))
            quiet = quiet + 1 if now == seen else 0
            seen = now
            if quiet >= QUIET_TURNS:
                return
        raise TimeoutError(f"still busy after {TURNS_MAX} turns of the loop")

    async def say(self, wire: Wire, *segments: bytes) -> bytes:
        """Send segments; what is answered to them."""
        before = len(wire.sent)
        for segment in segments:
            wire.feed(segment)
            await self.settle(wire)
        return wire.sent[before:]


async def two_lanes(settings: Settings | None = None) -> tuple[Lane, Lane]:
    """A fast lane and a plain one over one store; `follow` brings both to its tail."""
    server = MemoryServer(virtual_ms)
    fast, plain = Lane(server, True, settings), Lane(server, False, settings)
    await follow(fast, plain)
    return fast, plain


async def write(lane: Lane, method: bytes, path: bytes, body: object = None) -> bytes:
    """Send a request that changes something and must succeed, over a connection of its own."""
    wire = lane.connect()
    answer = await lane.say(wire, whole(method, BASE + path, BLOCK, b"" if body is None else json.dumps(body).encode()))
    wire.drop(None)
    assert status(answer) == 200, answer
    return answer


async def fill(lane: Lane, instances: int = 12) -> None:
    """Services cart, buyer and empty; instances i0, i1, … of cart."""
    for name in ("cart", "buyer", "empty"):
        await write(
            lane, b"POST", b"/microservices", {"service": {"serviceName": name, "appId": "shop", "serviceId": name}}
        )
    for number in range(instances):
        await register(lane, "cart", f"i{number}")


async def register(lane: Lane, service_id: str, instance_id: str, **members: object) -> None:
    endpoint = f"rest://10.0.0.1:{sum(instance_id.encode())}"
    instance = {"hostName": "h", "instanceId": instance_id, "endpoints": [endpoint], **members}
    await write(lane, b"POST", b"/microservices/%b/instances" % service_id.encode(), {"instance": instance})


async def follow(*lanes: Lane) -> None:
    for lane in lanes:
        await lane.replica.projector.start()
