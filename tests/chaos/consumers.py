"""Consumer: polls finds with the rev it holds, one service at a time or all in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from tests.chaos.client import APP, Client, described, find_path, found, position_of
from tests.chaos.fleet import ChaosReplica
from tests.support.history import BATCH, FIND, NOWHERE, OK, UNKNOWN, LastLook, Operation, Position
from tests.support.http import Response

#: How often a consumer says what it holds.
HOLDS: Final = 0.8


class _Updated(Struct):
    index: int
    rev: str
    instances: msgspec.Raw = msgspec.Raw(b"[]")


class _Failed(Struct):
    indexes: list[int]
    error: dict[str, Any]


class _Result(Struct, rename="camel"):
    updated: list[_Updated] = []
    not_modified: list[int] = []
    failed: list[_Failed] = []


class _Batch(Struct):
    services: _Result


_decode = msgspec.json.Decoder(_Batch).decode


class Consumer(Client):
    services: Sequence[str]
    #: Seconds between polls, at most.
    period_s: float

    async def run(self) -> None:
        self._revs = dict.fromkeys(self.services, "")
        while not self.run_of.is_over:
            await self.pause(0.1, self.period_s)
            wanted = self.position if self.random.random() < 0.3 else NOWHERE
            if self.random.random() < 0.5:
                await self._find(self.random.choice(self.services), wanted)
            else:
                await self._batch(wanted)

    async def _find(self, service: str, wanted: Position) -> None:
        rev = self._asked(service)
        operation, _ = await self.request(
            "GET",
            find_path(service, rev),
            describe=found,
            wanted=wanted,
            kind=FIND,
            service=service,
            asked_rev=rev,
        )
        if operation.outcome == OK:
            self._revs[service] = operation.rev

    def _asked(self, service: str) -> str:
        return self._revs[service] if self.random.random() < HOLDS else ""

    async def _batch(self, wanted: Position) -> None:
        asked = {service: self._asked(service) for service in self.services}
        elements = [
            {"service": {"appId": APP, "serviceName": service}} | ({"rev": rev} if rev else {})
            for service, rev in asked.items()
        ]
        # Taken down element by element: as it is, only where it was not answered.
        operation, answer = await self.request(
            "POST", "/instances/action?type=query", {"services": elements}, wanted=wanted, kind=""
        )
        if operation.outcome != OK or answer is None:
            self.run_of.record(msgspec.structs.replace(operation, kind=BATCH))
            return
        for element in self._elements(operation, answer, asked):
            self.run_of.record(element)
            if element.outcome == OK:
                self._revs[element.service] = element.rev

    def _elements(self, whole: Operation, answer: Response, asked: dict[str, str]) -> list[Operation]:
        result = _decode(answer.body).services
        services = list(asked)
        said: dict[int, dict[str, Any]] = {}
        for updated in result.updated:
            said[updated.index] = described(updated.rev, bytes(updated.instances))
        for index in result.not_modified:
            said[index] = {"rev": asked[services[index]], "not_modified": True}
        for failed in result.failed:
            code = int(failed.error["errorCode"])
            for index in failed.indexes:
                said[index] = {"outcome": UNKNOWN if code >= 500_000 else "refused", "code": code}
        assert set(said) == set(range(len(services))), answer.body
        return [
            msgspec.structs.replace(whole, kind=FIND, service=service, asked_rev=asked[service], **said[index])
            for index, service in enumerate(services)
        ]


class LastLooks(Client):
    """Asks one replica after another for everything, when all is over."""

    async def look(self, replicas: Sequence[ChaosReplica], services: Sequence[str]) -> list[LastLook]:
        looks = []
        for replica in replicas:
            self._wanders, self._replica = 0.0, replica
            for service in services:
                operation, answer = await self.request("GET", find_path(service), describe=found, kind="")
                if operation.outcome != OK or answer is None:
                    continue
                looks.append(
                    LastLook(
                        replica=operation.replica,
                        at_ms=operation.end_ms,
                        service=service,
                        rev=operation.rev,
                        digest=operation.digest,
                        position=position_of(answer),
                        seen=operation.seen,
                    )
                )
        return looks
