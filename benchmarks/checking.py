"""Checking: is a reply the right one? Asked before, after and, by a client of its own, during a load of wrk."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.wire import Address, Reply, Request, call, send

#: Says what is wrong with a reply, or None.
Check = Callable[[Reply], str | None]

#: Seconds between two checks during a load: often enough to meet what lasts, seldom enough to cost nothing.
CHECK_EVERY_S: Final = 0.05
_SHOWN_BYTES: Final = 200


def verify(address: Address, request: Request, check: Check) -> Reply:
    """Send a request and check its reply.

    Raises:
        BenchmarkError: it is wrong; the message has the request, the difference and the reply.
    """
    reply = call(address, request)
    if problem := check(reply):
        raise BenchmarkError(described(request, reply, problem))
    return reply


def described(request: Request, reply: Reply, problem: str) -> str:
    """A wrong reply in one sentence."""
    body = reply.body[:_SHOWN_BYTES].decode(errors="replace")
    return f"{request.method} {request.path} was answered wrongly: {problem} (status {reply.status}, {body!r})."


class Watchdog:
    """Sends one request again and again while a block lasts, and checks every reply.

    wrk counts sizes and bad statuses of all replies; this looks into some. After the block, `problem` says what was
    wrong, and `statuses` how often each status came.
    """

    def __init__(self, address: Address, request: Request, check: Check) -> None:
        self._address = address
        self._request = request
        self._check = check
        self._right: bytes | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.statuses: Counter[int] = Counter()
        self.problem = ""

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.problem and not self._over.wait(CHECK_EVERY_S):
            try:
                self._look(send(self._address, self._request))
            except (OSError, http.client.HTTPException) as exc:
                self.problem = f"{self._request.method} {self._request.path} got no reply: {exc!r}"

    def _look(self, reply: Reply) -> None:
        self.statuses[reply.status] += 1
        if reply.body == self._right and reply.status == next(iter(self.statuses)):
            return  # The same as one that was checked: large bodies are parsed once.
        if wrong := self._check(reply):
            self.problem = described(self._request, reply, wrong)
        elif reply.body:
            self._right = reply.body
