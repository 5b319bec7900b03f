"""Overviews: what control panels and consoles show of a tenant - details, statistics, applications, the graph.

Pure functions of a view (api-rules.md 3.13). Consoles ask every ten seconds for everything, so what is written
down ready (the bodies of rows) goes into the answer as it is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Raw, Struct, field, structs

from registry.domain.decide import service_or_refuse
from registry.domain.dependencies import consumers_of, providers_of
from registry.domain.drawing import draw
from registry.domain.model import Microservice, Schema, decode_instance, encode_instance, encode_microservice
from registry.domain.schemas import listed
from registry.domain.service_reads import is_shared
from registry.domain.steps import Steps, some_at_a_time
from registry.domain.version import ALL_VERSIONS, select
from registry.domain.view import Covers, InstanceRow, RegistryView, ServiceRow

STATISTICS: Final = "statistics"
encode = msgspec.json.Encoder().encode
#: What `all` stands for.
ALL_PARTS: Final = frozenset({"tags", "instances", "schemas", "dependencies", STATISTICS})

# -- what is answered --------------------------------------------------------------------------------------------------


class ServiceCounts(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Microservice names, all versions of one counting once; `online_count` of them have an instance."""

    count: int = 0
    online_count: int = 0


class InstanceCounts(Struct, frozen=True, omit_defaults=True, rename="camel"):
    count: int = 0
    count_by_domain: int = 0


class AppCounts(Struct, frozen=True, omit_defaults=True):
    count: int = 0


class Statistics(Struct, frozen=True, omit_defaults=True):
    services: ServiceCounts | None = None
    instances: InstanceCounts | None = None
    apps: AppCounts | None = None


class ServiceDetail(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One microservice version with as much around it as was asked for. `statics` is the API's spelling.

    `instances`, its second member, is written by itself: there may be very many.
    """

    micro_service: Raw
    schema_infos: list[Schema] = []
    providers: list[Raw] = []
    consumers: list[Raw] = []
    tags: dict[str, str] = {}
    micro_service_versions: list[str] = []
    statics: Statistics | None = None


class Node(Struct, frozen=True, rename="camel"):
    """A microservice version in the graph. Unlike elsewhere empty members are written: the console reads them all."""

    id: str = ""
    name: str = ""
    app_id: str = ""
    version: str = ""
    type: str = ""
    color: str = ""
    position: str = ""


class Line(Struct, frozen=True):
    """A consumer and one of its providers, of which only id and name are told."""

    consumer: Node = field(name="from")
    provider: Node = field(name="to")
    type: str = ""
    color: str = ""
    descriptor: str = ""


class Graph(Struct, frozen=True):
    #: Of `Node` and of `Line`.
    nodes: Raw | None = None
    lines: Raw | None = None
    #: Nobody computes circles; clients know the member.
    circles: None = None


# -- details -----------------------------------------------------------------------------------------------------------


class DetailsQuery(Struct, frozen=True):
    """Which microservices, and which of their parts (`ALL_PARTS`). An empty filter lets everything through."""

    parts: frozenset[str] = frozenset()
    app_id: str = ""
    service_name: str = ""
    environment: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    #: Instances as a number instead of a list.
    count_only: bool = False


def details(view: RegistryView, query: DetailsQuery, hidden: frozenset[str], covers: Covers | None = None) -> Steps:
    """Every microservice version that passes the filters; with `statistics` alone nothing but these.

    Microservices, tags, schemas and instances are those of one moment; dependencies may be some steps newer.

    Args:
        hidden: names in application `default` that are left out.
        covers: which microservices are shown; None: all.
    """
    parts: list[bytes] = []
    whole = statistics(view, hidden, covers) if STATISTICS in query.parts else None
    if query.parts != {STATISTICS}:
        for row in draw(view):
            if _is_visible(row, hidden, covers) and _passes(row.service, query):
                yield from _overview(view, row, query, covers, parts)
            yield 0
    pieces = [b'{"allServicesDetail":[', *parts[:-1], b"]"] if parts else [b"{"]
    if whole is not None:
        pieces.append((b"," if parts else b"") + b'"statistics":' + encode(whole))
    return [*pieces, b"}"]


def _passes(service: Microservice, query: DetailsQuery) -> bool:
    return (
        query.app_id in ("", service.app_id)
        and query.service_name in ("", service.service_name)
        and query.environment in ("", service.environment)
        and all(service.properties.get(key) == value for key, value in query.properties)
    )


def _overview(
    view: RegistryView, row: ServiceRow, query: DetailsQuery, covers: Covers | None, parts: list[bytes]
) -> Generator[int, None, None]:
    """Add one element of the list: without the schema ids of the microservice and the properties of its instances."""
    found = ServiceDetail(_without_schema_ids(row))
    instances: Iterable[InstanceRow] = ()
    if "tags" in query.parts:
        found = structs.replace(found, tags=row.tags)
    if "instances" in query.parts and query.count_only:
        found = structs.replace(found, statics=Statistics(instances=InstanceCounts(len(row.instances))))
    elif "instances" in query.parts:
        instances = list(row.instances.values())
    if "schemas" in query.parts:
        found = structs.replace(found, schema_infos=listed(row, True))
    if "dependencies" in query.parts and row.service_id in view.services:
        providers, consumers = _related(view, row.service_id, True, covers)
        found = structs.replace(found, providers=providers, consumers=consumers)
    yield from _add(parts, found, (_without_properties(instance) for instance in instances))
    parts.append(b",")


def _add(parts: list[bytes], found: ServiceDetail, instances: Iterable[bytes]) -> Generator[int, None, None]:
    """Add one microservice in JSON, and its instances, of which there may be very many, bit by bit.

    Its consumers and providers may be very many too: they are told before they are put together.
    """
    related = sum(memoryview(one).nbytes for one in (*found.providers, *found.consumers))
    yield related
    whole, head = encode(found), b'{"microService":' + bytes(found.micro_service)
    begin = head + b',"instances":['
    for some in some_at_a_time(instances):
        parts.append(begin + b",".join(some))
        begin = b","
        yield len(parts[-1])
    parts.append(b"]" + whole[len(head) :] if begin == b"," else whole)
    yield len(parts[-1]) - related


def _without_schema_ids(row: ServiceRow) -> Raw:
    if not row.service.schemas:
        return Raw(row.body)
    return Raw(encode_microservice(structs.replace(row.service, schemas=[])))


def _without_properties(row: InstanceRow) -> bytes:
    return encode_instance(structs.replace(decode_instance(row.body), properties={}))


def detail(view: RegistryView, service_id: str, covers: Covers | None = None) -> Steps:
    """Everything about one microservice version.

    Args:
        covers: which of its consumers and providers are shown; None: all.

    Raises:
        ServiceNotExists: it is not registered.
    """
    row = service_or_refuse(view, service_id)
    providers, consumers = _related(view, service_id, False, covers)
    versions = select(ALL_VERSIONS, row.group.services.values(), ServiceRow.named_version)
    found = ServiceDetail(
        Raw(row.body),
        schema_infos=listed(row, True),
        providers=providers,
        consumers=consumers,
        tags=row.tags,
        micro_service_versions=[version.service.version for version in versions],
    )
    return _whole(found, [instance.body for instance in row.instances.values()])


def _whole(found: ServiceDetail, instances: Iterable[bytes]) -> Steps:
    parts: list[bytes] = [b'{"service":']
    yield from _add(parts, found, instances)
    return [*parts, b"}"]


def _related(view: RegistryView, service_id: str, no_self: bool, covers: Covers | None) -> tuple[list[Raw], list[Raw]]:
    providers = providers_of(view, service_id, no_self)
    consumers = consumers_of(view, service_id, no_self)
    return _bodies(view, providers, covers), _bodies(view, consumers, covers)


def _bodies(view: RegistryView, services: Iterable[Microservice], covers: Covers | None) -> list[Raw]:
    rows = (view.services[service.service_id] for service in services)
    return [Raw(row.body) for row in rows if covers is None or covers(*row.group.key)]


# -- numbers and names -------------------------------------------------------------------------------------------------


def statistics(view: RegistryView, hidden: frozenset[str], covers: Covers | None = None) -> Statistics:
    """How much there is. As in the reference `countByDomain` counts this tenant's instances, not other projects'."""
    names, online, apps = set(), set(), set()
    instances = 0
    for row in _visible(view, hidden, covers):
        names.add(row.group.key)
        apps.add(row.service.app_id)
        instances += len(row.instances)
        if row.instances:
            online.add(row.group.key)
    return Statistics(
        ServiceCounts(len(names), len(online)), InstanceCounts(instances, instances), AppCounts(len(apps))
    )


def apps(view: RegistryView, environment: str, hidden: frozenset[str], covers: Covers | None = None) -> list[str]:
    """The applications of exactly this environment; "" is the environment of those that name none."""
    rows = _visible(view, hidden, covers)
    return list(dict.fromkeys(row.service.app_id for row in rows if row.service.environment == environment))


# -- the graph ---------------------------------------------------------------------------------------------------------


def relations(view: RegistryView, hidden: frozenset[str], covers: Covers | None = None) -> Steps:
    """Who has found whom: a node for each microservice version, a line from each consumer to each of its providers.

    The nodes are those of one moment; the lines may be some steps newer.
    """
    nodes: list[bytes] = []
    lines: list[bytes] = []
    for row in draw(view):
        service = row.service
        if not _is_visible(row, hidden, covers):
            continue
        node = Node(service.service_id, service.service_name, service.app_id, service.version)
        nodes.append(encode(node))
        yield len(nodes[-1])
        if row.service_id in view.services:
            providers = providers_of(view, service.service_id, no_self=True)
            seen = (p for p in providers if covers is None or covers(p.environment, p.app_id, p.service_name))
            others = (Line(node, Node(p.service_id, p.service_name)) for p in seen if not is_shared(p, hidden))
            for some in some_at_a_time(others):
                lines.append(encode(some)[1:-1])
                yield len(lines[-1])
    return [encode(Graph(_list(nodes), _list(lines)))]


def _list(items: list[bytes]) -> Raw | None:
    return Raw(b"[" + b",".join(items) + b"]") if items else None


def _visible(view: RegistryView, hidden: frozenset[str], covers: Covers | None) -> Iterator[ServiceRow]:
    return (row for row in view.services.values() if _is_visible(row, hidden, covers))


def _is_visible(row: ServiceRow, hidden: frozenset[str], covers: Covers | None) -> bool:
    return not is_shared(row.service, hidden) and (covers is None or covers(*row.group.key))
