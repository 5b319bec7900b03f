"""The route table, in the order of the API document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from starlette.types import Receive, Send

from registry.http_api import admin, discovery, govern, governance, health, instances, metadata, microservices, watch
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply

Handler = Callable[[Api, Call], Awaitable[Reply]]


class ApiRoute(NamedTuple):
    """One operation. `{name}` in the path is one segment, matched after percent-decoding."""

    method: str
    path: str
    handler: Handler


_R: Final = "/v4/{project}/registry"
_SERVICE: Final = f"{_R}/microservices/{{service_id}}"
_INSTANCE: Final = f"{_SERVICE}/instances/{{instance_id}}"
_GOVERN: Final = "/v4/{project}/govern"
_ADMIN: Final = "/v4/{project}/admin"

ROUTES: Final[Sequence[ApiRoute]] = (
    ApiRoute("GET", f"{_R}/version", health.version),
    ApiRoute("GET", "/version", health.version),
    ApiRoute("GET", f"{_R}/health", health.health),
    ApiRoute("GET", "/health", health.health),
    ApiRoute("GET", f"{_R}/health/readiness", health.readiness),
    ApiRoute("POST", f"{_R}/microservices", microservices.register),
    ApiRoute("GET", f"{_R}/microservices", microservices.list_all),
    ApiRoute("DELETE", f"{_R}/microservices", microservices.delete_many),
    ApiRoute("GET", _SERVICE, microservices.get),
    ApiRoute("DELETE", _SERVICE, microservices.unregister),
    ApiRoute("PUT", f"{_SERVICE}/properties", microservices.set_properties),
    ApiRoute("GET", f"{_R}/existence", microservices.exists),
    ApiRoute("POST", f"{_SERVICE}/tags", metadata.replace_tags),
    ApiRoute("GET", f"{_SERVICE}/tags", metadata.get_tags),
    ApiRoute("PUT", f"{_SERVICE}/tags/{{key}}", metadata.set_tag),
    ApiRoute("DELETE", f"{_SERVICE}/tags/{{key}}", metadata.delete_tags),
    ApiRoute("POST", f"{_SERVICE}/schemas", metadata.replace_schemas),
    ApiRoute("GET", f"{_SERVICE}/schemas", metadata.list_schemas),
    ApiRoute("PUT", f"{_SERVICE}/schemas/{{schema_id}}", metadata.put_schema),
    ApiRoute("GET", f"{_SERVICE}/schemas/{{schema_id}}", metadata.get_schema),
    ApiRoute("DELETE", f"{_SERVICE}/schemas/{{schema_id}}", metadata.delete_schema),
    ApiRoute("POST", f"{_SERVICE}/instances", instances.register),
    ApiRoute("GET", f"{_SERVICE}/instances", discovery.list_instances),
    ApiRoute("GET", _INSTANCE, discovery.get_instance),
    ApiRoute("DELETE", _INSTANCE, instances.unregister),
    ApiRoute("GET", f"{_R}/instances", discovery.find),
    ApiRoute("POST", f"{_R}/instances/action", discovery.batch_find),
    ApiRoute("PUT", f"{_INSTANCE}/properties", instances.set_properties),
    ApiRoute("PUT", f"{_INSTANCE}/status", instances.set_status),
    ApiRoute("PUT", f"{_INSTANCE}/heartbeat", instances.heartbeat),
    ApiRoute("GET", f"{_INSTANCE}/heartbeat", watch.upgrade_required),
    ApiRoute("PUT", f"{_R}/heartbeats", instances.heartbeat_set),
    ApiRoute("PUT", f"{_R}/instances/status", instances.set_statuses),
    ApiRoute("GET", f"{_SERVICE}/watcher", watch.upgrade_required),
    ApiRoute("GET", f"{_SERVICE}/providers", metadata.providers),
    ApiRoute("GET", f"{_SERVICE}/consumers", metadata.consumers),
    ApiRoute("POST", f"{_R}/dependencies", metadata.add_dependencies),
    ApiRoute("PUT", f"{_R}/dependencies", metadata.replace_dependencies),
    ApiRoute("GET", f"{_GOVERN}/microservices", govern.list_details),
    ApiRoute("GET", f"{_GOVERN}/microservices/{{service_id}}", govern.get_detail),
    ApiRoute("GET", f"{_GOVERN}/statistics", govern.get_statistics),
    ApiRoute("GET", f"{_GOVERN}/apps", govern.list_apps),
    ApiRoute("GET", f"{_GOVERN}/relations", govern.relations),
    ApiRoute("POST", "/v1/{project}/gov/{kind}", governance.create),
    ApiRoute("GET", "/v1/{project}/gov/{kind}", governance.list_all),
    ApiRoute("GET", "/v1/{project}/gov/{kind}/{id}", governance.get),
    ApiRoute("PUT", "/v1/{project}/gov/{kind}/{id}", governance.change),
    ApiRoute("DELETE", "/v1/{project}/gov/{kind}/{id}", governance.delete),
    ApiRoute("GET", f"{_ADMIN}/dump", admin.get_dump),
    ApiRoute("GET", f"{_ADMIN}/clusters", admin.list_clusters),
    ApiRoute("GET", f"{_ADMIN}/alarms", admin.list_alarms),
    ApiRoute("DELETE", f"{_ADMIN}/alarms", admin.clear_alarms),
)

SocketHandler = Callable[[Api, Call, Receive, Send], Awaitable[None]]

#: The paths that are reached by websocket.
SOCKET_ROUTES: Final[Mapping[str, SocketHandler]] = {
    f"{_SERVICE}/watcher": watch.watch,
    f"{_INSTANCE}/heartbeat": watch.heartbeat,
    "/registry/v3/microservices/{service_id}/watcher": watch.watch,
}

#: What the third version of the API never had.
_NOT_IN_V3: Final = (
    "/version",
    "/health",
    "/health/readiness",
    "/instances/action",
    "/instances/status",
    "/dependencies",
)


def _v3_routes() -> tuple[ApiRoute, ...]:
    """`/registry/v3/X` for `/v4/default/registry/X` (servicecomb-v4.md 8): same handlers, same bodies."""
    found = []
    for route in ROUTES:
        rest = route.path.removeprefix(_R)
        if rest != route.path and rest not in _NOT_IN_V3:
            found.append(route._replace(path=f"/registry/v3{rest}"))
    return tuple(found)


V3_ROUTES: Final[Sequence[ApiRoute]] = _v3_routes()
