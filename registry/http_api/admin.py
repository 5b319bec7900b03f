"""Endpoints for those who look after the registry: dump, clusters, alarms (api-rules.md 3.15)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from registry.domain.dump import CLUSTER, dump
from registry.domain.errors import Forbidden
from registry.domain.model import Instance
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import Answer, RegistryView
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.health import version_set
from registry.http_api.reply import Reply
from registry.settings import in_force


async def get_dump(api: Api, call: Call) -> Reply:
    """`GET admin/dump?options=info,cache,all`: all tenants' data, so only for the default tenant to see."""
    if call.tenant != DEFAULT_TENANT:
        raise Forbidden("the dump is for domain default and project default only")
    options = set(filter(None, map(str.strip, call.query("options").split(",")))) or {"cache"}
    pieces = [b"{"]
    if options & {"info", "all"}:
        pieces.append(b'"info":' + msgspec.json.encode(version_set()))
    async with api.big_reads.turn:
        if options & {"cache", "all"}:
            pieces += (b"," if pieces[1:] else b"", b'"cache":', *await api.big_reads.make(dump(api.discovery.views())))
        whole = reply.json(b"".join((*pieces, b"}")))
        return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


async def list_clusters(api: Api, call: Call) -> Reply:
    """`GET admin/clusters`: the replicas are one cluster."""
    return reply.json(msgspec.json.encode({"clusters": {CLUSTER: _endpoints(await api.discovery.own_instances())}}))


def _endpoints(replicas: Answer) -> list[str]:
    instances = msgspec.json.decode(replicas.array() or b"[]", type=list[Instance])
    return list(dict.fromkeys(endpoint for instance in instances for endpoint in instance.endpoints))


async def list_replicas(api: Api, call: Call) -> Reply:
    """`GET admin/replicas`: how each replica is, as it said itself within the last seconds."""
    return reply.json(msgspec.json.encode({"replicas": await api.roster.present()}))


async def get_store(api: Api, call: Call) -> Reply:
    """`GET admin/store`: what the store is, and how it is."""
    return reply.json(msgspec.json.encode(AboutStore(*await api.about_store())))


class AboutStore(Struct, rename="camel"):
    """As `store.port.About`, on the wire."""

    program: str
    version: str
    mode: str
    servers: int
    used_bytes: int
    limit_bytes: int
    replicas: int
    persistence: str


async def list_settings(api: Api, call: Call) -> Reply:
    """`GET admin/settings`: what the replica that answers runs with; secrets are not shown."""
    return reply.json(msgspec.json.encode({"settings": in_force(api.settings)}))


async def list_tenants(api: Api, call: Call) -> Reply:
    """`GET admin/tenants`: all tenants and how much each holds, so only for the default tenant to see."""
    if call.tenant != DEFAULT_TENANT:
        raise Forbidden("the list of tenants is for domain default and project default only")
    found = [_tenant(api, view) for view in api.discovery.views()]
    whole = reply.json(msgspec.json.encode({"tenants": found}))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


def _tenant(api: Api, view: RegistryView) -> dict[str, Any]:
    return {
        "domain": view.tenant.domain,
        "project": view.tenant.project,
        "services": len(view.services),
        "instances": view.instance_count,
        "policies": len(view.policies),
        "bytes": view.held_bytes,
        "position": view.position.text(),
        "setAside": view.tenant in api.aside.tenants,
    }


async def list_alarms(api: Api, call: Call) -> Reply:
    """`GET admin/alarms`: this replica's."""
    alarms = api.alarms.current()
    return reply.json(msgspec.json.encode({"alarms": alarms} if alarms else {}))


async def clear_alarms(api: Api, call: Call) -> Reply:
    """`DELETE admin/alarms`."""
    api.alarms.clear()
    return reply.empty()
