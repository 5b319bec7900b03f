"""Endpoints by websocket: watching providers, and heartbeats by ping and pong."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Send

from registry.domain.decide import instance_to_write, service_or_refuse
from registry.domain.errors import Forbidden, InstanceNotExists, InvalidParams, RegistryError, ServiceNotExists
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.http_api.sockets import PING_EVERY_S, WebSocket

#: Close code that tells a client to register again.
INSTANCE_GONE: Final = 4001
#: Old Go clients dial again at once after a refusal, so the refusal takes a moment (seconds).
REFUSAL_PAUSE_S: Final = 1.5
#: A heartbeat socket is pinged at least so often within a lease.
PINGS_PER_LEASE: Final = 3


async def upgrade_required(api: Api, call: Call) -> Reply:
    """`GET …/watcher` and `GET …/heartbeat` without an upgrade."""
    error = InvalidParams("this path wants a websocket: GET with `Upgrade: websocket` and no body")
    return reply.error(error, (b"Sec-Websocket-Version", b"13"))


async def watch(api: Api, call: Call, socket: WebSocket, receive: Receive, send: Send) -> None:
    """`GET microservices/{serviceId}/watcher`: the service is the consumer, the events are about what it has found."""
    try:
        service_id = call.service_id
        # Also when it is known here: what happened before the handshake must not be told after it.
        await api.discovery.catch_up(call.tenant)
        await api.discovery.read(call.tenant, lambda view: service_or_refuse(view, service_id))
        await send({"type": "websocket.accept"})
        api.watching.add(call.tenant, service_id, socket, call.covers)
    except RegistryError as error:
        await _refuse_watch(socket, error, receive, send)
        return
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass  # clients have nothing to say
    finally:
        api.watching.remove(call.tenant, service_id, socket)


async def _refuse_watch(socket: WebSocket, error: RegistryError, receive: Receive, send: Send) -> None:
    """One frame that is no event, then a break: so clients look for the reason (clients.md 1.0.3)."""
    if not socket.handshake_complete:
        await send({"type": "websocket.accept"})
    what = "service does not exist" if isinstance(error, ServiceNotExists) else error.message
    await send({"type": "websocket.send", "text": f"{what}: {error.detail}"})
    await _pause(receive, REFUSAL_PAUSE_S)
    socket.drop()


async def heartbeat(api: Api, call: Call, socket: WebSocket, receive: Receive, send: Send) -> None:
    """`GET …/{instanceId}/heartbeat`: each pong renews the lease; close code 4001 when the instance is gone."""
    try:
        service_id, instance_id = call.service_id, call.instance_id
        row = await api.discovery.read(call.tenant, lambda view: instance_to_write(view, service_id, instance_id))
    except Forbidden:
        raise
    except RegistryError:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": INSTANCE_GONE})
        return
    socket.ping_every(min(PING_EVERY_S, row.ttl_ms / 1000 / PINGS_PER_LEASE))
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message["type"] != "registry.pong":
            continue
        try:
            await api.heartbeats.beat(call.tenant, service_id, instance_id)
        except InstanceNotExists:
            await send({"type": "websocket.close", "code": INSTANCE_GONE})
            return
        except RegistryError:
            continue  # the store is away: that is no reason to make the client register again


async def _pause(receive: Receive, seconds: float) -> None:
    """Wait, but not for a client that has gone."""

    async def until_gone() -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    try:
        async with asyncio.timeout(seconds):
            await until_gone()
    except TimeoutError:
        pass
