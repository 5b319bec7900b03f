"""The route table, in the order of the API document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from registry.domain import commands
from registry.domain.model import Policy
from registry.http_api import (
    admin,
    answers,
    discovery,
    govern,
    governance,
    health,
    instances,
    metadata,
    metrics,
    microservices,
    openapi,
    reply,
    watch,
)
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.http_api.route import ApiRoute, SocketHandler

_R: Final = "/v4/{project}/registry"
_SERVICE: Final = f"{_R}/microservices/{{service_id}}"
_INSTANCE: Final = f"{_SERVICE}/instances/{{instance_id}}"
_GOVERN: Final = "/v4/{project}/govern"
_ADMIN: Final = "/v4/{project}/admin"

_EXISTENCE: Final = ("type", "appId", "serviceName", "version", "env", "serviceId", "schemaId")
_LIST: Final = ("tags", "rev", "noCache")
_FIND: Final = ("appId", "serviceName", "version", "env", "tags", "rev", "noCache")
_DETAILS: Final = ("options", "appId", "serviceName", "env", "property", "countOnly", "withShared")
#: Policies, or with `display` match groups with their policies.
_POLICIES: Final = list[dict[str, Any]]


async def get_openapi(api: Api, call: Call) -> Reply:
    """`GET /openapi.json`: this API in OpenAPI 3.1."""
    return reply.json(OPENAPI)


ROUTES: Final[Sequence[ApiRoute]] = (
    ApiRoute("GET", f"{_R}/version", health.version, answers.VersionAnswer),
    ApiRoute("GET", "/version", health.version, answers.VersionAnswer),
    ApiRoute("GET", f"{_R}/health", health.health, answers.InstancesAnswer),
    ApiRoute("GET", "/health", health.health, answers.InstancesAnswer),
    ApiRoute("GET", f"{_R}/health/readiness", health.readiness),
    ApiRoute("POST", f"{_R}/microservices", microservices.register, answers.ServiceIdAnswer, commands.RegisterService),
    ApiRoute("GET", f"{_R}/microservices", microservices.list_all, answers.ServicesAnswer, query=("withShared",)),
    ApiRoute(
        "DELETE",
        f"{_R}/microservices",
        microservices.delete_many,
        answers.DeletedServicesAnswer,
        commands.DeleteServices,
    ),
    ApiRoute("GET", _SERVICE, microservices.get, answers.ServiceAnswer),
    ApiRoute("DELETE", _SERVICE, microservices.unregister, query=("force",)),
    ApiRoute("PUT", f"{_SERVICE}/properties", microservices.set_properties, request=commands.SetProperties),
    ApiRoute("GET", f"{_R}/existence", microservices.exists, answers.ExistenceAnswer, query=_EXISTENCE),
    ApiRoute("POST", f"{_SERVICE}/tags", metadata.replace_tags, request=commands.SetTags),
    ApiRoute("GET", f"{_SERVICE}/tags", metadata.get_tags, answers.TagsAnswer),
    ApiRoute("PUT", f"{_SERVICE}/tags/{{key}}", metadata.set_tag, query=("value",)),
    ApiRoute("DELETE", f"{_SERVICE}/tags/{{key}}", metadata.delete_tags),
    ApiRoute("POST", f"{_SERVICE}/schemas", metadata.replace_schemas, request=commands.ReplaceSchemas),
    ApiRoute("GET", f"{_SERVICE}/schemas", metadata.list_schemas, answers.SchemasAnswer, query=("withSchema",)),
    ApiRoute("PUT", f"{_SERVICE}/schemas/{{schema_id}}", metadata.put_schema, request=commands.PutSchema),
    ApiRoute("GET", f"{_SERVICE}/schemas/{{schema_id}}", metadata.get_schema, answers.SchemaAnswer),
    ApiRoute("DELETE", f"{_SERVICE}/schemas/{{schema_id}}", metadata.delete_schema),
    ApiRoute("POST", f"{_SERVICE}/instances", instances.register, answers.InstanceIdAnswer, commands.RegisterInstance),
    ApiRoute("GET", f"{_SERVICE}/instances", discovery.list_instances, answers.InstancesAnswer, query=_LIST),
    ApiRoute("GET", _INSTANCE, discovery.get_instance, answers.InstanceAnswer, query=_LIST),
    ApiRoute("DELETE", _INSTANCE, instances.unregister),
    ApiRoute("GET", f"{_R}/instances", discovery.find, answers.InstancesAnswer, query=_FIND),
    ApiRoute(
        "POST", f"{_R}/instances/action", discovery.batch_find, answers.BatchAnswer, commands.BatchFind, query=("type",)
    ),
    ApiRoute("PUT", f"{_INSTANCE}/properties", instances.set_properties, request=commands.SetProperties),
    ApiRoute("PUT", f"{_INSTANCE}/status", instances.set_status, query=("value",)),
    ApiRoute("PUT", f"{_INSTANCE}/heartbeat", instances.heartbeat),
    ApiRoute("GET", f"{_INSTANCE}/heartbeat", watch.upgrade_required, socket=True),
    ApiRoute("PUT", f"{_R}/heartbeats", instances.heartbeat_set, answers.HeartbeatSetAnswer, commands.HeartbeatSet),
    ApiRoute("PUT", f"{_R}/instances/status", instances.set_statuses, request=commands.SetStatuses),
    ApiRoute("GET", f"{_SERVICE}/watcher", watch.upgrade_required, socket=True),
    ApiRoute(
        "GET", f"{_SERVICE}/providers", metadata.providers, answers.ProvidersAnswer, query=("sameDomain", "noSelf")
    ),
    ApiRoute(
        "GET", f"{_SERVICE}/consumers", metadata.consumers, answers.ConsumersAnswer, query=("sameDomain", "noSelf")
    ),
    ApiRoute("POST", f"{_R}/dependencies", metadata.add_dependencies, request=commands.ChangeDependencies),
    ApiRoute("PUT", f"{_R}/dependencies", metadata.replace_dependencies, request=commands.ChangeDependencies),
    ApiRoute("GET", f"{_GOVERN}/microservices", govern.list_details, answers.DetailsAnswer, query=_DETAILS),
    ApiRoute("GET", f"{_GOVERN}/microservices/{{service_id}}", govern.get_detail, answers.DetailAnswer),
    ApiRoute("GET", f"{_GOVERN}/statistics", govern.get_statistics, answers.StatisticsAnswer, query=("withShared",)),
    ApiRoute("GET", f"{_GOVERN}/apps", govern.list_apps, answers.AppsAnswer, query=("env", "withShared")),
    ApiRoute("GET", f"{_GOVERN}/relations", govern.relations, answers.RelationsAnswer, query=("withShared",)),
    ApiRoute("POST", "/v1/{project}/gov/{kind}", governance.create, answers.PolicyIdAnswer, commands.PolicyBody),
    ApiRoute("GET", "/v1/{project}/gov/{kind}", governance.list_all, _POLICIES, query=("app", "environment")),
    ApiRoute("GET", "/v1/{project}/gov/{kind}/{id}", governance.get, Policy),
    ApiRoute("PUT", "/v1/{project}/gov/{kind}/{id}", governance.change, request=commands.PolicyBody),
    ApiRoute("DELETE", "/v1/{project}/gov/{kind}/{id}", governance.delete),
    ApiRoute("GET", f"{_ADMIN}/dump", admin.get_dump, answers.DumpAnswer, query=("options",)),
    ApiRoute("GET", f"{_ADMIN}/clusters", admin.list_clusters, answers.ClustersAnswer),
    ApiRoute("GET", f"{_ADMIN}/alarms", admin.list_alarms, answers.AlarmsAnswer),
    ApiRoute("DELETE", f"{_ADMIN}/alarms", admin.clear_alarms),
    ApiRoute("GET", "/metrics", metrics.get_metrics, text=True),
    ApiRoute("GET", "/openapi.json", get_openapi, dict[str, Any]),
)

OPENAPI: Final = openapi.openapi(ROUTES)

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
