"""find: the instances of a microservice name, as a function of (view, query).

No awaiting, so a whole batch is answered at one position. Answers are prepared once per change and kept in the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from registry.domain.decide import service_or_refuse
from registry.domain.errors import (
    ServiceNotExists,
)
from registry.domain.model import Microservice
from registry.domain.rev import rev
from registry.domain.version import ALL_VERSIONS, VersionRule, select
from registry.domain.view import Answer, GroupKey, InstanceRow, RegistryView, ServiceGroup, ServiceRow, Standing

ANY_SERVICE: Final = "*"
#: Prepared answers kept per microservice name: version rules and tags are the client's words, so they are bounded.
ANSWERS_PER_GROUP_MAX: Final = 16


class FindQuery(Struct, frozen=True, gc=False):
    """One find: which provider, as seen by which consumer. `rev` is what the consumer holds, "" for nothing."""

    app_id: str
    service_name: str
    rule: VersionRule = ALL_VERSIONS
    environment: str = ""
    tags: tuple[str, ...] = ()
    consumer_id: str = ""
    rev: str = ""


def find(view: RegistryView, query: FindQuery) -> Answer:
    """The instances of a microservice name (api-rules.md 3.6, D3, D4).

    With a consumer, its environment is the one searched, and providers of other applications are seen only where
    they allow it; what may not be seen is left out without a word.

    Raises:
        ServiceNotExists: no such consumer, name (nor alias), or exact version.
    """
    consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
    environment = consumer.environment if consumer else query.environment
    if query.service_name == ANY_SERVICE:
        return _find_any(view, query, environment, consumer)
    group = view.groups.get((environment, query.app_id, query.service_name))
    if group is None:
        return _find_alias(view, query, environment, consumer)
    stranger = consumer is not None and consumer.app_id != group.app_id
    key = (query.rule.text, query.tags, stranger)
    answer = group.answers.get(key)
    if answer is None:
        rows = _choose(group.services.values(), query)
        visible = (row for row in rows if may_see(consumer, row.service))
        if len(group.answers) >= ANSWERS_PER_GROUP_MAX:
            group.answers.clear()
        answer = group.answers[key] = answer_of_services(_find_identity(view, group), visible, group.standing)
    return answer


def _find_alias(view: RegistryView, query: FindQuery, environment: str, consumer: Microservice | None) -> Answer:
    ids = view.aliases.get((environment, query.app_id, query.service_name))
    if not ids:
        where = environment or "no environment"
        raise ServiceNotExists(f"{query.app_id}/{query.service_name} ({where})")
    rows = _choose((view.services[id] for id in ids), query)
    identity = ("find", str(view.tenant), environment, query.app_id, query.service_name)
    return answer_of_services(identity, (row for row in rows if may_see(consumer, row.service)))


def _find_any(view: RegistryView, query: FindQuery, environment: str, consumer: Microservice | None) -> Answer:
    """Every service in the environment that the consumer may see, or of one application when `app_id` is given.

    The rule is applied per microservice name; a name without a matching version adds nothing.
    """
    rows: list[ServiceRow] = []
    for group in view.groups.values():
        if group.environment == environment and query.app_id in ("", group.app_id):
            rows += select(query.rule, group.services.values(), ServiceRow.named_version)
    rows.sort(key=lambda row: row.service_id)
    visible = (row for row in rows if has_tags(row, query.tags) and may_see(consumer, row.service))
    return answer_of_services(("find", str(view.tenant), environment, query.app_id, ANY_SERVICE), visible)


def unrecorded(view: RegistryView, query: FindQuery) -> list[GroupKey]:
    """What this find of a consumer's has answered and its dependencies do not hold yet (api-rules.md 3.12).

    A provider counts when at least one version of it may be seen, with instances or without.
    """
    consumer = service_or_refuse(view, query.consumer_id).service
    known = view.providers.get(query.consumer_id, {})
    key = (consumer.environment, query.app_id, query.service_name)
    if key in known:
        return []
    if query.service_name == ANY_SERVICE:
        return [key]
    group = view.groups.get(key)
    ids = view.aliases.get(key, {})
    rows = list(group.services.values()) if group else [view.services[id] for id in ids]
    visible = (row for row in rows if may_see(consumer, row.service) and has_tags(row, query.tags))
    return [found for found in dict.fromkeys(row.group.key for row in visible) if found not in known]


def _choose(rows: Iterable[ServiceRow], query: FindQuery) -> list[ServiceRow]:
    chosen = select(query.rule, rows, ServiceRow.named_version)
    if not chosen and query.rule.kind == "exact":
        raise ServiceNotExists(f"{query.app_id}/{query.service_name} has no version {query.rule.text}")
    return [row for row in chosen if has_tags(row, query.tags)]


def has_tags(row: ServiceRow, tags: Sequence[str]) -> bool:
    """Whether the microservice has all of these tags."""
    return all(tag in row.tags for tag in tags)


def may_see(consumer: Microservice | None, provider: Microservice) -> bool:
    """Whether the consumer may see the provider; without a consumer everything is seen (api-rules.md 3.6)."""
    if consumer is None:
        return True
    same_app = consumer.app_id == provider.app_id
    return consumer.environment == provider.environment and (same_app or provider.allows_cross_app())


def _find_identity(view: RegistryView, group: ServiceGroup) -> tuple[str, ...]:
    return "find", str(view.tenant), group.environment, group.app_id, group.service_name


def answer_of_services(identity: Iterable[str], rows: Iterable[ServiceRow], standing: Standing | None = None) -> Answer:
    """Instances service by service in the order of `rows`, by instance id within each: the same on every replica."""
    instances: list[InstanceRow] = []
    for row in rows:
        instances += sorted(row.instances.values(), key=_by_id)
    return answer_of_instances(identity, instances, standing)


def _by_id(row: InstanceRow) -> str:
    return row.instance_id


def answer_of_instances(
    identity: Iterable[str], instances: Sequence[InstanceRow], standing: Standing | None = None
) -> Answer:
    """These instances in this order. `identity`: what was asked, so that equal lists of two questions differ in rev."""
    digest = rev(identity, (row.digest for row in instances))
    return Answer(digest, [row.body for row in instances], standing)
