"""Client: sends requests to one replica after another and takes down how each of them came out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tests.chaos.fleet import ChaosReplica, now_ms
from tests.chaos.http import Connection
from tests.support import feed_pages
from tests.support.history import NOWHERE, OK, REFUSED, UNKNOWN, VALUE, Entry, Failure, Operation, Position, Seen
from tests.support.http import Response

#: The tenant and application of the workload.
DOMAIN: Final = "chaos"
APP: Final = "shop"
ROOT: Final = "/v4/default/registry"
#: The answer to a failure that the registry has no word for; no instance; no microservice.
INTERNAL: Final = 500003
INSTANCE_GONE: Final = 400017
SERVICE_GONE: Final = 400012
POSITION_HEADER: Final = "X-Registry-Position"
#: How long a client waits for an answer. A replica waits 5 s for Redis.
TIMEOUT_S: Final = 7.0


class _Instance(Struct, rename="camel"):
    instance_id: str
    endpoints: tuple[str, ...]
    status: str
    properties: dict[str, str] = {}


class _Instances(Struct):
    instances: msgspec.Raw = msgspec.Raw(b"[]")


_decode_list = msgspec.json.Decoder(_Instances).decode
_decode_instances = msgspec.json.Decoder(tuple[_Instance, ...]).decode


def find_path(service: str, rev: str = "") -> str:
    query = {"appId": APP, "serviceName": service, "version": "0+"}
    return "/instances?" + urlencode(query | ({"rev": rev} if rev else {}))


def described(rev: str, instances: bytes) -> dict[str, Any]:
    """The fields of a find's answer from the JSON of its list."""
    return {"rev": rev, "seen": seen_of(instances), "digest": sha1(instances).hexdigest()}


def found(answer: Response) -> dict[str, Any]:
    """The fields of a find's answer."""
    if answer.status == 304:
        return {"rev": answer.rev, "not_modified": True}
    return described(answer.rev, bytes(_decode_list(answer.body).instances))


def seen_of(instances: bytes) -> tuple[Seen, ...]:
    return tuple(
        Seen(one.endpoints[0], one.instance_id, one.status, one.properties.get(VALUE, ""))
        for one in _decode_instances(instances)
    )


@dataclass(slots=True)
class Run:
    """What the clients of one run share: whom they ask, where they take things down, and until when they change any."""

    replicas: Sequence[ChaosReplica]
    record: Callable[[Entry], None]
    #: From then on nothing is changed any more; from then on nothing is asked.
    quiet_ms: int
    end_ms: int
    #: Seconds between the heartbeats of an instance, and the `times` of their leases.
    beat_s: float
    times: Sequence[int]
    #: How long an instance stays before it leaves or falls silent, seconds.
    stay_s: tuple[float, float]

    @property
    def is_quiet(self) -> bool:
        return now_ms() >= self.quiet_ms

    @property
    def is_over(self) -> bool:
        return now_ms() >= self.end_ms


class Client:
    """One client of the registry. It stays with a replica until that fails it, or now and then by chance."""

    #: Who asks, where the registry is to know it.
    consumer_id = ""

    def __init__(self, name: str, random: Random, run: Run) -> None:
        self.name = name
        self.random = random
        self.run_of = run
        self._replica = random.choice(run.replicas)
        self._connections: dict[str, Connection] = {}
        #: How often it goes to another replica without need.
        self._wanders = random.choice((0.0, 0.1, 1.0))
        #: The newest position that it has been shown.
        self.position: Position = NOWHERE

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        describe: Callable[[Response], dict[str, Any]] = lambda _: {},
        wanted: Position = NOWHERE,
        timeout_s: float = TIMEOUT_S,
        **said: Any,
    ) -> tuple[Operation, Response | None]:
        """Send a request and take down its outcome. `describe` makes the fields of a good answer."""
        if self.random.random() < self._wanders:
            self._replica = self.random.choice(self.run_of.replicas)
        replica = self._replica
        life = replica.life
        headers = {"X-Domain-Name": DOMAIN} | ({"X-ConsumerId": self.consumer_id} if self.consumer_id else {})
        if wanted != NOWHERE:
            headers[POSITION_HEADER] = f"{wanted[0]}-{wanted[1]}"
        content = None if body is None else json.dumps(body).encode()
        answer: Response | None = None
        start_ms = now_ms()
        try:
            answer = await self._connection(replica).request(method, ROOT + path, content, headers, timeout_s)
        except (OSError, TimeoutError):
            self._replica = self.random.choice(self.run_of.replicas)
        operation = self._outcome(answer, describe, said | {"replica": life, "start_ms": start_ms, "wanted": wanted})
        if operation.kind:
            self.run_of.record(operation)
        self.position = max(self.position, operation.position)
        return operation, answer

    def _connection(self, replica: ChaosReplica) -> Connection:
        if replica.name not in self._connections:
            self._connections[replica.name] = Connection(replica.host, replica.port)
        return self._connections[replica.name]

    def _outcome(
        self, answer: Response | None, describe: Callable[[Response], dict[str, Any]], said: dict[str, Any]
    ) -> Operation:
        said = {"client": self.name, "end_ms": now_ms(), "outcome": UNKNOWN, **said}
        if answer is None:
            return Operation(**said)
        if answer.status < 400:
            return Operation(**said | {"outcome": OK, "position": position_of(answer)} | describe(answer))
        code = _code(answer)
        if answer.status < 500:
            return Operation(**said | {"outcome": REFUSED, "code": code, "position": position_of(answer)})
        if code == INTERNAL:
            self.run_of.record(Failure(replica=said["replica"], at_ms=said["end_ms"], text=answer.body.decode()))
        self._replica = self.random.choice(self.run_of.replicas)
        return Operation(**said | {"code": code})

    async def pause(self, least_s: float, most_s: float) -> None:
        await asyncio.sleep(self.random.uniform(least_s, most_s))

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def position_of(answer: Response) -> Position:
    text = answer.header(POSITION_HEADER)
    return feed_pages.place(text) if text else NOWHERE


def _code(answer: Response) -> int:
    try:
        return int(answer.json()["errorCode"])
    except (ValueError, KeyError, TypeError):
        return answer.status
