"""What clients go through while Redis is away: each asks on its own, again and again, and writes down what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from tests.support.api import Api
from tests.support.http import Response

#: Between the requests of one client (seconds).
PAUSE_S = 0.15


class Seen(NamedTuple):
    """One answer: when it was asked for and when it came (monotonic seconds), and what it was."""

    asked: float
    answered: float
    response: Response

    @property
    def took_s(self) -> float:
        return self.answered - self.asked

    @property
    def stale(self) -> str:
        return self.response.header("X-Registry-Stale")


def ask(question: Callable[[], Response]) -> Seen:
    asked = time.monotonic()
    response = question()
    return Seen(asked, time.monotonic(), response)


class Clients:
    """Clients of one replica, each in a thread of its own until `end`."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(16)
        self._running: list[Future[None]] = []

    def start(self, question: Callable[[], Response]) -> list[Seen]:
        """Ask the question until the end; the list that the answers go to."""
        seen: list[Seen] = []

        def run() -> None:
            while not self._over.is_set():
                seen.append(ask(question))
                self._over.wait(PAUSE_S)

        self._running.append(self._pool.submit(run))
        return seen

    def start_work(self, work: Callable[[threading.Event], None]) -> None:
        """Let `work` run until the event it is given is set."""
        self._running.append(self._pool.submit(work, self._over))

    def end(self) -> None:
        """Raises what one of them has raised."""
        self._over.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()


def beat_all(api: Api, apis: list[Api], service_id: str, instance_ids: list[str]) -> list[tuple[float, int]]:
    """Send a heartbeat for each at the same time, over a connection each; seconds until the answer, and its status."""
    began = time.monotonic()
    for each, instance_id in zip(apis, instance_ids, strict=True):
        path = f"/v4/{api.project}/registry/microservices/{service_id}/instances/{instance_id}/heartbeat"
        each.connection.send(f"PUT {path} HTTP/1.1\r\nHost: r\r\nX-Domain-Name: {api.domain}\r\n\r\n".encode())
    return [(time.monotonic() - began, each.connection.receive().status) for each in apis]
