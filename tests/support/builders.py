"""Builders: short ways to write events, bodies and views. Every argument left out has a plain, valid value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from registry.domain.decide import Stamp
from registry.domain.events import Event, InstanceRegistered, ServiceRegistered
from registry.domain.fold import apply
from registry.domain.model import Instance, Microservice
from registry.domain.outcome import Outcome
from registry.domain.position import ORIGIN, Position
from registry.domain.request_bodies import HealthCheckBody, InstanceBody, MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView

#: The history in which tests apply events, unless they bring their own.
EPOCH = 7
AT_MS = 1_650_545_035_000
_numbers = count(1)


def stamp(at_ms: int = AT_MS, replica: str = "r1") -> Stamp:
    """A stamp with a number that no other one has."""
    return Stamp(at_ms, replica, next(_numbers), "10.0.0.1")


def microservice(
    service_id: str,
    service_name: str = "",
    *,
    app_id: str = "shop",
    environment: str = "",
    version: str = "1.0.0",
    alias: str = "",
    properties: Mapping[str, str] | None = None,
) -> Microservice:
    return Microservice(
        service_id=service_id,
        environment=environment,
        app_id=app_id,
        service_name=service_name or service_id,
        alias=alias,
        version=version,
        level="BACK",
        status="UP",
        properties=dict(properties or {}),
    )


def service_registered(
    service: Microservice, *, chosen: bool = False, at_ms: int = AT_MS, replica: str = "r1"
) -> ServiceRegistered:
    return ServiceRegistered(service=service, chosen=chosen, **stamp(at_ms, replica)._asdict())


def instance(
    service_id: str,
    instance_id: str,
    *,
    endpoints: Iterable[str] = (),
    status: str = "UP",
    properties: Mapping[str, str] | None = None,
) -> Instance:
    return Instance(
        instance_id=instance_id,
        service_id=service_id,
        host_name="host",
        endpoints=list(endpoints),
        status=status,
        properties=dict(properties or {}),
    )


def instance_registered(
    content: Instance, *, chosen: bool = False, at_ms: int = AT_MS, replica: str = "r1"
) -> InstanceRegistered:
    return InstanceRegistered(instance=content, chosen=chosen, **stamp(at_ms, replica)._asdict())


def instance_body(
    *,
    instance_id: str | None = None,
    endpoints: Iterable[str] = (),
    host_name: str | None = "host",
    status: str | None = None,
    properties: dict[str, str | None] | None = None,
    health_check: HealthCheckBody | None = None,
) -> InstanceBody:
    """What a client sends to register an instance."""
    return InstanceBody(
        host_name=host_name,
        instance_id=instance_id,
        endpoints=list(endpoints),
        status=status,
        properties=properties,
        health_check=health_check,
    )


def microservice_body(service_name: str, **members: Any) -> MicroserviceBody:
    """What a client sends to register a microservice."""
    return MicroserviceBody(service_name=service_name, **members)


def append(view: RegistryView, event: Event) -> Outcome:
    """Apply the event directly behind the view's position."""
    position = view.position
    return apply(view, Position(EPOCH, 1) if position == ORIGIN else position.next(), event)


def view_of(*events: Event, tenant: Tenant = DEFAULT_TENANT) -> RegistryView:
    """The view after these events, each of which must be accepted."""
    view = RegistryView(tenant)
    for event in events:
        outcome = append(view, event)
        assert outcome.error is None, outcome.error
    return view


def service_with(*contents: Instance, service: Microservice | None = None) -> RegistryView:
    """A view with one service (`s1`, named `cart`) and these instances."""
    registered = service_registered(service or microservice("s1", "cart"))
    return view_of(registered, *(instance_registered(content, chosen=True) for content in contents))
