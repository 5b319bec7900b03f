"""Endpoints of instances: register, unregister, heartbeat, status, properties."""

from __future__ import annotations

import msgspec

from registry.domain.errors import InstanceNotExists, InvalidParams, RegistryError, ServiceNotExists
from registry.domain.request_bodies import HeartbeatSet, RegisterInstance, SetProperties, SetStatuses, to_properties
from registry.domain.tenant import Tenant
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.microservices import require_service
from registry.http_api.reply import Reply
from registry.store.lease import LeaseName

#: Elements of one heartbeat set.
HEARTBEAT_SET_MAX = 10_000


async def register(api: Api, call: Call) -> Reply:
    """`POST microservices/{serviceId}/instances`."""
    body = await call.decode(RegisterInstance)
    instance_id = await api.instances.register(call.tenant, call.service_id, body.instance, call.actor)
    return registered(api, call.tenant, instance_id)


def registered(api: Api, tenant: Tenant, instance_id: str) -> Reply:
    return reply.json(b'{"instanceId":"%s"}' % instance_id.encode(), api.position(tenant))


async def unregister(api: Api, call: Call) -> Reply:
    """`DELETE microservices/{serviceId}/instances/{instanceId}`."""
    await api.instances.unregister(call.tenant, call.service_id, call.instance_id, call.actor)
    return reply.empty(api.position(call.tenant))


async def heartbeat(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/instances/{instanceId}/heartbeat`. A body is ignored."""
    await api.heartbeats.beat(call.tenant, call.service_id, call.instance_id)
    return reply.empty(api.position(call.tenant))


async def get_lease(api: Api, call: Call) -> Reply:
    """`GET leases/{serviceId}/{instanceId}`: how much is left of the instance's lease, and who renewed it when."""
    ttl_ms, (left_ms, replica) = await api.heartbeats.lease(call.tenant, call.service_id, call.instance_id)
    beat_ms = api.now_ms() - (ttl_ms - max(left_ms, 0))
    found = {"ttlMs": ttl_ms, "leftMs": left_ms, "lastBeatMs": beat_ms, "lastBeatThrough": replica}
    return reply.json(msgspec.json.encode(found), api.position(call.tenant))


async def heartbeat_set(api: Api, call: Call) -> Reply:
    """`PUT heartbeats`: 200 even when all fail, with the reason beside each that did."""
    body = await call.decode(HeartbeatSet)
    if not body.instances:
        raise InvalidParams("instances must hold at least one element - at `$.instances`")
    if len(body.instances) > HEARTBEAT_SET_MAX:
        raise InvalidParams(f"instances has more than {HEARTBEAT_SET_MAX} elements - at `$.instances`")
    names = [LeaseName(element.service_id or "", element.instance_id or "") for element in body.instances]
    denied = {name: reason for name in names if (reason := await _denied(api, call, name))} if call.covers else {}
    reasons = await api.heartbeats.beat_many(call.tenant, [name for name in names if name not in denied])
    reasons = {name: denied.get(name) or reasons[name] for name in dict.fromkeys(names)}
    elements = [
        {"serviceId": name.service_id, "instanceId": name.instance_id, **({"errMessage": reason} if reason else {})}
        for name, reason in reasons.items()
    ]
    return reply.json(msgspec.json.encode({"instances": elements}), api.position(call.tenant))


async def _denied(api: Api, call: Call, name: LeaseName) -> str:
    """Why the instance may not be renewed by the caller; "" when it may."""
    try:
        await require_service(api, call, name.service_id)
    except ServiceNotExists:
        return f"{InstanceNotExists.message}({name.service_id}/{name.instance_id})"
    except RegistryError as error:
        return f"{error.message}({error.detail})"
    return ""


async def set_status(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/instances/{instanceId}/status?value=`."""
    status = call.query("value")
    await api.instances.set_status(call.tenant, call.service_id, call.instance_id, status, call.actor)
    return reply.empty(api.position(call.tenant))


async def set_statuses(api: Api, call: Call) -> Reply:
    """`PUT instances/status`: of every instance whose properties hold all of the given pairs."""
    body = await call.decode(SetStatuses)
    if not body.status:
        raise InvalidParams("status is missing - at `$.status`")
    pairs = to_properties(body.matches.properties if body.matches else None)
    await api.instances.set_statuses(call.tenant, pairs, body.status, call.actor, call.covers)
    return reply.empty(api.position(call.tenant))


async def set_properties(api: Api, call: Call) -> Reply:
    """`PUT microservices/{serviceId}/instances/{instanceId}/properties`: replaces them all."""
    body = await call.decode(SetProperties)
    await api.instances.set_properties(call.tenant, call.service_id, call.instance_id, body.properties, call.actor)
    return reply.empty(api.position(call.tenant))
