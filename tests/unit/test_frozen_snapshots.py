"""Snapshots written by earlier versions load for ever.

tests/data/snapshots holds the chunks of one snapshot per format, named `format-<format>.<index>.msgpack`, written once
and never again. A log may have been trimmed behind any of them.
"""

from __future__ import annotations

from pathlib import Path

from registry.domain.events import DependenciesReplaced, TagSet, decode_event
from registry.domain.fold import apply
from registry.domain.fold_instances import endpoints_key
from registry.domain.model import DataCenterInfo, HealthCheck, Instance, Microservice, Policy, Schema, decode_instance
from registry.domain.position import Position
from registry.domain.rev import content_digest
from registry.domain.snapshot import FORMAT, Loader
from registry.domain.tenant import Tenant
from registry.domain.version import parse_version
from tests.support.builders import instance, instance_registered, stamp

FOLDER = Path(__file__).parent.parent / "data" / "snapshots"
CHUNKS = 3

CALCULATOR = Microservice(
    service_id="s1",
    environment="production",
    app_id="default",
    service_name="calculator",
    alias="calc",
    version="0.0.1",
    level="BACK",
    schemas=["add", "declared"],
    status="UP",
    properties={"allowCrossApp": "true", "ключ": "値"},
    timestamp="1650545035",
    mod_timestamp="1650545036",
)
CLIENT = Microservice(
    service_id="s2",
    app_id="shop",
    service_name="client",
    version="1.0.0.0",
    timestamp="1650545035",
    mod_timestamp="1650545035",
)
EMPTY = Microservice(
    service_id="s3",
    environment="production",
    app_id="default",
    service_name="calculator",
    version="2.0.0",
    timestamp="1650545037",
    mod_timestamp="1650545037",
)
SHARED = ["rest://10.0.0.1:8080", "grpc://10.0.0.1:8081?sslEnabled=true"]
ELDEST = Instance(
    instance_id="i2",
    service_id="s1",
    version="0.0.1",
    host_name="host-1",
    endpoints=SHARED,
    status="DOWN",
    properties={"zone": "a"},
    health_check=HealthCheck("pull", 8080, 30, 3, "/health"),
    data_center_info=DataCenterInfo("dc", "region-1", "az-1"),
    timestamp="1650545035",
    mod_timestamp="1650545036",
)
TWIN = Instance(
    instance_id="i1",
    service_id="s1",
    version="0.0.1",
    host_name="host-2",
    endpoints=SHARED[::-1],
    status="UP",
    timestamp="1650545035",
    mod_timestamp="1650545035",
)
BARE = Instance(
    instance_id="i1",
    service_id="s2",
    version="1.0.0.0",
    status="UP",
    timestamp="1650545035",
    mod_timestamp="1650545035",
)
POLICY = Policy("p", "id-1", "enabled", 1, 2, {"app": "shop"}, "rate-limiting", {"rate": 10, "on": [True, None, 0.5]})


def loader_of_format_1() -> Loader:
    loader = Loader()
    for index in range(CHUNKS):
        loader.add((FOLDER / f"format-1.{index}.msgpack").read_bytes())
    return loader


def test_a_snapshot_of_format_1_still_loads() -> None:
    """The events before it may be gone: where it cannot be read, the registry is."""
    loader = loader_of_format_1()
    view = loader.view()
    assert view.tenant == Tenant("default", "проект")
    assert (view.position, view.position_text) == (Position(1650545035000, 3), b"1650545035000-3")
    assert view.lineage == {1650545000000: 14, 1650545010000: 2}
    assert decode_event(loader.last) == TagSet(
        service_id="s1", key="zone", value="b", at_ms=1_650_545_035_123, replica="replica-1", number=300
    )
    assert view.instance_count == 3
    assert {id: row.service for id, row in view.services.items()} == {"s1": CALCULATOR, "s2": CLIENT, "s3": EMPTY}
    assert list(view.services) == ["s1", "s2", "s3"]
    calculator = view.services["s1"]
    assert calculator.version == parse_version("0.0.1")
    assert list(calculator.tags.items()) == [("zone", "b"), ("lane", "1")]
    assert calculator.schemas == {"add": Schema("add", "abc", "swagger: '2.0'")}
    assert calculator.changed == Position(1650545035000, 3)
    assert view.services["s3"].changed == Position(1650545010000, 1)
    assert view.rest_changed == Position(1650545000000, 14)
    assert view.providers == {"s2": {("", "shop", "*"): None, ("production", "default", "calculator"): None}}
    assert view.consumers == {("", "shop", "*"): {"s2": None}, ("production", "default", "calculator"): {"s2": None}}
    assert view.policies == {"id-1": POLICY}
    assert set(view.aliases) == {("production", "default", "calc")}


def test_the_instances_of_a_snapshot_of_format_1_are_what_they_were() -> None:
    """Revs, leases and lapses depend on every member of them."""
    view = loader_of_format_1().view()
    rows = [row for service in view.services.values() for row in service.instances.values()]
    assert [decode_instance(row.body) for row in rows] == [ELDEST, TWIN, BARE]
    assert [row.registered for row in rows] == ["1650545000000-4", "1650545000000-5", "1650545035000-2"]
    assert [row.ttl_ms for row in rows] == [120_000] * 3
    assert all(row.digest == content_digest(row.body) for row in rows)
    key = endpoints_key(SHARED)
    assert [row.endpoints_key for row in rows] == [key, key, b""]
    assert view.services["s1"].by_endpoints == {key: ("i2", "i1")}


def test_a_registry_goes_on_from_a_snapshot_of_format_1() -> None:
    """A replica that starts from it applies what came since."""
    view = loader_of_format_1().view()
    again = instance_registered(instance("s1", "i9", endpoints=SHARED))
    assert apply(view, Position(1650545035000, 4), again).id == "i2"
    gone = DependenciesReplaced(consumer_id="s2", **stamp()._asdict())
    assert apply(view, Position(1650545035000, 5), gone).error is None
    assert (view.providers, view.consumers, view.instance_count) == ({}, {}, 3)


def test_every_format_has_its_frozen_snapshot() -> None:
    """A format without one could be forgotten by the version after next."""
    names = {f"format-{format}.{index}.msgpack" for format in range(1, FORMAT + 1) for index in range(CHUNKS)}
    assert {path.name for path in FOLDER.iterdir()} == names
