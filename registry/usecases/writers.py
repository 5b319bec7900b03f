"""Writers: when each replica could write, as far as this one has heard. It is for the record of an expiry only.

Replicas tell it of themselves where they tell how they are (`roster`), so that nobody asks for it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from registry.clock import Clock
from registry.domain.tenant import Tenant
from registry.domain.write_times import Window, WriteTimes, Writing, around, record, windows

#: A replica of which nothing new was heard for this long (ms) is one of which nothing is known since.
UNHEARD_MS: Final = 5_000
#: Replicas remembered, those that were heard last, dead ones among them. One that is cut off goes first, and is the one
#: that matters: so they are more than anyone runs.
REMEMBERED_MAX: Final = 256


class _Heard(NamedTuple):
    """What another replica said, when by its own clock (Unix ms), and when that was heard (steady ms)."""

    times: WriteTimes
    said_ms: int
    heard_ms: int


class Writers:
    """What one replica knows of the others."""

    def __init__(self, replica: str, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._others: OrderedDict[str, _Heard] = OrderedDict()

    @property
    def remembered(self) -> int:
        """Other replicas of which something is known."""
        return len(self._others)

    def hear(self, replica: str, times: WriteTimes, said_ms: int) -> None:
        """What another replica says of itself. Only what is new counts: it stays to be read for a while."""
        before = self._others.get(replica)
        if before is None or before.said_ms != said_ms:
            self._others[replica] = _Heard(times, said_ms, self._clock.steady_ms())
            self._others.move_to_end(replica)
            while len(self._others) > REMEMBERED_MAX:
                self._others.popitem(last=False)

    def since(self, since_ms: int, own: WriteTimes, part: Tenant) -> Writing:
        """When each replica could write to that part of the store since then (Unix ms), this one among them."""
        now, name = self._clock.steady_ms(), str(part)
        found: dict[str, list[Window]] = {self._replica: windows(own, name)}
        for replica, heard in self._others.items():
            unheard = now - heard.heard_ms > UNHEARD_MS
            found[replica] = windows(heard.times, name, heard.said_ms if unheard else 0)
        return record(around(found, since_ms, self._clock.wall_ms()))
