"""HistoryReaders: a client that follows the feed of events, and one that asks what was at places it has seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from hashlib import sha1
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from tests.chaos.client import DOMAIN, ROOT, Client, find_path, found, position_of
from tests.chaos.fleet import ChaosReplica, now_ms
from tests.support import feed_pages
from tests.support.feed_copy import FeedCopy
from tests.support.history import (
    NOWHERE,
    OK,
    Fed,
    FeedBegins,
    FeedEnds,
    FeedMisled,
    Logged,
    PastGone,
    PastLook,
    Position,
)
from tests.support.http import Response

FEED: Final = "/v1/default/events"
HISTORY: Final = "/v1/default/history"
HEADERS: Final = {"X-Domain-Name": DOMAIN}
#: A feed says that it is there every 15 s; one that is silent for longer has lost its replica.
SILENT_S: Final = 20.0
#: The process that reads the past may have to start first.
PAST_TIMEOUT_S: Final = 25.0
#: Bytes of one chunk of a stream.
CHUNK_MAX_BYTES: Final = 1 << 24
NOT_KEPT: Final = 410


class FeedReader(Client):
    """Reads server-sent events of one replica after another, and comes back with the last id that it was sent.

    It holds a copy of the registry, which at the end is what the registry holds.
    """

    _place: Position = NOWHERE
    _copy: FeedCopy
    _mended_ms = 0

    async def run(self) -> None:
        while not self.run_of.is_over:
            replica = self.random.choice(self.run_of.replicas)
            with contextlib.suppress(OSError, TimeoutError, EOFError):
                async with asyncio.timeout(self.random.uniform(0.5, 20)):
                    if self._place == NOWHERE:
                        await self._begin(replica, NOWHERE)
                    await self._follow(replica)
            await self.pause(0.01, 0.5)

    async def _begin(self, replica: ChaosReplica, given_up: Position) -> None:
        """Read the present, and take its place. Raises OSError, TimeoutError."""
        self._copy, self._place = await self._read(replica)
        self.run_of.record(FeedBegins(client=self.name, at_ms=now_ms(), position=self._place, given_up=given_up))

    async def _read(self, replica: ChaosReplica) -> tuple[FeedCopy, Position]:
        """What a replica holds, and its place at the first question. What it changes meanwhile is told behind that."""
        copy = FeedCopy()
        answer = await self._ask(replica, f"{ROOT}/microservices")
        for service in _read(answer).get("services", []):
            of_it = f"{ROOT}/microservices/{service['serviceId']}"
            tags = _read(await self._ask(replica, f"{of_it}/tags")).get("tags", {})
            instances = _read(await self._ask(replica, f"{of_it}/instances")).get("instances", [])
            copy.hold(service["serviceId"], service, tags, instances)
        return copy, position_of(answer)

    async def _ask(self, replica: ChaosReplica, target: str) -> Response:
        return await self._connection(replica).request("GET", target, None, HEADERS, PAST_TIMEOUT_S)

    async def _follow(self, replica: ChaosReplica) -> None:
        life = replica.life
        reader, writer = await asyncio.open_connection(replica.host, replica.port, limit=CHUNK_MAX_BYTES)
        try:
            lines = [f"GET {FEED} HTTP/1.1", "Host: x", f"X-Domain-Name: {DOMAIN}", "Accept: text/event-stream"]
            writer.write("\r\n".join([*lines, f"Last-Event-ID: {feed_pages.text_of(self._place)}", "", ""]).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if head.split(b" ")[1] == b"%d" % NOT_KEPT:
                await self._begin(replica, self._place)
            elif head.split(b" ")[1] == b"200":
                async for block in _blocks(reader):
                    self._take(life, block)
                    if self._place == NOWHERE:
                        break
        finally:
            writer.transport.abort()

    def _take(self, life: str, block: bytes) -> None:
        fields = dict(line.partition(": ")[::2] for line in block.decode().splitlines())
        if "data" in fields and fields["event"] != "error":
            if not self._note(life, fields["data"].encode()):
                self._place = NOWHERE
                return
            assert feed_pages.place(fields["id"]) == self._place
        elif "id" in fields:
            self._place = feed_pages.place(fields["id"])

    def _note(self, life: str, json: bytes) -> bool:
        """False: the registry has to be read anew."""
        told = feed_pages.told(json)
        self._place = feed_pages.place(told.position)
        digest = sha1(json).hexdigest()
        self.run_of.record(
            Fed(
                client=self.name,
                replica=life,
                at_ms=now_ms(),
                position=self._place,
                kind=told.kind,
                digest=digest,
            )
        )
        event = msgspec.json.decode(json)
        if event.get("evidence", {}).get("until") == event["position"]:
            self._mended_ms = now_ms()
        return self._copy.apply(event)

    async def finish(self, replica: ChaosReplica) -> None:
        """Read on to the end of the log, where nothing is written any more. Raises OSError, TimeoutError."""
        while True:
            if self._place == NOWHERE:
                await self._begin(replica, NOWHERE)
            answer = await self._ask(
                replica, f"{FEED}?{urlencode({'after': feed_pages.text_of(self._place), 'wait': '0s'})}"
            )
            if answer.status == NOT_KEPT:
                await self._begin(replica, self._place)
                continue
            if answer.status != 200:
                raise ConnectionError(f"the feed cannot be read behind {self._place}: {answer.body!r}")
            page = feed_pages.page(answer.body)
            if not all(self._note(replica.life, bytes(raw)) for raw in page.events):
                self._place = NOWHERE
                continue
            self._place = feed_pages.place(page.position)
            if not page.events and await self._compare(replica):
                self.run_of.record(FeedEnds(client=self.name, at_ms=now_ms(), position=self._place))
                return

    async def _compare(self, replica: ChaosReplica) -> bool:
        """Compare the copy with the registry, if that stands at the same place. Raises OSError, TimeoutError."""
        (_, place), (present, later) = await self._read(replica), await self._read(replica)
        if place != self._place or later != place:
            return False
        if text := self._copy.differences(present):
            self.run_of.record(
                FeedMisled(
                    client=self.name,
                    replica=replica.life,
                    at_ms=now_ms(),
                    position=place,
                    mended_ms=self._mended_ms,
                    text=text,
                )
            )
        return True

    async def record_log(self, replica: ChaosReplica) -> None:
        """Take down every event that is kept, as this replica tells it. Raises OSError, TimeoutError."""
        after = ""
        while True:
            query = urlencode({"order": "oldest", "limit": "1000", "after": after})
            answer = await self._ask(replica, f"{HISTORY}?{query}")
            if answer.status != 200:
                raise ConnectionError(f"the history cannot be read: {answer.body!r}")
            page = feed_pages.page(answer.body)
            for raw in page.events:
                told, digest = feed_pages.told(raw), sha1(bytes(raw)).hexdigest()
                self.run_of.record(
                    Logged(at_ms=now_ms(), position=feed_pages.place(told.position), kind=told.kind, digest=digest)
                )
            after = page.next
            if not after:
                return


def _read(answer: Response) -> Any:
    """What was read. Raises OSError: it was refused."""
    if answer.status != 200:
        raise ConnectionError(f"the registry cannot be read: {answer.status}")
    return answer.json()


async def _blocks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What a stream of events brings, block by block. Raises EOFError, OSError, TimeoutError."""
    text = b""
    while True:
        async with asyncio.timeout(SILENT_S):
            size = int(await reader.readuntil(b"\r\n"), 16)
            chunk = (await reader.readexactly(size + 2))[:-2]
        if not size:
            return
        *whole, text = (text + chunk).split(b"\n\n")
        for block in whole:
            yield block


class PastReader(Client):
    """Asks what was at places that it has been answered at, and again whether that is still so."""

    services: Sequence[str]
    #: Whether nothing may be forgotten.
    keeps_all = False

    async def run(self) -> None:
        self._wanders = 1.0
        asked: list[tuple[str, Position]] = []
        while not self.run_of.is_over:
            await self.pause(0.2, 1.5)
            if not asked or self.random.random() < 0.3:
                service = self.random.choice(self.services)
                live, _ = await self.request("GET", find_path(service), describe=found, kind="find", service=service)
                if live.outcome == OK:
                    asked.append((service, live.position))
                continue
            with contextlib.suppress(OSError, TimeoutError):
                await self._look(self.random.choice(self.run_of.replicas), *self.random.choice(asked))

    async def _look(self, replica: ChaosReplica, service: str, position: Position) -> None:
        life, start_ms, as_of = replica.life, now_ms(), feed_pages.text_of(position)
        target = f"{ROOT}{find_path(service)}&asOf={as_of}"
        answer = await self._connection(replica).request("GET", target, None, HEADERS, PAST_TIMEOUT_S)
        if answer.status == NOT_KEPT and self.keeps_all:
            self.run_of.record(PastGone(client=self.name, replica=life, at_ms=now_ms(), service=service, as_of=as_of))
        if answer.status != 200:
            return
        said = found(answer)
        self.run_of.record(
            PastLook(
                client=self.name,
                replica=life,
                start_ms=start_ms,
                end_ms=now_ms(),
                service=service,
                as_of=as_of,
                position=position_of(answer),
                rev=said["rev"],
                digest=said["digest"],
            )
        )
