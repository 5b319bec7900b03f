"""Archiving beside snapshotting: how far apart the archive's snapshots are does not depend on how fast events come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.archive.folder import Folder
from registry.clock import Clock
from registry.domain.events import Event, InstanceStatusSet
from registry.domain.position import Position
from registry.domain.retention import Retention
from registry.domain.tenant import Tenant
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.store.port import Tail
from registry.upkeep.archiving import Archiving, Limits
from registry.upkeep.snapshotting import HOLD_MS, MEANWHILE_MAX, Snapshotting
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp
from tests.support.memory_replica import VIRTUAL, MemoryReplica, append, virtual_ms
from tests.support.snapshots import T

pytestmark = pytest.mark.anyio

#: A snapshot is due after this number of events.
EVERY = 10


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def come(server: MemoryServer, number: int) -> None:
    """A number of events, none of which adds an instance: where these are many, a snapshot is due later."""
    changes: list[Event] = [
        InstanceStatusSet(service_id="cart", instance_id="i", status="UP", **stamp()._asdict()) for _ in range(number)
    ]
    await append(server, *changes)


class Busy(MemoryStore):
    """Each time that the log is read, a snapshot's worth of events comes, and the replica applies them.

    `left`: how often.
    """

    def __init__(self, server: MemoryServer, lane: MemoryReplica) -> None:
        super().__init__(server, read_max=2)
        self._server, self._lane, self.left = server, lane, 0

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        if self.left:
            self.left -= 1
            await come(self._server, EVERY)
            await self._lane.follow()
        return await super().read(after, tenants_after, block_ms, follow)


async def filled(server: MemoryServer, folder: Path) -> tuple[MemoryReplica, Busy, Archiving, Snapshotting]:
    """A replica that archives a log of one instance."""
    lane = MemoryReplica(server, "a")
    busy, clock = Busy(server, lane), Clock(virtual_ms, virtual_ms)
    archiving = Archiving(busy, clock, "a", folder, "p", Limits(0, 1 << 30), HOLD_MS)
    snapshotting = Snapshotting(lane.store, lane.projector, clock, Retention(EVERY, history_ms=0), archiving)
    await append(server, service_registered(microservice("cart"), chosen=True))
    await append(server, instance_registered(instance("cart", "i"), chosen=True))
    return lane, busy, archiving, snapshotting


async def test_snapshots_are_written_while_a_log_is_archived(
    server: MemoryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all that comes meanwhile, however much it is, is behind one snapshot."""
    monkeypatch.setattr("registry.archive.contents.EVENTS_APART", EVERY)
    lane, busy, _, snapshotting = await filled(server, tmp_path)
    for number in range(5):
        busy.left = 3 if number == 2 else 0
        await come(server, EVERY)
        await lane.follow()
        await snapshotting.write(T, EVERY)
    assert snapshotting.stats.written == 5 + 3
    archived = sorted(file.head.end.sequence for file in Folder(tmp_path, "p", T).scan().snapshots)
    assert archived == [2 + EVERY * number for number in range(1, 8)]


async def test_an_archive_does_not_fall_ever_further_behind(server: MemoryServer, tmp_path: Path) -> None:
    """A log that grows faster than it is archived has no more snapshots than that."""
    lane, busy, archiving, snapshotting = await filled(server, tmp_path)
    written = []
    for _ in range(6):
        await come(server, EVERY)
        await lane.follow()
        before, busy.left = snapshotting.stats.written, 1000
        await snapshotting.write(T, EVERY)
        written.append(snapshotting.stats.written - before)
    assert busy.left
    assert max(written) == 1 + MEANWHILE_MAX
    assert archiving.stats.events >= EVERY
