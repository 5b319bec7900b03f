"""Moving: what one registry has that another lacks, and the steps that bring it there, as functions of values.

By `differences` nothing is ever removed, and of what both have the source's properties, tags and schemas win. An
instance that the other registry has is left alone: its client may be there already, and a step would renew its lease.
What no step can bring is a difference without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from registry.client.wire import Details
from registry.domain.model import Instance, Microservice, Schema

#: The property of an instance that a mirror or an import put where it is; the value says where it comes from.
MARK: Final = "mirroredFrom"


class Key(NamedTuple):
    """What names a service version in every registry. Ids may differ."""

    environment: str
    app: str
    name: str
    version: str

    def text(self) -> str:
        """As the verbs take it; the environment in front, where there is one."""
        return f"{self.environment} {self.app}/{self.name}:{self.version}".strip()


class Held(Struct, frozen=True):
    """What a registry holds of one service version. Schemas by id (declared ones too), instances by id."""

    service: Microservice
    tags: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    providers: frozenset[Key] = frozenset()
    instances: Mapping[str, Instance] = field(default_factory=dict)


#: A tenant of a registry.
Picture = Mapping[Key, Held]


class AddService(Struct, frozen=True, tag=True):
    key: Key
    service: Microservice


class SetProperties(Struct, frozen=True, tag=True):
    """All properties that the service is to have."""

    key: Key
    properties: dict[str, str]


class SetTags(Struct, frozen=True, tag=True):
    """All tags that the service is to have."""

    key: Key
    tags: dict[str, str]


class PutSchema(Struct, frozen=True, tag=True):
    key: Key
    schema: Schema


class RemoveSchema(Struct, frozen=True, tag=True):
    """Of a mirror only: an import removes nothing."""

    key: Key
    schema_id: str


class AddProviders(Struct, frozen=True, tag=True):
    """Services that this one finds; the version of each is of no account."""

    key: Key
    providers: tuple[Key, ...]


class AddInstance(Struct, frozen=True, tag=True):
    key: Key
    instance: Instance


Step = AddService | SetProperties | SetTags | PutSchema | RemoveSchema | AddProviders | AddInstance


class Difference(Struct, frozen=True, omit_defaults=True):
    """What the source has and the target has not, or not so. `step` None: nothing brings it there."""

    service: str
    what: str
    instance: str = ""
    step: Step | None = None


def key_of(service: Microservice) -> Key:
    return Key(service.environment, service.app_id, service.service_name, service.version)


def held(details: Details) -> Held:
    """What a registry tells of one service version."""
    return Held(
        details.micro_service,
        dict(details.tags),
        {schema.schema_id: schema for schema in details.schema_infos},
        frozenset(replace_version(key_of(provider)) for provider in details.providers),
        {instance.instance_id: instance for instance in details.instances},
    )


def replace_version(key: Key) -> Key:
    """The service, whatever its version: dependencies are between names (api-rules.md 3.12)."""
    return key._replace(version="")


def is_own(service: Microservice) -> bool:
    """The registry itself, which each registry registers for itself."""
    return service.app_id == "default" and service.service_name == "SERVICECENTER"


def marked(instance: Instance, origin: str) -> Instance:
    """The instance as it is registered elsewhere: what a registry sets itself is left out."""
    return replace(bare(instance), properties={**instance.properties, MARK: origin})


def bare(instance: Instance) -> Instance:
    """The instance without what a registry sets, and without the mark: as its client registered it."""
    properties = {name: value for name, value in instance.properties.items() if name != MARK}
    return replace(instance, properties=properties, service_id="", version="", timestamp="", mod_timestamp="")


# -- differences -------------------------------------------------------------------------------------------------------


def differences(source: Picture, target: Picture, origin: str) -> list[Difference]:
    """What the source has and the target lacks. The steps, taken in this order, bring it there.

    Args:
        origin: where the source is; instances are marked with it. Those that are marked already belong elsewhere.
    """
    found: list[Difference] = []
    for key in sorted(source):
        found += _of_service(key, source[key], target.get(key))
    # Instances last: what is found must be whole.
    for key in sorted(source):
        found += _of_instances(key, source[key].instances, target[key].instances if key in target else {}, origin)
    return found


def steps(found: Iterable[Difference]) -> list[Step]:
    return [difference.step for difference in found if difference.step is not None]


def _of_service(key: Key, here: Held, there: Held | None) -> Iterable[Difference]:
    name = key.text()
    if there is None:
        service = replace(here.service, timestamp="", mod_timestamp="")
        yield Difference(name, "the service is missing", step=AddService(key, service))
        there = Held(service)
    elif fields := _fields(here.service, there.service):
        yield Difference(name, f"differs in {', '.join(fields)}")
    if there.service.service_id != here.service.service_id:
        yield Difference(name, f"the id is {here.service.service_id} here, and {there.service.service_id} there")
    yield from of_metadata(key, here, there)
    if providers := sorted(here.providers - there.providers):
        names = ", ".join(f"{provider.app}/{provider.name}" for provider in providers)
        yield Difference(name, f"finds {names}", step=AddProviders(key, tuple(providers)))


def of_metadata(key: Key, here: Held, there: Held) -> Iterable[Difference]:
    """Properties, tags and schemas of a service that both have."""
    name = key.text()
    if lacking := _lacking(here.service.properties, there.service.properties):
        properties = {**there.service.properties, **here.service.properties}
        yield Difference(name, f"properties: {lacking}", step=SetProperties(key, properties))
    if lacking := _lacking(here.tags, there.tags):
        yield Difference(name, f"tags: {lacking}", step=SetTags(key, {**there.tags, **here.tags}))
    for schema_id, schema in sorted(here.schemas.items()):
        if schema.schema and there.schemas.get(schema_id, Schema()) != schema:
            yield Difference(name, f"schema {schema_id}", step=PutSchema(key, schema))


def _fields(here: Microservice, there: Microservice) -> list[str]:
    """Members that differ, and that no call can change in a service that is there."""
    apart = {"serviceId", "properties", "schemas", "providers", "timestamp", "modTimestamp"}
    old, new = (msgspec.to_builtins(service) for service in (here, there))
    return [name for name in sorted({*old, *new} - apart) if old.get(name) != new.get(name)]


def _lacking(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(here.items()) if there.get(name) != value)


def _of_instances(
    key: Key, here: Mapping[str, Instance], there: Mapping[str, Instance], origin: str
) -> Iterable[Difference]:
    for instance_id, instance in sorted(here.items()):
        if MARK in instance.properties:
            continue
        if instance_id not in there:
            step = AddInstance(key, marked(instance, origin))
            yield Difference(key.text(), "the instance is missing", instance_id, step)
        elif fields := instance_fields(instance, there[instance_id]):
            yield Difference(key.text(), f"differs in {', '.join(fields)}", instance_id)


def instance_fields(here: Instance, there: Instance) -> Sequence[str]:
    """Members in which two contents of an instance differ; the order of endpoints is no difference."""
    both = (replace(bare(instance), endpoints=sorted(instance.endpoints)) for instance in (here, there))
    old, new = map(msgspec.to_builtins, both)
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
