"""Recents: the newest events that a replica remembers of all logs, bounded in bytes for all of them together."""

from __future__ import annotations

from collections import defaultdict, deque

from registry.domain.position import Position
from registry.domain.recent import Recent
from registry.domain.tenant import Tenant


class Recents:
    """What one replica remembers of all logs, up to a number of bytes together: it forgets the oldest anywhere.

    What a store loses is what was newest in all of its logs, so that a log with many events takes nothing from the
    others that would be lost together with its own. The newest event of each log stays in any case.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._of: dict[Tenant, Recent] = {}
        self.size = 0
        #: Whose event was followed by another one, eldest first; and how many of each tenant's there, the first ones,
        #: are remembered no more.
        self._followed: deque[Tenant] = deque()
        self._gone: dict[Tenant, int] = defaultdict(int)
        self._left_over = 0

    def of(self, tenant: Tenant) -> Recent:
        """What is remembered of its log; nothing, which is not kept, of one that was never heard of."""
        return self._of.get(tenant) or Recent()

    def add(self, tenant: Tenant, position: Position, written: bytes) -> None:
        """The next event of the tenant's log."""
        recent = self._of.get(tenant)
        if recent is None:
            recent = self._of[tenant] = Recent()
        size, number = recent.size, len(recent)
        recent.add(position, written)
        self.size += recent.size - size
        if number:
            self._followed.append(tenant)
            if len(recent) <= number:
                self._leave_over(tenant, number + 1 - len(recent))
        while self.size > self._bytes_max and self._followed:
            self._drop()

    def _drop(self) -> None:
        tenant = self._followed[0]
        recent = self._of[tenant]
        size = recent.size
        recent.drop()
        self.size += recent.size - size
        self._leave_over(tenant, 1)

    def _leave_over(self, tenant: Tenant, number: int) -> None:
        """That many more of the tenant's are gone. They stand in line until they come first, or are most of it."""
        gone, followed = self._gone, self._followed
        gone[tenant] += number
        self._left_over += number
        while followed and gone[followed[0]]:
            gone[followed.popleft()] -= 1
            self._left_over -= 1
        if 2 * self._left_over > len(followed):
            self._followed = deque(tenant for tenant in followed if not self._is_left_over(tenant))
            self._left_over = 0
        if not self._left_over:
            gone.clear()

    def _is_left_over(self, tenant: Tenant) -> bool:
        """Whether the next one of the tenant's in line is. It counts."""
        self._gone[tenant] -= 1
        return self._gone[tenant] >= 0

    def reset(self, tenant: Tenant, tail: Recent) -> None:
        """The log was replayed: these are its newest events."""
        self.forget(tenant)
        for position, written in tail.written():
            self.add(tenant, position, written)
        if tenant in self._of:
            self._of[tenant].log_bytes = tail.log_bytes

    def forget(self, tenant: Tenant) -> None:
        recent = self._of.pop(tenant, None)
        if recent is not None:
            self.size -= recent.size
            self._leave_over(tenant, len(recent) - 1)
