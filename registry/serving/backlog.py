"""Backlog: the events that wait for slow watchers, of all of them together.

An event is the same bytes for every watcher, so it takes its room once, however many it waits for. When there is no
more room, the watcher that has waited longest is let go: it comes back and pulls.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from registry.episode import Actions, Episode

logger = logging.getLogger(__name__)

#: What one event in one queue takes beside its bytes.
PLACE_BYTES: Final = 32


class Slow(Protocol):
    """A watcher for which events wait."""

    def drop(self) -> None:
        """End the connection; what waits for it is taken out of the backlog at once."""


class Backlog:
    """
    Args:
        bytes_max: what all that waits may take.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.size = 0
        #: In how many queues each event is.
        self._queues: dict[bytes, int] = {}
        #: Those that wait, the one that has waited longest first, and how many events each has waiting.
        self._slow: dict[Slow, int] = {}
        self._full = Episode(logger, Actions("watchers_let_go", "watchers_in_time"))
        #: Watchers that were let go.
        self.let_go = 0

    def __len__(self) -> int:
        """How many watchers wait."""
        return len(self._slow)

    def put(self, watcher: Slow, frame: bytes) -> None:
        """The frame waits for the watcher; where that is too much, those that have waited longest are let go."""
        queues = self._queues.get(frame, 0)
        self._queues[frame] = queues + 1
        self._slow[watcher] = self._slow.get(watcher, 0) + 1
        self.size += PLACE_BYTES + (len(frame) if not queues else 0)
        while self.size > self._bytes_max and self._slow:
            self._let_go(next(iter(self._slow)))

    def _let_go(self, watcher: Slow) -> None:
        self.let_go += 1
        self._full.occurs(
            "events wait for %d slow watchers, more than %d bytes of them (REGISTRY_WATCH_MAX_BYTES): "
            "those that have waited longest are let go",
            len(self._slow),
            self._bytes_max,
        )
        watcher.drop()

    def take(self, watcher: Slow, frame: bytes) -> None:
        """The frame no longer waits for this watcher."""
        self.size -= PLACE_BYTES
        self._queues[frame] -= 1
        if not self._queues[frame]:
            del self._queues[frame]
            self.size -= len(frame)
        self._slow[watcher] -= 1
        if not self._slow[watcher]:
            del self._slow[watcher]
        if not self._slow:
            self._full.ends("no watcher is slow any more")
