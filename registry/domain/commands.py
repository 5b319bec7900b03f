"""What a client may ask: the request bodies with their limits, and how each becomes a value of the model.

The constraints stand on the fields (servicecomb-v4.md 3.2, 3.5 and 7), so that a decoder names the path of a bad
value by itself. Every member may be null, which means absent: java clients write out every null they hold.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from registry.domain.errors import InvalidParams
from registry.domain.model import (
    DEFAULT_HEALTH_CHECK,
    INTERVAL_DEFAULT_S,
    INTERVAL_MIN_S,
    STATUS_DEFAULT,
    TIMES_DEFAULT,
    DataCenterInfo,
    Framework,
    HealthCheck,
    Instance,
    Microservice,
    ServiceKey,
    ServicePath,
)
from registry.domain.version import VERSION_MAX, VERSION_PATTERN

INT32_MAX: Final = 2**31 - 1
#: What Go's `\S` means: no-break space and vertical tab are allowed.
NO_SPACE: Final = r"^[^\t\n\f\r ]*\Z"
SOME_TEXT: Final = r"[^\t\n\f\r ]"
NAME: Final = r"^(?:[a-zA-Z0-9]*|[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9])\Z"
FIND_NAME: Final = r"^(?:[a-zA-Z0-9]*|[a-zA-Z0-9][a-zA-Z0-9_\-.:]*[a-zA-Z0-9])\Z"
ENVIRONMENT: Final = r"^(?:development|testing|acceptance|production)?\Z"
INSTANCE_ID: Final = r"^[A-Za-z0-9_.\-]*\Z"
PLACE: Final = r"^[A-Za-z0-9_.\-]+\Z"
SCHEMA_ID: Final = r"^(?:[a-zA-Z0-9]+|[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9])\Z"
TAG: Final = r"^[a-zA-Z][a-zA-Z0-9_\-.]{0,63}\Z"
STATUS: Final = r"^(?:UP|DOWN|STARTING|TESTING|OUTOFSERVICE)?\Z"
ID_MAX: Final = 64
APP_ID_MAX: Final = 160
SERVICE_NAME_MAX: Final = 128
#: app (160) + ":" + name (128).
FIND_NAME_MAX: Final = 289
#: Tags named in one path.
TAGS_MAX: Final = 100
#: Instances in one `POST microservices`.
INLINE_INSTANCES_MAX: Final = 100

AppId = Annotated[str, Meta(max_length=APP_ID_MAX, pattern=NAME)]
FindName = Annotated[str, Meta(max_length=FIND_NAME_MAX, pattern=FIND_NAME)]
Environment = Annotated[str, Meta(pattern=ENVIRONMENT)]
ServiceId = Annotated[str, Meta(max_length=ID_MAX, pattern=NO_SPACE)]
InstanceId = Annotated[str, Meta(max_length=ID_MAX, pattern=INSTANCE_ID)]
TagKey = Annotated[str, Meta(pattern=TAG)]
#: A text of which null means empty, as Go decodes null into a string map or list.
Text = str | None


class HealthCheckBody(Struct, gc=False):
    mode: Annotated[str, Meta(pattern=r"^(?:push|pull)\Z")] | None = None
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    interval: Annotated[int, Meta(ge=1, le=INT32_MAX)] | None = None
    times: Annotated[int, Meta(ge=0, le=INT32_MAX)] | None = None
    url: Annotated[str, Meta(pattern=NO_SPACE)] | None = None

    def to_health_check(self) -> HealthCheck:
        """Normalise: a short interval is raised, `times` is kept as sent, also 0; what is absent has its default."""
        if not self.mode:
            raise InvalidParams("mode must be push or pull - at `$.instance.healthCheck.mode`")
        if self.mode == "pull":
            return HealthCheck("pull", self.port or 0, INTERVAL_DEFAULT_S, TIMES_DEFAULT, self.url or "")
        interval = INTERVAL_DEFAULT_S if self.interval is None else max(self.interval, INTERVAL_MIN_S)
        times = TIMES_DEFAULT if self.times is None else self.times
        return HealthCheck("push", self.port or 0, interval, times, self.url or "")


class DataCenterInfoBody(Struct, rename="camel", gc=False):
    name: Annotated[str, Meta(min_length=1, max_length=128, pattern=PLACE)]
    region: Annotated[str, Meta(min_length=1, max_length=128, pattern=PLACE)]
    available_zone: Annotated[str, Meta(min_length=1, max_length=128, pattern=PLACE)]


class InstanceBody(Struct, rename="camel", gc=False):
    host_name: Annotated[str, Meta(min_length=1, max_length=64, pattern=SOME_TEXT)] | None = None
    instance_id: InstanceId | None = None
    service_id: Text = None
    version: Text = None
    endpoints: list[Annotated[str, Meta(pattern=SOME_TEXT)]] | None = None
    status: Annotated[str, Meta(pattern=STATUS)] | None = None
    properties: dict[str, Text] | None = None
    health_check: HealthCheckBody | None = None
    data_center_info: DataCenterInfoBody | None = None
    timestamp: Text = None
    mod_timestamp: Text = None

    def to_instance(self) -> Instance:
        """The content to register: ids, version and timestamps blank, they are the registry's to set."""
        if self.host_name is None:
            raise InvalidParams("hostName (1 to 64 characters) is missing - at `$.instance.hostName`")
        info = self.data_center_info
        return Instance(
            host_name=self.host_name,
            endpoints=self.endpoints or [],
            status=self.status or STATUS_DEFAULT,
            properties=to_properties(self.properties),
            health_check=self.health_check.to_health_check() if self.health_check else DEFAULT_HEALTH_CHECK,
            data_center_info=DataCenterInfo(info.name, info.region, info.available_zone) if info else None,
        )


class RegisterInstance(Struct, gc=False):
    """Body of `POST microservices/{serviceId}/instances`."""

    instance: InstanceBody | None = None


class FrameworkBody(Struct, gc=False):
    name: Annotated[str, Meta(max_length=64, pattern=NAME)] | None = None
    version: Annotated[str, Meta(max_length=64)] | None = None


class ServicePathBody(Struct, gc=False):
    path: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.,?'\\/+&;%$#=~_\-@{}]*\Z")] | None = None
    property: dict[str, Text] | None = None


class ServiceKeyBody(Struct, rename="camel", gc=False):
    tenant: Text = None
    environment: Text = None
    app_id: Text = None
    service_name: Text = None
    alias: Text = None
    version: Text = None

    def to_key(self) -> ServiceKey:
        return ServiceKey(*(getattr(self, name) or "" for name in self.__struct_fields__))


class MicroserviceBody(Struct, rename="camel", gc=False):
    service_name: Annotated[str, Meta(max_length=SERVICE_NAME_MAX, pattern=NAME)] | None = None
    app_id: AppId | None = None
    version: Annotated[str, Meta(max_length=VERSION_MAX, pattern=rf"^(?:{VERSION_PATTERN})?\Z")] | None = None
    environment: Environment | None = None
    service_id: ServiceId | None = None
    alias: Annotated[str, Meta(max_length=128, pattern=r"^[a-zA-Z0-9_\-.:]*\Z")] | None = None
    description: Annotated[str, Meta(max_length=256)] | None = None
    level: Annotated[str, Meta(pattern=r"^(?:FRONT|MIDDLE|BACK)?\Z")] | None = None
    status: Annotated[str, Meta(pattern=r"^(?:UP|DOWN)?\Z")] | None = None
    schemas: list[Annotated[str, Meta(max_length=160, pattern=SCHEMA_ID)]] | None = None
    paths: list[ServicePathBody] | None = None
    properties: dict[str, Text] | None = None
    register_by: Annotated[str, Meta(max_length=64, pattern=r"^(?:SDK|SIDECAR|PLATFORM|UNKNOWN)?\Z")] | None = None
    framework: FrameworkBody | None = None
    providers: list[ServiceKeyBody] | None = None
    lb_strategy: dict[str, Text] | None = field(default=None, name="LBStrategy")
    timestamp: Text = None
    mod_timestamp: Text = None

    def to_microservice(self) -> Microservice:
        """The content to register, defaults filled in; `service_id` is the client's choice or blank."""
        if not self.service_name:
            raise InvalidParams("serviceName (1 to 128 characters) is missing - at `$.service.serviceName`")
        framework = self.framework
        return Microservice(
            service_id=self.service_id or "",
            environment=self.environment or "",
            app_id=self.app_id or "default",
            service_name=self.service_name,
            alias=self.alias or "",
            version=self.version or "0.0.1",
            description=self.description or "",
            level=self.level or "BACK",
            schemas=self.schemas or [],
            paths=[ServicePath(p.path or "", to_properties(p.property)) for p in self.paths or []],
            status=self.status or "UP",
            properties=to_properties(self.properties),
            register_by=self.register_by or "",
            framework=Framework(framework.name or "", framework.version or "") if framework else None,
            providers=[key.to_key() for key in self.providers or []],
            lb_strategy=to_properties(self.lb_strategy),
        )


class RegisterService(Struct, gc=False):
    """Body of `POST microservices`. `rules` of old clients is ignored."""

    service: MicroserviceBody | None = None
    tags: dict[TagKey, TagKey] | None = None
    instances: Annotated[list[InstanceBody], Meta(max_length=INLINE_INSTANCES_MAX)] | None = None


class SetProperties(Struct, gc=False):
    """Body of both `PUT …/properties`; what is missing is cleared."""

    properties: dict[str, Text] | None = None


SchemaIdText = Annotated[str, Meta(min_length=1, max_length=160, pattern=SCHEMA_ID)]
Summary = Annotated[str, Meta(max_length=128, pattern=r"^[a-zA-Z0-9]*\Z")]


class SetTags(Struct, gc=False):
    """Body of `POST …/tags`: the whole set."""

    tags: dict[TagKey, TagKey] | None = None


class SchemaBody(Struct, rename="camel", gc=False):
    schema_id: SchemaIdText | None = None
    schema: Annotated[str, Meta(min_length=1)] | None = None
    summary: Summary | None = None


class PutSchema(SchemaBody):
    """Body of `PUT …/schemas/{schemaId}`; the path's id wins."""


class ReplaceSchemas(Struct, gc=False):
    """Body of `POST …/schemas`: all of them, each complete."""

    schemas: Annotated[list[SchemaBody], Meta(min_length=1)] | None = None


class DeleteServices(Struct, rename="camel", gc=False):
    """Body of `DELETE microservices`."""

    service_ids: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=ID_MAX, pattern=NO_SPACE)]], Meta(min_length=1)]
        | None
    ) = None
    force: bool | None = None


class Matches(Struct, gc=False):
    properties: dict[str, Text] | None = None


class SetStatuses(Struct, gc=False):
    """Body of `PUT instances/status`: the instances whose properties hold all of these pairs."""

    matches: Matches | None = None
    status: Annotated[str, Meta(pattern=STATUS)] | None = None


class ConsumerBody(Struct, rename="camel", gc=False):
    app_id: AppId | None = None
    service_name: Annotated[str, Meta(max_length=SERVICE_NAME_MAX, pattern=NAME)] | None = None
    version: Annotated[str, Meta(max_length=VERSION_MAX, pattern=rf"^(?:{VERSION_PATTERN})?\Z")] | None = None
    environment: Environment | None = None


class ProviderBody(Struct, rename="camel", gc=False):
    """`version` is a rule by its syntax and means all versions."""

    app_id: AppId | None = None
    service_name: Annotated[str, Meta(max_length=SERVICE_NAME_MAX, pattern=NAME)] | None = None
    version: Text = None
    environment: Environment | None = None


class DependencyBody(Struct, gc=False):
    consumer: ConsumerBody | None = None
    providers: list[ProviderBody] | None = None


class ChangeDependencies(Struct, gc=False):
    """Body of `POST dependencies` and `PUT dependencies`."""

    dependencies: Annotated[list[DependencyBody], Meta(min_length=1, max_length=100)] | None = None


class PolicyBody(Struct, rename="camel", gc=False):
    """A traffic policy; id, kind and times are the registry's to set."""

    name: Annotated[str, Meta(max_length=128)] | None = None
    status: Annotated[str, Meta(max_length=32)] | None = None
    selector: dict[str, Text] | None = None
    spec: dict[str, Any] | None = None


class HeartbeatElement(Struct, rename="camel", gc=False):
    service_id: Text = None
    instance_id: Text = None


class HeartbeatSet(Struct, gc=False):
    """Body of `PUT heartbeats`."""

    instances: list[HeartbeatElement] | None = None


class FindKeyBody(Struct, rename="camel", gc=False):
    """Names the provider; `*` as serviceName means every service that the consumer may see."""

    service_name: (
        Annotated[str, Meta(max_length=FIND_NAME_MAX, pattern=rf"^(?:\*\Z|{FIND_NAME.removeprefix('^')})")] | None
    ) = None
    app_id: AppId | None = None
    version: Text = None
    environment: Environment | None = None


class FindServiceBody(Struct, gc=False):
    service: FindKeyBody | None = None
    rev: Text = None


class FindInstanceKey(Struct, rename="camel", gc=False):
    service_id: ServiceId | None = None
    instance_id: InstanceId | None = None


class FindInstanceBody(Struct, gc=False):
    instance: FindInstanceKey | None = None
    rev: Text = None


class BatchFind(Struct, gc=False):
    """Body of `POST instances/action?type=query`."""

    services: list[FindServiceBody] | None = None
    instances: list[FindInstanceBody] | None = None


def to_properties(properties: dict[str, str | None] | None) -> dict[str, str]:
    """Properties in canonical order (by key), null values empty: equal content has equal bytes."""
    if not properties:
        return {}
    return {key: properties[key] or "" for key in sorted(properties)}
