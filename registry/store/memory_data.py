"""Data of the store in memory: what is kept of one tenant. Times in Unix ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, KeyName
from registry.store.lease import LeaseName
from registry.store.memory_notes import NoteData
from registry.store.memory_snapshots import SnapshotData
from registry.store.soundness import TYPES


class Gone(NamedTuple):
    """A tenant that was taken off the list when its log went up to `at`; `since_ms`: when that was."""

    tenant: Tenant
    at: Position
    since_ms: int


@dataclass(frozen=True, slots=True)
class Struck:
    """An entry of the list of tenants that was deleted: the others keep their places."""


#: One of the list of tenants: an announcement, what was taken off it again, or None, which names no tenant.
Entry = Tenant | Gone | Struck | None


@dataclass(slots=True)
class TenantData:
    head: Position = ORIGIN
    events: list[tuple[Position, bytes]] = field(default_factory=list)
    #: Deadline of each lease, ms; a lapsed one stays until it is looked at, as in Redis.
    leases: dict[LeaseName, int] = field(default_factory=dict)
    lapses: dict[LeaseName, tuple[str, int]] = field(default_factory=dict)
    #: When each lease was renewed by a heartbeat, ms, and through which replica.
    beats: dict[LeaseName, tuple[int, str]] = field(default_factory=dict)
    #: When, and in which run of the server.
    pulse: tuple[int, int] | None = None
    rearmed: int = 0
    notes: NoteData = field(default_factory=dict)
    snapshots: SnapshotData = field(default_factory=SnapshotData)
    #: Damage done by a test: keys of another type, a head that is no position (in its place), and the last id that an
    #: entry was given that stands there no longer.
    wrong: dict[KeyName, str] = field(default_factory=dict)
    head_text: str = ""
    last: Position = ORIGIN

    def condition(self) -> Condition:
        wrong = {name: self.wrong[name] for name in TYPES if name in self.wrong}
        head = self.head_text or ("" if self.head == ORIGIN else self.head.text())
        newest = self.events[-1][0] if self.events else ORIGIN
        last = max(newest, self.last)
        found = [head, *("" if position == ORIGIN else position.text() for position in (newest, last))]
        return Condition(wrong, "" if "head" in wrong else found[0], *(["", ""] if "events" in wrong else found[1:]))
