"""The registry's own connection to Redis, against a real server and against one that misbehaves on demand."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from hiredis import pack_command
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry.store import lines
from registry.store.address import parse_address
from registry.store.connections import connection_options
from registry.store.dial import Dial
from registry.store.line import Line
from registry.store.lines import OwnLines, SharedLine
from registry.store.refusal import refusal
from tests.support.fake_redis import FakeRedis, fake_redis
from tests.support.memory_replica import elapse, run
from tests.support.waiting import until

LIMIT_S = 5.0
#: For what is to be given up, and for what has to be sent before that.
SHORT_S = 0.05
GIVEN_UP_S = 0.3


@pytest.fixture
async def fake() -> AsyncIterator[FakeRedis]:
    async with fake_redis() as fake:
        yield fake


@pytest.fixture
async def dial(fake: FakeRedis) -> AsyncIterator[Dial]:
    dial = Dial({"host": "127.0.0.1", "port": fake.port}, LIMIT_S)
    yield dial
    dial.let_go("the test is over")


@pytest.fixture
async def real(redis_url: str) -> AsyncIterator[Dial]:
    dial = Dial(connection_options(parse_address(f"{redis_url}?db=5&client_name=a-line")), LIMIT_S)
    yield dial
    dial.let_go("the test is over")


async def outcome(call: Any) -> Any:
    """What a call gives, or what it raises."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return await call
    except RedisError as error:
        return error


# -- with a real server ------------------------------------------------------------------------------------------------


async def test_many_commands_at_once_get_each_its_own_answer_over_one_connection(real: Dial) -> None:
    """A mix-up would give one tenant what was meant for another."""
    line = SharedLine(real, LIMIT_S)
    assert await asyncio.gather(*(line.execute("ECHO", str(number)) for number in range(500))) == [
        str(number).encode() for number in range(500)
    ]
    clients = (await line.execute("CLIENT", "LIST")).decode().splitlines()
    assert [("db=5 " in client) for client in clients if "name=a-line " in client] == [True]


async def test_an_error_is_that_of_its_own_command(real: Dial) -> None:
    """The commands before and behind it are answered as if it were not there."""
    line = SharedLine(real, LIMIT_S)
    before, refused, behind = await asyncio.gather(
        *(outcome(line.execute(*command)) for command in (("ECHO", "a"), ("EVALSHA", "0" * 40, 0), ("ECHO", "b")))
    )
    assert (before, type(refused), behind) == (b"a", NoScriptError, b"b")


async def test_large_commands_and_answers_come_whole(real: Dial) -> None:
    """They go over the wire in many segments, among others."""
    line = SharedLine(real, LIMIT_S)
    large = bytes(range(256)) * 20_000
    found = await asyncio.gather(*(line.execute("ECHO", value) for value in (large, b"", large, "ü")))
    assert found == [large, b"", large, "ü".encode()]


async def test_a_command_that_waits_holds_up_no_other(real: Dial) -> None:
    """Else a reader that waits for news would hold up everybody."""
    own = OwnLines(real, 3)
    waiting = asyncio.create_task(own.execute("BLPOP", "line:test", 0))
    assert await own.execute("ECHO", "a") == b"a"
    assert await own.execute("RPUSH", "line:test", "x") == 1
    assert await waiting == [b"line:test", b"x"]


async def test_a_wait_that_was_given_up_leaves_no_line_behind(real: Dial) -> None:
    """The next command over it would get the answer of the one before."""
    own = OwnLines(real, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_S):
            await own.execute("BLPOP", "line:gone", 0)
    assert await own.execute("RPUSH", "line:gone", "x") == 1
    assert await own.execute("LPOP", "line:gone") == b"x"


async def test_when_all_lines_are_in_use_a_wait_waits_for_one(real: Dial) -> None:
    """Their number is bounded; nobody is refused for it."""
    own = OwnLines(real, 1)
    first = asyncio.create_task(own.execute("BLPOP", "line:full", 0))
    second = asyncio.create_task(own.execute("ECHO", "second"))
    shared = SharedLine(real, LIMIT_S)

    async def blocked() -> bool:
        return b" cmd=blpop " in await shared.execute("CLIENT", "LIST")

    await until(blocked, "the first one to wait")
    assert not second.done()
    await shared.execute("RPUSH", "line:full", "x")
    assert await first == [b"line:full", b"x"]
    assert await second == b"second"


# -- with a server that misbehaves -------------------------------------------------------------------------------------


async def test_an_answer_in_pieces_is_put_together(fake: FakeRedis, dial: Dial) -> None:
    """A segment may end anywhere, and may hold more than one answer."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(line.execute("GET", name)) for name in "abc"]
    for _ in calls:
        await fake.command()
    await fake.say(b"$", b"5\r\nhel", b"lo\r", b"\n$-1\r\n*2\r\n:1\r\n+O", b"K\r\n")
    assert await asyncio.gather(*calls) == [b"hello", None, [1, b"OK"]]


async def test_the_next_command_after_a_line_was_given_up_has_another_one(fake: FakeRedis, dial: Dial) -> None:
    line = SharedLine(dial, LIMIT_S)
    call = asyncio.create_task(outcome(line.execute("GET", "a")))
    await fake.command()
    line.end("no answer")
    assert type(await call) is RedisConnectionError
    after = asyncio.create_task(outcome(line.execute("GET", "c")))
    assert (await fake.command(), fake.connections) == ([b"GET", b"c"], 2)
    await fake.say(b"+of c\r\n")
    assert await after == b"of c"


class Wire(asyncio.WriteTransport):
    """What takes all that is written, and notes that it was broken off."""

    is_broken = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.is_broken = True


def in_virtual_time(work: Callable[[Line, Wire], Coroutine[Any, Any, None]]) -> None:
    """Whatever the machine has to do beside: a line over a wire on which the test is the server."""

    async def main() -> None:
        line, wire = Line(LIMIT_S), Wire()
        line.connection_made(wire)
        await work(line, wire)

    run(main)


def test_no_answer_in_time_ends_the_line_for_all() -> None:
    """A late answer must not be taken for that to another command."""

    async def work(line: Line, wire: Wire) -> None:
        calls = [line.say("GET", name) for name in "ab"]
        line.data_received(b"+of a\r\n")
        await elapse(LIMIT_S - 0.01)
        assert line.is_open
        await elapse(0.02)
        assert (line.is_open, wire.is_broken) == (False, True)
        assert calls[0].result() == b"of a"
        assert type(calls[1].exception()) is RedisTimeoutError
        line.data_received(b"+of b, late\r\n")
        with pytest.raises(RedisConnectionError):
            line.say("GET", "c")

    in_virtual_time(work)


def test_a_server_that_goes_on_answering_is_given_its_time() -> None:
    """The limit is that of each command, not of the line: one timer must not end what has just been asked."""

    async def work(line: Line, wire: Wire) -> None:
        call = line.say("GET", "a")
        for _ in range(10):
            # One is always under way, so that the timer finds it.
            following = line.say("GET", "a")
            await elapse(0.4 * LIMIT_S)
            line.data_received(b"+yes\r\n")
            assert call.result() == b"yes"
            call = following
        line.data_received(b"+yes\r\n")
        assert call.result() == b"yes"
        assert not wire.is_broken

    in_virtual_time(work)


async def test_a_connection_that_closes_in_the_middle_fails_what_was_sent_and_sends_it_never_again(
    fake: FakeRedis, dial: Dial
) -> None:
    """A commit whose answer is lost may have happened: to send it twice would append twice."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(outcome(line.execute("SET", name, "1"))) for name in "ab"]
    for _ in calls:
        await fake.command()
    await fake.say(b"+OK\r\n+O")
    fake.hang_up()
    found = await asyncio.gather(*calls)
    assert (found[0], type(found[1])) == (b"OK", RedisConnectionError)
    after = asyncio.create_task(outcome(line.execute("GET", "c")))
    assert (await fake.command(), fake.unread(), fake.connections) == ([b"GET", b"c"], 0, 2)
    await fake.say(b"+yes\r\n")
    assert await after == b"yes"


async def test_a_line_that_was_closed_while_nobody_used_it_is_not_used_again(fake: FakeRedis, dial: Dial) -> None:
    """The server was started anew at night: the first command in the morning must not fail for that."""
    for execute in (SharedLine(dial, LIMIT_S).execute, OwnLines(dial, 1).execute):
        for _ in range(2):
            call = asyncio.create_task(outcome(execute("PING")))
            await fake.command()
            (line,) = [line for line in dial._lines if line.is_open]
            await fake.say(b"+PONG\r\n")
            assert await call == b"PONG"
            fake.hang_up()

            async def noticed(line: Line = line) -> bool:
                return not line.is_open

            await until(noticed, "the end to be noticed")


async def test_who_gives_up_leaves_the_answers_of_others_in_their_order(fake: FakeRedis, dial: Dial) -> None:
    """The answer to a command that nobody waits for any more belongs to nobody."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(line.execute("GET", name)) for name in "abc"]
    for _ in calls:
        await fake.command()
    calls[1].cancel()
    await fake.say(b"+of a\r\n+of b\r\n+of c\r\n")
    assert await asyncio.gather(*calls[::2]) == [b"of a", b"of c"]


@pytest.mark.parametrize("said", [b"hello\r\n", b"+unasked\r\n", b"-MOVED nowhere\r\n"])
async def test_what_cannot_be_understood_ends_the_line(fake: FakeRedis, dial: Dial, said: bytes) -> None:
    """Whatever came next could be taken for the answer to something else."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(outcome(line.execute("GET", name))) for name in "ab"]
    for _ in calls:
        await fake.command()
    await fake.say(b"+of a\r\n+of b\r\n" * (said == b"+unasked\r\n") + said)
    found = await asyncio.gather(*calls)
    if said != b"+unasked\r\n":
        assert [type(error) for error in found] == [RedisConnectionError] * 2
    await until(lambda: asyncio.sleep(0, not any(line.is_open for line in dial._lines)), "the line to end")


def packed(key: str) -> bytes:
    command: tuple[Any, ...] = ("GET", key)
    return bytes(pack_command(command))


class NotingTransport(asyncio.WriteTransport):
    """Takes note of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        return None


async def test_what_is_said_at_once_is_sent_together_and_one_alone_at_once() -> None:
    """A write for each would wake the server up for each."""
    line, transport = Line(LIMIT_S), NotingTransport()
    line.connection_made(transport)
    answers = [line.say("GET", "0")]
    assert transport.written == [packed("0")]
    answers += [line.say("GET", str(number)) for number in range(1, 10)]
    await asyncio.sleep(0)
    assert transport.written[1:] == [b"".join(packed(str(number)) for number in range(1, 10))]
    line.end("the test is over")
    await asyncio.gather(*answers, return_exceptions=True)


async def test_what_a_line_has_not_sent_when_it_ends_fails(fake: FakeRedis) -> None:
    """Nobody may wait for an answer to it."""
    loop = asyncio.get_running_loop()
    line = Line(LIMIT_S)
    await loop.create_connection(lambda: line, "127.0.0.1", fake.port)
    answers = [line.say("GET", str(number)) for number in range(3)]
    line.end("the test is over")
    found = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(error) for error in found] == [RedisConnectionError] * 3


async def test_more_commands_than_may_wait_are_refused_unsent(fake: FakeRedis) -> None:
    """A Redis that hangs must not fill the memory."""
    loop = asyncio.get_running_loop()
    line = Line(LIMIT_S, unanswered_max=3)
    await loop.create_connection(lambda: line, "127.0.0.1", fake.port)
    answers = [line.say("GET", str(number)) for number in range(3)]
    with pytest.raises(RedisConnectionError, match="3 commands wait"):
        line.say("GET", "3")
    for _ in answers:
        await fake.command()
    await fake.say(b"+0\r\n")
    assert await answers[0] == b"0"
    answers.append(line.say("GET", "4"))
    assert (await fake.command(), fake.unread()) == ([b"GET", b"4"], 0)
    line.end("the test is over")
    await asyncio.gather(*answers, return_exceptions=True)


async def test_more_commands_than_may_wait_for_a_connection_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same while none is open."""
    monkeypatch.setattr(lines, "UNANSWERED_MAX", 3)
    never = asyncio.get_running_loop().create_future()
    line = SharedLine(Dial({}, LIMIT_S, lambda: never), LIMIT_S)
    calls = [asyncio.create_task(line.execute("GET", "a")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RedisConnectionError, match="3 commands wait"):
        await line.execute("GET", "a")
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await line.close()


# -- opening -----------------------------------------------------------------------------------------------------------


async def test_all_that_come_while_a_line_is_opened_share_it(fake: FakeRedis, dial: Dial) -> None:
    """After an outage everybody comes at once: one connection is enough for them."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(line.execute("GET", str(number))) for number in range(50)]
    for _ in calls:
        await fake.command()
    await fake.say(b"+yes\r\n" * 50)
    assert await asyncio.gather(*calls) == [b"yes"] * 50
    assert fake.connections == 1


async def test_a_server_that_does_not_greet_is_given_up_and_asked_again(fake: FakeRedis) -> None:
    """Nothing but the greeting was sent."""
    dial = Dial({"host": "127.0.0.1", "port": fake.port, "password": "s3cret", "db": 2}, GIVEN_UP_S)
    line = SharedLine(dial, LIMIT_S)
    for turn in (1, 2):
        found = await asyncio.gather(*(outcome(line.execute("GET", "a")) for _ in range(3)))
        assert [type(error) for error in found] == [RedisTimeoutError] * 3
        assert "s3cret" not in str(found[0])
        assert [await fake.command() for _ in range(2)] == [[b"AUTH", b"s3cret"], [b"SELECT", b"2"]]
        assert (fake.unread(), fake.connections) == (0, turn)


async def test_a_greeting_that_is_refused_is_told_and_nothing_else_is_sent(fake: FakeRedis) -> None:
    """Of several refusals the first says why."""
    dial = Dial({"host": "127.0.0.1", "port": fake.port, "username": "u", "password": "p", "db": 2}, LIMIT_S)
    call = asyncio.create_task(outcome(SharedLine(dial, LIMIT_S).execute("GET", "a")))
    assert await fake.command() == [b"AUTH", b"u", b"p"]
    await fake.command()
    await fake.say(b"-WRONGPASS invalid username-password pair\r\n-NOAUTH Authentication required.\r\n")
    refused = await call
    assert (type(refused), str(refused)) == (AuthenticationError, "invalid username-password pair")
    assert fake.unread() == 0


async def test_only_a_master_is_talked_to_where_one_is_wanted(fake: FakeRedis) -> None:
    """A sentinel that is behind names a server that has become a replica."""

    async def master() -> tuple[str, int]:
        return "127.0.0.1", fake.port

    line = SharedLine(Dial({}, LIMIT_S, master), LIMIT_S)
    call = asyncio.create_task(outcome(line.execute("GET", "a")))
    assert await fake.command() == [b"ROLE"]
    await fake.say(b"*1\r\n$5\r\nslave\r\n")
    assert str(await call) == f"127.0.0.1:{fake.port} is not the master but a slave"
    call = asyncio.create_task(outcome(line.execute("GET", "a")))
    assert await fake.command() == [b"ROLE"]
    await fake.say(b"*1\r\n$6\r\nmaster\r\n")
    assert await fake.command() == [b"GET", b"a"]
    await fake.say(b"+yes\r\n")
    assert await call == b"yes"


async def test_a_line_that_is_being_opened_is_let_go_too(fake: FakeRedis) -> None:
    """It may be to a master that has just been replaced, and answers for ever with what it was left with."""
    dial = Dial({"host": "127.0.0.1", "port": fake.port, "db": 2}, LIMIT_S)
    call = asyncio.create_task(outcome(SharedLine(dial, LIMIT_S).execute("GET", "a")))
    await fake.command()
    dial.let_go("another server is the master now")
    refused = await call
    assert (type(refused), str(refused)) == (RedisConnectionError, "another server is the master now")


async def test_nobody_who_waits_for_a_line_makes_no_noise(fake: FakeRedis, caplog: pytest.LogCaptureFixture) -> None:
    """An opening that fails when everybody has given up is nobody's error."""
    line = SharedLine(Dial({"host": "127.0.0.1", "port": fake.port, "db": 2}, SHORT_S), LIMIT_S)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_S / 5):
            await line.execute("GET", "a")
    opening = line._opening
    assert opening is not None
    await asyncio.wait((opening,))
    del opening
    gc.collect()
    assert caplog.messages == []


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("ERR unknown command", ResponseError, "unknown command"),
        ("EPOCH 7-1", ResponseError, "EPOCH 7-1"),
        ("NOSCRIPT No matching script.", NoScriptError, "No matching script."),
        ("READONLY You can't write", ReadOnlyError, "You can't write"),
        ("OOM command not allowed", OutOfMemoryError, "command not allowed"),
        ("LOADING Redis is loading", BusyLoadingError, "Redis is loading"),
        ("WRONGPASS invalid", AuthenticationError, "invalid"),
        ("MOVED 5 h:1", MovedError, "5 h:1"),
        ("ERR max number of clients reached", RedisConnectionError, "max number of clients reached"),
    ],
)
def test_a_refusal_has_the_class_that_redis_py_gives_it(text: str, kind: type[RedisError], said: str) -> None:
    """The store tells them apart by their class, whichever way they have come."""
    error = refusal(text)
    assert (type(error), str(error)) == (kind, said)


async def test_a_server_that_does_not_serve_us_as_we_are_is_called_anew(fake: FakeRedis, dial: Dial) -> None:
    """Where logging in is asked for since this morning, a new connection logs in."""
    line = SharedLine(dial, LIMIT_S)
    calls = [asyncio.create_task(outcome(line.execute("GET", name))) for name in "ab"]
    for _ in calls:
        await fake.command()
    await fake.say(b"-NOAUTH Authentication required.\r\n")
    assert [type(error) for error in await asyncio.gather(*calls)] == [AuthenticationError, RedisConnectionError]
    after = asyncio.create_task(outcome(line.execute("GET", "c")))
    await fake.command()
    assert fake.connections == 2
    await fake.say(b"+yes\r\n")
    assert await after == b"yes"
