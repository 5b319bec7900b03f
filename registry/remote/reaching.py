"""Reaching: a registry that things are moved from or to - reading what it holds, and taking the steps there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from registry.client.api import Api
from registry.client.errors import INVALID_PARAMS, SCHEMA_NOT_EXISTS, SERVICE_NOT_EXISTS, Refused
from registry.domain.model import Microservice, ServiceKey
from registry.remote.moving import (
    AddInstance,
    AddProviders,
    AddService,
    Held,
    Key,
    Picture,
    PutSchema,
    RemoveSchema,
    SetProperties,
    SetTags,
    Step,
    held,
    is_own,
    key_of,
)

T = TypeVar("T")
R = TypeVar("R")
#: Requests to one registry at a time. A client has 20 connections.
IN_FLIGHT: Final = 16


async def services(api: Api) -> list[Microservice]:
    """Every service version of the tenant, except the registry itself."""
    return [service for service in await api.services(shared=True) if not is_own(service)]


async def listed(api: Api, *options: str) -> Picture:
    """Every service version by one request, with its properties, and its `tags` and `schemas` if they are asked for."""
    found = await api.all_details(*options, shared=True)
    return {key_of(one.micro_service): held(one) for one in found if not is_own(one.micro_service)}


async def listed_with_schemas(api: Api) -> Picture:
    """Every service version with properties, tags and schemas: by one request if one answer may hold it."""
    try:
        return await listed(api, "tags", "schemas")
    except Refused as exc:
        if exc.code != INVALID_PARAMS:
            raise
        return await picture(api)


async def picture(api: Api) -> Picture:
    """What a registry holds of the tenant."""
    return await whole(api, await services(api))


async def whole(api: Api, wanted: Sequence[Microservice]) -> Picture:
    """Everything about these services, by one request for each; those that are gone meanwhile are left out."""
    read = await each(wanted, lambda service: _held(api, service))
    return {key_of(one.service): one for one in read if one is not None}


async def _held(api: Api, service: Microservice) -> Held | None:
    """None: it was unregistered meanwhile."""
    try:
        return held(await api.details(service.service_id))
    except Refused as exc:
        if exc.code == SERVICE_NOT_EXISTS:
            return None
        raise


async def each(things: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """What `work` makes of each, in the same order, several at a time."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(thing: T) -> R:
        async with slots:
            return await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(thing)) for thing in things]
    except* Exception as exc:
        raise first(exc) from exc
    return [task.result() for task in tasks]


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the failures of several tasks stands for all."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


class Taker:
    """Takes steps in one registry. `ids`: the id that each service has there."""

    def __init__(self, api: Api, target: Picture) -> None:
        self._api = api
        self.ids = {key: one.service.service_id for key, one in target.items()}

    async def take(self, step: Step) -> None:
        """Take one step; twice does no harm.

        Raises:
            Refused: the registry does not want it.
            Unreachable: it may have been taken or not.
        """
        api = self._api
        match step:
            case AddService(key, service):
                self.ids[key] = await api.register_service(service)
            case SetProperties(key, properties):
                await api.set_service_properties(self._id(key), properties)
            case SetTags(key, tags):
                await api.set_tags(self._id(key), tags)
            case PutSchema(key, schema):
                await api.put_schema(self._id(key), schema)
            case RemoveSchema(key, schema_id):
                await _unless_gone(api.remove_schema(self._id(key), schema_id))
            case AddProviders(key, providers):
                await api.add_dependencies(wire_key(key), [wire_key(provider) for provider in providers])
            case AddInstance(key, instance):
                await api.register_instance(self._id(key), instance)

    def _id(self, key: Key) -> str:
        if key not in self.ids:
            raise Refused(SERVICE_NOT_EXISTS, "the service could not be registered")
        return self.ids[key]


async def _unless_gone(call: Awaitable[None]) -> None:
    try:
        await call
    except Refused as exc:
        if exc.code != SCHEMA_NOT_EXISTS:
            raise


def wire_key(key: Key) -> ServiceKey:
    return ServiceKey("", key.environment, key.app, key.name, "", key.version)
