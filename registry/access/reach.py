"""Reach: of which microservices a right is. And `may`, which says how far somebody's rights reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from registry.access.rule import Need, Rule, Target
from registry.domain.accounts import ADMIN, ANY, Permission


class Reach(Struct, frozen=True):
    """Everywhere, or where all labels of one of the limits have their values."""

    everywhere: bool = False
    limits: tuple[Mapping[str, str], ...] = ()

    @property
    def nowhere(self) -> bool:
        return not (self.everywhere or self.limits)

    def covers(self, environment: str, app_id: str, service_name: str) -> bool:
        """Whether a microservice is within it."""
        if self.everywhere:
            return True
        values = {"environment": environment, "appId": app_id}
        return any(_holds(limit, values, service_name) for limit in self.limits)


EVERYWHERE: Final = Reach(everywhere=True)
NOWHERE: Final = Reach()


def may(roles: Iterable[str], permissions: Iterable[Permission], rule: Rule) -> Reach:
    """How far the rights of somebody with these roles, which hold these permissions, reach for an operation.

    A limited right is none to an operation that is not about microservices.
    """
    if rule.need in (Need.NOTHING, Need.TOKEN) or ADMIN in roles:
        return EVERYWHERE
    if rule.need is Need.ADMIN:
        return NOWHERE
    limits: list[Mapping[str, str]] = []
    for permission in permissions:
        if rule.verb not in permission.verbs and ANY not in permission.verbs:
            continue
        for resource in permission.resources:
            if resource.type != rule.resource:
                continue
            if not resource.labels:
                return EVERYWHERE
            limits.append(resource.labels)
    return NOWHERE if rule.target is Target.WHOLE else Reach(limits=tuple(limits))


def _holds(limit: Mapping[str, str], values: Mapping[str, str], service_name: str) -> bool:
    """A label that is not known here is held by nothing."""
    for label, wanted in limit.items():
        if label == "serviceName":
            if not _matches(wanted, service_name):
                return False
        elif values.get(label) != wanted:
            return False
    return True


def _matches(pattern: str, name: str) -> bool:
    """Whether the name is the pattern, in which each `*` stands for any text. In one pass for every pattern."""
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    *middle, last = others
    if not name.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - len(last) >= at and name.endswith(last)
