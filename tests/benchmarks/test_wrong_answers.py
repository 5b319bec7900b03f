"""A wrong answer under a load of wrk fails the run, in its warm-up as after it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.__main__ import main
from benchmarks.closed_loop import Contender, Load, Plan, take_turns
from benchmarks.errors import BenchmarkError
from benchmarks.servers import Target
from benchmarks.wire import Reply, Request
from tests.benchmarks.fake_server import Answer, fake_server, reply

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
]
REQUEST = Request("GET", "/find")


def is_right(answer: Reply) -> str | None:
    return None if (answer.status, answer.body) == (200, b"right") else "expected right"


def failing_run(answer: Answer, load: Load, directory: Path) -> BenchmarkError:
    """What a run against a server that answers so fails with."""
    plan = Plan(connections=2, seconds=1, rounds=1, directory=directory)
    with fake_server(answer) as server, pytest.raises(BenchmarkError) as caught:
        take_turns([Contender("registry", Target(server.address), load)], plan, lambda line: None)
    return caught.value


def test_one_wrong_body_among_thousands_fails_the_warm_up(tmp_path: Path) -> None:
    """Same status, same size, another content: only looking at every reply finds it."""
    load = Load(wrk.same_request(REQUEST), REQUEST, is_right)
    error = failing_run(lambda number, head: reply(200, b"wrong" if number == 50 else b"right"), load, tmp_path)
    assert error.errors["wrong"] == 1
    assert "GET /find" in str(error)
    assert "wrong reply: status 200, body wrong" in str(error)


def test_refusals_are_counted_by_status(tmp_path: Path) -> None:
    load = Load(wrk.same_request(REQUEST), REQUEST, is_right)
    refused = range(50, 53)
    error = failing_run(lambda number, head: reply(503 if number in refused else 200, b"right"), load, tmp_path)
    assert error.errors["status 503"] == 3


def test_wrong_bodies_during_the_measured_run_fail_it(tmp_path: Path) -> None:
    """After the warm-up wrk looks at nothing but sizes; a client of our own looks at bodies."""
    runs = 0

    def next_run() -> None:
        nonlocal runs
        runs += 1

    load = Load(wrk.same_request(REQUEST), REQUEST, is_right, reset=next_run)
    error = failing_run(lambda number, head: reply(200, b"right" if runs < 2 else b"wrong"), load, tmp_path)
    assert "under load: GET /find was answered wrongly: expected right" in str(error)


def test_foreign_registry_that_answers_wrongly_ends_with_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names scene, request and difference; the results are written all the same."""

    def answer(number: int, head: bytes) -> bytes:
        if b"GET /v4/default/registry/instances?" in head:
            return reply(200, b'{"instances":[]}', b"X-Resource-Revision: 1")
        return reply(200, b'{"instanceId":"bench-find-1-0000"}' if b"/instances" in head else b"")

    with fake_server(answer) as server:
        arguments = ["--quick", "--base-url", server.address.url, "--scenes", "find-1,size", "--results", str(tmp_path)]
        assert main(arguments) == 1
    told = capsys.readouterr().err
    assert "bench: find-1: GET /v4/default/registry/instances?" in told
    assert "expected 1 instances, got 0" in told
    assert "size: skipped, because the tool has no second registry to compare with." in told
    assert (tmp_path / "results.json").exists()
