"""Endpoints for those who look after the registry: dump, clusters, alarms (api-rules.md 3.15)."""

from __future__ import annotations

from typing import Any

import msgspec

from registry.domain.dump import CLUSTER, dump
from registry.domain.errors import Forbidden
from registry.domain.model import Instance
from registry.domain.view import DEFAULT_TENANT, Answer
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.health import version_set
from registry.http_api.reply import Reply


async def get_dump(api: Api, call: Call) -> Reply:
    """`GET admin/dump?options=info,cache,all`: all tenants' data, so only for the default tenant to see."""
    if call.tenant != DEFAULT_TENANT:
        raise Forbidden("the dump is for domain default and project default only")
    options = set(filter(None, map(str.strip, call.query("options").split(",")))) or {"cache"}
    found: dict[str, Any] = {}
    if options & {"info", "all"}:
        found["info"] = version_set()
    if options & {"cache", "all"}:
        found["cache"] = dump(api.discovery.views())
    whole = reply.json(msgspec.json.encode(found))
    return api.compressor.compress(whole) if call.accepts_gzip else whole


async def list_clusters(api: Api, call: Call) -> Reply:
    """`GET admin/clusters`: the replicas are one cluster."""
    return reply.json(msgspec.json.encode({"clusters": {CLUSTER: _endpoints(await api.discovery.own_instances())}}))


def _endpoints(replicas: Answer) -> list[str]:
    instances = msgspec.json.decode(replicas.array() or b"[]", type=list[Instance])
    return list(dict.fromkeys(endpoint for instance in instances for endpoint in instance.endpoints))


async def list_alarms(api: Api, call: Call) -> Reply:
    """`GET admin/alarms`: this replica's."""
    alarms = api.alarms.current()
    return reply.json(msgspec.json.encode({"alarms": alarms} if alarms else {}))


async def clear_alarms(api: Api, call: Call) -> Reply:
    """`DELETE admin/alarms`."""
    api.alarms.clear()
    return reply.empty()
