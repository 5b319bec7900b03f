"""Answers: the shapes of response bodies, for the OpenAPI document. Every test response is checked against them.

Handlers mostly join prepared bytes, so these types describe what is sent; nothing is encoded from them.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from registry.domain.accounts import Permission, Role
from registry.domain.errors import ErrorBody
from registry.domain.find_explained import Reason
from registry.domain.model import Instance, Microservice, Schema
from registry.domain.overviews import Node, Statistics
from registry.usecases.lockouts import Lock
from registry.usecases.roster import Presence


class VersionSet(Struct, rename="camel"):
    version: str
    build_tag: str
    go_version: str
    os: str
    arch: str


class VersionAnswer(VersionSet, rename="camel"):
    api_version: Literal["3.0.0", "4.0.0"]


class TokenAnswer(Struct):
    token: str


class PermsAnswer(Struct):
    perms: list[Permission]


class AccountAnswer(Struct, rename="camel"):
    id: str
    name: str
    roles: list[str]
    status: str
    create_time: str
    update_time: str


class AccountsAnswer(Struct):
    total: int
    data: list[AccountAnswer]


class CreatedAccount(Struct, rename="camel", omit_defaults=True):
    name: str
    error_code: str = ""
    error_message: str = ""
    detail: str = ""


class CreatedAccountsAnswer(Struct):
    accounts: list[CreatedAccount]


class LocksAnswer(Struct):
    total: int
    data: list[Lock]


class RolesAnswer(Struct):
    total: int
    data: list[Role]


class MachineTokenAnswer(Struct, rename="camel"):
    name: str
    roles: list[str]
    expires_at: int
    created_by: str
    create_time: str


class MachineTokensAnswer(Struct):
    total: int
    data: list[MachineTokenAnswer]


class ServiceIdAnswer(Struct, rename="camel"):
    service_id: str


class ExistenceAnswer(Struct, rename="camel"):
    service_id: str
    schema_id: str = ""


class ServiceAnswer(Struct):
    service: Microservice


class ServicesAnswer(Struct):
    services: list[Microservice] = []


class DeletedService(Struct, rename="camel"):
    service_id: str
    err_message: str = ""


class DeletedServicesAnswer(Struct):
    services: list[DeletedService]


class TagsAnswer(Struct):
    tags: dict[str, str] = {}


class SchemaAnswer(Struct):
    schema: str


class SchemasAnswer(Struct):
    schemas: list[Schema] = []


class InstanceIdAnswer(Struct, rename="camel"):
    instance_id: str


class InstanceAnswer(Struct):
    instance: Instance


class InstancesAnswer(Struct):
    instances: list[Instance] = []


class FoundInstances(Struct):
    """`total`: how many there are; the first 500 of them are told."""

    instances: list[Instance]
    total: int


class BatchFailure(Struct):
    indexes: list[int]
    error: ErrorBody


class BatchUpdate(Struct):
    index: int
    rev: str
    instances: list[Instance] = []


class BatchPart(Struct, rename="camel"):
    """Every index of the request exactly once."""

    failed: list[BatchFailure] = []
    not_modified: list[int] = []
    updated: list[BatchUpdate] = []


class BatchAnswer(Struct):
    services: BatchPart | None = None
    instances: BatchPart | None = None


class HeartbeatResult(Struct, rename="camel"):
    service_id: str
    instance_id: str
    err_message: str = ""


class HeartbeatSetAnswer(Struct):
    instances: list[HeartbeatResult]


class ProvidersAnswer(Struct):
    providers: list[Microservice] = []


class ConsumersAnswer(Struct):
    consumers: list[Microservice] = []


class ServiceDetailBody(Struct, rename="camel"):
    micro_service: Microservice
    instances: list[Instance] = []
    schema_infos: list[Schema] = []
    providers: list[Microservice] = []
    consumers: list[Microservice] = []
    tags: dict[str, str] = {}
    micro_service_versions: list[str] = []
    statics: Statistics | None = None


class DetailsAnswer(Struct, rename="camel"):
    all_services_detail: list[ServiceDetailBody] = []
    statistics: Statistics | None = None


class DetailAnswer(Struct):
    service: ServiceDetailBody


class StatisticsAnswer(Struct):
    statistics: Statistics


class AppsAnswer(Struct, rename="camel"):
    app_ids: list[str] = []


class RelationLine(Struct):
    consumer: Node = field(name="from")
    provider: Node = field(name="to")
    type: str = ""
    color: str = ""
    descriptor: str = ""


class RelationsAnswer(Struct):
    nodes: list[Node] | None
    lines: list[RelationLine] | None
    circles: None


class CatalogRowBody(Struct):
    """One microservice version; `instances` counts them by status."""

    service: Microservice
    instances: dict[str, int] = {}
    tags: dict[str, str] = {}


class CatalogAnswer(Struct):
    """`next`: the `offset` of the next page, 0 when there is none."""

    services: list[CatalogRowBody]
    total: int
    next: int


class PolicyIdAnswer(Struct):
    id: str


class DumpEntry(Struct):
    key: str
    rev: int
    cluster: str
    value: Any = None


class DumpCache(Struct, rename="camel"):
    services: list[DumpEntry] = []
    service_indexes: list[DumpEntry] = []
    service_aliases: list[DumpEntry] = []
    service_tags: list[DumpEntry] = []
    dependency_rules: list[DumpEntry] = []
    summaries: list[DumpEntry] = []
    instances: list[DumpEntry] = []


class DumpAnswer(Struct):
    info: VersionSet | None = None
    cache: DumpCache | None = None


class ClustersAnswer(Struct):
    clusters: dict[str, list[str]]


class ReplicasAnswer(Struct):
    replicas: list[Presence]


class SettingBody(Struct, rename="camel"):
    name: str
    value: str
    default: str
    is_default: bool
    unit: str
    meaning: str


class SettingsAnswer(Struct):
    settings: list[SettingBody]


class TenantBody(Struct, rename="camel"):
    domain: str
    project: str
    services: int
    instances: int
    policies: int
    bytes: int
    position: str
    set_aside: bool


class TenantsAnswer(Struct):
    tenants: list[TenantBody]


class LeaseAnswer(Struct, rename="camel"):
    """`left_ms` is -1 when the lease has lapsed; `last_beat_ms`, Unix time, is when it was last renewed, or granted.

    `last_beat_through` is the replica that brought that heartbeat; "" when it was none, or is not kept any more.
    """

    ttl_ms: int
    left_ms: int
    last_beat_ms: int
    last_beat_through: str


class CandidateBody(Struct, rename="camel"):
    service_id: str
    environment: str
    app_id: str
    service_name: str
    version: str
    against: list[Reason] = []
    instances: dict[str, int] = {}


class ExplainedAnswer(Struct):
    environment: str
    candidates: list[CandidateBody]
    rev: str = ""
    answer: InstancesAnswer | None = None
    refused: ErrorBody | None = None
    more: int = 0


class AlarmBody(Struct):
    status: Literal["ACTIVATED", "CLEARED"]
    id: str
    fields: dict[str, str] = {}


class AlarmsAnswer(Struct):
    alarms: list[AlarmBody] = []
