"""Endpoint of the live feed: server-sent events, or one answer as soon as there is something (long poll)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final
from urllib.parse import urlencode

import msgspec
from msgspec import Raw, Struct

from registry.domain.errors import BeforeHistory, InvalidParams, RegistryError, StoreUnavailable
from registry.domain.position import Position, parse_position
from registry.history.feeds import AT_ONCE_MAX, Feed, Item, Passage
from registry.history.told import Told
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.history import LIST_EVENTS, choice_of, duration_ms, position_of
from registry.http_api.reply import Reply, StreamReply

#: Seconds after which a feed without events says that it is there, and up to which place there were none.
ALIVE_S: Final = 15.0
#: Seconds that a long poll may wait.
WAIT_MAX_S: Final = 60.0
#: Milliseconds after which a client comes back.
RETRY_MS: Final = 1000
_FILTERS: Final = ("serviceId", "instanceId", "appId", "serviceName", "version", "actor")
_SSE: Final = b"text/event-stream"


class EventsAnswer(Struct, frozen=True):
    """What a long poll has brought; it goes on behind `position`."""

    events: list[Told]
    position: str


class _Page(Struct, frozen=True):
    """As much of `historian.Page` as is passed on."""

    events: list[Raw]
    position: str


class _Told(Struct, frozen=True):
    position: str
    kind: str


async def follow(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/events`: what happens from now on, or behind `after`, as it happens."""
    assert api.feeds is not None
    choice, wait_s = choice_of(call), _wait_s(call)
    after = await _after(api, call)
    feed = api.feeds.open(call.tenant, after, choice, lambda position: _read(api, call, position))
    try:
        if _SSE in call.header(b"accept"):
            first = await feed.catch_up()  # what is not kept any more is refused before the stream begins
            headers = [*reply.STREAM_HEAD, api.position(call.tenant)]
            return StreamReply(200, headers, chunks=_frames(feed, first), source=feed)
        items = await feed.next(wait_s)
    except BaseException:
        feed.close()
        raise
    place = feed.position
    feed.close()
    body = b'{"events":[%b],"position":"%b"}' % (b",".join(item.json for item in items), place.text().encode())
    return reply.json(body, reply.position(place.text().encode()))


async def _after(api: Api, call: Call) -> Position:
    """Where the feed begins: behind what the client has seen last, which it says in a header when it comes back."""
    seen = call.header(b"last-event-id").decode("latin-1").strip()
    if seen:
        try:
            after: Position | None = parse_position(seen)
        except ValueError as exc:
            raise InvalidParams(f"header Last-Event-ID: {exc}") from exc
    else:
        after = position_of(call, "after")
    if after is None:
        await api.discovery.catch_up(call.tenant)
        return api.discovery.position_of(call.tenant)
    await api.discovery.await_position(call.tenant, after)
    return after


def _wait_s(call: Call) -> float:
    wait_s = duration_ms(call.query("wait") or "30s", "wait") / 1000
    if wait_s > WAIT_MAX_S:
        raise InvalidParams(f"at most {WAIT_MAX_S:.0f}s - at query parameter `wait`")
    return wait_s


async def _read(api: Api, call: Call, after: Position) -> Passage:
    """The events behind a place, from the log."""
    answer = await api.ask_past(LIST_EVENTS, _page_call(call, after))
    if answer.status == BeforeHistory.code // 1000:
        raise BeforeHistory(msgspec.json.decode(answer.body)["detail"])
    if answer.status != 200:
        raise StoreUnavailable(f"the log cannot be read: {answer.body.decode('utf-8', 'replace')}")
    page = msgspec.json.decode(answer.body, type=_Page)
    items = []
    for raw in page.events:
        told = msgspec.json.decode(raw, type=_Told)
        items.append(Item(told.position, told.kind, bytes(raw)))
    return Passage(items, parse_position(page.position))


def _page_call(call: Call, after: Position) -> Call:
    """The same question of the log."""
    asked = {name: call.query(name) for name in _FILTERS if call.query(name)}
    asked |= {"order": "oldest", "after": after.text(), "limit": str(AT_ONCE_MAX)}
    repeated = [("kind", kind) for kind in call.query_all("kind")] + [("env", env) for env in call.query_all("env")[:1]]
    page = Call(call.path, urlencode([*asked.items(), *repeated]).encode(), {}, call.actor, b"", call.tenant)
    page.reach, page.covers = call.reach, call.covers
    return page


# -- server-sent events ------------------------------------------------------------------------------------------------


async def _frames(feed: Feed, first: list[Item]) -> AsyncGenerator[bytes, None]:
    """What is written to the client, until the feed ends."""
    try:
        yield b"retry: %d\n%b\n" % (RETRY_MS, b"".join(map(_frame, first)) or _place(feed))
        while not feed.ended:
            items = await feed.next(ALIVE_S)
            if not feed.ended:
                yield b"".join(map(_frame, items)) or b": alive\n" + _place(feed)
    except StoreUnavailable:
        return  # the client comes back, perhaps to another replica
    except RegistryError as error:
        yield b"event: error\ndata: " + error.body() + b"\n\n"


def _place(feed: Feed) -> bytes:
    """It tells the client where it is, without an event: nothing that it wants was before."""
    return b"id: %b\n\n" % feed.position.text().encode()


def _frame(item: Item) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (item.position.encode(), item.kind.encode(), item.json)
