"""The bodies that the client sends and reads, beside those of `registry.domain.model` (api-rules.md 3)."""

from __future__ import annotations

from msgspec import Struct, field

from registry.domain.errors import ErrorBody
from registry.domain.model import Instance, Microservice, Schema, ServiceKey


class WireStruct(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Members in camelCase; what is empty is left out."""


class ServiceId(WireStruct, frozen=True):
    service_id: str


class InstanceId(WireStruct, frozen=True):
    instance_id: str


class ServiceBody(WireStruct, frozen=True):
    service: Microservice


class Services(WireStruct, frozen=True):
    services: list[Microservice] = field(default_factory=list)


class InstanceBody(WireStruct, frozen=True):
    instance: Instance


class Instances(WireStruct, frozen=True):
    instances: list[Instance] = field(default_factory=list)


class Schemas(WireStruct, frozen=True):
    schemas: list[Schema] = field(default_factory=list)


class SchemaBody(WireStruct, frozen=True):
    schema: str
    summary: str = ""


class Properties(WireStruct, frozen=True):
    properties: dict[str, str]


class Tags(WireStruct, frozen=True):
    tags: dict[str, str]


class Dependency(WireStruct, frozen=True):
    consumer: ServiceKey
    providers: list[ServiceKey]


class Dependencies(WireStruct, frozen=True):
    dependencies: list[Dependency]


class Beating(WireStruct, frozen=True):
    service_id: str
    instance_id: str


class Heartbeats(WireStruct, frozen=True):
    instances: list[Beating]


class Wanted(WireStruct, frozen=True):
    """One service of a batch find."""

    service: ServiceKey
    rev: str = ""


class FindMany(WireStruct, frozen=True):
    services: list[Wanted]


class Updated(WireStruct, frozen=True):
    index: int
    rev: str = ""
    instances: list[Instance] = field(default_factory=list)


class FailedFinds(WireStruct, frozen=True):
    indexes: list[int]
    error: ErrorBody


class FindResults(WireStruct, frozen=True):
    failed: list[FailedFinds] = field(default_factory=list)
    not_modified: list[int] = field(default_factory=list)
    updated: list[Updated] = field(default_factory=list)


class FoundMany(WireStruct, frozen=True):
    services: FindResults = FindResults()


class Credentials(WireStruct, frozen=True):
    name: str
    password: str
    token_expiration_time: str = ""


class Token(WireStruct, frozen=True):
    token: str


class WatchEvent(WireStruct, frozen=True):
    """A change that a watcher is told (api-rules.md 3.9)."""

    action: str
    key: ServiceKey
    instance: Instance


class Version(WireStruct, frozen=True):
    version: str = ""
    api_version: str = ""


class Details(WireStruct, frozen=True):
    """Everything about one microservice, as /govern tells it (api-rules.md 3.13)."""

    micro_service: Microservice
    instances: list[Instance] = field(default_factory=list)
    schema_infos: list[Schema] = field(default_factory=list)
    consumers: list[Microservice] = field(default_factory=list)
    providers: list[Microservice] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class DetailsBody(WireStruct, frozen=True):
    service: Details


class AllDetails(WireStruct, frozen=True):
    all_services_detail: list[Details] = field(default_factory=list)
