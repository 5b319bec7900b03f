"""Api: the operations of the v4 API that a client needs, each as one typed function (api-rules.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from registry.client.calls import Calls
from registry.client.errors import Refused
from registry.client.names import ServiceName
from registry.client.wire import (
    AllDetails,
    Beating,
    Dependencies,
    Dependency,
    Details,
    DetailsBody,
    FindMany,
    FoundMany,
    Heartbeats,
    InstanceBody,
    InstanceId,
    Instances,
    Properties,
    SchemaBody,
    Schemas,
    ServiceBody,
    ServiceId,
    Services,
    Tags,
    Version,
    Wanted,
)
from registry.domain.model import Instance, Microservice, Schema, ServiceKey

#: Elements of one batch find; a registry may refuse more.
FINDS_MAX: Final = 1000


class Found(Struct, frozen=True):
    """The instances that a find listed, their rev, and the address that said so."""

    instances: list[Instance]
    rev: str
    address: str


class NotModified(Struct, frozen=True):
    """The rev that was sent stands for what the registry has."""

    address: str


class Unknown(Struct, frozen=True):
    """The registry refused this one of many finds."""

    error: Refused
    address: str


FindResult = Found | NotModified | Unknown


class Api:
    """The API of one tenant.

    Everything here raises `Refused` when the registry refuses, and `Unreachable` when no address answers.
    """

    def __init__(self, calls: Calls, project: str = "default") -> None:
        self.calls = calls
        self._root = f"/v4/{quote(project, safe='')}"
        self._registry = f"{self._root}/registry"

    def _service(self, service_id: str) -> str:
        return f"{self._registry}/microservices/{quote(service_id, safe='')}"

    def _instance(self, service_id: str, instance_id: str) -> str:
        return f"{self._service(service_id)}/instances/{quote(instance_id, safe='')}"

    def watcher(self, consumer: str) -> str:
        """The path of the websocket by which this consumer watches."""
        return f"{self._service(consumer)}/watcher"

    # -- the registry itself -------------------------------------------------------------------------------------------

    async def version(self) -> Version:
        answer: Version = (await self.calls.call("GET", f"{self._registry}/version", Version)).value
        return answer

    async def health(self) -> list[Instance]:
        """The replicas, as instances of SERVICECENTER."""
        answer: Instances = (await self.calls.call("GET", f"{self._registry}/health", Instances)).value
        return answer.instances

    async def readiness(self) -> str:
        """ "" when what answers may be sent requests, else why not. A registry without this route may."""
        response = await self.calls.text(f"{self._registry}/health/readiness")
        return "" if response.status in (200, 404) else response.body.decode("utf-8", "replace").strip() or "not ready"

    async def metrics(self) -> str:
        """What Prometheus reads of the replica that answers; "" where that is not shown."""
        response = await self.calls.text("/metrics")
        return response.body.decode("utf-8", "replace") if response.status == 200 else ""

    # -- services ------------------------------------------------------------------------------------------------------

    async def services(self, *, shared: bool = False) -> list[Microservice]:
        """Every service version of the tenant. `shared`: those too that all tenants see."""
        query = {"withShared": "true"} if shared else {}
        answer: Services = (
            await self.calls.call("GET", f"{self._registry}/microservices", Services, query=query)
        ).value
        return answer.services

    async def service(self, service_id: str) -> Microservice:
        answer: ServiceBody = (await self.calls.call("GET", self._service(service_id), ServiceBody)).value
        return answer.service

    async def service_id(self, name: ServiceName) -> str:
        """The id of a version. Registries differ in whether `version` may be a rule (api-rules.md 3.2)."""
        query = {"type": "microservice", "appId": name.app, "serviceName": name.name, "version": name.version}
        if name.environment:
            query["env"] = name.environment
        answer: ServiceId = (await self.calls.call("GET", f"{self._registry}/existence", ServiceId, query=query)).value
        return answer.service_id

    async def register_service(self, service: Microservice) -> str:
        """Register a service version; its id. One that is known is not changed."""
        answer: ServiceId = (
            await self.calls.call("POST", f"{self._registry}/microservices", ServiceId, body=ServiceBody(service))
        ).value
        return answer.service_id

    async def unregister_service(self, service_id: str, *, force: bool = False) -> None:
        """Unregister a service version. `force`: with its instances, and though others consume it."""
        await self.calls.call("DELETE", self._service(service_id), query={"force": "true"} if force else {})

    async def set_service_properties(self, service_id: str, properties: dict[str, str]) -> None:
        await self.calls.call("PUT", f"{self._service(service_id)}/properties", body=Properties(properties))

    async def schemas(self, service_id: str, *, contents: bool = False) -> list[Schema]:
        query = {"withSchema": "1"} if contents else {}
        answer: Schemas = (
            await self.calls.call("GET", f"{self._service(service_id)}/schemas", Schemas, query=query)
        ).value
        return answer.schemas

    async def put_schema(self, service_id: str, schema: Schema) -> None:
        path = f"{self._service(service_id)}/schemas/{quote(schema.schema_id, safe='')}"
        await self.calls.call("PUT", path, body=SchemaBody(schema.schema, schema.summary))

    async def remove_schema(self, service_id: str, schema_id: str) -> None:
        await self.calls.call("DELETE", f"{self._service(service_id)}/schemas/{quote(schema_id, safe='')}")

    async def set_tags(self, service_id: str, tags: dict[str, str]) -> None:
        """Replace all tags of a service version."""
        await self.calls.call("POST", f"{self._service(service_id)}/tags", body=Tags(tags))

    async def add_dependencies(self, consumer: ServiceKey, providers: Sequence[ServiceKey]) -> None:
        """Record that a service version finds these providers; it may do without, for its finds record them too."""
        body = Dependencies([Dependency(consumer, list(providers))])
        await self.calls.call("POST", f"{self._registry}/dependencies", body=body)

    async def details(self, service_id: str) -> Details:
        """Everything about one service version."""
        path = f"{self._root}/govern/microservices/{quote(service_id, safe='')}"
        answer: DetailsBody = (await self.calls.call("GET", path, DetailsBody)).value
        return answer.service

    async def all_details(self, *options: str, shared: bool = False) -> list[Details]:
        """Every service version with its `instances`, `schemas`, `dependencies` or `tags`."""
        query = {"options": ",".join(options), "withShared": "true" if shared else "false"}
        answer: AllDetails = (
            await self.calls.call("GET", f"{self._root}/govern/microservices", AllDetails, query=query)
        ).value
        return answer.all_services_detail

    # -- instances -----------------------------------------------------------------------------------------------------

    async def register_instance(self, service_id: str, instance: Instance) -> str:
        """Register an instance, or renew it; its id."""
        path = f"{self._service(service_id)}/instances"
        body = msgspec.to_builtins(InstanceBody(instance))
        # Left out, it would be taken for 3 (api-rules.md D7).
        body["instance"]["healthCheck"]["times"] = instance.health_check.times
        answer: InstanceId = (await self.calls.call("POST", path, InstanceId, body=body)).value
        return answer.instance_id

    async def unregister_instance(self, service_id: str, instance_id: str) -> None:
        await self.calls.call("DELETE", self._instance(service_id, instance_id))

    async def heartbeat(self, service_id: str, instance_id: str) -> None:
        """Renew the lease."""
        await self.calls.call("PUT", f"{self._instance(service_id, instance_id)}/heartbeat")

    async def heartbeats(self, instances: Sequence[tuple[str, str]]) -> None:
        """Renew the leases of several instances, each by service id and instance id; unknown ones are passed over.

        Old registries refuse the whole with 400017 where one is unknown (api-rules.md 3.7).
        """
        body = Heartbeats([Beating(*ids) for ids in instances])
        await self.calls.call("PUT", f"{self._registry}/heartbeats", body=body)

    async def instances(self, service_id: str, consumer: str = "") -> list[Instance]:
        """All instances of one service version."""
        path = f"{self._service(service_id)}/instances"
        answer: Instances = (await self.calls.call("GET", path, Instances, consumer=consumer)).value
        return answer.instances

    async def instance(self, service_id: str, instance_id: str) -> Instance:
        answer: InstanceBody = (
            await self.calls.call("GET", self._instance(service_id, instance_id), InstanceBody)
        ).value
        return answer.instance

    async def set_status(self, service_id: str, instance_id: str, status: str) -> None:
        """UP, DOWN, STARTING, OUTOFSERVICE or TESTING."""
        path = f"{self._instance(service_id, instance_id)}/status"
        await self.calls.call("PUT", path, query={"value": status})

    async def set_properties(self, service_id: str, instance_id: str, properties: dict[str, str]) -> None:
        path = f"{self._instance(service_id, instance_id)}/properties"
        await self.calls.call("PUT", path, body=Properties(properties))

    # -- discovery -----------------------------------------------------------------------------------------------------

    async def find(self, name: ServiceName, rev: str = "", consumer: str = "") -> Found | NotModified:
        """The instances of one provider."""
        query = {"appId": name.app, "serviceName": name.name, "version": name.version, "rev": rev}
        if name.environment:
            query["env"] = name.environment
        answer = await self.calls.call("GET", f"{self._registry}/instances", Instances, query=query, consumer=consumer)
        if answer.value is None:
            return NotModified(answer.address)
        return Found(answer.value.instances, answer.rev, answer.address)

    async def find_many(
        self, wanted: Sequence[tuple[ServiceName, str]], consumer: str = "", avoid: str = ""
    ) -> list[FindResult]:
        """The instances of many providers, by one request for each thousand of them.

        Args:
            wanted: each provider with the rev that the caller has of it, "" for none.
            avoid: an address that is asked last.

        Returns:
            One result for each, in the same order.
        """
        results: list[FindResult] = []
        for begin in range(0, len(wanted), FINDS_MAX):
            part = wanted[begin : begin + FINDS_MAX]
            body = FindMany([Wanted(_key(name), rev) for name, rev in part])
            answer = await self.calls.call(
                "POST",
                f"{self._registry}/instances/action",
                FoundMany,
                body=body,
                query={"type": "query"},
                consumer=consumer,
                avoid=avoid,
            )
            results += _results(answer.value, len(part), answer.address)
        return results


def _key(name: ServiceName) -> ServiceKey:
    return ServiceKey("", name.environment, name.app, name.name, "", name.version)


def _results(found: FoundMany, number: int, address: str) -> Iterable[FindResult]:
    """One result for each element; what an answer leaves out has not changed."""
    results: list[FindResult] = [NotModified(address)] * number
    for updated in found.services.updated:
        if 0 <= updated.index < number:
            results[updated.index] = Found(updated.instances, updated.rev, address)
    for failed in found.services.failed:
        error = Refused(int(failed.error.error_code), failed.error.error_message, failed.error.detail)
        for index in failed.indexes:
            if 0 <= index < number:
                results[index] = Unknown(error, address)
    return results
