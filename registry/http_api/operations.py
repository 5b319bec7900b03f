"""The operation table, in the order of the API document, and the way from a path to an operation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from msgspec import structs

from registry.access import request_bodies as access_bodies
from registry.access.rule import ANYBODY, ONLY_ADMIN, OPEN, Target, right
from registry.domain import request_bodies as body
from registry.domain.accounts import Role
from registry.domain.model import Policy
from registry.domain.scrape_targets import TargetGroup
from registry.history import churn, difference
from registry.http_api import (
    accounts,
    admin,
    answers,
    catalog,
    discovery,
    events,
    health,
    history,
    instances,
    metadata,
    metrics,
    microservices,
    openapi,
    overviews,
    policies,
    reply,
    schema_document,
    watch,
)
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.operation import Kind, Operation
from registry.http_api.reply import Reply

#: A limited right reaches some microservices: the one in the path, or some of those that are named elsewhere.
ONE: Final = Target.SERVICE
EACH: Final = Target.ELEMENTS

_R: Final = "/v4/{project}/registry"
_V3: Final = "/registry/v3"
_SERVICE: Final = f"{_R}/microservices/{{service_id}}"
_INSTANCE: Final = f"{_SERVICE}/instances/{{instance_id}}"
_GOVERN: Final = "/v4/{project}/govern"
_ADMIN: Final = "/v4/{project}/admin"
_POLICY: Final = "/v1/{project}/gov/{kind}"
_OWN: Final = "/v1/{project}"
_HISTORY: Final = f"{_OWN}/history"

_EXISTENCE: Final = ("type", "appId", "serviceName", "version", "env", "serviceId", "schemaId")
_LIST: Final = ("tags", "rev", "noCache")
_FIND: Final = ("appId", "serviceName", "version", "env", "tags", "rev", "noCache")
_DETAILS: Final = ("options", "appId", "serviceName", "env", "property", "countOnly", "withShared")
#: Policies, or with `display` match groups with their policies.
_POLICIES: Final = list[dict[str, Any]]


async def get_openapi(api: Api, call: Call) -> Reply:
    """`GET /openapi.json`: this API in OpenAPI 3.1."""
    async with api.reading:
        document = await asyncio.to_thread(openapi_document, api.access is not None)
    return reply.json(document)


def _get(name: str, path: str, handler: Any, response: Any = None, **more: Any) -> Operation:
    return Operation(name=name, method="GET", path=path, handler=handler, response=response, **more)


def _write(name: str, method: str, path: str, handler: Any, request: Any = None, **more: Any) -> Operation:
    row: dict[str, Any] = {"kind": Kind.WRITE, "request": request, **more}
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
        access=right("service", "get", EACH),
    )
)
BATCH_FIND: Final = Operation(
    name="batch-find-instances",
    method="POST",
    path=f"{_R}/instances/action",
    handler=discovery.batch_find,
    access=right("service", "get", EACH),
    response=answers.BatchAnswer,
    request=body.BatchFind,
    query=("type",),
    required=("type",),
    hot=True,
)
REGISTER_SERVICE: Final = _v3(
    _write(
        *("register-service", "POST", f"{_R}/microservices", microservices.register, body.RegisterService),
        response=answers.ServiceIdAnswer,
        hot=True,
        access=right("service", "create", EACH),
    )
)
REGISTER_INSTANCE: Final = _v3(
    _write(
        *("register-instance", "POST", f"{_SERVICE}/instances", instances.register, body.RegisterInstance),
        response=answers.InstanceIdAnswer,
        hot=True,
        access=right("service", "create", ONE),
    )
)
HEARTBEAT: Final = _v3(
    _write(
        "heartbeat",
        "PUT",
        f"{_INSTANCE}/heartbeat",
        instances.heartbeat,
        kind=Kind.BEAT,
        hot=True,
        access=right("service", "update", ONE),
    )
)

OPERATIONS: Final[Sequence[Operation]] = (
    _get("get-version", f"{_R}/version", health.version, answers.VersionAnswer, access=OPEN),
    _get("get-version-short", "/version", health.version, answers.VersionAnswer, access=OPEN),
    _get("get-health", f"{_R}/health", health.health, answers.InstancesAnswer, access=OPEN),
    _get("get-health-short", "/health", health.health, answers.InstancesAnswer, access=OPEN),
    _get("get-readiness", f"{_R}/health/readiness", health.readiness, access=OPEN),
    REGISTER_SERVICE,
    _v3(
        _get(
            "list-services",
            f"{_R}/microservices",
            microservices.list_all,
            answers.ServicesAnswer,
            query=("withShared",),
            access=right("service", "get", EACH),
        )
    ),
    _v3(
        _write(
            *(
                "delete-services",
                "DELETE",
                f"{_R}/microservices",
                microservices.delete_many,
                body.DeleteServices,
            ),
            response=answers.DeletedServicesAnswer,
            access=right("service", "delete", EACH),
        )
    ),
    _v3(_get("get-service", _SERVICE, microservices.get, answers.ServiceAnswer, access=right("service", "get", ONE))),
    _v3(
        _write(
            "unregister-service",
            "DELETE",
            _SERVICE,
            microservices.unregister,
            query=("force",),
            access=right("service", "delete", ONE),
        )
    ),
    _v3(
        _write(
            *("set-service-properties", "PUT", f"{_SERVICE}/properties", microservices.set_properties),
            body.SetProperties,
            access=right("service", "update", ONE),
        )
    ),
    _v3(
        _get(
            *("check-existence", f"{_R}/existence", microservices.exists, answers.ExistenceAnswer),
            query=_EXISTENCE,
            required=("type",),
            access=right("service", "get", EACH),
        )
    ),
    _v3(
        _write(
            "replace-tags",
            "POST",
            f"{_SERVICE}/tags",
            metadata.replace_tags,
            body.SetTags,
            access=right("service", "create", ONE),
        )
    ),
    _v3(
        _get("get-tags", f"{_SERVICE}/tags", metadata.get_tags, answers.TagsAnswer, access=right("service", "get", ONE))
    ),
    _v3(
        _write(
            *("set-tag", "PUT", f"{_SERVICE}/tags/{{key}}", metadata.set_tag),
            query=("value",),
            required=("value",),
            access=right("service", "update", ONE),
        )
    ),
    _v3(
        _write(
            "delete-tags",
            "DELETE",
            f"{_SERVICE}/tags/{{key}}",
            metadata.delete_tags,
            access=right("service", "delete", ONE),
        )
    ),
    _v3(
        _write(
            *(
                "replace-schemas",
                "POST",
                f"{_SERVICE}/schemas",
                metadata.replace_schemas,
                body.ReplaceSchemas,
            ),
            access=right("service/schema", "create", ONE),
        )
    ),
    _v3(
        _get(
            *("list-schemas", f"{_SERVICE}/schemas", metadata.list_schemas, answers.SchemasAnswer),
            query=("withSchema",),
            access=right("service/schema", "get", ONE),
        )
    ),
    _v3(
        _write(
            *("put-schema", "PUT", f"{_SERVICE}/schemas/{{schema_id}}", metadata.put_schema, body.PutSchema),
            access=right("service/schema", "update", ONE),
        )
    ),
    _v3(
        _get(
            *("get-schema", f"{_SERVICE}/schemas/{{schema_id}}", metadata.get_schema, answers.SchemaAnswer),
            access=right("service/schema", "get", ONE),
        )
    ),
    _v3(
        _write(
            *("delete-schema", "DELETE", f"{_SERVICE}/schemas/{{schema_id}}", metadata.delete_schema),
            access=right("service/schema", "delete", ONE),
        )
    ),
    REGISTER_INSTANCE,
    _v3(
        _get(
            "list-instances",
            f"{_SERVICE}/instances",
            discovery.list_instances,
            answers.InstancesAnswer,
            query=_LIST,
            access=right("service", "get", ONE),
        )
    ),
    _v3(
        _get(
            "get-instance",
            _INSTANCE,
            discovery.get_instance,
            answers.InstanceAnswer,
            query=_LIST,
            access=right("service", "get", ONE),
        )
    ),
    _v3(
        _write("unregister-instance", "DELETE", _INSTANCE, instances.unregister, access=right("service", "delete", ONE))
    ),
    FIND,
    BATCH_FIND,
    _v3(
        _write(
            *("set-instance-properties", "PUT", f"{_INSTANCE}/properties", instances.set_properties),
            body.SetProperties,
            access=right("service", "update", ONE),
        )
    ),
    _v3(
        _write(
            *("set-instance-status", "PUT", f"{_INSTANCE}/status", instances.set_status),
            query=("value",),
            required=("value",),
            access=right("service", "update", ONE),
        )
    ),
    HEARTBEAT,
    _v3(
        _get(
            *("heartbeat-socket", f"{_INSTANCE}/heartbeat", watch.upgrade_required),
            kind=Kind.SOCKET,
            socket=watch.heartbeat,
            access=right("service", "update", ONE),
        )
    ),
    _v3(
        _write(
            *("heartbeat-set", "PUT", f"{_R}/heartbeats", instances.heartbeat_set, body.HeartbeatSet),
            kind=Kind.BEAT,
            response=answers.HeartbeatSetAnswer,
            access=right("service", "update", EACH),
        )
    ),
    _write(
        "set-statuses",
        "PUT",
        f"{_R}/instances/status",
        instances.set_statuses,
        body.SetStatuses,
        access=right("service", "update", EACH),
    ),
    _v3(
        _get(
            *("watch", f"{_SERVICE}/watcher", watch.upgrade_required),
            kind=Kind.SOCKET,
            socket=watch.watch,
            access=right("service", "get", ONE),
        )
    ),
    _v3(
        _get(
            *("list-providers", f"{_SERVICE}/providers", metadata.providers, answers.ProvidersAnswer),
            query=("sameDomain", "noSelf"),
            access=right("service", "get", ONE),
        )
    ),
    _v3(
        _get(
            *("list-consumers", f"{_SERVICE}/consumers", metadata.consumers, answers.ConsumersAnswer),
            query=("sameDomain", "noSelf"),
            access=right("service", "get", ONE),
        )
    ),
    _write(
        *(
            "add-dependencies",
            "POST",
            f"{_R}/dependencies",
            metadata.add_dependencies,
            body.ChangeDependencies,
        ),
        deprecated=True,
        access=discovery.ADD_DEPENDENCIES,
    ),
    _write(
        *("replace-dependencies", "PUT", f"{_R}/dependencies", metadata.replace_dependencies),
        body.ChangeDependencies,
        deprecated=True,
        access=right("service", "update", EACH),
    ),
    _get(
        "list-details",
        f"{_GOVERN}/microservices",
        overviews.list_details,
        answers.DetailsAnswer,
        query=_DETAILS,
        access=right("service", "get", EACH),
    ),
    _get(
        "get-detail",
        f"{_GOVERN}/microservices/{{service_id}}",
        overviews.get_detail,
        answers.DetailAnswer,
        access=right("service", "get", ONE),
    ),
    _get(
        *("get-statistics", f"{_GOVERN}/statistics", overviews.get_statistics, answers.StatisticsAnswer),
        query=("withShared",),
        access=right("service", "get", EACH),
    ),
    _get(
        "list-apps",
        f"{_GOVERN}/apps",
        overviews.list_apps,
        answers.AppsAnswer,
        query=("env", "withShared"),
        access=right("service", "get", EACH),
    ),
    _get(
        *("get-relations", f"{_GOVERN}/relations", overviews.relations, answers.RelationsAnswer),
        query=("withShared",),
        access=right("service", "get", EACH),
    ),
    _write(
        *("create-policy", "POST", _POLICY, policies.create, body.PolicyBody),
        response=answers.PolicyIdAnswer,
        access=right("governance", "create"),
    ),
    _get(
        *("list-policies", _POLICY, policies.list_all, _POLICIES),
        query=("app", "environment"),
        access=right("governance", "get"),
    ),
    _get("get-policy", f"{_POLICY}/{{id}}", policies.get, Policy, access=right("governance", "get")),
    _write(
        "change-policy",
        "PUT",
        f"{_POLICY}/{{id}}",
        policies.change,
        body.PolicyBody,
        access=right("governance", "update"),
    ),
    _write("delete-policy", "DELETE", f"{_POLICY}/{{id}}", policies.delete, access=right("governance", "delete")),
    _get(
        *("get-catalog", f"{_OWN}/catalog", catalog.get_catalog, answers.CatalogAnswer),
        query=("since", "offset", "withShared"),
        access=right("service", "get", EACH),
    ),
    _get(
        *("search-instances", f"{_OWN}/instances", overviews.search_instances, answers.FoundInstances),
        query=("text", "status", "withShared"),
        required=("text",),
        access=right("service", "get", EACH),
    ),
    _get(
        *("list-scrape-targets", f"{_OWN}/sd/prometheus", overviews.scrape_targets, list[TargetGroup]),
        query=("appId", "serviceName", "env", "status", "protocol", "properties", "withShared"),
        access=right("service", "get", EACH),
    ),
    _get(
        *("explain-find", f"{_OWN}/find/explain", discovery.explain, answers.ExplainedAnswer),
        query=_FIND[:5],
        required=("appId", "serviceName"),
        access=right("service", "get", EACH),
    ),
    _get(
        *("get-schema-document", f"{_OWN}/schemas/{{service_id}}/{{schema_id}}", schema_document.get_document),
        schema_document.SchemaDocument,
        access=right("service/schema", "get", ONE),
    ),
    _get(
        *("get-lease", f"{_OWN}/leases/{{service_id}}/{{instance_id}}", instances.get_lease, answers.LeaseAnswer),
        access=right("service", "get", ONE),
    ),
    history.LIST_EVENTS,
    _get(
        *("explain", f"{_HISTORY}/explain", history.explain, dict[str, Any]),
        query=("serviceId", "instanceId", "appId", "serviceName", "env", "version", "at"),
        kind=Kind.PAST,
        access=right("service", "get", EACH),
    ),
    _get(
        *("diff", f"{_HISTORY}/diff", history.diff, difference.Difference),
        query=("from", "to", *history.CHOICE),
        required=("from",),
        kind=Kind.PAST,
        access=right("service", "get", EACH),
    ),
    _get(
        *("churn", f"{_HISTORY}/churn", history.churn, churn.Timeline),
        query=("from", "to", "step", "byService", *history.CHOICE),
        kind=Kind.PAST,
        access=right("service", "get", EACH),
    ),
    _get(
        *("follow-events", "/v1/{project}/events", events.follow, events.EventsAnswer),
        query=("after", "wait", *history.CHOICE),
        kind=Kind.FEED,
        access=right("service", "get", EACH),
    ),
    _get("dump", f"{_ADMIN}/dump", admin.get_dump, answers.DumpAnswer, query=("options",), access=right("ops", "get")),
    _get(
        "list-clusters", f"{_ADMIN}/clusters", admin.list_clusters, answers.ClustersAnswer, access=right("ops", "get")
    ),
    _get(
        *("list-replicas", f"{_ADMIN}/replicas", admin.list_replicas, answers.ReplicasAnswer),
        access=right("ops", "get"),
    ),
    _get("get-store", f"{_ADMIN}/store", admin.get_store, admin.AboutStore, access=right("ops", "get")),
    _get(
        *("list-settings", f"{_ADMIN}/settings", admin.list_settings, answers.SettingsAnswer),
        access=right("ops", "get"),
    ),
    _get("list-tenants", f"{_ADMIN}/tenants", admin.list_tenants, answers.TenantsAnswer, access=right("ops", "get")),
    _get("list-alarms", f"{_ADMIN}/alarms", admin.list_alarms, answers.AlarmsAnswer, access=right("ops", "get")),
    _write(
        "clear-alarms", "DELETE", f"{_ADMIN}/alarms", admin.clear_alarms, kind=Kind.LOCAL, access=right("ops", "delete")
    ),
    _get("get-metrics", "/metrics", metrics.get_metrics, text=True, access=right("ops", "get")),
    _get("get-openapi", "/openapi.json", get_openapi, dict[str, Any], access=OPEN),
)

_ACCOUNT: Final = "/v4/accounts/{name}"
_ROLE: Final = "/v4/roles/{name}"
_MACHINE_TOKENS: Final = "/v4/machine-tokens"


def _of_accounts(operation: Operation) -> Operation:
    return structs.replace(operation, of_accounts=True)


#: Those that are there only where there are accounts.
ACCOUNT_OPERATIONS: Final[Sequence[Operation]] = tuple(
    map(
        _of_accounts,
        (
            _write(
                *("log-in", "POST", "/v4/token", accounts.log_in, access_bodies.LogIn),
                response=answers.TokenAnswer,
                kind=Kind.LOCAL,
                access=OPEN,
            ),
            _get("own-permissions", "/v4/self-perms", accounts.own_permissions, answers.PermsAnswer, access=ANYBODY),
            _get(
                *("list-accounts", "/v4/accounts", accounts.list_accounts, answers.AccountsAnswer),
                access=right("account", "get"),
            ),
            _write(
                *("create-account", "POST", "/v4/accounts", accounts.create_account, access_bodies.AccountBody),
                access=right("account", "create"),
            ),
            _write(
                *("create-accounts", "POST", "/v4/accounts/batch-create", accounts.create_accounts),
                access_bodies.CreateAccounts,
                response=answers.CreatedAccountsAnswer,
                access=right("account", "create"),
            ),
            _get(
                *("get-account", _ACCOUNT, accounts.get_account, answers.AccountAnswer),
                access=right("account", "get"),
            ),
            _write(
                *("change-account", "PUT", _ACCOUNT, accounts.change_account, access_bodies.ChangeAccount),
                access=right("account", "update"),
            ),
            _write("delete-account", "DELETE", _ACCOUNT, accounts.delete_account, access=right("account", "delete")),
            _write(
                *("change-password", "POST", f"{_ACCOUNT}/password", accounts.change_password),
                access_bodies.ChangePassword,
                access=ANYBODY,
            ),
            _get(
                *("list-account-locks", "/v4/account-locks", accounts.list_locks, answers.LocksAnswer),
                access=right("account", "get"),
            ),
            _get("list-roles", "/v4/roles", accounts.list_roles, answers.RolesAnswer, access=right("role", "get")),
            _write(
                *("create-role", "POST", "/v4/roles", accounts.create_role, access_bodies.RoleBody),
                access=right("role", "create"),
            ),
            _get("get-role", _ROLE, accounts.get_role, Role, access=right("role", "get")),
            _write(
                *("change-role", "PUT", _ROLE, accounts.change_role, access_bodies.ChangeRole),
                access=right("role", "update"),
            ),
            _write("delete-role", "DELETE", _ROLE, accounts.delete_role, access=right("role", "delete")),
            _get(
                *("list-machine-tokens", _MACHINE_TOKENS, accounts.list_machine_tokens, answers.MachineTokensAnswer),
                access=ONLY_ADMIN,
            ),
            _write(
                *("give-machine-token", "POST", _MACHINE_TOKENS, accounts.give_machine_token),
                access_bodies.MachineTokenBody,
                response=answers.TokenAnswer,
                access=ONLY_ADMIN,
            ),
            _write(
                *("revoke-machine-token", "DELETE", f"{_MACHINE_TOKENS}/{{name}}", accounts.revoke_machine_token),
                access=ONLY_ADMIN,
            ),
        ),
    )
)


@cache
def openapi_document(with_accounts: bool) -> bytes:
    """The OpenAPI document as JSON. It is made when it is first asked for: a start does not wait for it.

    That takes a tenth of a second: in a thread, please.
    """
    return openapi.openapi((*OPERATIONS, *ACCOUNT_OPERATIONS) if with_accounts else OPERATIONS, with_accounts)


#: What says how a replica is. It is answered also where nothing else is.
PROBES: Final = tuple(
    operation for operation in OPERATIONS if operation.handler in (health.version, health.health, health.readiness)
)


#: Names of what is answered however many requests are under way: heartbeats (D17), and who asks how the replica is.
NEVER_REFUSED: Final = frozenset(
    operation.name
    for operation in OPERATIONS
    if operation.kind is Kind.BEAT or operation in PROBES or operation.handler is metrics.get_metrics
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
        return self._root.find(segments)


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

    def find(self, segments: Sequence[str]) -> tuple[dict[str, Operation], dict[str, str]] | None:
        """As `Routes.find`. A project may be called as something that stands beside the projects."""
        if not segments:
            return (self.operations, {}) if self.operations else None
        segment, rest = segments[0], segments[1:]
        literal = self.literals.get(segment)
        found = literal.find(rest) if literal is not None else None
        if found is None and self.rest is not None and segment:
            found = self.rest.find(rest)
            if found is not None:
                found[1][self.parameter] = segment
        return found
