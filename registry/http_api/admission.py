"""Admission: whether the caller may have an operation, and of which microservices.

The access table is the `access` of the operations. Labels are compared here with the microservice in the path; with
those in a query, a body or an answer the handlers compare them (`Call.covers`).
"""

from __future__ import annotations

import logging

from registry.access.reach import Reach
from registry.access.rule import ALWAYS, Need, Rule, Target
from registry.domain.access_errors import NoPermission
from registry.domain.errors import InstanceNotExists, RegistryError, ServiceNotExists
from registry.domain.view import GroupKey, RegistryView
from registry.http_api.call import Call
from registry.metrics.figure import Figure
from registry.usecases.discovery import Discovery
from registry.usecases.principals import Principals, credentials_of

logger = logging.getLogger(__name__)


class Admission:
    """
    Args:
        observing: what would be refused is counted and logged, and let through; but not what is about accounts.
    """

    def __init__(self, principals: Principals, discovery: Discovery, observing: bool = False) -> None:
        self.principals = principals
        self._discovery = discovery
        self._observing = observing
        #: Requests refused, and those that would have been.
        self.refused = 0
        self.would_refuse = 0

    async def admit(self, name: str, rule: Rule, call: Call, past: bool = False) -> None:
        """Let the call of an operation pass, with what it may reach.

        Args:
            past: it is answered about the past. Where that is read, labels are compared with the path.

        Raises:
            RegistryError: with the code of api-rules.md 3.16.
        """
        if not rule.applies(self.principals.scope):
            return
        observing = self._observing and rule.need is Need.RIGHT and rule.resource not in ALWAYS
        try:
            await self._admit(name, rule, call, past, observing)
        except RegistryError as error:
            if not observing:
                self.refused += error.code // 1000 in (401, 403)
                raise
            self._would_refuse(name, call, error)

    async def _admit(self, name: str, rule: Rule, call: Call, past: bool, observing: bool) -> None:
        credentials = credentials_of(call.header(b"authorization"), call.header(b"x-auth-token"))
        grant = call.grant = await self.principals.grant(credentials)
        call.actor = f"{grant.name}@{call.address}"
        reach = grant.reach(rule)
        if reach.nowhere:
            raise refusal(rule)
        if reach.everywhere:
            call.reach, call.covers = reach, None
            return
        if rule.target is Target.SERVICE and not past:
            await self._check_path(rule, call, reach)
        if not observing:
            call.reach, call.covers = reach, reach.covers
            return

        def covers(environment: str, app_id: str, service_name: str) -> bool:
            if not reach.covers(environment, app_id, service_name):
                self._would_refuse(name, call, NoPermission(f"for {app_id}/{service_name}"))
            return True

        call.covers = covers

    def may_also(self, name: str, rule: Rule, call: Call, key: GroupKey) -> bool:
        """Whether the caller, who may have one operation, may have this one too, of this microservice."""
        if not rule.applies(self.principals.scope) or (call.grant is not None and call.grant.reach(rule).covers(*key)):
            return True
        if self._observing:
            self._would_refuse(name, call, refusal(rule))
        return self._observing

    async def _check_path(self, rule: Rule, call: Call, reach: Reach) -> None:
        """Compare labels with the microservice in the path. One that is not there is told as the handler would."""
        if not await self._discovery.read(call.tenant, lambda view: path_is_covered(view, call, reach)):
            raise refusal(rule)

    def _would_refuse(self, name: str, call: Call, error: RegistryError) -> None:
        self.would_refuse += 1
        logger.info(
            "%s would be refused to %s: %d %s: %s",
            name,
            call.actor or "an unknown address",
            error.code,
            error.message,
            error.detail,
            extra={"action": "would_be_refused", "tenant": str(call.tenant)},
        )

    def figures(self) -> list[Figure]:
        return [
            Figure("access_refused_total", "Requests refused for want of a token or a right.", self.refused, True),
            Figure("access_would_refuse_total", "Requests that RBAC would have refused.", self.would_refuse, True),
        ]


def path_is_covered(view: RegistryView, call: Call, reach: Reach) -> bool:
    """Whether the microservice in the path is within reach. Raises what is told where it is not there."""
    service_id = call.service_id
    row = view.services.get(service_id)
    if row is None:
        missing = InstanceNotExists if "instance_id" in call.path else ServiceNotExists
        raise missing(f"service {service_id}")
    service = row.service
    return reach.covers(service.environment, service.app_id, service.service_name)


def refusal(rule: Rule) -> NoPermission:
    if rule.need is Need.ADMIN:
        return NoPermission("only the role admin may do this")
    return NoPermission(f"it needs the right to {rule.verb} {rule.resource}")
