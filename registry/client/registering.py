"""Registering: one instance of this process in a registry, from its registration to its end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from registry.client.api import Api
from registry.client.calls import steady
from registry.client.connecting import needed_by
from registry.client.errors import INSTANCE_NOT_EXISTS, ClientError, Refused, Unreachable
from registry.client.names import VERSION_DEFAULT, parse_name
from registry.client.registration import Done, Failed, Registration, Step
from registry.client.sharing import Share, instance_id_of
from registry.domain.model import INTERVAL_MIN_S, Instance, Microservice, Schema

logger = logging.getLogger(__name__)

#: Seconds that an end waits for the registry; after that the lease ends by itself.
LEAVE_LIMIT_S: Final = 5.0
HOST_NAME_MAX: Final = 64


class Offer(Struct, frozen=True):
    """What a process registers: a service version, its schemas, and one instance of it."""

    service: Microservice
    instance: Instance
    schemas: tuple[Schema, ...] = ()


def offer_of(
    service: str | Microservice,
    instance: Instance,
    *,
    tenant: str,
    schemas: Mapping[str, str] | None = None,
    openapi: Mapping[str, Any] | None = None,
) -> Offer:
    """What `AsyncRegistry.register` describes, whole: with a version, a host name, and an instance id.

    Raises:
        ValueError: the name is none, or its version is a rule.
    """
    if isinstance(service, str):
        name = parse_name(service)
        version = name.version if name.is_exact else ""
        if not version and name.text() != replace(name, version="0+").text():
            raise ValueError(f"{service!r}: what is registered has one version, as in shop/cart:1.0.0")
        service = Microservice(app_id=name.app, service_name=name.name, version=version)
    service = replace(service, app_id=service.app_id or "default", version=service.version or VERSION_DEFAULT)
    texts = dict(schemas or {})
    if openapi is not None:
        texts[service.service_name] = msgspec.json.encode(openapi).decode()
    found = [Schema(key, hashlib.sha256(text.encode()).hexdigest(), text) for key, text in texts.items()]
    service = replace(service, schemas=list(dict.fromkeys([*service.schemas, *texts])))
    instance = replace(instance, host_name=instance.host_name or socket.gethostname()[:HOST_NAME_MAX])
    if not instance.instance_id:
        shared = instance_id_of(tenant, service, instance.host_name, instance.endpoints)
        # Nothing tells two processes without endpoints that they are one.
        instance = replace(instance, instance_id=shared if instance.endpoints else uuid.uuid4().hex)
    return Offer(service, instance, tuple(found))


class Registered:
    """One instance of this process. It is registered and stays so until `unregister`, also if the registry forgets."""

    def __init__(
        self,
        api: Api,
        offer: Offer,
        share_name: str,
        on_registered: Callable[[], None] = lambda: None,
        share_folder: Path | None = None,
    ) -> None:
        self.offer = offer
        self._api = api
        self._on_registered = on_registered
        self._share = Share(f"{share_name}/{offer.instance.instance_id}", share_folder)
        self._state = Registration(float(offer.instance.health_check.interval), self.lease_s)
        self._nudged = asyncio.Event()
        self._progress = asyncio.Event()
        self._problem: ClientError | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def instance_id(self) -> str:
        return self.offer.instance.instance_id

    @property
    def service_id(self) -> str:
        """ "" before the registry has given one."""
        return self._state.service_id

    @property
    def is_registered(self) -> bool:
        """Whether the registry has the instance, as far as is known."""
        return self._state.is_registered

    @property
    def lease_s(self) -> float:
        """Seconds that the registry keeps the instance without a heartbeat."""
        check = self.offer.instance.health_check
        return replace(check, interval=max(check.interval, INTERVAL_MIN_S)).ttl_ms() / 1000

    async def start(self, wait_s: float) -> None:
        """Begin, and wait until the instance is registered, for this number of seconds at most; it goes on afterwards.

        Raises:
            Refused: the registry refuses it, and would do so again.
        """
        await self._share.join()
        self._task = asyncio.create_task(self._run(), name=f"registering {self.instance_id}")
        if wait_s <= 0:
            return
        try:
            async with asyncio.timeout(wait_s):
                while not self.is_registered:
                    await self._progress.wait()
                    self._progress.clear()
                    if isinstance(self._problem, Refused):
                        break
        except TimeoutError:
            said = self._problem or f"no registry answered within {wait_s:g} s"
            logger.warning("%s is not registered yet, this goes on: %s", self._name(), said)
        except BaseException:
            await self.unregister()
            raise
        if isinstance(self._problem, Refused):
            problem = self._problem
            await self.unregister()
            raise problem

    def nudge(self) -> None:
        """Look after the registration now: there is reason to think that the registry has forgotten it."""
        if self._state.is_registered:
            self._state = replace(self._state, due_at=steady())
        self._nudged.set()

    async def set_status(self, status: str) -> None:
        """UP, DOWN, STARTING, OUTOFSERVICE or TESTING. It outlives a registry that forgets the instance."""
        self.offer = replace(self.offer, instance=replace(self.offer.instance, status=status))
        await self._tell(self._api.set_status, status)

    async def set_properties(self, properties: Mapping[str, str]) -> None:
        """Replace the properties of the instance. They outlive a registry that forgets it."""
        self.offer = replace(self.offer, instance=replace(self.offer.instance, properties=dict(properties)))
        await self._tell(self._api.set_properties, dict(properties))

    async def _tell(self, change: Callable[[str, str, Any], Awaitable[None]], value: Any) -> None:
        """Tell the registry, if it has the instance; it is registered with the new value anyway, if not."""
        if not self.is_registered:
            return
        try:
            await change(self.service_id, self.instance_id, value)
        except Refused as exc:
            if exc.code != INSTANCE_NOT_EXISTS:
                raise
            self.nudge()

    def leave_it(self) -> None:
        """Leave the instance to its lease: the end of the client does not unregister it."""
        self._state = replace(self._state, renewed_at=None)

    async def unregister(self) -> None:
        """End it. The instance goes unless another process shares it; cancelled, this still comes to its end."""
        leaving = asyncio.create_task(self._leave(), name=f"leaving {self.instance_id}")
        cancelled = False
        while not leaving.done():
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError:
                cancelled = True
        leaving.result()
        if cancelled:
            raise asyncio.CancelledError

    def disown(self) -> None:
        """In a forked child: give up what it has inherited of the instance; the parent keeps its own."""
        self._share.close()

    async def _leave(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        try:
            if self._share.leave() and self._state.renewed_at is not None:
                async with asyncio.timeout(LEAVE_LIMIT_S):
                    await self._api.unregister_instance(self.service_id, self.instance_id)
                logger.info("%s is unregistered", self._name())
        except Refused as exc:
            if exc.code != INSTANCE_NOT_EXISTS:
                logger.warning("%s cannot be unregistered: %s", self._name(), exc)
        except (Unreachable, TimeoutError) as exc:
            logger.warning("%s is not unregistered, its lease will end: %s", self._name(), exc or "no answer")
        except RuntimeError as exc:
            # The interpreter is ending, and makes no connection any more.
            logger.warning("%s is not unregistered, its lease will end: %s", self._name(), exc)
        finally:
            self._share.close()

    async def _run(self) -> None:
        while True:
            await self._until_due()
            self._warn_if_late()
            needed_by.set(self._state.lease_ends)
            done: Done | Failed
            problem: ClientError | None = None
            try:
                done = await self._do(self._state.step)
            except Refused as exc:
                done, problem = Failed(exc.code), exc
            except Unreachable as exc:
                done, problem = Failed(), exc
            except Exception as exc:
                # A bug of the client's must not cost the instance.
                logger.exception("%s: an unexpected failure", self._name())
                done, problem = Failed(), Unreachable(repr(exc))
            self._told(self._state.after(done, steady(), random.random()), problem)

    async def _until_due(self) -> None:
        while (rest := self._state.due_at - steady()) > 0:
            try:
                async with asyncio.timeout(rest):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            self._nudged.clear()

    async def _do(self, step: Step) -> Done:
        service, instance = self.offer.service, self.offer.instance
        match step:
            case Step.SERVICE:
                return Done(await self._api.register_service(service))
            case Step.SCHEMAS:
                await self._send_what_it_lacks()
            case Step.INSTANCE:
                await self._api.register_instance(self.service_id, instance)
            case Step.BEAT:
                await self._api.heartbeat(self.service_id, self.instance_id)
        return Done()

    async def _send_what_it_lacks(self) -> None:
        """A registry does not change a service that it knows: properties and schemas are sent for themselves."""
        if self.offer.service.properties:
            stored = await self._api.service(self.service_id)
            if stored.properties != self.offer.service.properties:
                await self._api.set_service_properties(self.service_id, self.offer.service.properties)
        if self.offer.schemas:
            known = {schema.schema_id: schema.summary for schema in await self._api.schemas(self.service_id)}
            for schema in self.offer.schemas:
                if known.get(schema.schema_id) != schema.summary:
                    await self._api.put_schema(self.service_id, schema)

    def _told(self, after: Registration, problem: ClientError | None) -> None:
        before, self._state = self._state, after
        if after.is_registered and not before.is_registered:
            logger.info("%s is registered", self._name())
            self._on_registered()
        elif problem is not None and after.step is not before.step:
            logger.warning("the registry has forgotten %s, it is registered again", self._name())
        elif problem is not None and (after.failures == 1 or str(problem) != str(self._problem)):
            logger.warning("%s: could not %s: %s", self._name(), before.step.value, problem)
        self._problem = problem if after.step is before.step else None
        self._progress.set()

    def _warn_if_late(self) -> None:
        if self._state.step is Step.BEAT and self._state.renewed_at is not None:
            late = steady() - self._state.renewed_at
            if late > self.lease_s and self._state.failures == 0:
                logger.warning(
                    "%s: no heartbeat for %.0f s, longer than its lease of %.0f s: the event loop was blocked, or the "
                    "machine suspended",
                    self._name(),
                    late,
                    self.lease_s,
                )

    def _name(self) -> str:
        service = self.offer.service
        return f"instance {self.instance_id} of {service.app_id}/{service.service_name}:{service.version}"
