"""Followed: at level debug the log says of each event who asked for it, where it stands, and what came of it.

Every replica says so when it applies it, with the id of the request that it comes from: so a request can be followed
from the replica that took it to all others.
"""

from __future__ import annotations

import logging

from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import ACCOUNTS, Tenant
from registry.projection.projector import Projector

logger = logging.getLogger(__name__)


def follow_events(projector: Projector) -> None:
    """Say each event from now on, if anybody wants to know."""
    if logger.isEnabledFor(logging.DEBUG):
        projector.listen(_say)


def _say(tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
    kind = str(type(event).__struct_config__.tag)
    fields = {
        "action": "event_applied",
        "kind": kind,
        "tenant": str(tenant) if tenant != ACCOUNTS else "",
        "position": position.text(),
        "request_id": event.request_id,
        "by": event.replica,
        "about": outcome.id,
        "refused": outcome.error.code if outcome.error is not None else "",
    }
    effect = f"refused with {outcome.error.code}" if outcome.error is not None else "applied"
    said = {name: value for name, value in fields.items() if value != ""}
    logger.debug("%s at %s %s", kind, position.text(), effect, extra=said)
