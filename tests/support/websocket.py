"""A tiny websocket client on a blocking socket: it shows every frame as it came, and how the connection ended.

Larger clients hide the difference that matters here: a farewell (a close frame) keeps java clients away for ever, an
end of the TCP connection without one makes them come back (clients.md 1.A).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple

from tests.support.api import Api

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
#: Far beyond what an event takes, so that only a broken server reaches it (seconds).
TIMEOUT_S: Final = 20.0
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """One frame; `raw` is all of it as it came over the wire."""

    opcode: int
    payload: bytes
    raw: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, f"no close frame: {self}"
        return int(struct.unpack("!H", self.payload[:2])[0])


class WebSocket:
    """One websocket connection.

    Args:
        receive_buffer: bytes that the kernel keeps for a reader that does not read; 0 for the usual.
    """

    def __init__(
        self,
        address: tuple[str, int],
        target: str,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(TIMEOUT_S)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.connect(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        key = base64.b64encode(os.urandom(16))
        self._socket.sendall(handshake(target, headers or {}, key))
        while b"\r\n\r\n" not in self._rest:
            assert self._more(), f"no answer to the handshake: {self._rest!r}"
        self.head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        self.status = int(self.head.split(b" ")[1])
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
            assert b"\r\nsec-websocket-accept: " + accept.lower() in self.head.lower()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self) -> Frame | None:
        """The next frame; None when the TCP connection has ended."""
        while True:
            frame = self._parse()
            if frame is not None:
                return frame
            if not self._more():
                return None

    def next_text(self) -> Frame:
        """The next text frame; pings before it are answered."""
        while True:
            frame = self.receive()
            assert frame is not None, "the connection has ended"
            if frame.opcode == PING:
                self.send(PONG, frame.payload)
                continue
            assert frame.opcode == TEXT, f"no text: {frame}"
            return frame

    def next_event(self) -> Any:
        """The next event, decoded."""
        return json.loads(self.next_text().payload)

    def events(self) -> list[Any]:
        """All events that the server has written before it reads this.

        A replica writes the events of a change before it answers who made it, so what was answered there is in.
        """
        token = os.urandom(8)
        self.send(PING, token)
        found: list[Any] = []
        while True:
            frame = self.receive()
            assert frame is not None, "the connection has ended"
            if frame.opcode == PONG:
                assert frame.payload == token
                return found
            assert frame.opcode == TEXT, f"neither event nor pong: {frame}"
            found.append(json.loads(frame.payload))

    def until_end(self) -> list[Frame]:
        """The frames that come until the TCP connection ends."""
        frames = []
        while (frame := self.receive()) is not None:
            frames.append(frame)
        return frames

    def _parse(self) -> Frame | None:
        data = self._rest
        if len(data) < 2:
            return None
        opcode, size, start = data[0], data[1], 2
        assert opcode & 0xF0 == 0x80, "fragments, or a compressed frame, which nobody asked for"
        assert size < 0x80, "servers do not mask"
        if size == 126:
            start = 4
            size = int.from_bytes(data[2:4], "big")
        elif size == 127:
            start = 10
            size = int.from_bytes(data[2:10], "big")
        if len(data) < start + size:
            return None
        frame, self._rest = data[: start + size], data[start + size :]
        return Frame(opcode & 0xF, frame[start:], frame)

    def _more(self) -> bool:
        try:
            data = self._socket.recv(1 << 20)
        except ConnectionResetError:
            return False
        self._rest += data
        return bool(data)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, opcode: int, payload: bytes = b"", final: bool = True) -> None:
        """Send one frame, masked as clients must."""
        self._socket.sendall(masked(opcode, payload, final))

    def close_with(self, code: int) -> Frame:
        """Say goodbye; the server's answer."""
        self.send(CLOSE, struct.pack("!H", code))
        frame = self.receive()
        assert frame is not None, "no answer to a close frame"
        return frame


def masked(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """A client's frame; the mask is zero, so the payload stands as it is."""
    size = len(payload)
    head = bytes([opcode | (0x80 if final else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += b"\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def handshake(target: str, headers: Mapping[str, str], key: bytes) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: registry",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key.decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def dial(api: Api, path: str, headers: Mapping[str, str] | None = None, receive_buffer: int = 0) -> WebSocket:
    """Open a websocket below the tenant's `/v4/{project}/registry`."""
    target = f"/v4/{api.project}/registry{path}"
    return WebSocket(api.connection.address, target, {"X-Domain-Name": api.domain, **(headers or {})}, receive_buffer)


def watch(api: Api, consumer_id: str, receive_buffer: int = 0) -> WebSocket:
    """Watch what the consumer has found; the handshake must succeed."""
    socket = dial(api, f"/microservices/{consumer_id}/watcher", None, receive_buffer)
    assert socket.status == 101, socket.head
    return socket


def beat_by_socket(api: Api, service_id: str, instance_id: str) -> WebSocket:
    """Open an instance's heartbeat socket; the handshake must succeed."""
    socket = dial(api, f"/microservices/{service_id}/instances/{instance_id}/heartbeat")
    assert socket.status == 101, socket.head
    return socket
