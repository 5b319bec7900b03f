"""StoreHost: the one Redis of the run - up, stalled or down - around the store in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from registry.store.memory_server import MemoryServer
from tests.simulation.virtual_time import VirtualLoop

Work = Callable[[], None]


class StoreHost:
    """Executes what arrives, in the order of arrival.

    Stalled, it keeps what arrives and executes it when it goes on, also for callers who have given up by then. Down,
    it refuses connections; `cut` breaks those that stand.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self.server = MemoryServer(lambda: loop.now_ms() + self.clock_offset_ms)
        self.clock_offset_ms = 0
        self.up = True
        self.stalled = False
        self._arrived: list[Work] = []
        #: Reads that wait for news, and calls under way; each is told when its connection breaks.
        self._blocked: dict[object, Work] = {}
        self._connections: dict[object, Work] = {}
        self._seen = ""

    # -- calls ---------------------------------------------------------------------------------------------------------

    def arrive(self, work: Work) -> None:
        """Execute now, or when the host goes on. What arrives at a host that is down is lost."""
        if not self.up:
            return
        if self.stalled:
            self._arrived.append(work)
            return
        work()
        self._tell_readers()

    def connect(self, call: object, broken: Work) -> None:
        """A call is under way; `broken` is called when its connection breaks before `disconnect`."""
        self._connections[call] = broken

    def disconnect(self, call: object) -> None:
        self._connections.pop(call, None)
        self._blocked.pop(call, None)

    def block(self, call: object, again: Work) -> None:
        """Execute `again` whenever the logs have grown, until `disconnect`."""
        self._blocked[call] = again

    def _tell_readers(self) -> None:
        if not self._blocked:
            return
        marks = [(str(tenant), data.head) for tenant, data in self.server.data.items()]
        seen = f"{len(self.server.tenants)} {marks}"
        if seen != self._seen:
            self._seen = seen
            for again in list(self._blocked.values()):
                again()

    # -- faults --------------------------------------------------------------------------------------------------------

    def stall(self) -> None:
        self.stalled = True

    def resume(self) -> None:
        self.stalled = False
        arrived, self._arrived = self._arrived, []
        for work in arrived:
            work()
        self._tell_readers()

    def stop(self) -> None:
        """Go down with the data kept: what has arrived and was not executed is lost."""
        self.up = False
        self._arrived.clear()
        self.cut()

    def start(self) -> None:
        """Come up again, as another process."""
        self.up = True
        self.server.run += 1

    def cut(self) -> None:
        """Break every connection: each call under way fails at once."""
        connections, self._connections = self._connections, {}
        self._blocked.clear()
        for broken in connections.values():
            broken()

    def backup(self) -> dict[str, Any]:
        """A copy of all data, as a replica of the store holds it when it lags behind."""
        return copy.deepcopy({"tenants": self.server.tenants, "data": self.server.data})

    def restore(self, backup: dict[str, Any]) -> None:
        """Fail over to that copy: whatever was written since is lost."""
        for name, value in copy.deepcopy(backup).items():
            setattr(self.server, name, value)
        self._seen = ""

    def flush(self) -> None:
        """FLUSHALL. Connections stand."""
        self.server.data.clear()
        self.server.tenants.clear()
        self._seen = ""
