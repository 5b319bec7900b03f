"""One scrape of any worker tells of all workers."""

from __future__ import annotations

import os
import signal
import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from tests.support.figures import Series, scraped, series
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: The kernel spreads connections over workers; this number reaches each of two.
CONNECTIONS = 12


@pytest.fixture
def two_workers(redis_url: str) -> Iterator[Replica]:
    prefix = f"board-{uuid.uuid4().hex[:8]}:"
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, "--workers", "2") as one:
        until_sync(lambda: len(one.worker_pids()) == 2, "both workers to listen", 30)
        yield one


def scrape(one: Replica) -> dict[Series, float]:
    with one.connect() as connection:
        return scraped(connection.request("GET", "/metrics").body)


def up(one: Replica) -> list[float | None]:
    told = scrape(one)
    return [told.get(series("registry_worker_up", worker=worker)) for worker in ("0", "1")]


def test_each_worker_tells_of_all(two_workers: Replica) -> None:
    """Whichever worker Prometheus reaches, no request is missing."""
    until_sync(lambda: up(two_workers) == [1, 1], "both to have told", 10)
    name, labels = "registry_requests_total", {"operation": "get-version", "status": "200"}

    def counted() -> list[float]:
        told = scrape(two_workers)
        return [told.get(series(name, worker=worker, **labels), 0.0) for worker in ("0", "1")]

    for _ in range(CONNECTIONS):
        with two_workers.connect() as connection:
            assert connection.request("GET", "/v4/default/registry/version").status == 200
    until_sync(lambda: sum(counted()) == CONNECTIONS and all(counted()), "both to have told of all requests", 10)
    before = counted()
    for _ in range(CONNECTIONS):
        now = counted()
        assert all(one <= other for one, other in zip(before, now, strict=True)), "no counter goes back"
        before = now
    assert sum(before) == CONNECTIONS


def test_worker_that_has_died_is_told_to_be_away_and_comes_back(two_workers: Replica) -> None:
    until_sync(lambda: up(two_workers) == [1, 1], "both to have told", 10)
    stopped = two_workers.worker_pids()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        # Half of the connections are the stopped worker's: those are given up.
        until_sync(lambda: sorted(_up_soon(two_workers)) == [0, 1], "it to be away", 30)
    finally:
        os.kill(stopped, signal.SIGCONT)
    until_sync(lambda: up(two_workers) == [1, 1], "it to be back", 10)


def _up_soon(one: Replica) -> list[float]:
    try:
        with urllib.request.urlopen(f"http://{one.host}:{one.port}/metrics", timeout=0.5) as answer:
            told = scraped(answer.read())
    except OSError:
        return []
    return [told[series("registry_worker_up", worker=worker)] for worker in ("0", "1")]
