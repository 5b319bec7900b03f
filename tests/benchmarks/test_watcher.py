"""Watcher: events are read from a socket in whatever pieces they come."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.watcher import Watcher
from benchmarks.wire import Address

HANDSHAKE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


def frame(payload: bytes, kind: int = 1) -> bytes:
    """As servers send it: whole and unmasked, with the shortest length there is."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | kind, size]) + payload
    if size < 1 << 16:
        return bytes([0x80 | kind, 126]) + size.to_bytes(2, "big") + payload
    return bytes([0x80 | kind, 127]) + size.to_bytes(8, "big") + payload


async def received(data: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    """The events that arrive, and what is answered after the handshake."""
    events: list[bytes] = []
    watcher = Watcher(Address("localhost", 1), "consumer", lambda payload, now_s: events.append(payload))
    pipe = Pipe()
    watcher.connection_made(pipe)
    pipe.written.clear()
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(places):
        watcher.data_received(data[start:end])
    assert watcher.opened.done()
    return events, bytes(pipe.written)


@given(st.lists(st.integers(0, 70_000).map(lambda size: b"x" * size), max_size=5), st.lists(st.integers(0, 200_000)))
def test_every_event_is_read_from_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    """An event that the tool loses would count as one that the registry never sent."""
    data = HANDSHAKE + b"".join(frame(payload) for payload in payloads)
    assert asyncio.run(received(data, cuts)) == (payloads, b"")


def test_ping_is_answered_with_its_payload() -> None:
    """Or the registry would drop the watcher in a long run."""
    _, written = asyncio.run(received(HANDSHAKE + frame(b"hi", 9), []))
    assert written == b"\x8a\x82\x00\x00\x00\x00hi"
