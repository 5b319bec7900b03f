"""Endpoints of microservices: register, get, list, existence, properties, unregister."""

from __future__ import annotations

import msgspec

from registry.domain import rules
from registry.domain.errors import InvalidParams, RegistryError
from registry.domain.request_bodies import DeleteServices, RegisterService, SetProperties
from registry.domain.version import parse_rule
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.queries import check_provider
from registry.http_api.reply import Reply


async def register(api: Api, call: Call) -> Reply:
    """`POST microservices`."""
    body = await call.decode(RegisterService)
    service = body.service
    if service is not None:
        call.require(service.environment or "", service.app_id or "", service.service_name or "")
    service_id = await api.microservices.register(call.tenant, body.service, call.actor)
    await require_service(api, call, service_id)  # by its alias it may be another one
    failures = await _add_parts(api, call, service_id, body)
    if failures:
        raise InvalidParams(f"service {service_id} is registered, but: {'; '.join(failures)}")
    return _service_id(api, call, service_id)


async def _add_parts(api: Api, call: Call, service_id: str, body: RegisterService) -> list[str]:
    """The tags and instances that came with the microservice; what failed, in words."""
    failures = []
    try:
        if body.tags:
            await api.metadata.replace_tags(call.tenant, service_id, body.tags, call.actor)
    except RegistryError as error:
        failures.append(f"tags: {error.detail}")
    for index, instance in enumerate(body.instances or []):
        try:
            await api.instances.register(call.tenant, service_id, instance, call.actor)
        except RegistryError as error:
            failures.append(f"instances[{index}]: {error.detail}")
    return failures


async def delete_many(api: Api, call: Call) -> Reply:
    """`DELETE microservices`: 200 even when all fail, with the reason beside each that did."""
    body = await call.decode(DeleteServices)
    if not body.service_ids:
        raise InvalidParams("serviceIds must hold at least one element - at `$.serviceIds`")
    services = []
    for service_id in dict.fromkeys(body.service_ids):
        element = {"serviceId": service_id}
        try:
            await require_service(api, call, service_id)
            await api.microservices.unregister(call.tenant, service_id, bool(body.force), call.actor)
        except RegistryError as error:
            element["errMessage"] = f"{error.message}({error.detail})"
        services.append(element)
    return reply.json(msgspec.json.encode({"services": services}), api.position(call.tenant))


async def require_service(api: Api, call: Call, service_id: str) -> None:
    """Refuse to go on with a microservice, named by its id, that is not within reach.

    Raises:
        NoPermission
        ServiceNotExists: there is none, so that nobody can tell.
    """
    if call.covers is not None:
        call.require(*await api.discovery.key(call.tenant, service_id))


async def get(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}`."""
    return reply.json(await api.discovery.service(call.tenant, call.service_id), api.position(call.tenant))


async def list_all(api: Api, call: Call) -> Reply:
    """`GET microservices`."""
    async with api.big_reads.turn:
        steps = await api.discovery.services(call.tenant, call.flag("withShared"), call.covers)
        position = api.position(call.tenant)
        whole = reply.json(b"".join(await api.big_reads.make(steps)), position)
        return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


async def exists(api: Api, call: Call) -> Reply:
    """`GET existence?type=microservice|schema`."""
    kind = call.query("type")
    if kind == "schema":
        return await _schema_exists(api, call)
    if kind != "microservice":
        raise InvalidParams(f"{kind[:32]!r} is neither microservice nor schema - at query parameter `type`")
    app_id, name, environment = call.query("appId"), call.query("serviceName"), call.query("env")
    check_provider(app_id, name, environment)
    _require_named(api, call, environment, app_id, name)
    rule = parse_rule(call.query("version"))
    service_id = await api.discovery.exists(call.tenant, environment, app_id, name, rule)
    _require_named(api, call, environment, app_id, name)  # at last: an alias may mean another one since
    return _service_id(api, call, service_id)


def _require_named(api: Api, call: Call, environment: str, app_id: str, name: str) -> None:
    for key in api.discovery.named(call.tenant, environment, app_id, name):
        call.require(*key)


async def _schema_exists(api: Api, call: Call) -> Reply:
    service_id = rules.SERVICE_ID.check(call.query("serviceId"), "serviceId", "query parameter `serviceId`")
    schema_id = rules.SCHEMA_ID.check(call.query("schemaId"), "schemaId", "query parameter `schemaId`")
    await require_service(api, call, service_id)
    schema = await api.discovery.schema(call.tenant, service_id, schema_id)
    body = msgspec.json.encode({"serviceId": service_id, "schemaId": schema_id})
    return reply.json(body, reply.schema_summary(schema.summary), api.position(call.tenant))


async def set_properties(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/properties`: replaces them all."""
    body = await call.decode(SetProperties)
    await api.microservices.set_properties(call.tenant, call.service_id, body.properties, call.actor)
    return reply.empty(api.position(call.tenant))


async def unregister(api: Api, call: Call) -> Reply:
    """`DELETE microservices/{serviceId}?force=`."""
    await api.microservices.unregister(call.tenant, call.service_id, call.flag("force"), call.actor)
    return reply.empty(api.position(call.tenant))


def _service_id(api: Api, call: Call, service_id: str) -> Reply:
    return reply.json(msgspec.json.encode({"serviceId": service_id}), api.position(call.tenant))
