"""Following: which logs are read all the time, and which are only listened to.

One read of all logs costs in proportion to their number, and there is one for each change. So only the lively ones,
which had news lately, are read together by the projector's loop. The quiet ones stand in groups, each with a read of
its own that waits until one of its logs has news. That log is lively from then on, and the eldest of the lively ones
become quiet. Where there are few logs, all of them are lively.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import Damaged
from registry.store.port import Store

logger = logging.getLogger(__name__)

#: Quiet logs in one group, and groups; where there are more logs than that, the groups are larger. A group costs a
#: connection, and its size is what it costs to be told of news of one of them.
GROUP_SIZE: Final = 256
GROUPS_MAX: Final = 64
#: How long one read of a group waits for news, ms. Each read names all logs of the group, so a longer one costs less.
QUIET_BLOCK_MS: Final = 60_000
#: Seconds until a group that could not be read is read again.
RETRY_S: Final = 1.0
#: A group that has news all the time is read less and less often, because each read names all of its logs. Seconds that
#: it waits first and at most; news that come after more than these are rare, and the next read follows at once.
NEWS_PAUSE_S: Final = 0.005
NEWS_PAUSE_MAX_S: Final = 0.1

Events = Mapping[Tenant, Sequence[tuple[Position, bytes]]]


@dataclass(slots=True, eq=False)
class _Group:
    tenants: dict[Tenant, None] = field(default_factory=dict)
    listening: asyncio.Task[None] | None = None
    #: Seconds until the next read, and whether that waits for them.
    pause_s: float = 0.0
    pausing: bool = False


class Following:
    """
    Args:
        position: up to which a tenant's log has been applied.
        absorb: applies what a group's read has brought.
        broken: told that a read failed, after which more may have been lost than is seen.
    """

    def __init__(
        self,
        store: Store,
        position: Callable[[Tenant], Position],
        absorb: Callable[[Events], Awaitable[None]],
        broken: Callable[[], None],
    ) -> None:
        self._store = store
        self._position = position
        self._absorb = absorb
        self._broken = broken
        #: Those with the latest news last.
        self._lively: dict[Tenant, None] = {}
        self._groups: list[_Group] = []
        self._group_of: dict[Tenant, _Group] = {}
        #: Set while `run` runs, to what has ended a group's reading.
        self._failed: asyncio.Future[None] | None = None

    def lively(self) -> dict[Tenant, Position]:
        """What to read together: the lively logs, and the place after which there may be news."""
        return {tenant: self._position(tenant) for tenant in self._lively}

    def heard(self, tenant: Tenant) -> None:
        """The log is to be followed, or has news."""
        if tenant in self._lively:
            del self._lively[tenant]
        else:
            self._leave_group(tenant)
        self._lively[tenant] = None
        if len(self._lively) > self._store.followed_max:
            self._quieten(max(self._store.followed_max // 2, 1))

    def forget(self, tenant: Tenant) -> None:
        """The log is not to be followed any more."""
        self._lively.pop(tenant, None)
        self._leave_group(tenant)

    def _leave_group(self, tenant: Tenant) -> None:
        group = self._group_of.pop(tenant, None)
        if group is None:
            return
        # Its read still waits for this log too, until it has any news: then it is read without.
        del group.tenants[tenant]
        if not group.tenants:
            self._groups.remove(group)
            self._stop(group)

    def _quieten(self, number: int) -> None:
        """Put the eldest of the lively logs into the smallest group, or into one of their own."""
        some = list(islice(self._lively, number))
        size = max(GROUP_SIZE, -(-(len(self._group_of) + number) // GROUPS_MAX))
        group = min(self._groups, key=lambda group: len(group.tenants), default=None)
        if group is None or len(group.tenants) + number > size:
            group = _Group()
            self._groups.append(group)
        for tenant in some:
            del self._lively[tenant]
            group.tenants[tenant] = None
            self._group_of[tenant] = group
        self._listen(group)

    # -- listening -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen to the quiet logs until cancelled. Raises what applying an event raises."""
        self._failed = asyncio.get_running_loop().create_future()
        try:
            for group in self._groups:
                self._listen(group)
            await self._failed
        finally:
            self._failed = None
            for group in self._groups:
                self._stop(group)

    def _listen(self, group: _Group) -> None:
        """Begin to listen to the group, or begin anew when others have joined it. One that pauses will name them."""
        if self._failed is not None and not group.pausing:
            self._stop(group)
            group.listening = asyncio.create_task(self._listen_to(group))

    def _stop(self, group: _Group) -> None:
        task, group.listening = group.listening, None
        group.pausing = False
        # One that has just brought news, and is told by that to begin anew, ends by itself.
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _listen_to(self, group: _Group) -> None:
        task, now = asyncio.current_task(), asyncio.get_running_loop().time
        try:
            while group.listening is task:
                await self._pause(group)
                began = now()
                await self._read(group)
                rare = now() - began > NEWS_PAUSE_MAX_S
                group.pause_s = 0.0 if rare else min(max(2 * group.pause_s, NEWS_PAUSE_S), NEWS_PAUSE_MAX_S)
        except Exception as error:
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    async def _pause(self, group: _Group) -> None:
        if group.pause_s:
            group.pausing = True
            await asyncio.sleep(group.pause_s)
            group.pausing = False

    async def _read(self, group: _Group) -> None:
        after = {tenant: self._position(tenant) for tenant in group.tenants}
        try:
            tail = await self._store.read(after, None, QUIET_BLOCK_MS)
            await self._absorb({tenant: tail.events[tenant] for tenant in tail.events})
        except Damaged:
            return  # it is set aside, and the next read does without it
        except StoreUnavailable as error:
            logger.info("quiet logs cannot be read: %s", error.detail, extra={"action": "read_failed"})
            self._broken()
            await asyncio.sleep(RETRY_S)
