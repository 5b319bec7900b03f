"""Events written by earlier versions decode for ever.

tests/data/events holds one file per kind and shape, named `<tag>.<shape>.msgpack`, written once and never again. A new
field needs no new file, only its default in the expectation's class; a new kind of event needs one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.domain.access_events import (
    AccountChanged,
    AccountCreated,
    AccountDeleted,
    MachineTokenGiven,
    MachineTokenRevoked,
    PasswordSet,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    SigningKeyAdded,
)
from registry.domain.accounts import Permission, Resource, Secret
from registry.domain.events import (
    EVENT_TYPES,
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
    decode_event,
)
from registry.domain.model import (
    DataCenterInfo,
    Framework,
    HealthCheck,
    Instance,
    Microservice,
    Policy,
    Schema,
    ServiceKey,
    ServicePath,
)

FOLDER = Path(__file__).parent.parent / "data" / "events"
BY: dict[str, Any] = {"at_ms": 1_650_545_035_123, "replica": "replica-1", "number": 300, "actor": "10.0.0.1"}
BARE: dict[str, Any] = {"at_ms": 1_650_545_035_123, "replica": "r", "number": 1}

INSTANCE = Instance(
    instance_id="i1",
    service_id="s1",
    host_name="host-1",
    endpoints=["rest://10.0.0.1:8080", "grpc://10.0.0.1:8081?sslEnabled=true"],
    status="STARTING",
    properties={"zone": "a", "ключ": "値"},
    health_check=HealthCheck("pull", 8080, 30, 3, "/health"),
    data_center_info=DataCenterInfo("dc", "region-1", "az-1"),
)
SERVICE = Microservice(
    service_id="8ef9d644842988a427357b8f4488ea0d0b2b5e77",
    environment="production",
    app_id="default",
    service_name="calculator",
    alias="calc",
    version="0.0.1",
    description="adds",
    level="BACK",
    schemas=["add"],
    paths=[ServicePath("/calc", {"checksession": "false"})],
    status="UP",
    properties={"allowCrossApp": "true"},
    register_by="SDK",
    framework=Framework("ServiceComb", "2.8.0"),
    providers=[ServiceKey("default/default", "production", "default", "abacus", "", "0.0.1")],
    lb_strategy={"default": "random"},
)
PERMS = [Permission([Resource("service", {"appId": "shop"}), Resource("ops")], ["get", "update"])]
EXPECTED: dict[str, Event] = {
    "service-registered.bare": ServiceRegistered(service=Microservice(service_id="s1", version="1.0.0"), **BARE),
    "service-registered.full": ServiceRegistered(service=SERVICE, chosen=True, **BY),
    "service-unregistered.bare": ServiceUnregistered(service_id="s1", **BARE),
    "service-unregistered.full": ServiceUnregistered(service_id="s1", force=True, **BY),
    "service-properties-set.bare": ServicePropertiesSet(service_id="s1", **BARE),
    "service-properties-set.full": ServicePropertiesSet(service_id="s1", properties={"a": "1"}, **BY),
    "instance-registered.bare": InstanceRegistered(instance=Instance(instance_id="i1", service_id="s1"), **BARE),
    "instance-registered.full": InstanceRegistered(instance=INSTANCE, chosen=True, **BY),
    "instance-registered.keeps-status": InstanceRegistered(
        instance=Instance(instance_id="i1", service_id="s1", status="DOWN"), keeps_status=True, **BARE
    ),
    "instance-unregistered.full": InstanceUnregistered(service_id="s1", instance_id="i1", **BY),
    "instance-status-set.full": InstanceStatusSet(service_id="s1", instance_id="i1", status="DOWN", **BY),
    "instance-properties-set.bare": InstancePropertiesSet(service_id="s1", instance_id="i1", **BARE),
    "instance-properties-set.full": InstancePropertiesSet(
        service_id="s1", instance_id="i1", properties={"a": "1", "b": ""}, **BY
    ),
    "instance-expired.bare": InstanceExpired(service_id="s1", instance_id="i1", registered="7-3", **BARE),
    "instance-expired.full": InstanceExpired(
        service_id="s1",
        instance_id="i1",
        registered="1650545000000-300",
        last_beat_ms=1_650_544_915_000,
        deadline_ms=1_650_545_035_000,
        **BY,
    ),
    "instance-expired.writing": InstanceExpired(
        service_id="s1",
        instance_id="i1",
        registered="7-3",
        writers="a b",
        outages={"c": [(0, 1_650_544_915_000), (1_650_544_925_000, 1_650_544_935_000), (1_650_544_995_000, 0)]},
        **BARE,
    ),
    "tags-replaced.bare": TagsReplaced(service_id="s1", **BARE),
    "tags-replaced.full": TagsReplaced(service_id="s1", tags={"zone": "a"}, **BY),
    "tag-set.full": TagSet(service_id="s1", key="zone", value="b", **BY),
    "tags-deleted.full": TagsDeleted(service_id="s1", keys=["zone", "lane"], **BY),
    "schema-put.bare": SchemaPut(service_id="s1", schema_id="add", schema="{}", **BARE),
    "schema-put.full": SchemaPut(service_id="s1", schema_id="add", schema="swagger: '2.0'", summary="abc", **BY),
    "schemas-replaced.bare": SchemasReplaced(service_id="s1", **BARE),
    "schemas-replaced.full": SchemasReplaced(service_id="s1", schemas=[Schema("add", "abc", "{}")], **BY),
    "schema-deleted.full": SchemaDeleted(service_id="s1", schema_id="add", **BY),
    "dependencies-added.full": DependenciesAdded(
        consumer_id="s1", providers=[("", "shop", "*"), ("p", "a", "b")], **BY
    ),
    "dependencies-replaced.bare": DependenciesReplaced(consumer_id="s1", **BARE),
    "dependencies-replaced.full": DependenciesReplaced(consumer_id="s1", providers=[("", "shop", "cart")], **BY),
    "policy-saved.full": PolicySaved(
        policy=Policy("p", "id-1", "enabled", 1, 2, {"app": "shop"}, "rate-limiting", {"rate": 10, "on": [True, None]}),
        **BY,
    ),
    "policy-deleted.full": PolicyDeleted(policy_id="id-1", **BY),
    "history-resumed.full": HistoryResumed(after="1650545000000-300", **BY),
    "account-created.bare": AccountCreated(name="ann", id="a1", password=Secret("$argon2id$x"), roles=[], **BARE),
    "account-created.full": AccountCreated(
        name="ann", id="a1", password=Secret("$argon2id$x"), roles=["developer"], status="inactive", **BY
    ),
    "account-changed.bare": AccountChanged(name="ann", roles=["developer"], **BARE),
    "account-changed.full": AccountChanged(name="ann", roles=["admin", "r"], status="active", **BY),
    "password-set.full": PasswordSet(name="ann", password=Secret("$argon2id$y"), **BY),
    "account-deleted.full": AccountDeleted(name="ann", **BY),
    "role-created.full": RoleCreated(name="r", id="r1", perms=PERMS, **BY),
    "role-changed.full": RoleChanged(name="r", perms=PERMS, **BY),
    "role-deleted.full": RoleDeleted(name="r", **BY),
    "machine-token-given.full": MachineTokenGiven(
        name="prometheus", id="m1", roles=["r"], expires_s=1_700_000_000, **BY
    ),
    "machine-token-revoked.full": MachineTokenRevoked(name="prometheus", **BY),
    "signing-key-added.bare": SigningKeyAdded(kid="k1", pem=Secret("-----BEGIN"), **BARE),
    "signing-key-added.full": SigningKeyAdded(kid="k1", pem=Secret("-----BEGIN"), alone=True, **BY),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_event_of_an_earlier_version_is_still_understood(name: str) -> None:
    """A log is replayed from its first event on: one that no longer decodes would stop every replica at its start."""
    assert decode_event((FOLDER / f"{name}.msgpack").read_bytes()) == EXPECTED[name]


def test_every_file_is_expected_and_every_kind_of_event_has_one() -> None:
    """A kind without a frozen example could change its form without anybody noticing."""
    assert {path.stem for path in FOLDER.iterdir()} == set(EXPECTED)
    assert {name.partition(".")[0] for name in EXPECTED} == {type.__struct_config__.tag for type in EVENT_TYPES}
