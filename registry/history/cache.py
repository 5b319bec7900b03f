"""Cache: views of the past that were asked about lately, none of them ever changed, so that the next answer is near."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.unread import Part
from registry.domain.view import RegistryView
from registry.domain.weight import of_instances
from registry.history.moments import When

#: Views kept, and their bytes as they are counted here.
VIEWS_MAX: Final = 32
VIEWS_BYTES_MAX: Final = 512 * 1024 * 1024
#: What an instance takes beside its content, and a microservice, bytes.
INSTANCE_BYTES: Final = 500
SERVICE_BYTES: Final = 3_000


class Kept(NamedTuple):
    """A view, or a part of one.

    `payload`: the event at the view's position as the log holds it; b"" at the beginning of a log.
    """

    view: RegistryView
    payload: bytes
    part: Part | None = None

    def has(self, read: frozenset[str] | None) -> bool:
        """Whether the instances of these microservices were read into it; None: of all."""
        return self.part is None or (read is not None and read <= self.part.read)


#: By what a view is kept: of a part by what was read into it.
_Key = tuple[Tenant, Position, frozenset[str] | None]


class Views:
    """What was used least lately goes first, and what is too large by itself is not kept."""

    def __init__(self, most: int = VIEWS_MAX, most_bytes: int = VIEWS_BYTES_MAX) -> None:
        self._most = most
        self.most_bytes = most_bytes
        self._kept: OrderedDict[_Key, Kept] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, kept: Kept) -> None:
        """From now on nobody may change the view."""
        key = kept.view.tenant, kept.view.position, kept.part.read if kept.part is not None else None
        self._drop(key)
        weight = weigh(kept)
        if weight > self.most_bytes:
            return
        self._kept[key] = kept
        self.size += weight
        while len(self._kept) > self._most or self.size > self.most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= weigh(kept)

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0

    def nearest(self, tenant: Tenant, when: When, read: frozenset[str] | None = None) -> Kept | None:
        """The one that lies nearest before the time, or at it, and has what is wanted, as `Kept.has` says."""
        reached = [
            (key, kept)
            for key, kept in self._kept.items()
            if key[0] == tenant and kept.has(read) and when.reaches(kept.view.position, kept.view.moment_ms)
        ]
        if not reached:
            return None
        key, kept = max(reached, key=lambda item: item[0][1])
        self._kept.move_to_end(key)
        return kept


def weigh(kept: Kept) -> int:
    """About the bytes that a view takes. Views share what is the same in them, which is not looked at."""
    view, part = kept.view, kept.part
    services = SERVICE_BYTES * len(view.services)
    if part is None:
        return view.held_bytes + INSTANCE_BYTES * view.instance_count + services
    rows = [row for id in part.read if (row := view.services.get(id)) is not None]
    return services + sum(of_instances(row) + INSTANCE_BYTES * len(row.instances) for row in rows)
