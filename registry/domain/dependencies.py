"""dependencies: decisions about who has found whom, and both directions of it.

Pure, as `domain.decide`; refusals are made again after catching up.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from registry.domain.decide import Known, Stamp, service_or_refuse, service_to_write
from registry.domain.errors import InvalidParams, ServiceNotExists
from registry.domain.events import DependenciesAdded, DependenciesReplaced
from registry.domain.model import Microservice
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import DependencyBody, ProviderBody
from registry.domain.version import parse_rule
from registry.domain.view import GroupKey, RegistryView


def add_found(
    view: RegistryView, consumer_id: str, found: Sequence[GroupKey], quotas: Quotas, stamp: Stamp
) -> DependenciesAdded | Known:
    """Record what a consumer has found, unless it is recorded, as far as the quotas let it be."""
    service_to_write(view, consumer_id, stamp.actor)
    new = quotas.recordable(view, consumer_id, found)
    return DependenciesAdded(consumer_id=consumer_id, providers=new, **stamp._asdict()) if new else Known(consumer_id)


def change_dependencies(
    view: RegistryView, body: DependencyBody, index: int, replace: bool, stamp: Stamp
) -> DependenciesAdded | DependenciesReplaced:
    """One entry of the deprecated dependency writes (api-rules.md 3.12)."""
    where = f"$.dependencies[{index}]"
    consumer = body.consumer
    if consumer is None or not (consumer.app_id and consumer.service_name and consumer.version):
        raise InvalidParams(f"appId, serviceName and version are needed - at `{where}.consumer`")
    if not body.providers and not replace:
        raise InvalidParams(f"providers must hold at least one element - at `{where}.providers`")
    providers = [_provider(item, consumer.app_id, f"{where}.providers") for item in body.providers or []]
    if len(set(providers)) < len(providers):
        raise InvalidParams(f"a provider is given twice - at `{where}.providers`")
    key = (consumer.environment or "", consumer.app_id, consumer.service_name, consumer.version)
    consumer_id = view.ids.get(key)
    if consumer_id is None:
        raise ServiceNotExists(f"consumer {'/'.join(key)}")
    service_to_write(view, consumer_id, stamp.actor)
    if replace:
        return DependenciesReplaced(consumer_id=consumer_id, providers=providers, **stamp._asdict())
    return DependenciesAdded(consumer_id=consumer_id, providers=providers, **stamp._asdict())


def _provider(body: ProviderBody, consumer_app_id: str, where: str) -> GroupKey:
    if not body.service_name:
        raise InvalidParams(f"serviceName is missing - at `{where}`")
    parse_rule(body.version or "")
    return body.environment or "", body.app_id or consumer_app_id, body.service_name


def providers_of(view: RegistryView, service_id: str, no_self: bool) -> list[Microservice]:
    """Every existing version of what this service has found."""
    service_or_refuse(view, service_id)
    ids: dict[str, None] = {}
    for key in view.providers.get(service_id, ()):
        for group in _groups(view, key):
            ids.update(dict.fromkeys(group))
    return [view.services[id].service for id in ids if not (no_self and id == service_id)]


def consumers_of(view: RegistryView, service_id: str, no_self: bool) -> list[Microservice]:
    """The services that have found this one, in any version."""
    row = service_or_refuse(view, service_id)
    return [view.services[id].service for id in watching(view, row.group.key) if not (no_self and id == service_id)]


def watching(view: RegistryView, provider: GroupKey) -> list[str]:
    """Ids of the consumers that depend on this microservice name, also by `*`."""
    environment, app_id, _ = provider
    ids: dict[str, None] = {}
    for key in (provider, (environment, app_id, "*"), (environment, "", "*")):
        ids.update(view.consumers.get(key, {}))
    return list(ids)


def _groups(view: RegistryView, provider: GroupKey) -> list[list[str]]:
    environment, app_id, name = provider
    if name != "*":
        group = view.groups.get(provider)
        return [list(group.services)] if group is not None else []
    return [
        list(group.services)
        for key, group in sorted(view.groups.items(), key=itemgetter(0))
        if key[0] == environment and app_id in ("", key[1])
    ]
