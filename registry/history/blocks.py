"""Blocks: stretches of logs that were read lately, with which microservice's instances each event is about.

So what happened to one microservice is found without reading what happened to all others.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from registry.domain.position import Position
from registry.domain.subjects import subject_of
from registry.domain.tenant import Tenant
from registry.history.moments import When
from registry.store.port import PastLog

#: Bytes of all blocks that are kept, as they are counted here, and what an event takes beside its own.
BLOCKS_MAX_BYTES: Final = 128 * 1024 * 1024
EVENT_BYTES: Final = 90
#: A block of fewer events is not kept: the end of a log is read in many small ones.
KEPT_LEAST: Final = 256


class Block:
    """Events of one epoch that follow each other without a gap, at least one.

    Args:
        events: as the log holds them.
    """

    def __init__(self, events: Sequence[tuple[Position, bytes]]) -> None:
        self.first = events[0][0]
        self.payloads = [payload for _, payload in events]
        self._of: dict[str, array[int]] = {}
        self._moments = array("q")
        for index, payload in enumerate(self.payloads):
            service_id, at_ms = subject_of(payload)
            self._moments.append(at_ms)
            of = self._of.get(service_id)
            if of is None:
                of = self._of[service_id] = array("I")
            of.append(index)
        self._reached = array("q", accumulate(self._moments, max))
        self.size = sum(map(len, self.payloads)) + EVENT_BYTES * len(self.payloads)

    def __len__(self) -> int:
        return len(self.payloads)

    @property
    def last(self) -> Position:
        return self.position(len(self) - 1)

    def position(self, index: int) -> Position:
        return Position(self.first.epoch, self.first.sequence + index)

    def begin(self, after: Position) -> int:
        """The index of the first event behind a position, which lies before the last one."""
        return max(after.sequence + 1 - self.first.sequence, 0) if after.epoch == self.first.epoch else 0

    def moments(self, start: int, moment_ms: int) -> Sequence[int]:
        """Of each event from `start` on the latest moment that is told up to and with it.

        Args:
            moment_ms: what the log had reached before; a moment before this one may be told in its place.
        """
        if start and self._reached[start - 1] > moment_ms:  # a snapshot of an earlier version tells no moment
            return [*self._moments[:start], *accumulate(self._moments[start:], max)]
        return self._reached

    def stop(self, start: int, moments: Sequence[int], when: When) -> int:
        """Before which event a time ends."""
        stop = len(self)
        if when.position is not None:
            if when.position.epoch == self.first.epoch:
                stop = min(stop, when.position.sequence - self.first.sequence + 1)
            elif when.position < self.first:
                stop = 0
        if when.moment_ms is not None:
            stop = min(stop, bisect_right(moments, when.moment_ms, start))
        return max(stop, start)

    def about(self, service_ids: Iterable[str], start: int, stop: int) -> list[int]:
        """The indexes, from `start` to before `stop`, of what concerns these microservices' instances, and of all that
        is not about instances."""
        found: list[int] = []
        for service_id in ("", *service_ids):
            of = self._of.get(service_id)
            if of is not None:
                found += of[bisect_left(of, start) : bisect_left(of, stop)]
        found.sort()
        return found


class Blocks:
    """What was used least lately goes first."""

    def __init__(self, store: PastLog, most_bytes: int = BLOCKS_MAX_BYTES) -> None:
        self._store = store
        self.most_bytes = most_bytes
        self.size = 0
        self._kept: OrderedDict[tuple[Tenant, Position], Block] = OrderedDict()
        #: Where blocks begin, in order.
        self._starts: dict[Tenant, list[Position]] = {}

    async def behind(self, tenant: Tenant, position: Position) -> tuple[Block, bool] | None:
        """A block with the event behind a position, which may be one of a later epoch; None where there is none.

        True with it: it was read before, and the log may hold something else there now. Raises StoreUnavailable.
        """
        block = self._find(tenant, position.next())
        is_remembered = block is not None
        if block is None:
            entries = (await self._store.read({tenant: position}, None, 0)).events.get(tenant)
            if not entries:
                return None
            block = Block(entries[: _unbroken(entries)])
            self._put(tenant, block)
        return block, is_remembered

    def _find(self, tenant: Tenant, position: Position) -> Block | None:
        starts = self._starts.get(tenant, [])
        index = bisect_right(starts, position) - 1
        if index < 0:
            return None
        key = tenant, starts[index]
        block = self._kept[key]
        if position.epoch != block.first.epoch or position > block.last:
            return None
        self._kept.move_to_end(key)
        return block

    def _put(self, tenant: Tenant, block: Block) -> None:
        if len(block) < KEPT_LEAST:
            return
        key = tenant, block.first
        if key in self._kept:
            self._drop(key)
        self._kept[key] = block
        self.size += block.size
        insort(self._starts.setdefault(tenant, []), block.first)
        while self.size > self.most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[Tenant, Position]) -> None:
        self.size -= self._kept.pop(key).size
        tenant, first = key
        starts = self._starts[tenant]
        del starts[bisect_left(starts, first)]
        if not starts:
            del self._starts[tenant]

    def clear(self) -> None:
        self._kept.clear()
        self._starts.clear()
        self.size = 0


def _unbroken(entries: Sequence[tuple[Position, bytes]]) -> int:
    """How many of the first entries follow each other within one epoch."""
    first, last = entries[0][0], entries[-1][0]
    if last.epoch == first.epoch and last.sequence - first.sequence == len(entries) - 1:
        return len(entries)  # positions rise
    number = 1
    while number < len(entries) and entries[number][0] == entries[number - 1][0].next():
        number += 1
    return number
