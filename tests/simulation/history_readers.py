"""HistoryReaders: a client that follows the feed of events, and one that asks what was at a time, again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from registry.domain.errors import BeforeHistory, ServiceNotExists
from registry.history.historian import PAGE_MAX
from registry.http_api import events
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.history import LIST_EVENTS
from registry.http_api.operation import Operation
from registry.http_api.operations import OPERATIONS
from registry.http_api.reply import StreamReply
from tests.simulation.client import TIMEOUT_S, Client
from tests.simulation.consumers import APP
from tests.simulation.process import ConnectionLost
from tests.simulation.replica import Refusal, SimReplica
from tests.support import feed_pages
from tests.support.feed_copy import FeedCopy
from tests.support.history import NOWHERE, Fed, FeedBegins, FeedEnds, FeedMisled, Logged, PastGone, PastLook, Position

#: How long a reader of the feed is away between two connections, at most (seconds). One that was away when a log was
#: emptied has to be told again what it was not told in time.
AWAY_S: Final = (1.0, 15.0)
#: Questions of a reader of the feed at the end, when the log has been read by all.
LAST_TRIES_MAX: Final = 60
FIND: Final = next(operation for operation in OPERATIONS if operation.name == "find-instances")


def call(client: Client, headers: dict[bytes, bytes] | None = None, **query: str) -> Call:
    """A request of the client, without a body."""

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    path = {"project": client.tenant.project}
    return Call(path, urlencode(query).encode(), headers or {}, client.name, nothing, client.tenant)


class FeedReader(Client):
    """Reads server-sent events of one replica after another, and comes back with the last id that it was sent.

    It holds a copy of the registry, which at the end is what the registry holds.
    """

    _place: Position = NOWHERE
    _copy: FeedCopy
    _mended_ms = 0

    async def run(self) -> None:
        away_s = self.random.choice(AWAY_S)
        while self.loop.now_ms() < self.end_ms:
            try:
                if self._place == NOWHERE:
                    await self._begin(NOWHERE)
                await self._follow(self.random.choice(self.replicas))
            except (Refusal, ConnectionLost, TimeoutError):
                pass
            await self.pause(0.01, away_s)

    async def _begin(self, given_up: Position) -> None:
        """Take the place where the log is now."""
        replica = self.random.choice(self.replicas)
        async with asyncio.timeout(TIMEOUT_S):
            self._copy, self._place = await replica.ask(self._read, self.tenant)
        self.recorder.add(
            FeedBegins(client=self.name, at_ms=self.loop.now_ms(), position=self._place, given_up=given_up)
        )

    async def _read(self, api: Api) -> FeedCopy:
        return await api.discovery.read(self.tenant, FeedCopy)

    async def _follow(self, replica: SimReplica) -> None:
        """One connection, for a while. What it brings after its end is not read."""
        name, is_open = replica.process.name, True
        headers = {b"accept": b"text/event-stream", b"last-event-id": feed_pages.text_of(self._place).encode()}

        async def serve(api: Api) -> None:
            answer = await events.follow(api, call(self, headers))
            assert isinstance(answer, StreamReply)
            async for chunk in answer.chunks:
                if not is_open:
                    break
                self._take(name, chunk)
                if self._place == NOWHERE:
                    break
                self._compare(name, api)
            await answer.chunks.aclose()
            answer.source.close()

        try:
            async with asyncio.timeout(self.random.uniform(0.5, 20)):
                await replica.ask(serve, self.tenant)
        except Refusal as refusal:
            if isinstance(refusal.error, BeforeHistory):
                await self._begin(self._place)
        finally:
            is_open = False

    def _take(self, replica: str, chunk: bytes) -> None:
        for block in chunk.decode().split("\n\n"):
            fields = dict(line.partition(": ")[::2] for line in block.splitlines())
            if "data" in fields and fields["event"] != "error":
                if not self._note(replica, fields["data"].encode()):
                    self._place = NOWHERE
                    return
                assert fields["id"] == feed_pages.text_of(self._place)
            elif "id" in fields:
                self._place = feed_pages.place(fields["id"])

    def _note(self, replica: str, json: bytes) -> bool:
        """False: the registry has to be read anew."""
        told = feed_pages.told(json)
        self._place = feed_pages.place(told.position)
        self.recorder.add(
            Fed(
                client=self.name,
                replica=replica,
                at_ms=self.loop.now_ms(),
                position=self._place,
                kind=told.kind,
                digest=sha1(json).hexdigest(),
            )
        )
        event = msgspec.json.decode(json)
        if event.get("evidence", {}).get("until") == event["position"]:
            self._mended_ms = self.loop.now_ms()
        return self._copy.apply(event)

    async def finish(self) -> None:
        """Read on to the end of the log, where nothing is written any more."""
        for _ in range(LAST_TRIES_MAX):
            replica = self.random.choice(self.replicas)
            try:
                if self._place == NOWHERE:
                    await self._begin(NOWHERE)
                page = feed_pages.page(await _poll(replica, self, self._place))
            except Refusal as refusal:
                if isinstance(refusal.error, BeforeHistory):
                    await self._begin(self._place)
                continue
            if not all(self._note(replica.process.name, bytes(raw)) for raw in page.events):
                await self._begin(NOWHERE)
                continue
            self._place = feed_pages.place(page.position)
            if not page.events:
                await replica.ask(self._compare_last, self.tenant)
                self.recorder.add(FeedEnds(client=self.name, at_ms=self.loop.now_ms(), position=self._place))
                return
        self.recorder.failure("", f"the feed cannot be read behind {self._place}, long after the last fault")

    async def _compare_last(self, api: Api) -> None:
        self._compare("", api)

    def _compare(self, replica: str, api: Api) -> None:
        """Who stands at one place holds the same."""
        view = next((view for view in api.discovery.views() if view.tenant == self.tenant), None)
        if view is None or feed_pages.place(view.position.text()) != self._place:
            return
        if text := self._copy.differences(FeedCopy(view)):
            self.recorder.add(
                FeedMisled(
                    client=self.name,
                    replica=replica,
                    at_ms=self.loop.now_ms(),
                    position=self._place,
                    mended_ms=self._mended_ms,
                    text=text,
                )
            )


async def _poll(replica: SimReplica, client: Client, after: Position) -> bytes:
    async def poll(api: Api) -> bytes:
        return (await events.follow(api, call(client, after=feed_pages.text_of(after), wait="0s"))).body

    async with asyncio.timeout(TIMEOUT_S):
        body, _ = await replica.ask(poll, client.tenant)
    return body


async def logged(client: Client, replica: SimReplica) -> list[Logged]:
    """Every event that is kept, as the history tells it."""
    found: list[Logged] = []
    after = ""
    while True:

        async def ask(api: Api, after: str = after) -> bytes:
            asked = call(client, None, order="oldest", limit=str(PAGE_MAX), after=after)
            return await _past(api, LIST_EVENTS, asked)

        body, _ = await replica.ask(ask, client.tenant)
        page = feed_pages.page(body)
        for raw in page.events:
            told = feed_pages.told(raw)
            digest = sha1(bytes(raw)).hexdigest()
            found.append(
                Logged(
                    at_ms=client.loop.now_ms(), position=feed_pages.place(told.position), kind=told.kind, digest=digest
                )
            )
        after = page.next
        if not after:
            return found


class PastReader(Client):
    """Asks what was at times that it knows of: at positions that others were answered at, and at moments gone by."""

    services: Sequence[str]
    #: Whether nothing may be forgotten.
    keeps_all = False

    async def run(self) -> None:
        self._asked: list[tuple[str, str]] = []
        self._begin_ms = self.loop.now_ms()
        while self.loop.now_ms() < self.end_ms:
            await self.pause(0.2, 2)
            replica = self.random.choice(self.replicas)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    service, as_of = await self._choose(replica)
                    await self._look(replica, service, as_of)
            except (Refusal, ConnectionLost, TimeoutError):
                continue

    async def _choose(self, replica: SimReplica) -> tuple[str, str]:
        """A time that has been asked about, or a new one that the log has passed."""
        if self._asked and self.random.random() < 0.5:
            return self.random.choice(self._asked)
        service = self.random.choice(self.services)

        async def settled(api: Api) -> int:
            return await api.discovery.read(self.tenant, lambda view: view.moment_ms)

        moment_ms, position = await replica.ask(settled, self.tenant)
        if self.random.random() < 0.5:
            epoch, sequence = position
            back = self.random.randint(0, sequence if self.keeps_all else 20)
            as_of = feed_pages.text_of((epoch, max(sequence - back, 0)))
        else:
            back_ms = self.loop.now_ms() - self._begin_ms if self.keeps_all else 10_000
            as_of = str(moment_ms - 1 - self.random.randint(0, back_ms))
        return service, as_of

    async def finish(self) -> None:
        """Ask once more for every time that was told of, when everything that happens has happened."""
        for service, as_of in dict.fromkeys(self._asked):
            for _ in range(LAST_TRIES_MAX):
                with contextlib.suppress(ConnectionLost, TimeoutError):
                    try:
                        async with asyncio.timeout(TIMEOUT_S):
                            await self._look(self.random.choice(self.replicas), service, as_of)
                        break
                    except Refusal as refusal:
                        if isinstance(refusal.error, BeforeHistory):
                            break
                await self.pause(0.1, 1)
            else:
                self.recorder.failure("", f"{as_of} cannot be asked about, long after the last fault")

    async def _look(self, replica: SimReplica, service: str, as_of: str) -> None:
        name, start_ms = replica.process.name, self.loop.now_ms()

        async def ask(api: Api) -> tuple[str, str, str]:
            asked = call(self, appId=APP, serviceName=service, version="0+", asOf=as_of)
            answer = await api.ask_past(FIND, asked)
            if answer.status != 200:
                raise ConnectionLost(str(answer.body))
            headers = dict(answer.headers)
            position = headers[b"X-Registry-Position"].decode()
            return position, headers[b"X-Resource-Revision"].decode(), sha1(answer.body).hexdigest()

        try:
            (position, rev, digest), _ = await replica.ask(ask, self.tenant)
        except Refusal as refusal:
            if self.keeps_all and isinstance(refusal.error, BeforeHistory):
                self.recorder.add(
                    PastGone(client=self.name, replica=name, at_ms=self.loop.now_ms(), service=service, as_of=as_of)
                )
            if not isinstance(refusal.error, ServiceNotExists):
                raise
            position, rev, digest = feed_pages.text_of(NOWHERE), "", str(refusal.error.code)
        self._asked.append((service, as_of))
        self.recorder.add(
            PastLook(
                client=self.name,
                replica=name,
                start_ms=start_ms,
                end_ms=self.loop.now_ms(),
                service=service,
                as_of=as_of,
                position=feed_pages.place(position),
                rev=rev,
                digest=digest,
            )
        )


async def _past(api: Api, operation: Operation, asked: Call) -> bytes:
    answer = await api.ask_past(operation, asked)
    assert answer.status == 200, answer.body
    return answer.body
