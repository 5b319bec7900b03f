"""SelfRegistration: the registry is an instance of its own microservice, `SERVICECENTER`.

Clients learn the addresses of the replicas from it (clients.md 0.19).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from typing import Final

from msgspec import structs

from registry.domain.errors import InstanceNotExists, RegistryError, ServiceAlreadyExists
from registry.domain.own import ACTOR, OWN_APP_ID, OWN_ENVIRONMENT, OWN_SERVICE_NAME
from registry.domain.request_bodies import InstanceBody, MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT
from registry.episode import Actions, Episode
from registry.store.damage import Damaged
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.microservices import Microservices

logger = logging.getLogger(__name__)

#: Seconds between own heartbeats; the lease is the usual 30 x (3 + 1) s.
BEAT_EVERY_S: Final = 10.0
RETRY_S: Final = 1.0


class SelfRegistration:
    """Keeps this replica registered under the address at which clients reach it.

    Replicas that share an address (workers on one port) are one instance: same endpoint, same id (D2).
    """

    def __init__(
        self,
        microservices: Microservices,
        instances: Instances,
        heartbeats: Heartbeats,
        advertise: str,
        version: str,
        refusing: Episode,
        secure: bool = False,
    ) -> None:
        self._microservices = microservices
        self._instances = instances
        self._heartbeats = heartbeats
        # Clients that speak TLS look for it (clients.md 0.19).
        self._endpoint = f"rest://{advertise}/{'?sslEnabled=true' if secure else ''}"
        self._version = version
        self._failing = Episode(logger, Actions("self_registration_failed", "self_registration_recovered"), refusing)
        self.service_id = ""
        self.instance_id = ""

    async def register(self) -> None:
        service = MicroserviceBody(
            service_name=OWN_SERVICE_NAME,
            alias=OWN_SERVICE_NAME,
            app_id=OWN_APP_ID,
            version=self._version,
            environment=OWN_ENVIRONMENT,
            level="BACK",
            properties={"allowCrossApp": "true"},
        )
        try:
            self.service_id = await self._microservices.register(DEFAULT_TENANT, service, ACTOR)
        except ServiceAlreadyExists:
            # Somebody has chosen the id that follows from our name; any other does as well.
            service = structs.replace(service, service_id=secrets.token_hex(20))
            self.service_id = await self._microservices.register(DEFAULT_TENANT, service, ACTOR)
        instance = InstanceBody(host_name=socket.gethostname()[:64] or "localhost", endpoints=[self._endpoint])
        self.instance_id = await self._instances.register(DEFAULT_TENANT, self.service_id, instance, ACTOR)

    async def run(self) -> None:
        """Stay registered until cancelled."""
        pause_s = BEAT_EVERY_S if self.instance_id else 0.0
        while True:
            await asyncio.sleep(pause_s)
            pause_s = BEAT_EVERY_S
            try:
                if self.instance_id:
                    await self._heartbeats.beat(DEFAULT_TENANT, self.service_id, self.instance_id, ACTOR)
                else:
                    await self.register()
                self._failing.ends("this replica is registered again")
            except InstanceNotExists:
                self.instance_id = ""
                pause_s = 0.0
            except Damaged:
                pass  # the alarm says so, and the tenant is looked at all the time
            except RegistryError as error:
                self._failing.occurs("this replica cannot be registered: %s", error.detail)
                pause_s = RETRY_S

    async def leave(self) -> None:
        """Unregister; when that cannot be done now, the lease will lapse."""
        if self.instance_id:
            with contextlib.suppress(RegistryError):
                await self._instances.unregister(DEFAULT_TENANT, self.service_id, self.instance_id, ACTOR)
            self.instance_id = ""
