"""own: the registry's own microservice, of which its replicas are the instances. Only they write it."""

from __future__ import annotations

from typing import Final

from registry.domain.errors import Forbidden
from registry.domain.model import Microservice
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import OWN_GROUP, RegistryView

OWN_ENVIRONMENT: Final = OWN_GROUP[0]
OWN_APP_ID: Final = OWN_GROUP[1]
OWN_SERVICE_NAME: Final = OWN_GROUP[2]
#: Who writes when a replica acts by itself. A client's actor is its address, so it is never this one.
ACTOR: Final = "registry"


def is_own(view: RegistryView, service_id: str) -> bool:
    """Whether this is the registry's own service, in any version: replicas of two versions may run at once."""
    group = view.groups.get(OWN_GROUP)
    return group is not None and service_id in group.services and view.tenant == DEFAULT_TENANT


def is_own_place(tenant: Tenant, service: Microservice) -> bool:
    """Whether a service of this name, or alias, would stand where the registry's own is looked for."""
    return (
        tenant == DEFAULT_TENANT
        and service.app_id == OWN_APP_ID
        and service.environment == OWN_ENVIRONMENT
        and OWN_SERVICE_NAME in (service.service_name, service.alias)
    )


def refuse_clients(view: RegistryView, service_id: str, actor: str = "") -> None:
    """Refuse a write about the registry's own service by anyone who is not a replica."""
    if actor != ACTOR and is_own(view, service_id):
        raise forbidden()


def forbidden() -> Forbidden:
    """The refusal of a client's write."""
    return Forbidden(f"{OWN_SERVICE_NAME} is the registry's own service: its replicas write it, nobody else does")
