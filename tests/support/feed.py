"""Feed: a client of server-sent events, as a browser is one: it remembers the last id, and comes back with it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.support.http import TIMEOUT_S


class Sent(NamedTuple):
    """One event. `data` is decoded."""

    id: str
    event: str
    data: Any


class Feed:
    """One stream of events of a tenant."""

    def __init__(self, address: tuple[str, int], domain: str, last_id: str = "", **query: str) -> None:
        #: Where it is: the last id that was sent.
        self.last_id = last_id
        self._socket = socket.create_connection(address, TIMEOUT_S)
        target = f"/v1/default/events?{urlencode(query)}"
        lines = [f"GET {target} HTTP/1.1", "Host: x", f"X-Domain-Name: {domain}", "Accept: text/event-stream"]
        if last_id:
            lines.append(f"Last-Event-ID: {last_id}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._rest = b""
        head, self._rest = self._until(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        self.head = head
        self._text = b""

    def _until(self, end: bytes) -> tuple[bytes, bytes]:
        data = self._rest
        while end not in data:
            came = self._socket.recv(65536)
            if not came:
                raise EOFError
            data += came
        found, _, rest = data.partition(end)
        return found, rest

    def blocks(self) -> Iterator[dict[str, str]]:
        """What is sent, block by block, to the end of the stream."""
        while True:
            size, self._rest = self._until(b"\r\n")
            length = int(size, 16)
            if length == 0:
                return
            while len(self._rest) < length + 2:
                came = self._socket.recv(65536)
                if not came:
                    raise EOFError
                self._rest += came
            self._text += self._rest[:length]
            self._rest = self._rest[length + 2 :]
            *whole, self._text = self._text.split(b"\n\n")
            for block in whole:
                fields = dict(line.partition(": ")[::2] for line in block.decode().splitlines())
                self.last_id = fields.get("id", self.last_id)
                yield fields

    def events(self) -> Iterator[Sent]:
        for fields in self.blocks():
            if "data" in fields:
                yield Sent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))

    def take(self, number: int) -> list[Sent]:
        """A number of the next events."""
        events = self.events()
        return [next(events) for _ in range(number)]

    def close(self) -> None:
        self._socket.close()
