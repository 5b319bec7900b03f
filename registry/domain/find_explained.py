"""find_explained: what a find would answer, and why each candidate is in the answer or not.

A pure function of (view, query), as `find` is, which it agrees with (tests/properties/test_find_explained.py). Nothing
is recorded of it: the consumer depends on nothing that was only tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Raw, Struct

from registry.domain.catalog import count_by_status
from registry.domain.decide import service_or_refuse
from registry.domain.errors import AnswerTooLarge, ErrorBody, RegistryError
from registry.domain.find import ANY_SERVICE, FindQuery, find, may_see
from registry.domain.model import Microservice
from registry.domain.version import select
from registry.domain.view import Covers, RegistryView, ServiceRow

#: Candidates that are told of; those that are in the answer come first.
CANDIDATES_MAX: Final = 500

#: environment, application: it stands in another one. name: it only has the name as its alias, and another microservice
#: bears it. version: the rule means others. tags: it lacks one. crossApp: the consumer is of another application, and
#: it does not allow that.
Reason = Literal["environment", "application", "name", "version", "tags", "crossApp"]


class Candidate(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A microservice version that bears the name, anywhere. Without a reason against it, it is in the answer."""

    service_id: str
    environment: str
    app_id: str
    service_name: str
    version: str
    against: list[Reason] = []
    instances: dict[str, int] = {}


class Explained(Struct, frozen=True, omit_defaults=True):
    """`answer` is what the client is sent, with its `rev`; or else `refused` is. `more`: candidates left out."""

    environment: str
    candidates: list[Candidate]
    rev: str = ""
    answer: Raw = Raw()
    refused: ErrorBody | None = None
    more: int = 0


def explain(view: RegistryView, query: FindQuery, most: int, covers: Covers | None = None) -> Explained:
    """What `find` says to this query, and why.

    Args:
        most: bytes of the largest answer that a client is sent.
        covers: which microservices are told of; None: all.

    Raises:
        ServiceNotExists: no such consumer.
    """
    consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
    environment = consumer.environment if consumer else query.environment
    found = sorted(_candidates(view, query, environment, consumer, covers), key=lambda one: bool(one[1]))
    shown = [_candidate(row, against) for row, against in found[:CANDIDATES_MAX]]
    more = max(len(found) - CANDIDATES_MAX, 0)
    try:
        answer = find(view, query)
        if answer.size > most:
            raise AnswerTooLarge(answer.size, most)
    except RegistryError as error:
        refused = ErrorBody(str(error.code), error.message, error.detail)
        return Explained(environment, shown, refused=refused, more=more)
    return Explained(environment, shown, answer.rev, Raw(answer.body), more=more)


def _candidates(
    view: RegistryView, query: FindQuery, environment: str, consumer: Microservice | None, covers: Covers | None
) -> Iterator[tuple[ServiceRow, list[Reason]]]:
    """Those that bear the name, with what is against each."""
    named = (environment, query.app_id, query.service_name) in view.groups
    meant = _meant(view, query, environment)
    for row in view.services.values():
        service = row.service
        if query.service_name not in (ANY_SERVICE, service.service_name, service.alias):
            continue
        if covers is not None and not covers(*row.group.key):
            continue
        against: list[Reason] = []
        if service.environment != environment:
            against.append("environment")
        if service.app_id != query.app_id and (query.app_id or query.service_name != ANY_SERVICE):
            against.append("application")
        if not against and named and query.service_name not in (ANY_SERVICE, service.service_name):
            against.append("name")
        if not against and row.service_id not in meant:
            against.append("version")
        if any(tag not in row.tags for tag in query.tags):
            against.append("tags")
        if "environment" not in against and not may_see(consumer, service):
            against.append("crossApp")
        yield row, against


def _candidate(row: ServiceRow, against: list[Reason]) -> Candidate:
    return Candidate(row.service_id, *row.group.key, row.service.version, against, count_by_status(row))


def _meant(view: RegistryView, query: FindQuery, environment: str) -> set[str]:
    """The ids of the versions that the rule means."""
    group = view.groups.get((environment, query.app_id, query.service_name))
    if query.service_name == ANY_SERVICE:
        groups = [list(group.services.values()) for group in view.groups.values()]
    elif group is not None:
        groups = [list(group.services.values())]
    else:
        ids = view.aliases.get((environment, query.app_id, query.service_name), {})
        groups = [[view.services[id] for id in ids]]
    return {row.service_id for rows in groups for row in select(query.rule, rows, ServiceRow.named_version)}
