"""WatcherClient: a consumer that watches one service, and pulls again whenever its connection breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from registry.domain.decide import service_or_refuse
from registry.domain.errors import RegistryError
from registry.domain.find import find
from registry.domain.request_bodies import MicroserviceBody
from registry.http_api.api import Api
from tests.simulation.client import TIMEOUT_S, Client, seen_of, seen_of_one
from tests.simulation.consumers import APP, query_of
from tests.simulation.process import ConnectionLost
from tests.simulation.replica import Refusal, SimReplica
from tests.support.history import NOWHERE, Change, Seen, Watch


class _Event(Struct):
    action: str
    instance: msgspec.Raw


_decode = msgspec.json.Decoder(_Event).decode


class _Socket:
    """The client's end of one session."""

    def __init__(self, client: WatcherClient) -> None:
        self._client = client
        self.broken = client.loop.create_future()
        self.changes: list[Change] = []

    def deliver(self, frame: bytes) -> None:
        event = _decode(_payload(frame))
        if not self.broken.done():
            self.changes.append(Change(self._client.loop.now_ms(), event.action, seen_of_one(bytes(event.instance))))

    def drop(self) -> None:
        if not self.broken.done():
            self.broken.set_result(None)


class WatcherClient(Client):
    service: str

    async def run(self) -> None:
        await self._prepare()
        while self.loop.now_ms() < self.end_ms:
            await self.pause(0.1, 2)
            self.replica = self.random.choice(self.replicas)
            try:
                await self._watch(self.replica)
            except (Refusal, ConnectionLost, TimeoutError):
                continue

    async def _prepare(self) -> None:
        """Register the consumer, and that it has found the service: only then it is told of changes."""
        body = MicroserviceBody(service_name=self.name, service_id=self.name, app_id=APP, version="1.0.0")

        async def prepare(api: Api) -> None:
            await api.microservices.register(self.tenant, body, self.name)
            found = api.discovery.unrecorded(self.tenant, [self._query()])
            await api.metadata.add_found(self.tenant, self.name, found, self.name)

        while True:
            replica = self.random.choice(self.replicas)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await replica.ask(prepare, self.tenant)
                    return
            except (Refusal, ConnectionLost, TimeoutError):
                await self.pause(0.2, 1)

    def _query(self) -> Any:
        return msgspec.structs.replace(query_of(self.service, ""), consumer_id=self.name)

    async def _watch(self, replica: SimReplica) -> None:
        """One session, as `http_api.watch` serves it; the two pulls are made in the same turn as its begin and end."""
        socket = _Socket(self)
        process = replica.process

        async def open_(api: Api) -> tuple[Seen, ...]:
            await api.discovery.catch_up(self.tenant)
            await api.discovery.read(self.tenant, lambda view: service_or_refuse(view, self.name))
            api.watching.add(self.tenant, self.name, socket)
            return await api.discovery.read(self.tenant, lambda view: seen_of(find(view, self._query()).body))

        async def close(api: Api) -> tuple[Seen, ...]:
            api.watching.remove(self.tenant, self.name, socket)
            if socket.broken.done():
                return ()
            return await api.discovery.read(self.tenant, lambda view: seen_of(find(view, self._query()).body))

        async with asyncio.timeout(TIMEOUT_S):
            first, first_position = await replica.ask(open_, self.tenant)
        opened_ms = self.loop.now_ms()
        await asyncio.wait((socket.broken,), timeout=self.random.uniform(3, 25))
        last: tuple[Seen, ...] = ()
        last_position = NOWHERE
        try:
            if replica.process is not process:
                raise ConnectionLost(process.name)
            async with asyncio.timeout(TIMEOUT_S):
                last, last_position = await replica.ask(close, self.tenant)
        except (ConnectionLost, Refusal, TimeoutError, RegistryError):
            socket.drop()
        self.recorder.add(
            Watch(
                client=self.name,
                replica=process.name,
                service=self.service,
                opened_ms=opened_ms,
                closed_ms=self.loop.now_ms(),
                dropped=socket.broken.done(),
                first=first,
                first_position=first_position,
                changes=tuple(socket.changes),
                last=last,
                last_position=last_position,
            )
        )


def _payload(frame: bytes) -> bytes:
    """The text of a websocket frame as a server sends it (RFC 6455 5.2)."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]
