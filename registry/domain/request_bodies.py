"""What a client may ask: the request bodies with their limits, and how each becomes a value of the model.

The constraints stand on the fields (api-rules.md 3.2, 3.5 and 7), so that a decoder names the path of a bad
value by itself. Every member may be null, which means absent: java clients write out every null they hold.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Struct, field

from registry.domain import rules
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

#: Tags named in one path.
TAGS_MAX: Final = 100
#: Instances in one `POST microservices`.
INLINE_INSTANCES_MAX: Final = 100

AppId = Annotated[str, rules.APP_ID.meta]
ServiceName = Annotated[str, rules.SERVICE_NAME.meta]
Environment = Annotated[str, rules.ENVIRONMENT.meta]
Version = Annotated[str, rules.VERSION.meta]
ServiceId = Annotated[str, rules.SERVICE_ID.meta]
SchemaId = Annotated[str, rules.SCHEMA_ID.meta]
InstanceId = Annotated[str, rules.INSTANCE_ID.meta]
TagKey = Annotated[str, rules.TAG.meta]
Place = Annotated[str, rules.PLACE.meta]
InstanceStatus = Annotated[str, rules.INSTANCE_STATUS.meta]
#: A text of which null means empty, as Go decodes null into a string map or list.
Text = str | None


class HealthCheckBody(Struct, gc=False):
    mode: Annotated[str, rules.MODE.meta] | None = None
    port: Annotated[int, rules.number(0, 65535)] | None = None
    interval: Annotated[int, rules.number(1, rules.INT32_MAX)] | None = None
    times: Annotated[int, rules.number(0, rules.INT32_MAX)] | None = None
    url: Annotated[str, rules.URL.meta] | None = None

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
    name: Place
    region: Place
    available_zone: Place


class InstanceBody(Struct, rename="camel", gc=False):
    host_name: Annotated[str, rules.HOST_NAME.meta] | None = None
    instance_id: InstanceId | None = None
    service_id: Text = None
    version: Text = None
    endpoints: list[Annotated[str, rules.ENDPOINT.meta]] | None = None
    status: InstanceStatus | None = None
    properties: dict[str, Text] | None = None
    health_check: HealthCheckBody | None = None
    data_center_info: DataCenterInfoBody | None = None
    timestamp: Text = None
    mod_timestamp: Text = None

    def to_instance(self, instance_id: str = "", service_id: str = "", status: str = "") -> Instance:
        """The content to register: version and timestamps blank, they are the registry's to set.

        Args:
            status: of an instance that names none.
        """
        if self.host_name is None:
            raise InvalidParams("hostName (1 to 64 characters) is missing - at `$.instance.hostName`")
        info = self.data_center_info
        return Instance(
            instance_id=instance_id,
            service_id=service_id,
            host_name=self.host_name,
            endpoints=self.endpoints or [],
            status=self.status or status or STATUS_DEFAULT,
            properties=to_properties(self.properties),
            health_check=self.health_check.to_health_check() if self.health_check else DEFAULT_HEALTH_CHECK,
            data_center_info=DataCenterInfo(info.name, info.region, info.available_zone) if info else None,
        )


class RegisterInstance(Struct, gc=False):
    """Body of `POST microservices/{serviceId}/instances`."""

    instance: InstanceBody | None = None


class FrameworkBody(Struct, gc=False):
    name: Annotated[str, rules.FRAMEWORK_NAME.meta] | None = None
    version: Annotated[str, rules.text_of(64)] | None = None


class ServicePathBody(Struct, gc=False):
    path: Annotated[str, rules.PATH.meta] | None = None
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
    service_name: ServiceName | None = None
    app_id: AppId | None = None
    version: Version | None = None
    environment: Environment | None = None
    service_id: ServiceId | None = None
    alias: Annotated[str, rules.ALIAS.meta] | None = None
    description: Annotated[str, rules.text_of(256)] | None = None
    level: Annotated[str, rules.LEVEL.meta] | None = None
    status: Annotated[str, rules.SERVICE_STATUS.meta] | None = None
    schemas: list[SchemaId] | None = None
    paths: list[ServicePathBody] | None = None
    properties: dict[str, Text] | None = None
    register_by: Annotated[str, rules.REGISTER_BY.meta] | None = None
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
    instances: Annotated[list[InstanceBody], rules.elements(most=INLINE_INSTANCES_MAX)] | None = None


class SetProperties(Struct, gc=False):
    """Body of both `PUT …/properties`; what is missing is cleared."""

    properties: dict[str, Text] | None = None


class SetTags(Struct, gc=False):
    """Body of `POST …/tags`: the whole set."""

    tags: dict[TagKey, TagKey] | None = None


class SchemaBody(Struct, rename="camel", gc=False):
    schema_id: SchemaId | None = None
    schema: Annotated[str, rules.SCHEMA.meta] | None = None
    summary: Annotated[str, rules.SUMMARY.meta] | None = None


class PutSchema(SchemaBody):
    """Body of `PUT …/schemas/{schemaId}`; the path's id wins."""


class ReplaceSchemas(Struct, gc=False):
    """Body of `POST …/schemas`: all of them, each complete."""

    schemas: Annotated[list[SchemaBody], rules.elements(least=1)] | None = None


class DeleteServices(Struct, rename="camel", gc=False):
    """Body of `DELETE microservices`."""

    service_ids: Annotated[list[Annotated[str, rules.SOME_SERVICE_ID.meta]], rules.elements(least=1)] | None = None
    force: bool | None = None


class Matches(Struct, gc=False):
    properties: dict[str, Text] | None = None


class SetStatuses(Struct, gc=False):
    """Body of `PUT instances/status`: the instances whose properties hold all of these pairs."""

    matches: Matches | None = None
    status: InstanceStatus | None = None


class ConsumerBody(Struct, rename="camel", gc=False):
    app_id: AppId | None = None
    service_name: ServiceName | None = None
    version: Version | None = None
    environment: Environment | None = None


class ProviderBody(Struct, rename="camel", gc=False):
    """`version` is a rule by its syntax and means all versions."""

    app_id: AppId | None = None
    service_name: ServiceName | None = None
    version: Text = None
    environment: Environment | None = None


class DependencyBody(Struct, gc=False):
    consumer: ConsumerBody | None = None
    providers: list[ProviderBody] | None = None


class ChangeDependencies(Struct, gc=False):
    """Body of `POST dependencies` and `PUT dependencies`."""

    dependencies: Annotated[list[DependencyBody], rules.elements(1, 100)] | None = None


class PolicyBody(Struct, rename="camel", gc=False):
    """A traffic policy; id, kind and times are the registry's to set."""

    name: Annotated[str, rules.text_of(128)] | None = None
    status: Annotated[str, rules.text_of(32)] | None = None
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

    service_name: Annotated[str, rules.ANY_OR_FIND_NAME.meta] | None = None
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
