"""Removals: everything that is removed through this replica leaves a line in its log - what, by whom, and where.

One rule for all ways in, because it looks at the events: a lease that lapsed, one deregistration, a batch, the oldest
paths. Each removal is told of by the replica that wrote it, and by no other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from registry.domain.events import Event, InstanceExpired, InstanceUnregistered, ServiceUnregistered
from registry.domain.model import Microservice
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.projection.projector import Projector

logger = logging.getLogger(__name__)

#: The events that remove. All others are passed over at little cost: registrations are many.
REMOVING: Final = (InstanceExpired, InstanceUnregistered, ServiceUnregistered)
#: Instances that are named of those that went with their microservice.
NAMED_MAX: Final = 10


class Removals:
    """The removals by one replica.

    Args:
        through: the address of this replica, as clients know it.
    """

    def __init__(self, projector: Projector, through: str) -> None:
        self._replica = projector.replica
        self._through = through
        projector.listen(self._note)

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        if event.replica != self._replica or not isinstance(event, REMOVING):
            return
        extra = {"tenant": str(tenant), "position": position.text()}
        if isinstance(event, InstanceExpired) and outcome.changes:
            self._expired(event, extra)
        elif isinstance(event, InstanceUnregistered) and outcome.changes:
            self._unregistered(event, outcome.changes[0].service, extra)
        elif isinstance(event, ServiceUnregistered) and outcome.removed is not None:
            self._service_unregistered(event, outcome.removed, outcome, extra)

    def _expired(self, event: InstanceExpired, extra: Mapping[str, object]) -> None:
        logger.info(
            "instance %s of service %s expired: last heartbeat at %d, lease ended at %d (Unix ms)",
            event.instance_id,
            event.service_id,
            event.last_beat_ms,
            event.deadline_ms,
            extra={"action": "instance_expired", **extra},
        )

    def _unregistered(self, event: InstanceUnregistered, service: Microservice, extra: Mapping[str, object]) -> None:
        logger.info(
            "instance %s of service %s (%s) was unregistered by %s through %s",
            event.instance_id,
            event.service_id,
            _named(service),
            event.actor,
            self._through,
            extra={"action": "instance_unregistered", "actor": event.actor, "through": self._through, **extra},
        )

    def _service_unregistered(
        self, event: ServiceUnregistered, service: Microservice, outcome: Outcome, extra: Mapping[str, object]
    ) -> None:
        instances = [change.row.instance_id for change in outcome.changes]
        logger.info(
            "service %s (%s) was unregistered by %s through %s, with %d instances",
            event.service_id,
            _named(service),
            event.actor,
            self._through,
            len(instances),
            extra={
                "action": "service_unregistered",
                "actor": event.actor,
                "through": self._through,
                "instances": instances[:NAMED_MAX],
                **extra,
            },
        )


def _named(service: Microservice) -> str:
    return f"{service.app_id}/{service.service_name}/{service.version}"
