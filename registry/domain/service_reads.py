"""service_reads: what there is of microservices, as functions of a view."""

from __future__ import annotations

from collections.abc import Iterable

from registry.domain.decide import service_or_refuse
from registry.domain.errors import (
    InvalidParams,
    ServiceNotExists,
    ServiceVersionNotExists,
)
from registry.domain.model import Microservice
from registry.domain.steps import Steps, some_at_a_time
from registry.domain.version import VersionRule, select
from registry.domain.view import Covers, RegistryView, ServiceRow


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


def list_services(view: RegistryView, hidden: frozenset[str], covers: Covers | None = None) -> Steps:
    """All microservices as `{"services":[…]}`, `{}` when none; those of app `default` named in `hidden` left out.

    They are as they were at the first step. Nothing is put together before it is told how much it is.
    """
    rows = (row for row in view.services.values() if not is_shared(row.service, hidden))
    return list_rows(rows, "services", covers)


def list_rows(rows: Iterable[ServiceRow], member: str, covers: Covers | None) -> Steps:
    """These microservices as `{"member":[…]}`, in the same way."""
    bodies = [row.body for row in rows if covers is None or covers(*row.group.key)]
    if not bodies:
        return [b"{}"]
    pieces: list[bytes] = []
    for some in some_at_a_time(bodies):
        yield sum(map(len, some)) + len(some)
        pieces += (b"," if pieces else b'{"%b":[' % member.encode(), b",".join(some))
    return [*pieces, b"]}"]
