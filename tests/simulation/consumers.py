"""ConsumerClient: polls finds with the rev it holds, one service at a time or all in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final

from registry.domain.batch_find import BatchResult
from registry.domain.find import FindQuery
from registry.domain.view import Answer
from tests.simulation.client import Client, seen_of
from tests.support.history import BATCH, FIND, NOWHERE, OK, REFUSED, Operation

APP: Final = "shop"


def query_of(service: str, rev: str) -> FindQuery:
    """The services of the workload have their ids as names."""
    return FindQuery(APP, service, rev=rev)


def described(answer: Answer, asked_rev: str) -> dict[str, Any]:
    """The fields of a find's answer: 304 when the client holds exactly this."""
    if asked_rev and asked_rev == answer.rev:
        return {"rev": answer.rev, "not_modified": True}
    return {"rev": answer.rev, "seen": seen_of(answer.body), "digest": sha1(answer.body).hexdigest()}


class ConsumerClient(Client):
    services: Sequence[str]
    #: Seconds between polls, at most.
    period_s: float = 2.0

    async def run(self) -> None:
        self._revs = dict.fromkeys(self.services, "")
        while self.loop.now_ms() < self.end_ms:
            await self.pause(0.2, self.period_s)
            wanted = self.position if self.random.random() < 0.3 else NOWHERE
            if self.random.random() < 0.5:
                await self._find(self.random.choice(self.services), wanted)
            else:
                await self._batch(wanted)

    async def _find(self, service: str, wanted: tuple[int, int]) -> None:
        rev = self._asked(service)
        operation, _ = await self.request(
            lambda api: api.discovery.find(self.tenant, query_of(service, rev)),
            lambda answer: described(answer, rev),
            wanted,
            kind=FIND,
            service=service,
            asked_rev=rev,
        )
        if operation.outcome == OK:
            self._revs[service] = operation.rev

    def _asked(self, service: str) -> str:
        return self._revs[service] if self.random.random() < 0.9 else ""

    async def _batch(self, wanted: tuple[int, int]) -> None:
        revs = {service: self._asked(service) for service in self.services}
        queries = [query_of(service, rev) for service, rev in revs.items()]
        operation, results = await self.request(
            lambda api: api.discovery.batch(self.tenant, queries), lambda _: {}, wanted, kind=BATCH
        )
        if results is not None:
            self._unfold(operation, results[0], revs)

    def take_down(self, operation: Operation) -> None:
        """A batch is taken down element by element."""
        if operation.kind != BATCH or operation.outcome != OK:
            super().take_down(operation)

    def _unfold(self, whole: Operation, result: BatchResult, revs: dict[str, str]) -> None:
        services = list(revs)
        fields: dict[int, dict[str, Any]] = {}
        for index in result.not_modified:
            fields[index] = {"rev": revs[services[index]], "not_modified": True}
        for index, answer in result.updated:
            fields[index] = described(answer, "")
        for error, indexes in result.failed:
            for index in indexes:
                fields[index] = {"outcome": REFUSED, "code": error.code}
        for index, service in enumerate(services):
            element: dict[str, Any] = {
                "client": whole.client,
                "replica": whole.replica,
                "kind": FIND,
                "start_ms": whole.start_ms,
                "end_ms": whole.end_ms,
                "outcome": OK,
                "position": whole.position,
                "wanted": whole.wanted,
                "service": service,
                "asked_rev": revs[service],
            }
            super().take_down(Operation(**(element | fields[index])))
            if "rev" in fields[index]:
                self._revs[service] = fields[index]["rev"]
