"""Driver: latencies are counted from the intended moment, and every bad answer is counted by what it is."""

from __future__ import annotations

import time

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.load import schedules
from benchmarks.load.driver import Call, Check, Driver, drive
from benchmarks.load.record import merged
from benchmarks.wire import Address, Request
from tests.benchmarks.fake_server import FakeServer, fake_server, reply

STALL_S = 0.05


def call(kind: str = "get", check: Check = lambda head, body: None) -> Call:
    return Call(kind, Request("GET", f"/{kind}").rendered("localhost"), check)


def is_right(head: bytes, body: bytes) -> str | None:
    return None if body == b"right" else "expected right"


def stalling(number: int, head: bytes) -> bytes:
    """A server that pauses at its third request, as a garbage collection would make it."""
    if number == 3:
        deadline_s = time.monotonic() + STALL_S
        while time.monotonic() < deadline_s:
            pass
    return reply(200)


def test_open_loop_counts_from_the_intended_moment() -> None:
    """Requests that had to wait behind a stall are as late as their users would see them (coordinated omission)."""
    with fake_server(stalling) as server:
        driver = Driver(server.address, 1, schedules.at_rate(1000, 0.03, lambda number: call()))
        record = drive(driver)
        start_s = driver._start_s
    samples = record.samples["get"]
    assert len(samples.latencies_us) == 30
    # The naive oracle: the server's own notes of when each answer left, minus when its request was meant to be sent.
    naive_us = [(at_s - start_s - number / 1000) * 1e6 for number, at_s in enumerate(server.answered_s)]
    assert all(ours >= theirs - 2 for ours, theirs in zip(samples.latencies_us, naive_us, strict=True))
    # Behind the stall one connection had to send what was due meanwhile: at least half of those are late.
    assert sum(us > STALL_S * 1e6 / 4 for us in samples.latencies_us) >= 20


def test_closed_loop_counts_from_sending() -> None:
    """The same stall delays one request of a closed loop, and the others were never meant to be sent meanwhile."""
    with fake_server(stalling) as server:
        record = drive(Driver(server.address, 1, schedules.closed(call() for _ in range(30))))
    late = [us for us in record.samples["get"].latencies_us if us >= STALL_S * 1e6]
    assert 1 <= len(late) < 10


def test_errors_are_counted_by_kind_and_status() -> None:
    """Which refusals came, and how often, is the first thing to know about a failed run."""
    statuses = [200, 400, 200, 503, 400, 200]
    with fake_server(lambda number, head: reply(statuses[number], b"why")) as server:
        record = drive(Driver(server.address, 1, schedules.closed(call("beat") for _ in statuses)))
    assert record.errors == {"beat 400": 2, "beat 503": 1}
    assert record.answered == 3
    assert "GET /beat was answered wrongly: expected 200 (status 400, 'why')" in record.problem


def test_wrong_body_with_a_good_status_is_an_error() -> None:
    """A registry that answers 200 and the wrong instances is not fast, it is broken."""
    with fake_server(lambda number, head: reply(200, b"wrong" if number == 2 else b"right")) as server:
        record = drive(Driver(server.address, 1, schedules.closed(call(check=is_right) for _ in range(5))))
    assert record.errors == {"get wrong answer": 1}
    assert "expected right (status 200, 'wrong')" in record.problem


def test_broken_connection_is_an_error_and_the_load_goes_on() -> None:
    """A server that hangs up must not end the run or go unnoticed."""
    with fake_server(lambda number, head: None if number == 2 else reply(200)) as server:
        record = drive(Driver(server.address, 1, schedules.closed(call() for _ in range(6))))
    assert record.errors == {"get no answer": 1}
    assert record.answered == 5


def test_nobody_listens() -> None:
    """One sentence instead of a traceback."""
    with pytest.raises(BenchmarkError, match="could not be connected to"):
        drive(Driver(Address("127.0.0.1", 1), 1, schedules.closed([call()])))


def test_a_mistake_in_a_check_ends_the_run() -> None:
    """An exception in a callback would only be printed by the event loop, and the run would wait for ever."""

    def broken(head: bytes, body: bytes) -> str | None:
        raise ZeroDivisionError

    with fake_server(lambda number, head: reply(200)) as server, pytest.raises(ZeroDivisionError):
        drive(Driver(server.address, 1, schedules.closed([call(check=broken)])))


def test_records_of_several_clients_add_up() -> None:
    def serve(number: int, head: bytes) -> bytes:
        return reply(200 if number % 2 else 500)

    def load(server: FakeServer) -> Driver:
        return Driver(server.address, 2, schedules.closed(call() for _ in range(10)))

    with fake_server(serve) as server:
        records = [drive(load(server)) for _ in range(2)]
    whole = merged(records)
    assert whole.errors == {"get 500": 10}
    assert whole.answered == 10
    assert sorted(whole.samples["get"].latencies_us) == sorted(
        us for record in records for us in record.samples["get"].latencies_us
    )


def test_p99_by_time_tells_when_it_was_slow() -> None:
    with fake_server(lambda number, head: reply(200)) as server:
        record = drive(Driver(server.address, 4, schedules.at_rate(200, 0.1, lambda number: call())))
    curve = record.samples["get"].p99_by_time(0.05)
    assert [at_s for at_s, _ in curve] == pytest.approx([0, 0.05])
    assert all(p99_ms > 0 for _, p99_ms in curve)
