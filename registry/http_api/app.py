"""The ASGI application: one door through which every request passes, then the route table."""

from __future__ import annotations

import logging
import posixpath
from collections import defaultdict
from typing import Final
from urllib.parse import quote

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from registry.domain.errors import InvalidParams, RegistryError
from registry.http_api import admin, discovery, instances, reply
from registry.http_api.api import Api
from registry.http_api.call import Call, ClientGone
from registry.http_api.reply import Reply
from registry.http_api.route import Handler, SocketHandler
from registry.http_api.routes import ROUTES, SOCKET_ROUTES, V3_ROUTES

logger = logging.getLogger(__name__)

#: Bytes of path and query from which on a request is refused (servicecomb-v4.md 1.2).
URI_MAX_BYTES: Final = 2048
#: What appends no event though it is no GET: there is nothing to be made durable.
NO_EVENTS: Final = frozenset((discovery.batch_find, instances.heartbeat, instances.heartbeat_set, admin.clear_alarms))


def create_app(api: Api) -> ASGIApp:
    """The application over the use cases. It starts nothing."""
    by_path: dict[str, dict[str, Handler]] = defaultdict(dict)
    for route in (*ROUTES, *V3_ROUTES):
        by_path[route.path][route.method] = route.handler
    routes: list[BaseRoute] = [Route(path, _Resource(api, handlers)) for path, handlers in by_path.items()]
    routes += [WebSocketRoute(path, _SocketResource(api, handler)) for path, handler in SOCKET_ROUTES.items()]
    return _Door(api, Router(routes, redirect_slashes=False, default=_not_found))


class _Door:
    """Refuses what no route may see, answers the hot routes itself, and hands everything else to the table.

    The hot routes have their place here because going through the table costs as much as answering them.
    """

    def __init__(self, api: Api, table: ASGIApp) -> None:
        self._api = api
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._table(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is not None:
            await send_reply(scope, send, refusal)
            return
        hot = _hot_route(scope)
        if hot is not None:
            await send_reply(scope, send, await answer(self._api, hot[0], scope, receive, hot[1]))
            return
        await self._table(scope, receive, send)


def _hot_route(scope: Scope) -> tuple[Handler, dict[str, str]] | None:
    """The handler and path parameters of the routes that clients call all the time."""
    parts = scope["path"].split("/")
    if len(parts) < 5 or parts[0] or parts[1] != "v4" or parts[3] != "registry" or not parts[2]:
        return None
    project, method = parts[2], scope["method"]
    match parts[4:]:
        case ["instances"] if method == "GET":
            return discovery.find, {"project": project}
        case ["instances", "action"] if method == "POST":
            return discovery.batch_find, {"project": project}
        case ["microservices", service_id, "instances", instance_id, "heartbeat"] if method == "PUT":
            if service_id and instance_id:
                path = {"project": project, "service_id": service_id, "instance_id": instance_id}
                return instances.heartbeat, path
        case ["microservices", service_id, "instances"] if method == "POST" and service_id:
            return instances.register, {"project": project, "service_id": service_id}
    return None


class _Resource:
    """One path of the table with its methods."""

    def __init__(self, api: Api, handlers: dict[str, Handler]) -> None:
        self._api = api
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            allow = (b"Allow", ", ".join(sorted(self._handlers)).encode())
            await send_reply(scope, send, reply.text(405, "Method Not Allowed\n", allow))
            return
        await send_reply(scope, send, await answer(self._api, handler, scope, receive, scope["path_params"]))


class _SocketResource:
    """One path that is reached by websocket."""

    def __init__(self, api: Api, handler: SocketHandler) -> None:
        self._api = api
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            call = Call(scope, receive, scope["path_params"])
        except RegistryError as error:
            await refuse_socket(send, reply.error(error))
            return
        await self._handler(self._api, call, receive, send)


async def answer(api: Api, handler: Handler, scope: Scope, receive: Receive, path: dict[str, str]) -> Reply:
    """Call the handler; whatever happens comes back in the API's shape, and our failures as ours."""
    headers: tuple[reply.Header, ...] = ()
    call: Call | None = None
    try:
        call = Call(scope, receive, path)
        wanted = call.wanted_position
        if wanted is not None:
            await api.discovery.await_position(call.tenant, wanted)
        if scope["method"] != "GET" and handler not in NO_EVENTS:
            found = await _answer_durably(api, handler, call)
        else:
            found = await handler(api, call)
    except ClientGone:
        found = reply.empty()
    except RegistryError as error:
        if call is not None and error.code // 1000 == 400:
            headers = (api.position(call.tenant),)
        found = _failed(api, error, *headers)
    except Exception:
        logger.exception("%s %s failed", scope["method"], scope["path"], extra={"action": "request_failed"})
        found = _failed(api, RegistryError("the registry failed; its log says why"))
    if call is not None and call.tenant in api.aside.tenants:
        return reply.set_aside(found, api.aside.seconds(call.tenant))
    return found


async def _answer_durably(api: Api, handler: Handler, call: Call) -> Reply:
    durability = api.durable.wanted(call.header(b"x-registry-durability").decode("latin-1"))
    await api.durable.check(call.tenant, durability)
    answer = await handler(api, call)
    await api.durable.confirm(call.tenant, durability)
    return answer


def _failed(api: Api, error: RegistryError, *headers: reply.Header) -> Reply:
    api.alarms.observe(error)
    return reply.error(error, *headers)


def _refusal(scope: Scope) -> Reply | None:
    """What is refused before routing, in plain text (servicecomb-v4.md 1.2).

    A query that ends in `+` is let through: one of the documented examples asks for `version=0+` just so.
    """
    path: str = scope["path"]
    if "//" in path or "/." in path:
        clean = posixpath.normpath(path).replace("//", "/")
        if path.endswith("/") and clean != "/":
            clean += "/"
        if clean != path:
            return _moved(clean, scope["query_string"])
    if scope["method"] == "OPTIONS":
        return reply.empty(*reply.PREFLIGHT)
    query: bytes = scope["query_string"]
    raw_path: bytes = scope.get("raw_path") or b""
    if len(raw_path) + (len(query) + 1 if query else 0) >= URI_MAX_BYTES:
        return reply.text(400, f"the request URI has {URI_MAX_BYTES} bytes or more\n")
    if b"//" in query or (query or raw_path).endswith((b";", b"&", b"?", b"@")):
        return reply.text(400, "the request URI is malformed\n")
    try:
        raw_path.decode("ascii")
    except UnicodeDecodeError:
        return reply.error(InvalidParams("the path is not percent-encoded"))
    return None


def _moved(path: str, query: bytes) -> Reply:
    """The path without empty, `.` and `..` segments, as the reference's router sends clients there."""
    location = quote(path).encode() + (b"?" + query if query else b"")
    return reply.text(301, "Moved Permanently\n", (b"Location", location))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    answer = reply.text(404, "404 page not found\n", (b"X-Content-Type-Options", b"nosniff"))
    if scope["type"] == "websocket":
        await receive()
        await refuse_socket(send, answer)
    else:
        await send_reply(scope, send, answer)


async def refuse_socket(send: Send, answer: Reply) -> None:
    """Answer a handshake as an ordinary request."""
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "websocket.http.response.body", "body": answer.body})


async def send_reply(scope: Scope, send: Send, answer: Reply) -> None:
    headers = answer.headers
    for name, _ in scope["headers"]:
        if name == b"origin":
            headers = [*headers, reply.ANY_ORIGIN]
            break
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
