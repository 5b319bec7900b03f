"""Watcher: a consumer that watches one service on one replica after another, and pulls before and after."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.chaos.client import DOMAIN, ROOT, SERVICE_GONE, Client, find_path, found
from tests.chaos.fleet import ChaosReplica, now_ms
from tests.chaos.providers import service_body
from tests.chaos.websocket import WatchSocket
from tests.support.history import FIND, NOWHERE, OK, REGISTER_SERVICE, Operation, Watch

#: How long a watcher waits for an answer.
TIMEOUT_S: Final = 4.0
#: Pulls at the end of a session, until no event has come meanwhile.
PULLS_MAX: Final = 20
#: How long before the last question the last session ends (seconds).
MARGIN_S: Final = 1.0


class Watcher(Client):
    service: str

    async def run(self) -> None:
        """Watch, session after session."""
        self.consumer_id, self._wanders = self.name, 0.0
        await self._register()
        while not self.run_of.is_over:
            await self.pause(0.1, 2)
            replica = self.random.choice(self.run_of.replicas)
            try:
                await self._watch(replica)
            except (OSError, TimeoutError):
                continue

    async def _register(self) -> None:
        """The consumer is a service too; its finds name it, and so it depends on what it watches."""
        body = service_body(self.name)
        while True:
            operation, _ = await self.request(
                "POST", "/microservices", body, kind=REGISTER_SERVICE, service=self.name, timeout_s=TIMEOUT_S
            )
            if operation.outcome == OK:
                return
            await self.pause(0.1, 1)

    async def _pull(self, replica: ChaosReplica) -> Operation:
        """Raises ConnectionError."""
        self._replica = replica
        operation, _ = await self.request(
            "GET", find_path(self.service), describe=found, timeout_s=TIMEOUT_S, kind=FIND, service=self.service
        )
        if operation.code == SERVICE_GONE:
            await self._register()
        if operation.outcome != OK:
            raise ConnectionError(f"no answer to a pull: {operation.code}")
        return operation

    async def _watch(self, replica: ChaosReplica) -> None:
        life = replica.life
        await self._pull(replica)
        target = f"{ROOT}/microservices/{self.consumer_id}/watcher"
        socket = await WatchSocket.dial(replica.host, replica.port, target, {"X-Domain-Name": DOMAIN}, TIMEOUT_S)
        try:
            first, opened_ms = await self._pull(replica), now_ms()
            left_s = (self.run_of.end_ms - opened_ms) / 1000 - MARGIN_S
            try:
                async with asyncio.timeout(min(self.random.uniform(3, 25), max(left_s, 0))):
                    await socket.broken.wait()
            except TimeoutError:
                pass
            last = await self._last(replica, socket)
        finally:
            socket.close()
        self.run_of.record(
            Watch(
                client=self.name,
                replica=life,
                service=self.service,
                opened_ms=opened_ms,
                closed_ms=now_ms(),
                dropped=last is None,
                first=first.seen,
                first_position=first.position,
                changes=tuple(socket.changes),
                last=() if last is None else last.seen,
                last_position=NOWHERE if last is None else last.position,
            )
        )

    async def _last(self, replica: ChaosReplica, socket: WatchSocket) -> Operation | None:
        """A list to which the events led: none came while it was pulled. None when the connection broke before."""
        try:
            for _ in range(PULLS_MAX):
                await socket.drain(TIMEOUT_S)
                told = len(socket.changes)
                last = await self._pull(replica)
                await socket.drain(TIMEOUT_S)
                if len(socket.changes) == told:
                    return last
        except (OSError, TimeoutError):
            pass
        return None
