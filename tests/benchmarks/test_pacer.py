"""Pacer: as many requests as the rate says, counted from the intended moment, and every reply looked at."""

from __future__ import annotations

import time

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.load import pacer
from benchmarks.load.pacer import Stream, pace
from benchmarks.wire import Address, Request
from tests.benchmarks.fake_server import fake_server, reply
from tests.benchmarks.test_driver import STALL_S, stalling

REQUESTS = [Request("GET", f"/{number}").rendered("localhost") for number in range(3)]


def stream(kind: str = "get", rate: float = 1000, connections: int = 1, body: bytes = b"right") -> Stream:
    return Stream(kind, REQUESTS, 200, body, rate, connections)


def right(number: int, head: bytes) -> bytes:
    return reply(200, b"right")


def test_requests_are_sent_in_turn_as_many_as_the_rate_says() -> None:
    seen: list[bytes] = []

    def note(number: int, head: bytes) -> bytes:
        seen.append(head.split(b" ")[1])
        return reply(200, b"right")

    with fake_server(note) as server:
        [record] = pace(server.address, [stream(rate=1000)], 0.03)
    assert seen == [b"/%d" % (number % 3) for number in range(30)]
    assert record.answered == 30
    assert not record.problem
    assert record.elapsed_s >= 0.029


def test_open_loop_counts_from_the_intended_moment() -> None:
    """As in `test_driver`: what had to wait behind a stall is as late as its user would see it."""
    with fake_server(stalling) as server:
        load = stream(body=b"")
        [record] = pace(server.address, [load], 0.03)
    samples = record.samples["get"]
    naive_us = [(at_s - load.start_s - number / 1000) * 1e6 for number, at_s in enumerate(server.answered_s)]
    assert all(ours >= theirs - 2 for ours, theirs in zip(samples.latencies_us, naive_us, strict=True))
    assert sum(us > STALL_S * 1e6 / 4 for us in samples.latencies_us) >= 20


def test_streams_do_not_wait_for_each_other() -> None:
    """Ticks beside a load have connections of their own: they show the server's pauses, not the load's queue."""

    def slow_load(number: int, head: bytes) -> bytes:
        if b"/slow" in head:
            until_s = time.monotonic() + 0.002
            while time.monotonic() < until_s:
                pass
        return reply(200, b"right")

    slow = Stream("load", [Request("GET", "/slow").rendered("localhost")], 200, b"right", 1000, 1)
    with fake_server(slow_load) as server:
        load, ticks = pace(server.address, [slow, stream("tick", 100, 2)], 0.1)
    assert load.answered == 100
    assert ticks.answered == 10
    assert load.summary().p50_ms > 10 * ticks.summary().p50_ms


@pytest.mark.parametrize(
    ("wrong", "counted"),
    [
        (reply(200, b"wrong"), "get wrong answer"),
        (reply(200, b"very right"), "get wrong answer"),
        (reply(200, b"\r\n\r\nright"), "get wrong answer"),
        (reply(200), "get wrong answer"),
        (reply(503, b"right"), "get 503"),
        (b"HTTP/1.1 xyz\r\nContent-Length: 0\r\n\r\n", "get 0"),
        (None, "get no answer"),
    ],
    ids=["body", "longer", "two heads", "no body", "status", "no status", "hangs up"],
)
def test_bad_reply_is_counted_and_the_load_goes_on(wrong: bytes | None, counted: str) -> None:
    def answer(number: int, head: bytes) -> bytes | None:
        return wrong if number == 2 else right(number, head)

    with fake_server(answer) as server:
        [record] = pace(server.address, [stream(rate=200)], 0.03)
    assert record.errors == {counted: 1}
    assert record.answered == 5
    assert record.problem


def test_reply_in_pieces_is_one_reply() -> None:
    """Of a large body, the first piece is neither wrong nor all."""
    body = b"right" * 200_000
    with fake_server(lambda number, head: reply(200, body)) as server:
        [record] = pace(server.address, [stream(rate=100, body=body)], 0.05)
    assert record.answered == 5
    assert not record.problem


def test_what_has_no_answer_is_given_up_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing must neither hold the run nor go uncounted."""
    monkeypatch.setattr(pacer, "REPLY_TIMEOUT_S", 0.1)
    with fake_server(lambda number, head: b"") as server:
        [record] = pace(server.address, [stream(rate=500, connections=2)], 0.02)
    assert record.errors == {"get no answer": 10}
    assert record.answered == 0


def test_nobody_listens() -> None:
    with pytest.raises(BenchmarkError, match="could not be connected to"):
        pace(Address("127.0.0.1", 1), [stream()], 0.01)
