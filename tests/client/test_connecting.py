"""Many connections, few at once; and time-outs of a loop that is late. With real sockets, at a real registry."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpcore
import pytest

from registry.client import AsyncRegistry, Options, Refused, Unreachable, calls, lateness
from registry.client.api import Api
from registry.client.connecting import POLLS_AT_ONCE, Connecting, needed_by, turn_at
from registry.client.names import parse_name
from registry.client.turns import AT_ONCE
from tests.client.conftest import Connect
from tests.client.gate import Gate
from tests.support.replica import Replica
from tests.support.waiting import until

CLIENTS = 3 * AT_ONCE
SYN_SENT = "02"


@contextlib.contextmanager
def unconnectable() -> Iterator[int]:
    """A port at which connections are neither made nor refused: nobody accepts, and no more may wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@contextlib.asynccontextmanager
async def many(url: str, number: int = CLIENTS) -> AsyncIterator[list[AsyncRegistry]]:
    async with AsyncExitStack() as stack:
        options = Options(url, learn=False, timeout_s=5.0)
        yield [await stack.enter_async_context(AsyncRegistry(options=options)) for _ in range(number)]


def being_made(port: int) -> set[str]:
    """The connections to this port of this machine that nobody has answered yet, by their own ports."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == SYN_SENT}


async def test_no_more_than_a_few_connections_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that wait for their turn do not find out one after the other that nobody is there."""
    monkeypatch.setattr(calls, "CONNECT_S", 1.0)
    with unconnectable() as port:
        seen = others = being_made(port)
        async with many(f"http://127.0.0.1:{port}") as clients:
            asked = [asyncio.create_task(client.api.version()) for client in clients]
            while not all(task.done() for task in asked):
                seen = seen | being_made(port)
                await asyncio.sleep(0.05)
            assert len(seen - others) == AT_ONCE
            assert {type(task.exception()) for task in asked} == {Unreachable}


async def test_an_address_that_cannot_be_connected_in_time_is_not_waited_for_twice(
    connect: Connect, registry: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "CONNECT_S", 0.7)
    with unconnectable() as port:
        async with connect([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{registry.port}"]) as client:
            begun = time.monotonic()
            await client.api.version()
            assert time.monotonic() - begun < 2 * 0.7
            assert client.api.calls.book.addresses[0].failures == 1


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_connection_that_waits_to_shake_hands_is_not_left_open(end: str) -> None:
    """Nobody else knows of it. And that others cannot be connected says nothing of one that is."""
    gone = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    place = server.sockets[0].getsockname()
    stream = await Connecting().connect_tcp(*place)
    async with AsyncExitStack() as stack:
        for _ in range(AT_ONCE):
            turns = await stack.enter_async_context(turn_at(place))
        hands = asyncio.create_task(stream.start_tls(ssl.create_default_context(), "h", 0.2))
        await until(lambda: said(turns.waiting == 1), "the wait for a turn")
        turns.failed(httpcore.ConnectError("nobody is there"))
        assert (await asyncio.wait([hands], timeout=0.05))[1] == {hands}
        if end == "cancelled":
            hands.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hands
    if end == "failed":
        with pytest.raises(httpcore.ConnectTimeout):
            await hands
    await asyncio.wait_for(gone.wait(), 5)
    server.close()


async def test_waiting_for_a_turn_is_no_failure_of_the_address(
    registry: Replica, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out begins when the connection is begun."""
    monkeypatch.setattr(calls, "CONNECT_S", 0.2)
    async with connect() as client:
        async with AsyncExitStack() as stack:
            for _ in range(AT_ONCE):
                await stack.enter_async_context(turn_at(("127.0.0.1", registry.port)))
            asked = asyncio.create_task(client.api.version())
            # Far longer than a connection may take.
            await asyncio.wait([asked], timeout=3 * 0.2)
            assert not asked.done()
        await asked
        assert client.api.calls.book.addresses[0].failures == 0


async def test_the_lease_that_ends_first_is_served_first_and_polls_wait(gate: Gate) -> None:
    place = ("127.0.0.1", gate.port)
    async with many(gate.url, 3) as clients, AsyncExitStack() as held:
        for _ in range(AT_ONCE - 1):
            await held.enter_async_context(turn_at(place))
        async with turn_at(place) as turns:
            asked: list[asyncio.Task[object]] = [asyncio.create_task(clients[0].api.find_many([(parse_name("a"), "")]))]
            for client, by in zip(clients[1:], (90.0, 30.0), strict=True):
                asked.append(asyncio.create_task(beat(client.api, by)))
            await until(lambda: said(turns.waiting == 3), "all of them to wait")
        await asyncio.gather(*asked, return_exceptions=True)
    paths = [request.path.split("/")[-2:] for request in gate.requests]
    assert paths == [["i30", "heartbeat"], ["i90", "heartbeat"], ["instances", "action"]]


async def test_polls_that_wait_do_not_hold_heartbeats_up(gate: Gate) -> None:
    """A process of many clients whose polls take long: a few are under way, and a heartbeat goes between them."""
    gate.answer = lambda request: "hang" if request.path.endswith("/action") else None
    async with many(gate.url, 2 * POLLS_AT_ONCE) as clients:
        for client in clients:
            client.provider("shop/cart")
        await until(lambda: said(len(gate.seen("POST", "/action")) == POLLS_AT_ONCE), "as many polls as may be")
        with pytest.raises(Refused, match="Instance does not exist"):
            await clients[-1].api.heartbeat("s", "i")
        assert len(gate.seen("POST", "/action")) == POLLS_AT_ONCE


async def beat(api: Api, by: float) -> None:
    needed_by.set(by)
    await api.heartbeat("s", f"i{by:.0f}")


@pytest.mark.parametrize("moment", range(1, 14, 2))
async def test_what_came_while_the_loop_stood_still_came_in_time(connect: Connect, moment: int) -> None:
    """Whatever it was at: connecting, sending, waiting. It had no processor, or something blocked it."""
    async with connect(timeout_s=0.3) as client:
        asked = asyncio.create_task(client.api.version())
        for _ in range(moment):
            await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is to stand still
        await asked
        (address,) = client.api.calls.book.addresses
        assert (address.failures, client.api.calls.book.current) == (0, address.url)


async def test_a_loop_that_is_late_gives_the_others_their_time() -> None:
    """A time-out is that of the other side: what this side was late by is added, and no more."""
    rounds = 0

    async def be_busy() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251 - each round takes so long
            rounds += 1

    busy = asyncio.create_task(be_busy())
    with pytest.raises(TimeoutError):
        await lateness.Lateness().wait_for(asyncio.Event().wait(), 0.5)
    busy.cancel()
    # Each look is between two rounds, and counts for `LOOK_S`.
    looks = 0.5 / lateness.LOOK_S
    assert looks <= rounds <= 2 * looks + 3


async def test_what_begins_after_the_loop_stood_still_gets_no_more_time() -> None:
    """Only what had begun before has lost some."""
    late = lateness.Lateness()
    before = asyncio.create_task(late.wait_for(asyncio.Event().wait(), 60))
    await asyncio.sleep(0)
    time.sleep(1.5)  # noqa: ASYNC251 - the loop stands still
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await late.wait_for(asyncio.Event().wait(), 0.3)
    assert 0.3 <= time.monotonic() - begun < 1.0
    before.cancel()


async def test_a_call_that_waits_for_other_calls_is_not_given_up() -> None:
    """More calls at once than a client has connections, and the loop stands still meanwhile: each is sent once."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                requests.append(await reader.readuntil(b"\r\n\r\n"))
                await asyncio.sleep(0.3)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with AsyncRegistry(url, learn=False, timeout_s=0.5) as client:
        asked = [asyncio.create_task(client.api.version()) for _ in range(3 * calls.CONNECTIONS_MAX)]
        await until(lambda: said(len(requests) == calls.CONNECTIONS_MAX), "all connections to be in use")
        time.sleep(0.8)  # noqa: ASYNC251 - the loop is to stand still
        await asyncio.gather(*asked)
    server.close()
    assert len(requests) == 3 * calls.CONNECTIONS_MAX


async def said(condition: bool) -> bool:
    return condition
