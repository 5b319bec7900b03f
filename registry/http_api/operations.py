"""The operation table, in the order of the API document, and the way from a path to an operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import structs

from registry.domain import commands
from registry.domain.model import Policy
from registry.history import churn, difference, historian
from registry.http_api import (
    admin,
    answers,
    discovery,
    govern,
    governance,
    health,
    history,
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
from registry.http_api.operation import Kind, Operation
from registry.http_api.reply import Reply

_R: Final = "/v4/{project}/registry"
_V3: Final = "/registry/v3"
_SERVICE: Final = f"{_R}/microservices/{{service_id}}"
_INSTANCE: Final = f"{_SERVICE}/instances/{{instance_id}}"
_GOVERN: Final = "/v4/{project}/govern"
_ADMIN: Final = "/v4/{project}/admin"
_POLICY: Final = "/v1/{project}/gov/{kind}"
_HISTORY: Final = "/v1/{project}/history"

_EXISTENCE: Final = ("type", "appId", "serviceName", "version", "env", "serviceId", "schemaId")
_LIST: Final = ("tags", "rev", "noCache")
_FIND: Final = ("appId", "serviceName", "version", "env", "tags", "rev", "noCache")
_DETAILS: Final = ("options", "appId", "serviceName", "env", "property", "countOnly", "withShared")
_CHOICE: Final = ("serviceId", "instanceId", "appId", "serviceName", "env", "version", "kind", "actor")
_EVENTS: Final = ("order", "from", "to", "after", "before", "limit", *_CHOICE)
#: Policies, or with `display` match groups with their policies.
_POLICIES: Final = list[dict[str, Any]]


async def get_openapi(api: Api, call: Call) -> Reply:
    """`GET /openapi.json`: this API in OpenAPI 3.1."""
    return reply.json(OPENAPI)


def _get(name: str, path: str, handler: Any, response: Any = None, **more: Any) -> Operation:
    return Operation(name=name, method="GET", path=path, handler=handler, response=response, verb="get", **more)


def _write(name: str, method: str, path: str, handler: Any, request: Any = None, **more: Any) -> Operation:
    verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}[method]
    row: dict[str, Any] = {"kind": Kind.WRITE, "verb": verb, "request": request, **more}
    return Operation(name=name, method=method, path=path, handler=handler, **row)


def _v3(operation: Operation) -> Operation:
    """It also stands below /registry/v3, for the oldest clients."""
    return structs.replace(operation, in_v3=True)


FIND: Final = _v3(
    _get(
        *("find-instances", f"{_R}/instances", discovery.find, answers.InstancesAnswer),
        query=_FIND,
        required=("appId", "serviceName"),
        hot=True,
    )
)
BATCH_FIND: Final = Operation(
    name="batch-find-instances",
    method="POST",
    path=f"{_R}/instances/action",
    handler=discovery.batch_find,
    verb="get",
    response=answers.BatchAnswer,
    request=commands.BatchFind,
    query=("type",),
    required=("type",),
    hot=True,
)
REGISTER_INSTANCE: Final = _v3(
    _write(
        *("register-instance", "POST", f"{_SERVICE}/instances", instances.register, commands.RegisterInstance),
        response=answers.InstanceIdAnswer,
        hot=True,
    )
)
HEARTBEAT: Final = _v3(
    _write("heartbeat", "PUT", f"{_INSTANCE}/heartbeat", instances.heartbeat, kind=Kind.BEAT, hot=True)
)

OPERATIONS: Final[Sequence[Operation]] = (
    _get("get-version", f"{_R}/version", health.version, answers.VersionAnswer, resource=""),
    _get("get-version-short", "/version", health.version, answers.VersionAnswer, resource=""),
    _get("get-health", f"{_R}/health", health.health, answers.InstancesAnswer, resource=""),
    _get("get-health-short", "/health", health.health, answers.InstancesAnswer, resource=""),
    _get("get-readiness", f"{_R}/health/readiness", health.readiness, resource=""),
    _v3(
        _write(
            *("register-service", "POST", f"{_R}/microservices", microservices.register, commands.RegisterService),
            response=answers.ServiceIdAnswer,
        )
    ),
    _v3(
        _get(
            "list-services",
            f"{_R}/microservices",
            microservices.list_all,
            answers.ServicesAnswer,
            query=("withShared",),
        )
    ),
    _v3(
        _write(
            *("delete-services", "DELETE", f"{_R}/microservices", microservices.delete_many, commands.DeleteServices),
            response=answers.DeletedServicesAnswer,
        )
    ),
    _v3(_get("get-service", _SERVICE, microservices.get, answers.ServiceAnswer)),
    _v3(_write("unregister-service", "DELETE", _SERVICE, microservices.unregister, query=("force",))),
    _v3(
        _write(
            *("set-service-properties", "PUT", f"{_SERVICE}/properties", microservices.set_properties),
            commands.SetProperties,
        )
    ),
    _v3(
        _get(
            *("check-existence", f"{_R}/existence", microservices.exists, answers.ExistenceAnswer),
            query=_EXISTENCE,
            required=("type",),
        )
    ),
    _v3(_write("replace-tags", "POST", f"{_SERVICE}/tags", metadata.replace_tags, commands.SetTags)),
    _v3(_get("get-tags", f"{_SERVICE}/tags", metadata.get_tags, answers.TagsAnswer)),
    _v3(
        _write(*("set-tag", "PUT", f"{_SERVICE}/tags/{{key}}", metadata.set_tag), query=("value",), required=("value",))
    ),
    _v3(_write("delete-tags", "DELETE", f"{_SERVICE}/tags/{{key}}", metadata.delete_tags)),
    _v3(
        _write(
            *("replace-schemas", "POST", f"{_SERVICE}/schemas", metadata.replace_schemas, commands.ReplaceSchemas),
            resource="service/schema",
        )
    ),
    _v3(
        _get(
            *("list-schemas", f"{_SERVICE}/schemas", metadata.list_schemas, answers.SchemasAnswer),
            query=("withSchema",),
            resource="service/schema",
        )
    ),
    _v3(
        _write(
            *("put-schema", "PUT", f"{_SERVICE}/schemas/{{schema_id}}", metadata.put_schema, commands.PutSchema),
            resource="service/schema",
        )
    ),
    _v3(
        _get(
            *("get-schema", f"{_SERVICE}/schemas/{{schema_id}}", metadata.get_schema, answers.SchemaAnswer),
            resource="service/schema",
        )
    ),
    _v3(
        _write(
            *("delete-schema", "DELETE", f"{_SERVICE}/schemas/{{schema_id}}", metadata.delete_schema),
            resource="service/schema",
        )
    ),
    REGISTER_INSTANCE,
    _v3(
        _get("list-instances", f"{_SERVICE}/instances", discovery.list_instances, answers.InstancesAnswer, query=_LIST)
    ),
    _v3(_get("get-instance", _INSTANCE, discovery.get_instance, answers.InstanceAnswer, query=_LIST)),
    _v3(_write("unregister-instance", "DELETE", _INSTANCE, instances.unregister)),
    FIND,
    BATCH_FIND,
    _v3(
        _write(
            *("set-instance-properties", "PUT", f"{_INSTANCE}/properties", instances.set_properties),
            commands.SetProperties,
        )
    ),
    _v3(
        _write(
            *("set-instance-status", "PUT", f"{_INSTANCE}/status", instances.set_status),
            query=("value",),
            required=("value",),
        )
    ),
    HEARTBEAT,
    _v3(
        _get(
            *("heartbeat-socket", f"{_INSTANCE}/heartbeat", watch.upgrade_required),
            kind=Kind.SOCKET,
            socket=watch.heartbeat,
        )
    ),
    _v3(
        _write(
            *("heartbeat-set", "PUT", f"{_R}/heartbeats", instances.heartbeat_set, commands.HeartbeatSet),
            kind=Kind.BEAT,
            response=answers.HeartbeatSetAnswer,
        )
    ),
    _write("set-statuses", "PUT", f"{_R}/instances/status", instances.set_statuses, commands.SetStatuses),
    _v3(_get(*("watch", f"{_SERVICE}/watcher", watch.upgrade_required), kind=Kind.SOCKET, socket=watch.watch)),
    _v3(
        _get(
            *("list-providers", f"{_SERVICE}/providers", metadata.providers, answers.ProvidersAnswer),
            query=("sameDomain", "noSelf"),
        )
    ),
    _v3(
        _get(
            *("list-consumers", f"{_SERVICE}/consumers", metadata.consumers, answers.ConsumersAnswer),
            query=("sameDomain", "noSelf"),
        )
    ),
    _write(
        *("add-dependencies", "POST", f"{_R}/dependencies", metadata.add_dependencies, commands.ChangeDependencies),
        deprecated=True,
    ),
    _write(
        *("replace-dependencies", "PUT", f"{_R}/dependencies", metadata.replace_dependencies),
        commands.ChangeDependencies,
        deprecated=True,
    ),
    _get("list-details", f"{_GOVERN}/microservices", govern.list_details, answers.DetailsAnswer, query=_DETAILS),
    _get("get-detail", f"{_GOVERN}/microservices/{{service_id}}", govern.get_detail, answers.DetailAnswer),
    _get(
        *("get-statistics", f"{_GOVERN}/statistics", govern.get_statistics, answers.StatisticsAnswer),
        query=("withShared",),
    ),
    _get("list-apps", f"{_GOVERN}/apps", govern.list_apps, answers.AppsAnswer, query=("env", "withShared")),
    _get(*("get-relations", f"{_GOVERN}/relations", govern.relations, answers.RelationsAnswer), query=("withShared",)),
    _write(
        *("create-policy", "POST", _POLICY, governance.create, commands.PolicyBody),
        response=answers.PolicyIdAnswer,
        resource="governance",
    ),
    _get(
        *("list-policies", _POLICY, governance.list_all, _POLICIES),
        query=("app", "environment"),
        resource="governance",
    ),
    _get("get-policy", f"{_POLICY}/{{id}}", governance.get, Policy, resource="governance"),
    _write("change-policy", "PUT", f"{_POLICY}/{{id}}", governance.change, commands.PolicyBody, resource="governance"),
    _write("delete-policy", "DELETE", f"{_POLICY}/{{id}}", governance.delete, resource="governance"),
    _get("list-events", _HISTORY, history.list_events, historian.Page, query=_EVENTS, kind=Kind.PAST),
    _get(
        *("explain", f"{_HISTORY}/explain", history.explain, dict[str, Any]),
        query=("serviceId", "instanceId", "appId", "serviceName", "env", "version", "at"),
        kind=Kind.PAST,
    ),
    _get(
        *("diff", f"{_HISTORY}/diff", history.diff, difference.Difference),
        query=("from", "to", *_CHOICE),
        required=("from",),
        kind=Kind.PAST,
    ),
    _get(
        *("churn", f"{_HISTORY}/churn", history.churn, churn.Timeline),
        query=("from", "to", "step", "byService", *_CHOICE),
        kind=Kind.PAST,
    ),
    _get("dump", f"{_ADMIN}/dump", admin.get_dump, answers.DumpAnswer, query=("options",), resource="ops"),
    _get("list-clusters", f"{_ADMIN}/clusters", admin.list_clusters, answers.ClustersAnswer, resource="ops"),
    _get("list-alarms", f"{_ADMIN}/alarms", admin.list_alarms, answers.AlarmsAnswer, resource="ops"),
    _write("clear-alarms", "DELETE", f"{_ADMIN}/alarms", admin.clear_alarms, kind=Kind.LOCAL, resource="ops"),
    _get("get-metrics", "/metrics", metrics.get_metrics, text=True, resource="ops"),
    _get("get-openapi", "/openapi.json", get_openapi, dict[str, Any], resource=""),
)

OPENAPI: Final = openapi.openapi(OPERATIONS)


#: What says how a replica is. It is answered also where nothing else is.
PROBES: Final = tuple(
    operation for operation in OPERATIONS if operation.handler in (health.version, health.health, health.readiness)
)


class Routes:
    """From a path to the operations that stand there, by method."""

    def __init__(self, operations: Sequence[Operation] = OPERATIONS) -> None:
        self._root = _Node()
        for operation in operations:
            self._root.place(operation.path.split("/")[1:], operation)
            if operation.in_v3:
                self._root.place((_V3 + operation.path.removeprefix(_R)).split("/")[1:], operation)

    def find(self, segments: Sequence[str]) -> tuple[dict[str, Operation], dict[str, str]] | None:
        """The operations at a path, by method, and the values of its parameters; None: there is nothing."""
        node: _Node | None = self._root
        values: dict[str, str] = {}
        for segment in segments:
            assert node is not None
            literal = node.literals.get(segment)
            if literal is None and segment:
                values[node.parameter] = segment
                literal = node.rest
            node = literal
            if node is None:
                return None
        return (node.operations, values) if node is not None and node.operations else None


class _Node:
    """One segment of paths."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter = ""
        self.rest: _Node | None = None
        self.operations: dict[str, Operation] = {}

    def place(self, segments: Sequence[str], operation: Operation) -> None:
        if not segments:
            assert operation.method not in self.operations, operation
            self.operations[operation.method] = operation
            return
        segment, *rest = segments
        if not segment.startswith("{"):
            self.literals.setdefault(segment, _Node()).place(rest, operation)
            return
        assert self.parameter in ("", segment[1:-1]), operation
        self.parameter = segment[1:-1]
        self.rest = self.rest or _Node()
        self.rest.place(rest, operation)
