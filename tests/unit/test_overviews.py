"""domain.overviews: what consoles show, as functions of a view (api-rules.md 3.13)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec
import pytest

from registry.domain.dump import dump
from registry.domain.errors import ServiceNotExists
from registry.domain.events import (
    DependenciesAdded,
    InstanceUnregistered,
    SchemaPut,
    ServiceUnregistered,
    TagsReplaced,
)
from registry.domain.fold import apply
from registry.domain.model import Microservice
from registry.domain.overviews import ALL_PARTS, DetailsQuery, apps, detail, details, relations, statistics
from registry.domain.steps import STEP_ROWS, Steps, at_once
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from tests.support.builders import (
    instance,
    instance_registered,
    microservice,
    service_registered,
    service_with,
    stamp,
    view_of,
)

NOTHING_HIDDEN: frozenset[str] = frozenset()
SHARED = frozenset({"SERVICECENTER"})


def wire(value: Any) -> Any:
    """The value as a client reads it."""
    return msgspec.json.decode(at_once(value) if isinstance(value, Generator) else msgspec.json.encode(value))


def listed(view: RegistryView, *parts: str, **filters: Any) -> list[dict[str, Any]]:
    found = wire(details(view, DetailsQuery(frozenset(parts), **filters), NOTHING_HIDDEN))
    elements = found.get("allServicesDetail", [])
    assert isinstance(elements, list)
    return elements


def names(elements: list[dict[str, Any]]) -> list[str]:
    return [element["microService"]["serviceName"] for element in elements]


def services(*found: Microservice) -> RegistryView:
    return view_of(*(service_registered(service) for service in found))


def found_by(consumer_id: str, *providers: tuple[str, str, str]) -> DependenciesAdded:
    return DependenciesAdded(consumer_id=consumer_id, providers=list(providers), **stamp()._asdict())


def with_everything() -> RegistryView:
    """`s1` (cart) with an instance, a tag, a schema; it has found itself and `s2` (order)."""
    return view_of(
        service_registered(microservice("s1", "cart", properties={"a": "b"})),
        service_registered(microservice("s2", "order")),
        instance_registered(instance("s1", "i1", endpoints=["rest://h:1"], properties={"zone": "z"}), chosen=True),
        TagsReplaced(service_id="s1", tags={"k": "v"}, **stamp()._asdict()),
        SchemaPut(service_id="s1", schema_id="sc", schema="text", summary="abc", **stamp()._asdict()),
        found_by("s1", ("", "shop", "cart"), ("", "shop", "order")),
    )


# -- the list ----------------------------------------------------------------------------------------------------------


def test_list_without_options_holds_the_microservices_alone() -> None:
    """Every other part is asked for by name; empty members are left out (clients.md 0.11)."""
    assert [list(element) for element in listed(with_everything())] == [["microService"], ["microService"]]


def test_list_of_nothing_is_exactly_braces() -> None:
    assert at_once(details(RegistryView(DEFAULT_TENANT), DetailsQuery(), NOTHING_HIDDEN)) == b"{}"


@pytest.mark.parametrize(
    ("part", "members"),
    [
        ("tags", {"tags"}),
        ("instances", {"instances"}),
        ("schemas", {"schemaInfos"}),
        ("dependencies", {"providers"}),
        ("rules", set()),
    ],
)
def test_list_holds_the_part_that_is_asked_for(part: str, members: set[str]) -> None:
    """What no one knows (`rules` of old consoles) is ignored."""
    assert set(listed(with_everything(), part)[0]) == {"microService"} | members


def test_list_leaves_out_what_makes_it_long() -> None:
    """Schema ids of the microservice and properties of its instances; its own properties stay."""
    first = listed(with_everything(), "instances")[0]
    assert "schemas" not in first["microService"]
    assert first["microService"]["properties"] == {"a": "b"}
    assert "properties" not in first["instances"][0]
    assert first["instances"][0]["endpoints"] == ["rest://h:1"]
    assert first["instances"][0]["status"] == "UP"


def test_list_leaves_the_view_as_it_is() -> None:
    """What the list leaves out, finds and gets still answer."""
    view = with_everything()
    before = at_once(detail(view, "s1"))
    listed(view, *ALL_PARTS)
    assert at_once(detail(view, "s1")) == before


def test_list_names_schemas_with_their_content() -> None:
    """The newer console shows them from here (clients.md 1.N)."""
    assert listed(with_everything(), "schemas")[0]["schemaInfos"] == [
        {"schemaId": "sc", "summary": "abc", "schema": "text"}
    ]


def test_list_leaves_a_service_out_of_its_own_dependencies() -> None:
    """As in the reference; the console would draw a line from a service to itself."""
    cart, order = listed(with_everything(), "dependencies")
    assert [provider["serviceId"] for provider in cart["providers"]] == ["s2"]
    assert "consumers" not in cart
    assert [consumer["serviceId"] for consumer in order["consumers"]] == ["s1"]


def test_count_only_gives_a_number_instead_of_the_instances() -> None:
    """`statics` is the API's spelling; a zero is left out."""
    cart, order = listed(with_everything(), "instances", count_only=True)
    assert cart["statics"] == {"instances": {"count": 1}}
    assert order["statics"] == {"instances": {}}
    assert "instances" not in cart


def test_count_only_without_instances_counts_nothing() -> None:
    assert set(listed(with_everything(), "tags", count_only=True)[0]) == {"microService", "tags"}


def test_statistics_alone_come_without_the_list() -> None:
    """`options=statistics` is the cheap question."""
    found = wire(details(with_everything(), DetailsQuery(frozenset({"statistics"})), NOTHING_HIDDEN))
    assert list(found) == ["statistics"]


def test_all_is_every_part_and_the_statistics() -> None:
    found = wire(details(with_everything(), DetailsQuery(ALL_PARTS), NOTHING_HIDDEN))
    assert set(found) == {"allServicesDetail", "statistics"}
    assert set(found["allServicesDetail"][0]) == {"microService", "instances", "schemaInfos", "providers", "tags"}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["cart", "order", "cart"]),
        ({"app_id": "shop"}, ["cart", "order"]),
        ({"service_name": "cart"}, ["cart", "cart"]),
        ({"service_name": "car"}, []),
        ({"environment": "production"}, ["order"]),
        ({"app_id": "shop", "service_name": "cart"}, ["cart"]),
        ({"properties": (("a", "b"),)}, ["cart", "order"]),
        ({"properties": (("a", "b"), ("c", ""))}, ["order"]),
        ({"properties": (("a", "b"), ("a", "c"))}, []),
        ({"properties": (("a", ""),)}, []),
    ],
)
def test_filters_are_exact_and_all_must_match(filters: dict[str, Any], expected: list[str]) -> None:
    view = services(
        microservice("s1", "cart", properties={"a": "b"}),
        microservice("s2", "order", environment="production", properties={"a": "b", "c": ""}),
        microservice("s3", "cart", app_id="desk"),
    )
    assert names(listed(view, **filters)) == expected


def test_hidden_names_are_left_out_of_application_default_only() -> None:
    """By name and by alias; another application may call its service the same."""
    view = services(
        microservice("s1", "SERVICECENTER", app_id="default"),
        microservice("s2", "center", app_id="default", alias="SERVICECENTER"),
        microservice("s3", "SERVICECENTER", app_id="shop"),
    )
    found = wire(details(view, DetailsQuery(), SHARED))["allServicesDetail"]
    assert [element["microService"]["serviceId"] for element in found] == ["s3"]


# -- one microservice --------------------------------------------------------------------------------------------------


def test_detail_holds_everything() -> None:
    """Unlike the list: schema ids, instance properties, and the service among its own dependencies."""
    found = wire(detail(with_everything(), "s1"))["service"]
    assert set(found) == {
        *("microService", "instances", "schemaInfos", "providers", "consumers", "tags", "microServiceVersions"),
    }
    assert found["microService"]["schemas"] == ["sc"]
    assert found["instances"][0]["properties"] == {"zone": "z"}
    assert [provider["serviceId"] for provider in found["providers"]] == ["s1", "s2"]


def test_detail_names_all_versions_greatest_first() -> None:
    """Of the same environment, application and name."""
    view = services(
        microservice("s1", "cart", version="1.9"),
        microservice("s2", "cart", version="1.10"),
        microservice("s3", "cart", version="2.0", environment="production"),
    )
    assert wire(detail(view, "s1"))["service"]["microServiceVersions"] == ["1.10", "1.9"]


def test_detail_of_the_unknown_is_refused() -> None:
    with pytest.raises(ServiceNotExists, match="nobody"):
        detail(service_with(), "nobody")


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_statistics_count_names_not_versions() -> None:
    """Two versions of one name are one service, online when one of them has an instance."""
    view = view_of(
        service_registered(microservice("s1", "cart", version="1.0")),
        service_registered(microservice("s2", "cart", version="2.0")),
        service_registered(microservice("s3", "cart", environment="production")),
        service_registered(microservice("s4", "order", app_id="desk")),
        instance_registered(instance("s2", "i1"), chosen=True),
        instance_registered(instance("s2", "i2"), chosen=True),
    )
    assert wire(statistics(view, NOTHING_HIDDEN)) == {
        "services": {"count": 3, "onlineCount": 1},
        "instances": {"count": 2, "countByDomain": 2},
        "apps": {"count": 2},
    }


def test_statistics_of_nothing_leave_every_zero_out() -> None:
    empty = RegistryView(DEFAULT_TENANT)
    assert wire(statistics(empty, NOTHING_HIDDEN)) == {"services": {}, "instances": {}, "apps": {}}


def test_statistics_leave_hidden_services_out_with_their_instances() -> None:
    view = view_of(
        service_registered(microservice("s1", "SERVICECENTER", app_id="default")),
        instance_registered(instance("s1", "i1"), chosen=True),
    )
    assert wire(statistics(view, SHARED)) == {"services": {}, "instances": {}, "apps": {}}
    assert wire(statistics(view, NOTHING_HIDDEN))["apps"] == {"count": 1}


def test_apps_are_those_of_exactly_this_environment() -> None:
    """Without an environment: those of services that have none. Each once."""
    view = services(
        microservice("s1", app_id="shop"),
        microservice("s2", app_id="shop"),
        microservice("s3", app_id="desk", environment="production"),
        microservice("s4", "SERVICECENTER", app_id="default", environment="production"),
    )
    assert apps(view, "", SHARED) == ["shop"]
    assert apps(view, "production", SHARED) == ["desk"]
    assert apps(view, "production", NOTHING_HIDDEN) == ["desk", "default"]
    assert apps(view, "testing", SHARED) == []


# -- the graph ---------------------------------------------------------------------------------------------------------


def test_graph_of_nothing_is_null_three_times() -> None:
    """The console tells null from an empty graph; circles are never computed."""
    empty = RegistryView(DEFAULT_TENANT)
    assert at_once(relations(empty, NOTHING_HIDDEN)) == b'{"nodes":null,"lines":null,"circles":null}'


def test_graph_has_a_node_per_version_and_a_line_per_provider() -> None:
    """A line names the whole consumer and of the provider id and name only; empty members are written."""
    found = wire(relations(with_everything(), NOTHING_HIDDEN))
    blank = {"type": "", "color": "", "position": ""}
    cart = {"id": "s1", "name": "cart", "appId": "shop", "version": "1.0.0", **blank}
    order = {"id": "s2", "name": "order", "appId": "shop", "version": "1.0.0", **blank}
    to = {"id": "s2", "name": "order", "appId": "", "version": "", **blank}
    line = {"from": cart, "to": to, "type": "", "color": "", "descriptor": ""}
    assert found == {"nodes": [cart, order], "lines": [line], "circles": None}


def test_graph_without_dependencies_has_no_lines() -> None:
    assert wire(relations(service_with(), NOTHING_HIDDEN))["lines"] is None


def test_graph_leaves_hidden_services_out_at_both_ends() -> None:
    view = view_of(
        service_registered(microservice("s1", "cart", app_id="default")),
        service_registered(microservice("s2", "SERVICECENTER", app_id="default")),
        found_by("s1", ("", "default", "SERVICECENTER")),
        found_by("s2", ("", "default", "cart")),
    )
    found = wire(relations(view, SHARED))
    assert [node["id"] for node in found["nodes"]] == ["s1"]
    assert found["lines"] is None
    assert len(wire(relations(view, NOTHING_HIDDEN))["lines"]) == 2


# -- in steps ----------------------------------------------------------------------------------------------------------


def crowded(services: int, instances: int) -> RegistryView:
    """Services of as many instances each; every one has found the first."""
    return view_of(
        *(service_registered(microservice(f"s{n}", f"n{n}", properties={"a": "b"})) for n in range(services)),
        *(
            instance_registered(instance(f"s{n}", f"i{m}", properties={"zone": "z"}), chosen=True)
            for n in range(services)
            for m in range(instances)
        ),
        *(found_by(f"s{n}", ("", "shop", "n0")) for n in range(services)),
    )


BIG_READS: list[Callable[[RegistryView], Steps]] = [
    lambda view: details(view, DetailsQuery(ALL_PARTS), NOTHING_HIDDEN),
    lambda view: relations(view, NOTHING_HIDDEN),
    lambda view: dump([view]),
]


def steps_of(steps: Steps) -> tuple[list[int], bytes]:
    sizes = []
    while True:
        try:
            sizes.append(next(steps))
        except StopIteration as end:
            return sizes, b"".join(end.value)


@pytest.mark.parametrize(("services", "instances"), [(3, 0), (3, STEP_ROWS), (2, 2 * STEP_ROWS + 1)])
def test_large_answers_are_made_bit_by_bit(services: int, instances: int) -> None:
    """No step is longer than a number of instances, and the steps tell how large the answer is before it is made."""
    view = crowded(services, instances)
    query = DetailsQuery(ALL_PARTS)
    for steps, longest in (
        (details(view, query, NOTHING_HIDDEN), STEP_ROWS),
        (detail(view, "s0"), STEP_ROWS),
        (relations(view, NOTHING_HIDDEN), 1),
        (dump([view]), STEP_ROWS),
    ):
        sizes, whole = steps_of(steps)
        assert max(sizes) <= 600 * longest + 1000
        assert 0 <= len(whole) - sum(sizes) <= 200 + 3 * services
    elements = wire(details(view, query, NOTHING_HIDDEN))["allServicesDetail"]
    assert [len(element.get("instances", [])) for element in elements] == [instances] * services
    assert all(set(element["instances"][0]) for element in elements if instances)


def test_what_changes_while_an_answer_is_made_is_shown_as_it_was() -> None:
    """Its services and instances are those of one moment, as those of every other answer are."""
    for make in BIG_READS:
        view, alike = crowded(5, 3), crowded(5, 3)
        steps = make(view)
        next(steps)
        for event in (
            instance_registered(instance("s4", "new"), chosen=True),
            InstanceUnregistered(service_id="s3", instance_id="i0", **stamp()._asdict()),
            service_registered(microservice("s9", "n9")),
        ):
            apply(view, view.position.next(), event)
        _, found = steps_of(steps)
        assert found == at_once(make(alike))


def test_a_service_that_leaves_while_an_answer_is_made_does_not_break_it() -> None:
    """Of its dependencies nothing is known any more."""
    for make in BIG_READS:
        view = crowded(STEP_ROWS, 2)
        steps = make(view)
        next(steps)
        for n in (0, 1, STEP_ROWS - 1):
            gone = ServiceUnregistered(service_id=f"s{n}", force=True, **stamp()._asdict())
            apply(view, view.position.next(), gone)
            assert f"s{n}" not in view.services
        found = wire(steps)
        nodes = found.get("allServicesDetail") or found.get("nodes") or found["services"]
        assert len(nodes) == STEP_ROWS
