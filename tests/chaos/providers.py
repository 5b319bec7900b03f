"""Provider: a process that registers, beats, changes, leaves or dies, and may come back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos.client import APP, INSTANCE_GONE, SERVICE_GONE, Client, find_path, found
from tests.support.history import (
    FIND,
    HEARTBEAT,
    OK,
    REGISTER,
    REGISTER_SERVICE,
    SET_PROPERTIES,
    SET_STATUS,
    UNKNOWN,
    UNREGISTER,
    VALUE,
    Operation,
)

#: Seconds between heartbeats as registered, the shortest that the registry grants.
INTERVAL_S: Final = 5
STATUSES: Final = ("UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING")
#: Heartbeats do not wait as long as writes: there is another replica.
BEAT_TIMEOUT_S: Final = 2.0
CHANGE_TIMEOUT_S: Final = 3.0
#: How often a client looks for what it has changed.
LOOKS: Final = 0.7


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


def service_body(service: str) -> dict[str, Any]:
    """The services of the workload have their ids as names."""
    return {"service": {"serviceId": service, "serviceName": service, "appId": APP, "version": "1.0.0"}}


class Provider(Client):
    """The one client that writes to its slot, one request at a time."""

    slot: Slot
    _instance_id = ""
    _numbers = 0

    async def run(self) -> None:
        await self.pause(0, 3)
        while True:
            await self._register()
            leave_s = time.monotonic() + self.random.uniform(*self.run_of.stay_s)
            await self._stay(leave_s)
            if self.random.random() < 0.5:
                await self._unregister()
            await self.pause(0.5, 15)
            if self.run_of.is_quiet or self.random.random() < 0.2:
                return

    @property
    def _path(self) -> str:
        return f"/microservices/{self.slot.service}/instances/{self._instance_id}"

    def _next_value(self) -> str:
        self._numbers += 1
        return f"{self.slot.endpoint}#{self._numbers}"

    async def _write(self, kind: str, method: str, path: str, body: object = None, **said: Any) -> Operation:
        """A write, repeated until it is known what became of it."""
        said = {"kind": kind, "service": self.slot.service, "endpoint": self.slot.endpoint, **said}
        while True:
            operation, _ = await self.request(method, path, body, **said)
            if operation.outcome != UNKNOWN:
                return operation
            await self.pause(0.1, 1.0)

    async def _register(self) -> None:
        slot = self.slot
        while True:
            value = self._next_value()
            instance: dict[str, Any] = {
                "hostName": "host",
                "endpoints": [slot.endpoint],
                "status": "UP",
                "properties": {VALUE: value},
                "healthCheck": {"mode": "push", "interval": INTERVAL_S, "times": slot.times},
            }
            if slot.chosen_id:
                instance["instanceId"] = slot.chosen_id
            operation = await self._write(
                REGISTER,
                "POST",
                f"/microservices/{slot.service}/instances",
                {"instance": instance},
                describe=lambda answer: {"instance_id": answer.json()["instanceId"]},
                status="UP",
                value=value,
                ttl_ms=slot.ttl_ms,
            )
            if operation.outcome == OK:
                self._instance_id = operation.instance_id
                return
            if operation.code == SERVICE_GONE:
                await self._write(REGISTER_SERVICE, "POST", "/microservices", service_body(slot.service))
            await self.pause(0.1, 0.5)

    async def _unregister(self) -> None:
        await self._write(UNREGISTER, "DELETE", self._path, instance_id=self._instance_id)

    async def _stay(self, leave_s: float) -> None:
        """Beat in time, and change something now and then; after the quiet has begun, for ever."""
        next_s = time.monotonic() + self.random.uniform(0.5, 1) * self.run_of.beat_s
        while time.monotonic() < leave_s or self.run_of.is_quiet:
            left_s = max(next_s - time.monotonic(), 0)
            if self.run_of.is_quiet or self.random.random() < 0.6:
                await asyncio.sleep(left_s)
                next_s = time.monotonic() + self.run_of.beat_s
                await self._beat()
            else:
                await self.pause(0, left_s)
                await self._change()

    async def _beat(self) -> None:
        operation = await self._write(
            HEARTBEAT,
            "PUT",
            f"{self._path}/heartbeat",
            instance_id=self._instance_id,
            ttl_ms=self.slot.ttl_ms,
            timeout_s=BEAT_TIMEOUT_S,
        )
        if operation.code == INSTANCE_GONE:
            await self._register()

    async def _change(self) -> None:
        if self.random.random() < 0.5:
            status = self.random.choice(STATUSES)
            path, body, said = f"{self._path}/status?value={status}", None, {"status": status}
            kind = SET_STATUS
        else:
            value = self._next_value()
            path, body, said = f"{self._path}/properties", {"properties": {VALUE: value}}, {"value": value}
            kind = SET_PROPERTIES
        operation = await self._write(
            kind, "PUT", path, body, instance_id=self._instance_id, timeout_s=CHANGE_TIMEOUT_S, **said
        )
        if operation.code == INSTANCE_GONE:
            await self._register()
        elif self.random.random() < LOOKS:
            await self._look()

    async def _look(self) -> None:
        """Is what it has written to be found, on this replica or on another?"""
        service = self.slot.service
        await self.request("GET", find_path(service), describe=found, wanted=self.position, kind=FIND, service=service)
