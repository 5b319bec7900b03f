"""Strategies: small worlds in which names collide, so that generated histories are full of races and refusals."""

from __future__ import annotations

from hypothesis import strategies as st

from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceRegistered,
    ServiceUnregistered,
    TagsDeleted,
    TagSet,
    TagsReplaced,
)
from registry.domain.find import FindQuery
from registry.domain.instance_reads import InstanceQuery
from registry.domain.model import STATUSES, DataCenterInfo, HealthCheck, Instance, Microservice, Policy, Schema
from registry.domain.position import Position
from registry.domain.recorded import Recorded
from registry.domain.request_bodies import HealthCheckBody, InstanceBody, MicroserviceBody
from registry.domain.version import parse_rule
from tests.support.builders import EPOCH
from tests.support.oracle import Oracle

SERVICE_IDS = ["s1", "s2", "s3"]
INSTANCE_IDS = ["i1", "i2", "i3"]
ENDPOINTS = ["rest://1:1", "rest://2:2"]
VERSIONS = ["1.0", "1.0.0", "1.1", "2"]
RULES = ["", "latest", "0+", "1.0.1+", "1.0", "1.0.0", "3", "1.0-2.0", "2-1.0", "1.0-1.0"]

#: Any text that MessagePack and JSON can carry.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
properties = st.sampled_from([{}, {"k": "v"}, {"allowCrossApp": "true"}, {"allowCrossApp": "TRUE", "k": "w"}])
#: Few moments, so that changes fall into the same second.
moments = st.sampled_from([1_000, 1_500, 2_000, 3_000])
environments = st.sampled_from(["", "production"])
apps = st.sampled_from(["shop", "desk"])
names = st.sampled_from(["cart", "till"])
aliases = st.sampled_from(["", "", "till", "basket"])
endpoints = st.lists(st.sampled_from(ENDPOINTS), max_size=3)
#: The first of each more often, so that events meet.
service_ids = st.sampled_from(["s1", "s1", *SERVICE_IDS])
instance_ids = st.sampled_from(["i1", *INSTANCE_IDS])
health_checks = st.sampled_from(
    [HealthCheck("push", 0, 30, 3), HealthCheck("push", 0, 5, 0), HealthCheck("pull", 80, 30, 3, "/x")]
)
stamps = {"at_ms": moments, "replica": st.sampled_from(["r1", "r2"]), "number": st.integers(1, 9)}

microservices = st.builds(
    Microservice,
    service_id=service_ids,
    environment=environments,
    app_id=apps,
    service_name=names,
    alias=aliases,
    version=st.sampled_from(VERSIONS),
    level=st.just("BACK"),
    status=st.just("UP"),
    properties=properties,
)
instances = st.builds(
    Instance,
    instance_id=instance_ids,
    service_id=service_ids,
    host_name=st.sampled_from(["h1", "h2"]),
    endpoints=endpoints,
    status=st.sampled_from(["UP", "DOWN"]),
    properties=properties,
    health_check=health_checks,
    data_center_info=st.sampled_from([None, DataCenterInfo("d", "r", "z")]),
)
about_instance = {"service_id": service_ids, "instance_id": instance_ids, **stamps}

service_registrations = st.builds(ServiceRegistered, service=microservices, chosen=st.booleans(), **stamps)
instance_registrations = st.builds(
    InstanceRegistered, instance=instances, chosen=st.booleans(), keeps_status=st.booleans(), **stamps
)
edits: st.SearchStrategy[Event] = st.one_of(
    st.builds(InstanceStatusSet, status=st.sampled_from(STATUSES), **about_instance),
    st.builds(InstancePropertiesSet, properties=properties, **about_instance),
    st.builds(ServicePropertiesSet, service_id=service_ids, properties=properties, **stamps),
)
about_service = {"service_id": service_ids, **stamps}
tag_keys = st.sampled_from(["zone", "lane"])
tag_values = st.sampled_from(["a", "bb"])
schema_ids = st.sampled_from(["x1", "x2"])
#: Of different lengths, also in bytes.
schemas = st.sampled_from(["{}", "{é}", "longer"])
providers = st.lists(st.tuples(environments, apps, st.sampled_from(["cart", "till", "*"])), max_size=3)
policy_ids = st.sampled_from(["p1", "p2"])
descriptions: st.SearchStrategy[Event] = st.one_of(
    st.builds(TagsReplaced, tags=st.dictionaries(tag_keys, tag_values), **about_service),
    st.builds(TagSet, key=tag_keys, value=tag_values, **about_service),
    st.builds(TagsDeleted, keys=st.lists(tag_keys, max_size=2), **about_service),
    st.builds(SchemaPut, schema_id=schema_ids, schema=schemas, summary=st.just("s"), **about_service),
    st.builds(
        SchemasReplaced,
        schemas=st.lists(st.builds(Schema, schema_ids, st.just(""), schemas), unique_by=lambda s: s.schema_id),
        **about_service,
    ),
    st.builds(SchemaDeleted, schema_id=schema_ids, **about_service),
    st.builds(DependenciesAdded, consumer_id=service_ids, providers=providers, **stamps),
    st.builds(DependenciesReplaced, consumer_id=service_ids, providers=providers, **stamps),
    st.builds(PolicySaved, policy=st.builds(Policy, name=st.sampled_from(["n", "longer"]), id=policy_ids), **stamps),
    st.builds(PolicyDeleted, policy_id=policy_ids, **stamps),
)
removals: st.SearchStrategy[Event] = st.one_of(
    st.builds(InstanceUnregistered, **about_instance),
    st.builds(ServiceUnregistered, service_id=service_ids, force=st.booleans(), **stamps),
)
#: Lapses of registrations that may be the current one, an older one, or none at all.
expiries = st.builds(
    InstanceExpired,
    registered=st.integers(1, 12).map(lambda sequence: Position(EPOCH, sequence).text()) | st.just("?"),
    **about_instance,
)
#: `logs` gives each a place in the epoch that is under way, `histories` one at the beginning of the next.
resumptions = st.builds(HistoryResumed, after=st.sampled_from(["7-1", "7-3", "?"]), **stamps)
#: Versions and ids that no command lets through: a log may hold what this code would not have written.
odd_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        ServiceRegistered,
        service=st.builds(
            Microservice,
            service_id=texts,
            app_id=texts,
            service_name=texts,
            alias=texts,
            version=texts,
            properties=properties,
        ),
        chosen=st.booleans(),
        **stamps,
    ),
    st.builds(
        InstanceRegistered,
        instance=st.builds(
            Instance, instance_id=texts, service_id=service_ids, endpoints=st.lists(texts, max_size=2), status=texts
        ),
        chosen=st.booleans(),
        keeps_status=st.booleans(),
        **stamps,
    ),
)
events: st.SearchStrategy[Event] = st.one_of(
    *(instance_registrations, instance_registrations, service_registrations),
    *(edits, descriptions, removals, expiries, resumptions),
)


@st.composite
def logs(draw: st.DrawFn, max_size: int = 14, only_ordinary: bool = True) -> list[Event]:
    """A log of one tenant, from its first event on.

    It begins with services, so that what follows is about something. Most lapses are of an instance that is there: of
    its current registration or of an earlier one.
    """
    log: list[Event] = list(draw(st.lists(service_registrations, min_size=1, max_size=3)))
    oracle = Oracle()
    for sequence, event in enumerate(log, 1):
        oracle.apply(Position(EPOCH, sequence), event)
    registrations: dict[tuple[str, str], list[str]] = {}
    for sequence in range(len(log) + 1, len(log) + 1 + draw(st.integers(0, max_size))):
        if not only_ordinary and draw(st.integers(0, 3)) == 0:
            log.append(draw(odd_events))
            continue
        event = draw(events)
        if isinstance(event, InstanceExpired) and registrations and event.registered != "?":
            event = _about(event, *draw(st.sampled_from([(n, r) for n, all in registrations.items() for r in all])))
        log.append(event)
        position = Position(EPOCH, sequence)
        told = oracle.apply(position, event)
        if isinstance(event, InstanceRegistered) and told.error is None:
            registrations.setdefault((event.instance.service_id, told.id), []).append(position.text())
    return log


@st.composite
def histories(draw: st.DrawFn, max_size: int = 14, only_ordinary: bool = True) -> list[tuple[Position, Event]]:
    """A log with its positions: every `HistoryResumed` is the first event of a new epoch."""
    history: list[tuple[Position, Event]] = []
    #: Where an event of `logs` stands here, so that a lapse still is of the registration that it was drawn for.
    places: dict[str, str] = {}
    position = Position(EPOCH, 0)
    for sequence, event in enumerate(draw(logs(max_size, only_ordinary)), 1):
        resumed = isinstance(event, HistoryResumed)
        position = Position(position.epoch + draw(st.integers(1, 3)), 1) if resumed else position.next()
        places[Position(EPOCH, sequence).text()] = position.text()
        if isinstance(event, InstanceExpired):
            name = event.service_id, event.instance_id
            event = _about(event, name, places.get(event.registered, event.registered))
        history.append((position, event))
    return history


def _about(event: InstanceExpired, name: tuple[str, str], registered: str) -> InstanceExpired:
    stamp = {member: getattr(event, member) for member in Recorded.__struct_fields__}
    return InstanceExpired(service_id=name[0], instance_id=name[1], registered=registered, **stamp)


#: One service whose two instances do nothing but come, change, lapse and go; sequences are small enough to be hit.
_about_two = {"service_id": st.just("s1"), "instance_id": st.sampled_from(["i1", "i2"]), **stamps}
_comings_and_goings: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        InstanceRegistered,
        instance=st.builds(
            Instance,
            instance_id=_about_two["instance_id"],
            service_id=st.just("s1"),
            host_name=st.just("h"),
            endpoints=st.sampled_from([[], ["rest://1:1"]]),
            status=st.sampled_from(["UP", "DOWN"]),
        ),
        chosen=st.booleans(),
        keeps_status=st.booleans(),
        **stamps,
    ),
    st.builds(InstanceStatusSet, status=st.sampled_from(["UP", "DOWN"]), **_about_two),
    st.builds(InstanceExpired, registered=st.integers(1, 6).map(lambda n: Position(EPOCH, n).text()), **_about_two),
    st.builds(InstanceUnregistered, **_about_two),
)
_one_service = ServiceRegistered(
    service=Microservice(service_id="s1", app_id="shop", service_name="cart", version="1.0.0"),
    at_ms=1000,
    replica="r1",
    number=1,
)
comings_and_goings: st.SearchStrategy[list[Event]] = st.lists(_comings_and_goings, max_size=10).map(
    lambda events: [_one_service, *events]
)

find_queries = st.builds(
    FindQuery,
    app_id=apps,
    service_name=st.sampled_from(["cart", "till", "basket", "ghost"]),
    rule=st.sampled_from(RULES).map(parse_rule),
    environment=environments,
    tags=st.sampled_from([(), (), (), ("zone",)]),
    consumer_id=st.sampled_from(["", "", *SERVICE_IDS, "ghost"]),
)
any_queries = st.builds(
    FindQuery,
    app_id=st.sampled_from(["", "shop", "desk"]),
    service_name=st.just("*"),
    rule=st.sampled_from([r for r in RULES if r]).map(parse_rule) | st.just(parse_rule("")),
    environment=environments,
    consumer_id=st.sampled_from(["", *SERVICE_IDS]),
)
instance_queries = st.builds(
    InstanceQuery,
    service_id=st.sampled_from([*SERVICE_IDS, "ghost"]),
    instance_id=st.sampled_from(["", *INSTANCE_IDS, "ghost"]),
    tags=st.sampled_from([(), (), (), ("zone",)]),
    consumer_id=st.sampled_from(["", "", *SERVICE_IDS, "ghost"]),
)

instance_bodies = st.builds(
    InstanceBody,
    host_name=st.sampled_from(["h1", "h2"]),
    instance_id=st.sampled_from([None, *INSTANCE_IDS]),
    endpoints=endpoints | st.none(),
    status=st.sampled_from([None, "UP", "DOWN"]),
    properties=st.sampled_from([None, {"b": "2", "a": None}, {"a": "", "b": "2"}]),
    health_check=st.sampled_from(
        [None, HealthCheckBody(mode="push", interval=30, times=3), HealthCheckBody(mode="pull")]
    ),
)
microservice_bodies = st.builds(
    MicroserviceBody,
    service_name=names,
    app_id=apps,
    environment=environments,
    version=st.sampled_from(VERSIONS),
    service_id=st.sampled_from([None, *SERVICE_IDS]),
    alias=aliases,
)
