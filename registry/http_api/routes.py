"""The route table, in the order of the API document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from registry.http_api import discovery, health, instances, microservices
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

ROUTES: Final[Sequence[ApiRoute]] = (
    ApiRoute("GET", f"{_R}/version", health.version),
    ApiRoute("GET", "/version", health.version),
    ApiRoute("GET", f"{_R}/health", health.health),
    ApiRoute("GET", "/health", health.health),
    ApiRoute("GET", f"{_R}/health/readiness", health.readiness),
    ApiRoute("POST", f"{_R}/microservices", microservices.register),
    ApiRoute("GET", f"{_R}/microservices", microservices.list_all),
    ApiRoute("GET", _SERVICE, microservices.get),
    ApiRoute("DELETE", _SERVICE, microservices.unregister),
    ApiRoute("PUT", f"{_SERVICE}/properties", microservices.set_properties),
    ApiRoute("GET", f"{_R}/existence", microservices.exists),
    ApiRoute("POST", f"{_SERVICE}/instances", instances.register),
    ApiRoute("GET", f"{_SERVICE}/instances", discovery.list_instances),
    ApiRoute("GET", _INSTANCE, discovery.get_instance),
    ApiRoute("DELETE", _INSTANCE, instances.unregister),
    ApiRoute("GET", f"{_R}/instances", discovery.find),
    ApiRoute("POST", f"{_R}/instances/action", discovery.batch_find),
    ApiRoute("PUT", f"{_INSTANCE}/properties", instances.set_properties),
    ApiRoute("PUT", f"{_INSTANCE}/status", instances.set_status),
    ApiRoute("PUT", f"{_INSTANCE}/heartbeat", instances.heartbeat),
    ApiRoute("PUT", f"{_R}/heartbeats", instances.heartbeat_set),
)
