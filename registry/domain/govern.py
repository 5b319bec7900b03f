"""govern: what control panels and consoles show of a tenant - details, statistics, applications, the graph.

Pure functions of a view (api-rules.md 3.13). Consoles ask every ten seconds for everything, so what is written
down ready (the bodies of rows) goes into the answer as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Raw, Struct, field, structs

from registry.domain.decide import service_or_refuse
from registry.domain.dependencies import consumers_of, providers_of
from registry.domain.model import Microservice, Schema, decode_instance, encode_instance, encode_microservice
from registry.domain.schemas import list_schemas
from registry.domain.service_reads import is_shared
from registry.domain.version import ALL_VERSIONS, select
from registry.domain.view import Covers, InstanceRow, RegistryView, ServiceRow

STATISTICS: Final = "statistics"
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
    """One microservice version with as much around it as was asked for. `statics` is the API's spelling."""

    micro_service: Raw
    instances: list[Raw] = []
    schema_infos: list[Schema] = []
    providers: list[Raw] = []
    consumers: list[Raw] = []
    tags: dict[str, str] = {}
    micro_service_versions: list[str] = []
    statics: Statistics | None = None


class Details(Struct, frozen=True, omit_defaults=True, rename="camel"):
    all_services_detail: list[ServiceDetail] = []
    statistics: Statistics | None = None


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
    nodes: list[Node] | None = None
    lines: list[Line] | None = None
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


def details(view: RegistryView, query: DetailsQuery, hidden: frozenset[str], covers: Covers | None = None) -> Details:
    """Every microservice version that passes the filters; with `statistics` alone nothing but these.

    Args:
        hidden: names in application `default` that are left out.
        covers: which microservices are shown; None: all.
    """
    whole = statistics(view, hidden, covers) if STATISTICS in query.parts else None
    if query.parts == {STATISTICS}:
        return Details(statistics=whole)
    rows = (row for row in _visible(view, hidden, covers) if _passes(row.service, query))
    return Details([_overview(view, row, query) for row in rows], whole)


def _passes(service: Microservice, query: DetailsQuery) -> bool:
    return (
        query.app_id in ("", service.app_id)
        and query.service_name in ("", service.service_name)
        and query.environment in ("", service.environment)
        and all(service.properties.get(key) == value for key, value in query.properties)
    )


def _overview(view: RegistryView, row: ServiceRow, query: DetailsQuery) -> ServiceDetail:
    """One element of the list: without the schema ids of the microservice and the properties of its instances."""
    found = ServiceDetail(_without_schema_ids(row))
    if "tags" in query.parts:
        found = structs.replace(found, tags=row.tags)
    if "instances" in query.parts and query.count_only:
        found = structs.replace(found, statics=Statistics(instances=InstanceCounts(len(row.instances))))
    elif "instances" in query.parts:
        found = structs.replace(found, instances=[_without_properties(i) for i in row.instances.values()])
    if "schemas" in query.parts:
        found = structs.replace(found, schema_infos=list_schemas(view, row.service_id, True))
    if "dependencies" in query.parts:
        providers, consumers = _related(view, row.service_id, no_self=True)
        found = structs.replace(found, providers=providers, consumers=consumers)
    return found


def _without_schema_ids(row: ServiceRow) -> Raw:
    if not row.service.schemas:
        return Raw(row.body)
    return Raw(encode_microservice(structs.replace(row.service, schemas=[])))


def _without_properties(row: InstanceRow) -> Raw:
    return Raw(encode_instance(structs.replace(decode_instance(row.body), properties={})))


def detail(view: RegistryView, service_id: str) -> ServiceDetail:
    """Everything about one microservice version.

    Raises:
        ServiceNotExists: it is not registered.
    """
    row = service_or_refuse(view, service_id)
    providers, consumers = _related(view, service_id, no_self=False)
    versions = select(ALL_VERSIONS, row.group.services.values(), ServiceRow.named_version)
    return ServiceDetail(
        Raw(row.body),
        [Raw(instance.body) for instance in row.instances.values()],
        list_schemas(view, service_id, True),
        providers,
        consumers,
        row.tags,
        [version.service.version for version in versions],
    )


def _related(view: RegistryView, service_id: str, no_self: bool) -> tuple[list[Raw], list[Raw]]:
    providers = providers_of(view, service_id, no_self)
    consumers = consumers_of(view, service_id, no_self)
    return _bodies(view, providers), _bodies(view, consumers)


def _bodies(view: RegistryView, services: Iterable[Microservice]) -> list[Raw]:
    return [Raw(view.services[service.service_id].body) for service in services]


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


def relations(view: RegistryView, hidden: frozenset[str], covers: Covers | None = None) -> Graph:
    """Who has found whom: a node for each microservice version, a line from each consumer to each of its providers."""
    nodes: list[Node] = []
    lines: list[Line] = []
    for row in _visible(view, hidden, covers):
        service = row.service
        node = Node(service.service_id, service.service_name, service.app_id, service.version)
        nodes.append(node)
        providers = providers_of(view, service.service_id, no_self=True)
        seen = (p for p in providers if covers is None or covers(p.environment, p.app_id, p.service_name))
        lines += [Line(node, Node(p.service_id, p.service_name)) for p in seen if not is_shared(p, hidden)]
    return Graph(nodes or None, lines or None)


def _visible(view: RegistryView, hidden: frozenset[str], covers: Covers | None) -> Iterator[ServiceRow]:
    rows = (row for row in view.services.values() if not is_shared(row.service, hidden))
    return rows if covers is None else (row for row in rows if covers(*row.group.key))
