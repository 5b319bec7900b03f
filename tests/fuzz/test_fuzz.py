"""Fuzzing in short; `scripts/fuzz` does it at length."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from starlette.types import Receive, Scope, Send

from tests.fuzz import client
from tests.fuzz.__main__ import summary
from tests.fuzz.client import Tally, Target, conversation, talk
from tests.fuzz.requests import Requests
from tests.fuzz.world import Options, run
from tests.serving.conftest import Running, running

#: How many are sent in CI, in less than a minute.
REQUESTS = 20_000


@pytest.mark.slow
def test_nothing_that_is_sent_fails_hangs_or_is_kept_for_ever(tmp_path: Path) -> None:
    """By both ways through the server, plain and by TLS, without and with accounts."""
    report = run(Options(REQUESTS, seconds=120, seed=20261129, say=lambda _: None), tmp_path)
    assert not report.wrong, summary(report)
    assert report.tally.requests >= REQUESTS, summary(report)
    # Not all is refused: what is behind the parser is reached too.
    assert report.tally.statuses[200] > REQUESTS / 20, summary(report)
    assert {101, 301, 400, 401, 403, 404, 405, 408, 431} <= set(report.tally.statuses), summary(report)


def test_seed_decides_what_is_sent() -> None:
    requests = Requests(["a", "b"])
    first, again = ([conversation(requests, Random(seed)) for seed in range(100)] for _ in range(2))
    assert first == again
    assert len({sent for sent, _ in first}) == 100


async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails at some paths, and never answers at others."""
    if scope["path"].endswith("/version"):
        raise ZeroDivisionError
    if scope["path"] == "/health":
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.fixture
def server() -> Iterator[Running]:
    with running(faulty) as server:
        yield server


@pytest.mark.parametrize("fault", ["500", "hangs"])
async def test_planted_faults_are_found(server: Running, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(client, "HANG_S", 0.5)
    path = "/version" if fault == "500" else "/health"
    sent = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    monkeypatch.setattr(client, "conversation", lambda *_: (sent, 1))
    tally = Tally()
    await talk(Target("faulty", server.port, Requests([])), Random(3), tally)
    (finding,) = tally.findings
    assert ("HTTP/1.1 500" if fault == "500" else "no end within") in finding
    assert path in finding


async def test_broken_tls_is_found(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that speaks plain HTTP where TLS is expected."""
    tally = Tally()
    await talk(Target("plain", server.port, Requests([]), ssl.create_default_context()), Random(3), tally)
    (finding,) = tally.findings
    assert "SSL" in finding
