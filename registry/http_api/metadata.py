"""Endpoints of tags, schemas and dependencies."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from registry.domain import rules
from registry.domain.dependencies import consumers_of, providers_of
from registry.domain.errors import InvalidParams
from registry.domain.model import Microservice
from registry.domain.request_bodies import TAGS_MAX, ChangeDependencies, PutSchema, ReplaceSchemas, SetTags
from registry.domain.service_reads import list_rows
from registry.domain.steps import Steps
from registry.domain.view import RegistryView
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply

#: On answers of the deprecated dependency writes.
DEPRECATED = (b"Deprecation", b'version="v4"')

# -- tags --------------------------------------------------------------------------------------------------------------


async def replace_tags(api: Api, call: Call) -> Reply:
    """`POST microservices/{serviceId}/tags`: replaces the whole set."""
    body = await call.decode(SetTags)
    await api.metadata.replace_tags(call.tenant, call.service_id, body.tags or {}, call.actor)
    return reply.empty(api.position(call.tenant))


async def set_tag(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/tags/{key}?value=`."""
    key, value = _tag(call.path["key"], "the path"), _tag(call.query("value"), "query parameter `value`")
    await api.metadata.set_tag(call.tenant, call.service_id, key, value, call.actor)
    return reply.empty(api.position(call.tenant))


async def get_tags(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/tags`."""
    tags = await api.discovery.tags(call.tenant, call.service_id)
    return reply.json(msgspec.json.encode({"tags": tags} if tags else {}), api.position(call.tenant))


async def delete_tags(api: Api, call: Call) -> Reply:
    """`DELETE microservices/{serviceId}/tags/{key1,key2}`: all or none."""
    keys = [_tag(key, "the path") for key in call.path["key"].split(",")]
    if len(keys) > TAGS_MAX:
        raise InvalidParams(f"more than {TAGS_MAX} tags - at the path")
    await api.metadata.delete_tags(call.tenant, call.service_id, keys, call.actor)
    return reply.empty(api.position(call.tenant))


def _tag(text: str, where: str) -> str:
    return rules.TAG.check(text, f"tag {text[:64]!r}", where)


# -- schemas -----------------------------------------------------------------------------------------------------------


async def put_schema(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/schemas/{schemaId}`."""
    body = await call.decode(PutSchema)
    await api.metadata.put_schema(call.tenant, call.service_id, schema_id_of(call), body, call.actor)
    return reply.empty(api.position(call.tenant))


async def replace_schemas(api: Api, call: Call) -> Reply:
    """`POST microservices/{serviceId}/schemas`."""
    body = await call.decode(ReplaceSchemas)
    await api.metadata.replace_schemas(call.tenant, call.service_id, body.schemas, call.actor)
    return reply.empty(api.position(call.tenant))


async def get_schema(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/schemas/{schemaId}`: the content; the summary stands in a header."""
    schema = await api.discovery.schema(call.tenant, call.service_id, schema_id_of(call))
    body = msgspec.json.encode({"schema": schema.schema})
    whole = reply.json(body, reply.schema_summary(schema.summary), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


async def list_schemas(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/schemas?withSchema=`."""
    with_schema = call.flag("withSchema")
    schemas = await api.discovery.schemas(call.tenant, call.service_id, with_schema)
    whole = reply.json(msgspec.json.encode({"schemas": schemas} if schemas else {}), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


async def delete_schema(api: Api, call: Call) -> Reply:
    """`DELETE microservices/{serviceId}/schemas/{schemaId}`."""
    await api.metadata.delete_schema(call.tenant, call.service_id, schema_id_of(call), call.actor)
    return reply.empty(api.position(call.tenant))


def schema_id_of(call: Call) -> str:
    return rules.SCHEMA_ID.check(call.path["schema_id"], "schemaId", "the path")


# -- dependencies ------------------------------------------------------------------------------------------------------


async def providers(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/providers`."""
    return await _related(api, call, "providers", providers_of)


async def consumers(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/consumers`."""
    return await _related(api, call, "consumers", consumers_of)


async def _related(
    api: Api, call: Call, member: str, question: Callable[[RegistryView, str, bool], list[Microservice]]
) -> Reply:
    """`sameDomain` holds by construction: dependencies never leave their tenant."""
    service_id, no_self = call.service_id, call.flag("noSelf")

    def steps(view: RegistryView) -> Steps:
        rows = [view.services[service.service_id] for service in question(view, service_id, no_self)]
        return list_rows(rows, member, call.covers)

    async with api.big_reads.turn:
        made = await api.discovery.read(call.tenant, steps)
        position = api.position(call.tenant)
        return reply.json(b"".join(await api.big_reads.make(made)), position)


async def add_dependencies(api: Api, call: Call) -> Reply:
    """`POST dependencies`, deprecated: finds record dependencies by themselves."""
    return await _change_dependencies(api, call, replace=False)


async def replace_dependencies(api: Api, call: Call) -> Reply:
    """`PUT dependencies`, deprecated; empty providers clear."""
    return await _change_dependencies(api, call, replace=True)


async def _change_dependencies(api: Api, call: Call, replace: bool) -> Reply:
    body = await call.decode(ChangeDependencies)
    if not body.dependencies:
        raise InvalidParams("dependencies must hold at least one element - at `$.dependencies`")
    for dependency in body.dependencies:
        consumer = dependency.consumer
        if consumer is not None:
            call.require(consumer.environment or "", consumer.app_id or "", consumer.service_name or "")
    await api.metadata.change_dependencies(call.tenant, body.dependencies, replace, call.actor)
    return reply.empty(DEPRECATED, api.position(call.tenant))
