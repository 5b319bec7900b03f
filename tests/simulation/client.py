"""Client: sends requests to one replica after another and takes down how each of them came out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from registry.domain.errors import InstanceNotExists, StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.http_api.api import Api
from tests.simulation.process import ConnectionLost
from tests.simulation.recorder import Recorder
from tests.simulation.replica import Refusal, SimReplica
from tests.simulation.virtual_time import VirtualLoop
from tests.support.history import NOWHERE, OK, REFUSED, UNKNOWN, VALUE, Operation, Seen

R = TypeVar("R")

#: Longer than a replica waits for the store.
TIMEOUT_S: Final = 7.0
FOR_EVER_MS: Final = 1 << 62
#: Code of a failure that the registry has no word for.
INTERNAL: Final = 500003
GONE: Final = InstanceNotExists.code


class _Instance(Struct, rename="camel"):
    instance_id: str
    endpoints: tuple[str, ...]
    status: str
    properties: dict[str, str] = {}


class _Instances(Struct):
    instances: tuple[_Instance, ...] = ()


_decode = msgspec.json.Decoder(_Instances).decode
_decode_one = msgspec.json.Decoder(_Instance).decode


def seen_of(body: bytes) -> tuple[Seen, ...]:
    """The instances of a find's answer."""
    return tuple(_seen(instance) for instance in _decode(body).instances)


def seen_of_one(body: bytes) -> Seen:
    """The instance in a watcher's event."""
    return _seen(_decode_one(body))


def _seen(instance: _Instance) -> Seen:
    return Seen(instance.endpoints[0], instance.instance_id, instance.status, instance.properties.get(VALUE, ""))


class Ended(Exception):
    """The run is over: no request is begun any more."""


class Client:
    """One client of the registry. It stays with a replica until that fails it, or now and then by chance."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        random: Random,
        replicas: Sequence[SimReplica],
        recorder: Recorder,
        tenant: Tenant,
    ) -> None:
        self.name = name
        self.loop = loop
        self.random = random
        self.tenant = tenant
        self.recorder = recorder
        self.replicas = replicas
        self.replica = random.choice(replicas)
        #: How often it goes to another replica without need.
        self.wanders = random.choice((0.0, 0.1, 1.0))
        #: From then on (virtual ms) it asks for nothing any more, so that what is seen at the end is all there is.
        self.end_ms = FOR_EVER_MS
        self.is_asking = False
        #: The newest position that it has been shown.
        self.position = NOWHERE

    async def run(self) -> None:
        """What the client does in a run."""
        raise NotImplementedError

    async def request(
        self,
        work: Callable[[Api], Awaitable[R]],
        describe: Callable[[R], dict[str, Any]],
        wanted: tuple[int, int] = NOWHERE,
        **said: Any,
    ) -> tuple[Operation, R | None]:
        """Send a request and take down its outcome. `describe` makes the fields of the answer."""
        if self.loop.now_ms() >= self.end_ms:
            raise Ended
        if self.random.random() < self.wanders:
            self.replica = self.random.choice(self.replicas)
        replica = self.replica
        name = replica.process.name
        start_ms = self.loop.now_ms()
        outcome, code, position, fields = UNKNOWN, 0, NOWHERE, {}
        result: R | None = None

        async def handle(api: Api) -> R:
            if wanted != NOWHERE:
                await api.discovery.await_position(self.tenant, Position(*wanted))
            return await work(api)

        self.is_asking = True
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answered, position = await replica.ask(handle, self.tenant)
            outcome, fields, result = OK, describe(answered), answered
        except Refusal as refusal:
            code = refusal.error.code
            if not isinstance(refusal.error, StoreUnavailable):
                outcome, position = REFUSED, refusal.position
        except (TimeoutError, ConnectionLost):
            pass
        except Exception as error:
            code = INTERNAL
            self.recorder.failure(name, f"a request ended with {error!r}")
        self.is_asking = False
        operation = Operation(
            client=self.name,
            replica=name,
            start_ms=start_ms,
            end_ms=self.loop.now_ms(),
            outcome=outcome,
            code=code,
            position=position,
            wanted=wanted,
            **(said | fields),
        )
        self.take_down(operation)
        if outcome == UNKNOWN:
            self.replica = self.random.choice(self.replicas)
        self.position = max(self.position, position)
        return operation, result

    def take_down(self, operation: Operation) -> None:
        self.recorder.add(operation)

    async def pause(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.random.uniform(least_s, most_s))
