"""Events: how many of each kind were applied, and why instances went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from registry.domain.events import Event, InstanceExpired, InstanceUnregistered
from registry.domain.outcome import DELETE, Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.metrics.figure import Figure
from registry.projection.projector import Projector

#: Why instances went: the lease ended; it ended, and expiry was paused then; a client asked for it; their microservice
#: went.
CAUSES: Final = ("expired", "expired_after_pause", "unregistered", "service_unregistered")


class EventCounts:
    """Those that one replica has applied since it serves, told apart by who wrote them."""

    def __init__(self, projector: Projector) -> None:
        self._replica = projector.replica
        self._own: Counter[type[Event]] = Counter()
        self._others: Counter[type[Event]] = Counter()
        self._removed = dict.fromkeys(CAUSES, 0)
        projector.listen(self._note)

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        if event.replica != self._replica:
            self._others[type(event)] += 1
            return
        self._own[type(event)] += 1
        for change in outcome.changes:
            if change.action == DELETE:
                self._removed[_cause(event)] += 1

    def figures(self) -> Iterator[Figure]:
        for origin, counts in (("own", self._own), ("other", self._others)):
            for event_type, count in counts.items():
                labels = {"kind": str(event_type.__struct_config__.tag), "origin": origin}
                help = "Events applied, by kind, and by whether this replica has written them."
                yield Figure("events_total", help, count, True, labels)
        for cause, removed in self._removed.items():
            help = "Instances that went by events of this replica, by cause."
            yield Figure("instances_removed_total", help, removed, True, {"cause": cause})


def _cause(event: Event) -> str:
    if isinstance(event, InstanceExpired):
        return "expired_after_pause" if event.paused_ms else "expired"
    return "unregistered" if isinstance(event, InstanceUnregistered) else "service_unregistered"
