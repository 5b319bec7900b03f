"""Side: one of the two registries of a mirror - what it holds, and the steps that are taken there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from msgspec.structs import replace

from registry.client.api import Api, Found, NotModified
from registry.client.calls import steady
from registry.client.errors import INSTANCE_NOT_EXISTS, SERVICE_NOT_EXISTS, ClientError, Refused
from registry.client.names import ServiceName
from registry.domain.model import Instance
from registry.remote.following import Change
from registry.remote.importing import take
from registry.remote.mirroring import Beat, BringService, Put, Remove, Seen, Step
from registry.remote.moving import MARK, Held, Key, Picture, differences, held, instance_fields, key_of, steps
from registry.remote.reaching import Taker, listed, listed_with_schemas, whole

#: Seconds between two looks at which services there are, with properties and tags; and at their schemas, which may be
#: large. Instances are looked at each time.
SERVICES_S: Final = 10.0
SCHEMAS_S: Final = 60.0
#: Seconds for which the reference may tell what was before a change (clients.md 0.9).
SETTLED_S: Final = 5.0
#: Heartbeats of one request.
BEATS_MAX: Final = 1000
#: Members that only a new registration can change, where the registry does not overwrite one that lives.
_REGISTERED_ANEW: Final = frozenset({"endpoints", "hostName", "dataCenterInfo"})


class Side:
    """`seen`: what the last look found, None when the registry did not answer it; `problem` says why not."""

    def __init__(self, api: Api, place: str) -> None:
        self._api = api
        self.place = place
        self.seen: Seen | None = None
        self.problem = ""
        self._keys: dict[str, Key] = {}
        self._ids: dict[Key, str] = {}
        self._services: Picture = {}
        self._looked_at: float | None = None
        self._schemas_at: float | None = None
        #: When services were last changed by the mirror.
        self._followed_at: dict[Key, float] = {}
        #: The instances of each name, and the rev that stands for them.
        self._found: dict[ServiceName, Found] = {}

    async def look(self) -> None:
        """See what there is."""
        try:
            self.seen, self.problem = await self.see(), ""
        except ClientError as exc:
            self.seen, self.problem = None, str(exc)

    async def see(self) -> Seen:
        """What there is. One batch find, and now and then the list of services."""
        if _is_due(self._looked_at, SERVICES_S):
            await self._look_at_services()
        names = sorted({ServiceName(key.app, key.name, environment=key.environment) for key in self._keys.values()})
        known = {name: found for name, found in self._found.items() if name in names}
        wanted = [(name, known[name].rev if name in known else "") for name in names]
        for name, result in zip(names, await self._api.find_many(wanted), strict=True):
            if isinstance(result, Found):
                known[name] = result
            elif not isinstance(result, NotModified):
                if result.error.code != SERVICE_NOT_EXISTS:
                    raise result.error
                known.pop(name, None)
        self._found = known
        instances: dict[tuple[Key, str], Instance] = {}
        for found in known.values():
            for instance in found.instances:
                if instance.service_id in self._keys:
                    instances[self._keys[instance.service_id], instance.instance_id] = instance
                else:
                    self._looked_at = None  # a service that is new
        return Seen(self._services, instances)

    async def _look_at_services(self) -> None:
        begun = steady()
        with_schemas = _is_due(self._schemas_at, SCHEMAS_S)
        known = self._services
        found = await (listed_with_schemas(self._api) if with_schemas else listed(self._api, "tags"))
        if not with_schemas:
            old = {key: replace(one, schemas=known[key].schemas) for key, one in found.items() if key in known}
            found = {**old, **await whole(self._api, [found[key].service for key in found.keys() - old.keys()])}
        self._followed_at = {key: at for key, at in self._followed_at.items() if begun - at < SETTLED_S}
        self._services = {**found, **{key: known[key] for key in found.keys() & self._followed_at.keys()}}
        self._ids = {key: one.service.service_id for key, one in found.items()}
        self._keys = {service_id: key for key, service_id in self._ids.items()}
        self._looked_at = begun
        if with_schemas:
            self._schemas_at = begun

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def take(self, step: Step, source: Side) -> None:
        """Take a step here, for something that the source has."""
        try:
            await self._take(step, source)
        except Refused as exc:
            if exc.code == SERVICE_NOT_EXISTS:
                self._looked_at = None  # a service that is gone
            raise

    async def _take(self, step: Step, source: Side) -> None:
        match step:
            case BringService(key):
                await self._bring(await source.held(key), source.place)
            case Put(ids, copy, is_there):
                await self._put(self._id(ids[0]), copy, is_there)
            case Remove(ids):
                await _unless_gone(self._api.unregister_instance(self._id(ids[0]), ids[1]))
            case Beat(ids):
                await self._beat([(self._id(key), instance_id) for key, instance_id in ids])

    async def held(self, key: Key) -> Held:
        """Everything about one service version here."""
        return held(await self._api.details(self._id(key)))

    async def follow(self, key: Key, change: Change) -> None:
        """Change the metadata of a service here."""
        taker = Taker(self._api, self._services)
        for step in change.steps:
            await taker.take(step)
        if change.steps:
            self._services = {**self._services, key: change.after}
            self._followed_at[key] = steady()

    def _id(self, key: Key) -> str:
        if key not in self._ids:
            raise Refused(SERVICE_NOT_EXISTS, f"there is no {key.text()}")
        return self._ids[key]

    async def _bring(self, here: Held, origin: str) -> None:
        key = key_of(here.service)
        alone = Held(here.service, here.tags, here.schemas)
        taker = Taker(self._api, {})
        _, refused = await take(taker, steps(differences({key: alone}, {}, origin)))
        if key not in taker.ids:
            raise Refused(SERVICE_NOT_EXISTS, "; ".join(one.why for one in refused))
        self._ids[key] = taker.ids[key]
        self._keys[taker.ids[key]] = key

    async def _put(self, service_id: str, copy: Instance, is_there: bool) -> None:
        if not is_there:
            await self._api.register_instance(service_id, copy)
        elif await self._stored(service_id, copy) is not None:
            await self._api.register_instance(service_id, copy)
            await self._insist(service_id, copy)

    async def _stored(self, service_id: str, copy: Instance) -> Instance | None:
        """The copy as it is; None when its client has come here itself meanwhile, and it is a copy no more."""
        stored = await self._api.instance(service_id, copy.instance_id)
        return stored if MARK in stored.properties else None

    async def _insist(self, service_id: str, copy: Instance) -> None:
        """The reference leaves an instance that lives as it is when it is registered again (api-rules.md 3.5)."""
        stored = await self._stored(service_id, copy)
        fields = set(instance_fields(copy, stored)) if stored is not None else set()
        if fields & _REGISTERED_ANEW:
            await _unless_gone(self._api.unregister_instance(service_id, copy.instance_id))
            await self._api.register_instance(service_id, copy)
            return
        if "status" in fields:
            await self._api.set_status(service_id, copy.instance_id, copy.status)
        if "properties" in fields:
            await self._api.set_properties(service_id, copy.instance_id, copy.properties)

    async def _beat(self, instances: list[tuple[str, str]]) -> None:
        for begin in range(0, len(instances), BEATS_MAX):
            part = instances[begin : begin + BEATS_MAX]
            try:
                await self._api.heartbeats(part)
            except Refused as exc:
                if exc.code != INSTANCE_NOT_EXISTS:
                    raise
                # An old registry refuses all of them because of one.
                await asyncio.gather(*(_unless_gone(self._api.heartbeat(*ids)) for ids in part))


def _is_due(at: float | None, every: float) -> bool:
    return at is None or steady() - at >= every


async def _unless_gone(call: Awaitable[None]) -> None:
    """What is to be done to an instance; that it is there no more is no failure."""
    try:
        await call
    except Refused as exc:
        if exc.code != INSTANCE_NOT_EXISTS:
            raise
