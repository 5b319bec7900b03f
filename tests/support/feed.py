"""Feed: a client of server-sent events, as a browser is one: it remembers the last id, and comes back with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import httpcore

from tests.support.http import TIMEOUT_S

#: What ends a stream in the middle of something, or keeps it from beginning.
BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class Sent(NamedTuple):
    """One event. `data` is decoded."""

    id: str
    event: str
    data: Any


class Feed:
    """One stream of events of a tenant.

    Raises:
        BROKEN: it could not be begun; later, it has ended in the middle of something.
    """

    def __init__(self, address: tuple[str, int], domain: str, last_id: str = "", **query: str) -> None:
        #: Where it is: the last id that was sent.
        self.last_id = last_id
        place = f"{address[0]}:{address[1]}"
        headers: dict[str | bytes, str | bytes] = {"Host": place, "X-Domain-Name": domain}
        headers["Accept"] = "text/event-stream"
        if last_id:
            headers["Last-Event-ID"] = last_id
        url = f"http://{place}/v1/default/events?{urlencode(query)}"
        limits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)}
        self._pool = httpcore.ConnectionPool()
        self._response = self._pool.handle_request(httpcore.Request("GET", url, headers=headers, extensions=limits))
        self.status = self._response.status
        self.headers = dict(self._response.headers)
        self._blocks = self._read()

    def _read(self) -> Iterator[dict[str, str]]:
        text = b""
        for chunk in self._response.iter_stream():
            *whole, text = (text + chunk).split(b"\n\n")
            for block in whole:
                fields = dict(line.partition(": ")[::2] for line in block.decode().split("\n"))
                self.last_id = fields.get("id", self.last_id)
                yield fields

    def blocks(self) -> Iterator[dict[str, str]]:
        """What is sent and has not been taken yet, block by block, to the end of the stream."""
        return self._blocks

    def events(self) -> Iterator[Sent]:
        for fields in self._blocks:
            if "data" in fields:
                yield Sent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))

    def take(self, number: int) -> list[Sent]:
        """A number of the next events."""
        events = self.events()
        return [next(events) for _ in range(number)]

    def close(self) -> None:
        self._response.close()
        self._pool.close()
