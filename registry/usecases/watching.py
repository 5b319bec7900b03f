"""Watching: consumers are told of every change to what they have found, in the order of the log.

An event is handed over after the view holds the change, so a client that pulls because of it sees it (D13). Events
reach the watchers of every replica, because each replica follows the same log. Handing over never waits: a watcher that
cannot take an event is dropped by its `deliver`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from registry.domain.dependencies import watching
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, ServiceUnregistered
from registry.domain.find import may_see
from registry.domain.model import ServiceKey
from registry.domain.outcome import Change, Outcome
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.view import Covers
from registry.projection.projector import Projector

#: Watchers of one replica; one more is refused.
WATCHERS_MAX: Final = 50_000
#: Consumers remembered whose finds could not be recorded. One more hears nothing until it finds again.
DOUBTED_MAX: Final = 50_000
#: Deliveries in one turn of the loop, so that a large fan-out holds up no request for long.
DELIVERIES_PER_TURN: Final = 200


class Watcher(Protocol):
    """One socket of a consumer."""

    def deliver(self, frame: bytes) -> None:
        """Take one event, framed for the wire, without waiting."""

    def drop(self) -> None:
        """End the connection without a farewell, so that the client comes back and pulls."""


class Watching:
    """The watchers of one replica.

    Args:
        frame: how an event's JSON becomes what is written to each socket; done once per event.
    """

    def __init__(self, projector: Projector, frame: Callable[[bytes], bytes]) -> None:
        self._projector = projector
        self._frame = frame
        #: By consumer; each with the providers that it may be told of, None for all.
        self._watchers: dict[tuple[Tenant, str], dict[Watcher, Covers | None]] = defaultdict(dict)
        self._pending: deque[tuple[bytes, deque[Watcher]]] = deque()
        self._count = 0
        #: Consumers that have found what could not be recorded.
        self._doubted: set[tuple[Tenant, str]] = set()
        projector.listen(self._note)
        projector.listen_for_rebuilds(self._drop_all)

    @property
    def count(self) -> int:
        return self._count

    @property
    def pending(self) -> int:
        """Deliveries that are left for the next turns of the loop."""
        return sum(len(watchers) for _, watchers in self._pending)

    def add(self, tenant: Tenant, consumer_id: str, watcher: Watcher, covers: Covers | None = None) -> None:
        """From now on deliver to this watcher what concerns the consumer, about providers that are covered."""
        if self._count >= WATCHERS_MAX:
            raise StoreUnavailable(f"this replica has {WATCHERS_MAX} watchers already")
        self._watchers[tenant, consumer_id][watcher] = covers
        self._count += 1

    def remove(self, tenant: Tenant, consumer_id: str, watcher: Watcher) -> None:
        watchers = self._watchers.get((tenant, consumer_id), {})
        if watcher in watchers:
            del watchers[watcher]
            self._count -= 1
            if not watchers:
                del self._watchers[tenant, consumer_id]

    def doubt(self, tenant: Tenant, consumer_id: str) -> None:
        """What this consumer has found could not be recorded, so its watchers would not be told of changes to it.

        With the next event, when the store is back, they are dropped: they come back, pull, and are told again.
        """
        if len(self._doubted) < DOUBTED_MAX:
            self._doubted.add((tenant, consumer_id))

    def _drop_doubted(self, tenant: Tenant) -> None:
        for consumer in [one for one in self._doubted if one[0] == tenant and one in self._watchers]:
            self._doubted.discard(consumer)
            for watcher in list(self._watchers[consumer]):
                watcher.drop()

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        if not self._count:
            return
        if self._doubted:
            self._drop_doubted(tenant)
        for change in outcome.changes:
            watchers = self._concerned(tenant, change, outcome.released)
            if watchers:
                self._pending.append((self._frame(encode_change(tenant, change)), watchers))
                if len(self._pending) == 1:
                    self._turn()
        if isinstance(event, ServiceUnregistered) and outcome.error is None:
            for watcher in list(self._watchers.get((tenant, event.service_id), ())):
                watcher.drop()

    def _drop_all(self, tenant: Tenant) -> None:
        """The log is another one: no event tells from here to there, so the clients have to pull."""
        for (of_tenant, _), watchers in self._watchers.items():
            if of_tenant == tenant:
                for watcher in list(watchers):
                    watcher.drop()

    def _concerned(self, tenant: Tenant, change: Change, released: Sequence[str]) -> deque[Watcher]:
        """Each socket once, of consumers that may see the provider: what find hides, no event shows."""
        service, services = change.service, self._projector.view(tenant).services
        key = (service.environment, service.app_id, service.service_name)
        concerned: deque[Watcher] = deque()
        for consumer_id in dict.fromkeys((*watching(self._projector.view(tenant), key), *released)):
            watchers = self._watchers.get((tenant, consumer_id))
            if watchers and consumer_id in services and may_see(services[consumer_id].service, service):
                concerned += (one for one, covers in watchers.items() if covers is None or covers(*key))
        return concerned

    def _turn(self) -> None:
        """Deliver some; what is left follows in the next turns, in order."""
        left = DELIVERIES_PER_TURN
        while self._pending and left:
            frame, watchers = self._pending[0]
            while watchers and left:
                watchers.popleft().deliver(frame)
                left -= 1
            if not watchers:
                self._pending.popleft()
        if self._pending:
            asyncio.get_running_loop().call_soon(self._turn)


def encode_change(tenant: Tenant, change: Change) -> bytes:
    """The event as clients read it (api-rules.md 3.9): the instance is complete, also in a DELETE."""
    service = change.service
    key = ServiceKey(
        str(tenant), service.environment, service.app_id, service.service_name, service.alias, service.version
    )
    return b'{"action":"%s","key":%s,"instance":%s}' % (
        change.action.encode(),
        msgspec.json.encode(key),
        change.row.body,
    )
