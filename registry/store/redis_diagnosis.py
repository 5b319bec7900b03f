"""Diagnosis: what a failure of Redis means, and whose data are damaged when that is why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redis.exceptions import ClusterDownError, ReadOnlyError, ResponseError, TryAgainError

from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, Damaged, KeyName
from registry.store.keys import Keys
from registry.store.port import HistoryChanged, OutageSuspected
from registry.store.soundness import LIST_TYPES, TYPES, complaint, mistyped, read_position

#: Answers of a server that does not do its work now, to any command.
AWAY: Final = (ClusterDownError, TryAgainError, ReadOnlyError)
#: What refusals say that come of a key in which something else stands than the registry has put there.
WRONG_TYPE: Final = "WRONGTYPE"
SIGNS: Final = (WRONG_TYPE, "equal or smaller than the target stream", "exhausted the last possible ID")


class Diagnosis:
    """Finds the damaged key behind a refusal, which names none.

    Args:
        condition: what stands under a tenant's keys.
        type_of: the type of Redis that a key holds, `none` when there is no such key.
    """

    def __init__(
        self,
        keys: Keys,
        condition: Callable[[Tenant], Awaitable[Condition]],
        type_of: Callable[[str], Awaitable[str]],
    ) -> None:
        self._keys = keys
        self._condition = condition
        self._type_of = type_of
        self.listeners: list[Callable[[Damaged], None]] = []

    def damaged(self, tenant: Tenant | None, name: KeyName, reason: str, entry: str = "") -> Damaged:
        """The error to raise; every listener has heard of it."""
        damage = Damaged(tenant, self._keys.key(tenant, name), reason, entry)
        for listener in self.listeners:
            listener(damage)
        return damage

    async def cause(self, exc: Exception, key: str) -> StoreUnavailable:
        """What a failure means that came of a command about this key and others of its tenant."""
        if isinstance(exc, ResponseError) and any(sign in str(exc) for sign in SIGNS):
            tenant = self._keys.parse_tag(key)
            try:
                await (self._inspect_list() if tenant is None else self.inspect(tenant))
            except Damaged as damage:
                return damage
        return meaning(exc)

    async def blame(self, exc: Exception, tenants: Sequence[Tenant]) -> None:
        """Raise Damaged if it was the log of one of these tenants, or the list of tenants, that could not be read."""
        if not (isinstance(exc, ResponseError) and WRONG_TYPE in str(exc)):
            return
        await self._inspect_list()
        held = await asyncio.gather(*(self._type_of(self._keys.events(tenant)) for tenant in tenants))
        wrong = [(tenant, is_) for tenant, is_ in zip(tenants, held, strict=True) if is_ not in ("stream", "none")]
        found = [self.damaged(tenant, "events", mistyped(is_, TYPES["events"])) for tenant, is_ in wrong]
        if found:
            raise found[0]

    async def inspect(self, tenant: Tenant) -> None:
        """Raise Damaged if what stands under the tenant's keys cannot be what the registry has put there."""
        found = complaint(await self._condition(tenant))
        if found is not None:
            name, entry, reason = found
            raise self.damaged(tenant, name, reason, entry)

    async def _inspect_list(self) -> None:
        for name, must in LIST_TYPES.items():
            is_ = await self._type_of(self._keys.key(None, name))
            if is_ not in (must, "none"):
                raise self.damaged(None, name, mistyped(is_, must))

    def position(self, tenant: Tenant, head: bytes) -> Position:
        """What a head says. Raises Damaged."""
        position = read_position(head)
        if position is None:
            shown = head[:64].decode("utf-8", "replace")
            raise self.damaged(tenant, "head", f"it holds {shown!r}, which is no position")
        return position


def meaning(exc: Exception) -> StoreUnavailable:
    """What a failure, or a refusal of Redis or of a script, means. Scripts begin their own with a word in capitals."""
    text = str(exc)
    if not isinstance(exc, ResponseError) or isinstance(exc, AWAY):
        return StoreUnavailable(f"Redis did not answer: {text}")
    if text.startswith("EPOCH"):
        return HistoryChanged(f"this is not the log that was followed; its newest event is {text.partition(' ')[2]}")
    if text.startswith("OUTAGE"):
        return OutageSuspected(text.partition(" ")[2])
    return StoreUnavailable(f"Redis refused: {text}")
