"""find: the answers consumers poll for, as functions of (view, query).

No awaiting, so a whole batch is answered at one position. Answers are prepared once per change and kept in the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from registry.domain.decide import instance_or_refuse, service_or_refuse
from registry.domain.errors import (
    ErrorBody,
    InstanceNotExists,
    InvalidParams,
    RegistryError,
    ServiceNotExists,
    ServiceVersionNotExists,
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


class InstanceQuery(Struct, frozen=True, gc=False):
    """One instance, or with `instance_id` "" all of the service's."""

    service_id: str
    instance_id: str = ""
    tags: tuple[str, ...] = ()
    consumer_id: str = ""
    rev: str = ""


class BatchResult(Struct, frozen=True):
    """Every index of the queries exactly once, ascending in its list; failures grouped by error code."""

    failed: list[tuple[RegistryError, list[int]]]
    not_modified: list[int]
    updated: list[tuple[int, Answer]]
    #: Of every answer that it was made from.
    standings: list[Standing | None]


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
        answer = group.answers[key] = _answer(_find_identity(view, group), visible, group.standing)
    return answer


def _find_alias(view: RegistryView, query: FindQuery, environment: str, consumer: Microservice | None) -> Answer:
    ids = view.aliases.get((environment, query.app_id, query.service_name))
    if not ids:
        where = environment or "no environment"
        raise ServiceNotExists(f"{query.app_id}/{query.service_name} ({where})")
    rows = _choose((view.services[id] for id in ids), query)
    identity = ("find", str(view.tenant), environment, query.app_id, query.service_name)
    return _answer(identity, (row for row in rows if may_see(consumer, row.service)))


def _find_any(view: RegistryView, query: FindQuery, environment: str, consumer: Microservice | None) -> Answer:
    """Every service in the environment that the consumer may see, or of one application when `app_id` is given.

    The rule is applied per microservice name; a name without a matching version adds nothing.
    """
    rows: list[ServiceRow] = []
    for group in view.groups.values():
        if group.environment == environment and query.app_id in ("", group.app_id):
            rows += select(query.rule, group.services.values(), ServiceRow.named_version)
    rows.sort(key=lambda row: row.service_id)
    visible = (row for row in rows if _has_tags(row, query.tags) and may_see(consumer, row.service))
    return _answer(("find", str(view.tenant), environment, query.app_id, ANY_SERVICE), visible)


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
    visible = (row for row in rows if may_see(consumer, row.service) and _has_tags(row, query.tags))
    return [found for found in dict.fromkeys(row.group.key for row in visible) if found not in known]


def _choose(rows: Iterable[ServiceRow], query: FindQuery) -> list[ServiceRow]:
    chosen = select(query.rule, rows, ServiceRow.named_version)
    if not chosen and query.rule.kind == "exact":
        raise ServiceNotExists(f"{query.app_id}/{query.service_name} has no version {query.rule.text}")
    return [row for row in chosen if _has_tags(row, query.tags)]


def _has_tags(row: ServiceRow, tags: Sequence[str]) -> bool:
    return all(tag in row.tags for tag in tags)


def may_see(consumer: Microservice | None, provider: Microservice) -> bool:
    """Whether the consumer may see the provider; without a consumer everything is seen (api-rules.md 3.6)."""
    if consumer is None:
        return True
    same_app = consumer.app_id == provider.app_id
    return consumer.environment == provider.environment and (same_app or provider.allows_cross_app())


def _find_identity(view: RegistryView, group: ServiceGroup) -> tuple[str, ...]:
    return "find", str(view.tenant), group.environment, group.app_id, group.service_name


def _answer(identity: Iterable[str], rows: Iterable[ServiceRow], standing: Standing | None = None) -> Answer:
    """Instances service by service in the order of `rows`, by instance id within each: the same on every replica."""
    instances: list[InstanceRow] = []
    for row in rows:
        instances += sorted(row.instances.values(), key=_by_id)
    return _instances_answer(identity, instances, standing)


def _by_id(row: InstanceRow) -> str:
    return row.instance_id


def _instances_answer(
    identity: Iterable[str], instances: Sequence[InstanceRow], standing: Standing | None = None
) -> Answer:
    digest = rev(identity, (row.digest for row in instances))
    if not instances:
        return Answer(digest, b"{}", 0, standing)
    body = b'{"instances":[' + b",".join([row.body for row in instances]) + b"]}"
    return Answer(digest, body, len(instances), standing)


def list_instances(view: RegistryView, query: InstanceQuery) -> Answer:
    """All instances of one service version.

    Raises:
        ServiceNotExists: no such provider or consumer; a tag is missing; the consumer may not see the provider.
    """
    row = service_or_refuse(view, query.service_id)
    if query.consumer_id or query.tags:
        consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
        if not _has_tags(row, query.tags):
            raise ServiceNotExists(f"service {query.service_id} has not all of the tags {', '.join(query.tags)}")
        if not may_see(consumer, row.service):
            raise ServiceNotExists(f"service {query.service_id} is not visible to consumer {query.consumer_id}")
    if row.answer is None:
        row.answer = _answer(("list", str(view.tenant), query.service_id), (row,))
    return row.answer


def get_instance(view: RegistryView, query: InstanceQuery) -> Answer:
    """One instance, as an answer with exactly one element.

    Raises:
        ServiceNotExists: no such provider or consumer.
        InstanceNotExists: no such instance, or it may not be seen (api-rules.md 3.5).
    """
    service = service_or_refuse(view, query.service_id)
    consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
    row = instance_or_refuse(view, query.service_id, query.instance_id)
    if not (_has_tags(service, query.tags) and may_see(consumer, service.service)):
        raise InstanceNotExists(f"instance {query.instance_id} is not visible to the consumer, or lacks a tag")
    return _instances_answer(("instance", str(view.tenant), query.service_id), [row])


def batch_find(
    queries: Sequence[FindQuery | InstanceQuery], answer: Callable[[FindQuery | InstanceQuery], Answer]
) -> BatchResult:
    """Answer many queries without waiting, so all at one position.

    A rev that is not empty and equals the current one is not modified; everything else is updated or failed.
    """
    result = BatchResult([], [], [], [])
    groups: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        try:
            current = answer(query)
        except RegistryError as error:
            if error.code not in groups:
                groups[error.code] = []
                result.failed.append((error, groups[error.code]))
            groups[error.code].append(index)
            continue
        result.standings.append(current.standing)
        if query.rev and query.rev == current.rev:
            result.not_modified.append(index)
        else:
            result.updated.append((index, current))
    return result


def encode_batch(result: BatchResult) -> bytes:
    """The result as `{"failed":…,"notModified":…,"updated":…}`, empty members left out."""
    members = []
    if result.failed:
        failed = [
            {"indexes": indexes, "error": ErrorBody(str(error.code), error.message, error.detail)}
            for error, indexes in result.failed
        ]
        members.append(b'"failed":' + msgspec.json.encode(failed))
    if result.not_modified:
        members.append(b'"notModified":' + msgspec.json.encode(result.not_modified))
    if result.updated:
        members.append(b'"updated":[' + b",".join(_encode_updated(*item) for item in result.updated) + b"]")
    return b"{" + b",".join(members) + b"}"


def _encode_updated(index: int, answer: Answer) -> bytes:
    head = b'{"index":%d,"rev":"%s"' % (index, answer.rev.encode())
    return head + (b',"instances":' + answer.array() + b"}" if answer.count else b"}")


def exists(view: RegistryView, environment: str, app_id: str, service_name: str, rule: VersionRule) -> str:
    """The id of the newest version that the rule means (api-rules.md 3.2, D6).

    Raises:
        ServiceNotExists: the name (or alias) is unknown in this environment and application.
        ServiceVersionNotExists: the name is known, no version of it matches.
    """
    if rule.kind == "all":
        raise InvalidParams("version is missing - at query parameter `version`")
    group = view.groups.get((environment, app_id, service_name))
    ids = view.aliases.get((environment, app_id, service_name), {})
    rows = list(group.services.values()) if group else [view.services[id] for id in ids]
    if not rows:
        raise ServiceNotExists(f"{app_id}/{service_name} ({environment or 'no environment'})")
    chosen = select(rule, rows, ServiceRow.named_version)
    if not chosen:
        raise ServiceVersionNotExists(f"{app_id}/{service_name} has no version {rule.text}")
    return chosen[0].service_id


def service(view: RegistryView, service_id: str) -> bytes:
    """One microservice as `{"service":…}`."""
    return b'{"service":' + service_or_refuse(view, service_id).body + b"}"


def is_shared(service: Microservice, shared: frozenset[str]) -> bool:
    """Whether it stands in application `default` under one of these names or aliases."""
    return service.app_id == "default" and (service.service_name in shared or service.alias in shared)


def list_services(view: RegistryView, hidden: frozenset[str]) -> bytes:
    """All microservices as `{"services":[…]}`, `{}` when none; those of app `default` named in `hidden` left out."""
    bodies = [row.body for row in view.services.values() if not is_shared(row.service, hidden)]
    return b'{"services":[' + b",".join(bodies) + b"]}" if bodies else b"{}"
