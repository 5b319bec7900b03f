"""PartWalk: a walk that tells what concerns some microservices, and passes over the instances of all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from registry.domain.clone import clone
from registry.domain.fold import pass_over
from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.unread import Part, leave_out
from registry.domain.view import RegistryView
from registry.history.blocks import Block, Blocks
from registry.history.cache import Kept
from registry.history.moments import When
from registry.history.outlines import Outlines
from registry.history.walk import Applied, Walk, check_event
from registry.projection.restoring import read_event
from registry.store.port import HistoryChanged, PastLog

T = TypeVar("T")

#: The ids of the microservices whose instances are to be read; None: all.
Read = frozenset[str] | None
NOTHING_READ: Final[frozenset[str]] = frozenset()
#: Of more microservices than this together, all are read.
PART_MAX: Final = 64


def with_looked(part: Part) -> Read:
    """What has to be read so that what was looked at is there too."""
    read = part.read | part.looked
    return read if len(read) <= PART_MAX else None


class Lacking(Exception):
    """An event looked at instances that were not read, as one by which a microservice goes that has some, or none.

    `read`: what has to be.
    """

    def __init__(self, part: Part) -> None:
        super().__init__(f"the instances of {', '.join(part.looked)} were not read")
        self.read = with_looked(part)


class PartWalk(Walk):
    """As `Walk`. What is applied is about the instances of these microservices, or about no instances.

    `until` raises Lacking too.

    Args:
        base: a view, or a part of one, that has what is to be read.
        read: the ids of the microservices.
    """

    def __init__(
        self, store: PastLog, base: Kept, head: Position, blocks: Blocks, outlines: Outlines, read: frozenset[str]
    ) -> None:
        super().__init__(store, base, head)
        self._blocks = blocks
        self._outlines = outlines
        self.part = Part(read, set())

    @property
    def reached(self) -> Kept:
        return Kept(self._own(), self._payload, self.part)

    def _own(self) -> RegistryView:
        if self._view is None:
            self._view = clone(self._base.view, self.part)
        return self._view

    async def until(self, when: When) -> AsyncIterator[Applied]:
        tenant = self._base.view.tenant
        while (found := await self._blocks.behind(tenant, self._own().position)) is not None:
            block, is_remembered = found
            view = self._own()
            start = block.begin(view.position)
            moments = block.moments(start, view.moment_ms)
            stop = block.stop(start, moments, when)
            if start == 0 and block.first != view.position.next():
                await self._is_next(block.first, read_event(self._store, tenant, block.first, block.payloads[0]))
            for index in block.about(self.part.read, start, stop):
                self._pass_over(block, index - 1, moments)
                position, payload = block.position(index), block.payloads[index]
                event = read_event(self._store, tenant, position, payload)
                applied = await self._apply(position, payload, event, await self._is_next(position, event))
                if applied.outcome.added is not None:
                    leave_out(self._own().services[applied.outcome.id], self.part)
                if self.part.looked:
                    raise Lacking(self.part)
                yield applied
                if self.began_anew:
                    break
            else:
                self._pass_over(block, stop - 1, moments)
                if is_remembered:  # the log may have lost that, and hold there what was before that time
                    index = min(stop, len(block) - 1)
                    await check_event(self._store, tenant, block.position(index), block.payloads[index])
                if stop < len(block):
                    return
            await asyncio.sleep(0)
        if self.view.position < self._head:
            raise HistoryChanged(f"the log ends at {self.view.position.text()}, and ended at {self._head.text()}")

    def _pass_over(self, block: Block, index: int, moments: Sequence[int]) -> None:
        """Up to and with this event, unless it is there already."""
        view = self._own()
        if index >= 0 and (position := block.position(index)) > view.position:
            pass_over(view, position, max(view.moment_ms, moments[index]))
            self._payload = block.payloads[index]

    async def _load(self, tenant: Tenant, mark: Mark) -> RegistryView:
        return (await self._outlines.load(tenant, mark, self.part)).view


async def of_some(ask: Callable[[Read], Awaitable[T]], read: Read) -> T:
    """What is answered by what happened to some microservices, and where it needs more of them, by that."""
    while True:
        try:
            return await ask(read)
        except Lacking as lacking:
            read = lacking.read
