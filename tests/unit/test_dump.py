"""domain.dump: everything, under the reference's keys (api-rules.md 3.15, clients.md 1.L)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry.domain.dump import dump
from registry.domain.events import DependenciesAdded, SchemaPut, TagsReplaced
from registry.domain.steps import at_once
from registry.domain.tenant import DEFAULT_TENANT, Tenant
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


def wire(*views: RegistryView) -> dict[str, list[dict[str, Any]]]:
    """The dump as a client reads it."""
    found: dict[str, list[dict[str, Any]]] = msgspec.json.decode(at_once(dump(views)))
    return found


@pytest.fixture
def view() -> RegistryView:
    """`s1` (cart, production) with all that a service may have; it has found `s2` (order)."""
    return view_of(
        service_registered(microservice("s1", "cart", environment="production", alias="kart")),
        service_registered(microservice("s2", "order")),
        instance_registered(instance("s1", "i1", properties={"zone": "z"}), chosen=True),
        TagsReplaced(service_id="s1", tags={"k": "v"}, **stamp()._asdict()),
        SchemaPut(service_id="s1", schema_id="sc", schema="text", summary="abc", **stamp()._asdict()),
        SchemaPut(service_id="s1", schema_id="bare", schema="text", **stamp()._asdict()),
        DependenciesAdded(consumer_id="s1", providers=[("", "shop", "order")], **stamp()._asdict()),
    )


def test_dump_of_nothing_has_no_lists() -> None:
    assert wire(RegistryView(DEFAULT_TENANT)) == {}


@pytest.mark.parametrize(
    ("member", "key", "value"),
    [
        ("serviceIndexes", "/cse-sr/ms/indexes/default/default/production/shop/cart/1.0.0", "s1"),
        ("serviceAliases", "/cse-sr/ms/alias/default/default/production/shop/kart/1.0.0", "s1"),
        ("serviceTags", "/cse-sr/ms/tags/default/default/s1", {"k": "v"}),
        ("summaries", "/cse-sr/ms/schema-sum/default/default/s1/sc", "abc"),
    ],
)
def test_each_kind_has_the_references_key_and_value(view: RegistryView, member: str, key: str, value: Any) -> None:
    """The first entry of its kind; `rev` is the sequence of the view."""
    assert wire(view)[member][0] == {"key": key, "rev": 7, "cluster": "default", "value": value}


def test_services_and_instances_are_whole(view: RegistryView) -> None:
    """`scctl get service` and `get instance` print from these; the service id and the ids of instances end the keys."""
    found = wire(view)
    assert [entry["key"] for entry in found["services"]] == [
        "/cse-sr/ms/files/default/default/s1",
        "/cse-sr/ms/files/default/default/s2",
    ]
    assert found["services"][0]["value"]["serviceName"] == "cart"
    (entry,) = found["instances"]
    assert entry["key"] == "/cse-sr/inst/files/default/default/s1/i1"
    assert entry["value"]["properties"] == {"zone": "z"}


def test_rev_of_an_instance_is_where_it_was_registered(view: RegistryView) -> None:
    """Known exactly, so it does not move with other changes."""
    assert wire(view)["instances"][0]["rev"] == 3


def test_a_blank_environment_leaves_an_empty_segment(view: RegistryView) -> None:
    """As in the key from which generated service ids are made (D19)."""
    assert wire(view)["serviceIndexes"][1]["key"] == "/cse-sr/ms/indexes/default/default//shop/order/1.0.0"


def test_what_a_service_does_not_have_leaves_no_entry(view: RegistryView) -> None:
    """No alias, no tags, no summary: no key, as in the reference."""
    found = wire(view)
    assert [len(found[member]) for member in ("serviceAliases", "serviceTags", "summaries")] == [1, 1, 1]


def test_a_dependency_stands_below_both_ends(view: RegistryView) -> None:
    """The consumer exactly, the provider in all versions (api-rules.md 3.12)."""
    tenant = {"tenant": "default/default", "appId": "shop"}
    consumer = {**tenant, "environment": "production", "serviceName": "cart", "version": "1.0.0"}
    provider = {**tenant, "serviceName": "order", "version": "0.0.0+"}
    root = "/cse-sr/ms/dep-rules/default/default"
    assert {entry["key"]: entry["value"] for entry in wire(view)["dependencyRules"]} == {
        f"{root}/c/production/shop/cart/1.0.0": {"Dependency": [provider]},
        f"{root}/p//shop/order/0.0.0+": {"Dependency": [consumer]},
    }


def test_all_tenants_are_dumped_each_below_its_own_name() -> None:
    """`scctl --all-domains` tells them apart by the key."""
    other = view_of(service_registered(microservice("s1")), tenant=Tenant("acme", "web"))
    assert [entry["key"] for entry in wire(service_with(), other)["services"]] == [
        "/cse-sr/ms/files/default/default/s1",
        "/cse-sr/ms/files/acme/web/s1",
    ]
