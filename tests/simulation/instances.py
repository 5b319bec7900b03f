"""InstanceClient: a provider's process - it registers, beats, changes, leaves or dies, and may come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from registry.domain.model import STATUSES
from registry.domain.request_bodies import HealthCheckBody, InstanceBody
from tests.simulation.client import GONE, Client
from tests.support.history import (
    HEARTBEAT,
    OK,
    REGISTER,
    SET_PROPERTIES,
    SET_STATUS,
    UNKNOWN,
    UNREGISTER,
    VALUE,
    Operation,
)

#: Seconds between heartbeats, the shortest that the registry grants.
INTERVAL_S: Final = 5
#: The share of heartbeats that come only when the lease is about to lapse, or has just done so (ms after its end).
LATE: Final = 0.06
LATE_MS: Final = (-300, 700)


@dataclass(frozen=True, slots=True)
class Slot:
    """What an instance is, in all of its lives. Without an id of its own choice it takes the one it is given."""

    service: str
    endpoint: str
    chosen_id: str
    times: int

    @property
    def ttl_ms(self) -> int:
        return INTERVAL_S * (self.times + 1) * 1000


class InstanceClient(Client):
    """The one client that writes to its slot, one request at a time."""

    slot: Slot
    #: From then on (virtual ms) nothing is changed any more; who lives goes on beating.
    quiet_ms: int

    _instance_id = ""
    _numbers = 0

    async def run(self) -> None:
        await self.pause(0, 4)
        while True:
            await self._register()
            leave_ms = self.loop.now_ms() + self.random.randint(3_000, 70_000)
            await self._stay(leave_ms)
            if self.random.random() < 0.5:
                await self._unregister()
            await self.pause(0.5, 25)
            if self._quiet() or self.random.random() < 0.3:
                return

    def _quiet(self) -> bool:
        return self.loop.now_ms() >= self.quiet_ms

    def _next_value(self) -> str:
        self._numbers += 1
        return f"{self.slot.endpoint}#{self._numbers}"

    async def _write(self, kind: str, work: Any, **said: Any) -> Operation:
        """A write, repeated until it is known what became of it."""
        while True:
            operation, _ = await self.request(
                work,
                lambda result: {"instance_id": result} if kind == REGISTER else {},
                kind=kind,
                service=self.slot.service,
                endpoint=self.slot.endpoint,
                **said,
            )
            if operation.outcome != UNKNOWN:
                return operation
            await self.pause(0.2, 1.5)

    async def _register(self) -> None:
        slot, value = self.slot, self._next_value()
        body = InstanceBody(
            host_name="host",
            instance_id=slot.chosen_id or None,
            endpoints=[slot.endpoint],
            status="UP",
            properties={VALUE: value},
            health_check=HealthCheckBody(mode="push", interval=INTERVAL_S, times=slot.times),
        )
        operation = await self._write(
            REGISTER,
            lambda api: api.instances.register(self.tenant, slot.service, body, self.name),
            status="UP",
            value=value,
            ttl_ms=slot.ttl_ms,
        )
        if operation.outcome == OK:
            self._instance_id = operation.instance_id

    async def _unregister(self) -> None:
        slot, instance_id = self.slot, self._instance_id
        await self._write(
            UNREGISTER,
            lambda api: api.instances.unregister(self.tenant, slot.service, instance_id, self.name),
            instance_id=instance_id,
        )

    async def _stay(self, leave_ms: int) -> None:
        """Beat in time, and change something now and then; after the quiet has begun, for ever."""
        last_ms = self.loop.now_ms()
        while self.loop.now_ms() < leave_ms or self._quiet():
            left_s = max(last_ms + INTERVAL_S * 1000 - self.loop.now_ms(), 0) / 1000
            if self._quiet() or self.random.random() < 0.6:
                await self.pause(left_s, left_s)
                if self.random.random() < LATE:
                    await self._be_late(last_ms)
                last_ms = self.loop.now_ms()
                await self._beat()
            else:
                await self.pause(0, left_s)
                await self._change()

    async def _be_late(self, last_ms: int) -> None:
        """Come back at about the moment at which the lease lapses."""
        lapse_ms = last_ms + self.slot.ttl_ms + self.random.randint(*LATE_MS)
        await asyncio.sleep(max(lapse_ms - self.loop.now_ms(), 0) / 1000)

    async def _beat(self) -> None:
        slot, instance_id = self.slot, self._instance_id
        operation = await self._write(
            HEARTBEAT,
            lambda api: api.heartbeats.beat(self.tenant, slot.service, instance_id),
            instance_id=instance_id,
            ttl_ms=slot.ttl_ms,
        )
        if operation.code == GONE:
            await self._register()

    async def _change(self) -> None:
        slot, instance_id = self.slot, self._instance_id
        if self.random.random() < 0.5:
            status = self.random.choice(STATUSES)
            operation = await self._write(
                SET_STATUS,
                lambda api: api.instances.set_status(self.tenant, slot.service, instance_id, status, self.name),
                instance_id=instance_id,
                status=status,
            )
        else:
            value = self._next_value()
            operation = await self._write(
                SET_PROPERTIES,
                lambda api: api.instances.set_properties(
                    self.tenant, slot.service, instance_id, {VALUE: value}, self.name
                ),
                instance_id=instance_id,
                value=value,
            )
        if operation.code == GONE:
            await self._register()
