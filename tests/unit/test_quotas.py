"""Quotas on a view: what counts, who is never refused, and what is told apart from a malformed request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.domain import decide, weight
from registry.domain.decide import Known
from registry.domain.dependencies import add_found
from registry.domain.errors import LimitExceeded, NotEnoughQuota
from registry.domain.events import (
    DependenciesAdded,
    InstanceRegistered,
    SchemasReplaced,
    ServiceRegistered,
    ServiceUnregistered,
    TagsReplaced,
)
from registry.domain.own import ACTOR
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import SchemaBody
from registry.domain.schemas import replace_schemas
from registry.domain.tags import replace_tags
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import OWN_GROUP, RegistryView
from registry.environment import read_settings
from registry.serving.heads import BODY_MAX_BYTES
from registry.settings import BadSetting
from tests.support.builders import (
    append,
    instance,
    instance_body,
    instance_registered,
    microservice,
    microservice_body,
    service_registered,
    service_with,
    stamp,
    view_of,
)

#: Nothing more fits.
NOTHING = Quotas(services=0, instances=0, tenant_bytes=0)


def own_service(tenant: Tenant) -> RegistryView:
    """A view with a microservice that is called as the registry's own, and one instance of it."""
    environment, app_id, name = OWN_GROUP
    service = microservice("sc", name, app_id=app_id, environment=environment)
    return view_of(
        service_registered(service), instance_registered(instance("sc", "replica"), chosen=True), tenant=tenant
    )


def test_own_service_and_instances_are_neither_counted_nor_refused() -> None:
    view = own_service(DEFAULT_TENANT)
    newer = microservice_body(OWN_GROUP[2], app_id=OWN_GROUP[1], environment=OWN_GROUP[0], version="2.0")
    assert isinstance(decide.register_service(view, newer, NOTHING, stamp()._replace(actor=ACTOR)), ServiceRegistered)
    another = instance_body(endpoints=["rest://2:2"])
    assert isinstance(
        decide.register_instance(view, "sc", another, "new", NOTHING, stamp()._replace(actor=ACTOR)), InstanceRegistered
    )
    append(view, service_registered(microservice("s1", "cart")))
    one = Quotas(services=1, instances=1, tenant_bytes=weight.of_service(view.services["s1"]))
    with pytest.raises(NotEnoughQuota, match="service quota: 1 of 1 in use"):
        decide.register_service(view, microservice_body("till"), one, stamp())
    with pytest.raises(NotEnoughQuota, match=r"tenant bytes quota: (\d+) of \1 in use"):
        decide.register_instance(view, "s1", another, "new", one, stamp())
    enough = replace(one, tenant_bytes=10_000)
    assert isinstance(decide.register_instance(view, "s1", another, "new", enough, stamp()), InstanceRegistered)


def test_service_of_that_name_in_another_tenant_is_one_like_any_other() -> None:
    view = own_service(Tenant("other", "default"))
    with pytest.raises(NotEnoughQuota, match="instance quota: 1 of 0 in use"):
        decide.register_instance(view, "sc", instance_body(), "new", NOTHING, stamp())


def test_lowered_numbers_never_refuse_what_is_there_nor_fewer() -> None:
    """An operator lowers a quota: those who live on must still be able to come back."""
    view = service_with(instance("s1", "i1", endpoints=["a", "b", "c"]))
    tags = {"a": "x", "b": "x", "c": "x"}
    schemas = [SchemaBody(schema_id=id, schema="{}", summary="s") for id in "abc"]
    for event in (
        replace_tags(view, "s1", tags, Quotas(), stamp()),
        replace_schemas(view, "s1", schemas, Quotas(), stamp()),
        add_found(view, "s1", [("", "shop", name) for name in "abc"], Quotas(), stamp()),
    ):
        assert not isinstance(event, Known)
        append(view, event)
    one = Quotas(services=1, instances=1, endpoints=1, tags=1, schemas=1, dependencies=1)
    assert replace_tags(view, "s1", tags, one, stamp()) == Known("s1")
    for values in ({"a": "y", "b": "y", "c": "y"}, {"a": "y", "b": "y"}):
        assert isinstance(replace_tags(view, "s1", values, one, stamp()), TagsReplaced)
    for bodies in (schemas, schemas[:2]):
        assert isinstance(replace_schemas(view, "s1", bodies, one, stamp()), SchemasReplaced)
    for endpoints in (["a", "b", "d"], ["a", "b"]):
        body = instance_body(instance_id="i1", endpoints=endpoints)
        assert isinstance(decide.register_instance(view, "s1", body, "new", one, stamp()), InstanceRegistered)
    again = DependenciesAdded(consumer_id="s1", providers=[("", "shop", "a")], **stamp()._asdict())
    one.check_dependencies(view, [again])
    with pytest.raises(LimitExceeded):
        replace_tags(view, "s1", {**tags, "d": "x"}, one, stamp())
    more = [*schemas, SchemaBody(schema_id="d", schema="{}", summary="s")]
    with pytest.raises(LimitExceeded):
        replace_schemas(view, "s1", more, one, stamp())


@pytest.mark.parametrize("room", [0, 6, 7, 13, 14, 15])
def test_found_providers_are_recorded_as_far_as_the_tenants_bytes_reach(room: int) -> None:
    """Each of these takes seven."""
    view = service_with()
    quotas = Quotas(tenant_bytes=view.held_bytes + room)
    found = [("", "shop", "ab1"), ("", "shop", "ab2"), ("", "shop", "ab1")]
    assert quotas.recordable(view, "s1", found) == found[: room // 7]


def test_lowest_limit_of_bodies_is_what_the_fast_lane_collects() -> None:
    """It does not look at the setting: what it takes must be allowed by any."""
    least = BODY_MAX_BYTES
    assert read_settings({"REGISTRY_BODY_MAX_BYTES": str(least)}).body_max_bytes == least
    with pytest.raises(BadSetting):
        read_settings({"REGISTRY_BODY_MAX_BYTES": str(least - 1)})


def test_nothing_that_was_removed_weighs_any_more() -> None:
    """Else a tenant would be full for ever."""
    view = service_with(instance("s1", "i1"), instance("s1", "i2"))
    append(view, service_registered(microservice("s2", "till")))
    append(view, DependenciesAdded(consumer_id="s2", providers=[("", "shop", "cart")], **stamp()._asdict()))
    append(view, ServiceUnregistered(service_id="s1", force=True, **stamp()._asdict()))
    assert view.held_bytes == weight.of_service(view.services["s2"])
