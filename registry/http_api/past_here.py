"""PastHere: answers about the past in this process, by the handlers that answer about the present.

They are given an `Api` whose views are those of the time that is asked about: so the past is told by this version's
rules, with the same revs, and nothing is recorded by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from registry.access.rule import Target
from registry.clock import Clock
from registry.domain.errors import BeforeHistory, RegistryError, StoreUnavailable, Withheld
from registry.domain.find import FindQuery
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.unread import forget_answers
from registry.domain.view import GroupKey, RegistryView
from registry.history.cache import Kept
from registry.history.historian import Historian
from registry.history.moments import When, parse_when
from registry.history.part_walk import NOTHING_READ, Read, with_looked
from registry.history.past import DamagedFiles, EarlierLogs, Past, Silent, never_silent, none_earlier
from registry.history.told import moment_text
from registry.history.walk import HistoryBroken
from registry.http_api import reply
from registry.http_api.admission import path_is_covered, refusal
from registry.http_api.api import Api
from registry.http_api.call import AS_OF, Call
from registry.http_api.history import check_not_ahead, historian
from registry.http_api.operation import Kind, Operation
from registry.http_api.reply import Reply
from registry.projection.projector import Projector
from registry.store.port import HistoryChanged, PastLog, Store
from registry.usecases.discovery import Discovery

#: Times a question is asked anew whose log was trimmed or mended while it was answered.
TRIES_MAX: Final = 5


class PastHere:
    """
    Args:
        api: that of the present, for everything but views.
        store: where the logs are written.
        log: the logs and their snapshots as far back as they are kept; the store's own if there is no archive.
        damaged: which files of the archive cannot be read.
        earlier: what it holds of the time before a gap.
        is_silent: where it tells nothing of an instance.
    """

    def __init__(
        self,
        api: Api,
        store: Store,
        log: PastLog | None = None,
        damaged: DamagedFiles = lambda _: (),
        earlier: EarlierLogs = none_earlier,
        is_silent: Silent = never_silent,
    ) -> None:
        self._present = api
        self._store = store
        self._log = log or store
        self.past = Past(self._log, damaged=damaged, earlier=earlier, is_silent=is_silent)
        #: The views are set, looked at, and forgotten without another question in between.
        self._showing = asyncio.Lock()

    @cached_property
    def _views(self) -> _StillProjector:
        return _StillProjector(self._store)

    @cached_property
    def _api(self) -> Api:
        """Made with the first question: most replicas are never asked one here."""
        discovery = _StillDiscovery(
            self._views, self._present.discovery.shared, answer_max_bytes=self._present.answer_max_bytes
        )
        return replace(self._present, discovery=discovery, historian=Historian(self.past))

    async def answer(self, operation: Operation, call: Call) -> Reply:
        """Answer a call about the past.

        Raises:
            InvalidParams, BeforeHistory: there is no such time, or nothing is kept of it.
            StoreUnavailable: the log has lost events that are not put back yet.
            RegistryError: as the handler says.
        """
        for _ in range(TRIES_MAX):
            await self._check_whole(call.tenant, call.applied[0])
            try:
                if operation.kind is Kind.PAST:
                    return await operation.handler(self._api, call)
                return await self._as_of(operation, call)
            except HistoryBroken as broken:
                self.past.break_at(call.tenant, broken.position)
                historian(self._api).forget()
            except HistoryChanged:
                historian(self._api).forget()
        raise StoreUnavailable(f"the log of {call.tenant} changes faster than it can be read")

    async def _check_whole(self, tenant: Tenant, applied: Position) -> None:
        """Else what an emptied log does not tell would be answered as what never was."""
        head = await self._log.head(tenant) if applied != ORIGIN else ORIGIN
        if head < applied:
            raise Withheld(
                f"the log of {tenant} ends at {head.text()}, and went up to {applied.text()}: "
                "it has lost events that are not put back yet"
            )

    async def _as_of(self, operation: Operation, call: Call) -> Reply:
        when = parse_when(call.query(AS_OF), AS_OF)
        check_not_ahead(when, self._api.now_ms(), AS_OF)
        read: dict[Tenant, Read] = {DEFAULT_TENANT: NOTHING_READ, call.tenant: _named(call)}
        while True:
            seen = await self._seen(call, when, read)
            try:
                answer, refused = await self._shown(operation, call, seen), None
            except RegistryError as error:
                answer, refused = Reply(0, [], b""), error
            lacking = {tenant: kept.part for tenant, kept in seen.items() if kept.part is not None and kept.part.looked}
            if not lacking:
                break
            read |= {tenant: with_looked(part) for tenant, part in lacking.items()}
        if refused is not None:
            raise refused
        view = seen[call.tenant].view
        shown = moment_text(view.moment_ms if when.moment_ms is None else when.moment_ms)
        return Reply(answer.status, [*answer.headers, reply.as_of(shown)], answer.body)

    async def _seen(self, call: Call, when: When, read: Mapping[Tenant, Read]) -> dict[Tenant, Kept]:
        """The call's tenant, and the default one, in which stands what everybody finds, at the same moment."""
        seen = {call.tenant: await self.past.long_ago(call.tenant, when, read[call.tenant])}
        if call.tenant == DEFAULT_TENANT:
            return seen
        await self._check_whole(DEFAULT_TENANT, call.applied[1])
        moment_ms = seen[call.tenant].view.moment_ms if when.moment_ms is None else when.moment_ms
        try:
            seen[DEFAULT_TENANT] = await self.past.long_ago(DEFAULT_TENANT, When(moment_ms), read[DEFAULT_TENANT])
        except BeforeHistory:
            seen[DEFAULT_TENANT] = await self.past.eldest(DEFAULT_TENANT, read[DEFAULT_TENANT])
        return seen

    async def _shown(self, operation: Operation, call: Call, seen: Mapping[Tenant, Kept]) -> Reply:
        """The answer with these views. It counts if nothing was looked at that was not read into them."""
        limited = operation.access.target is Target.SERVICE and not call.reach.everywhere
        async with self._showing:
            for kept in seen.values():
                if kept.part is not None:
                    forget_answers(kept.view, kept.part)
            if limited and not path_is_covered(seen[call.tenant].view, call, call.reach):
                raise refusal(operation.access)
            self._views.show({tenant: kept.view for tenant, kept in seen.items()})
            try:
                return await operation.handler(self._api, call)
            finally:
                self._views.show({})


def _named(call: Call) -> frozenset[str]:
    """The microservice that the path names."""
    return frozenset({call.path["service_id"]}) if "service_id" in call.path else NOTHING_READ


class _StillProjector(Projector):
    """Views that stand still, so there is nothing to wait for."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "past", Clock(steady_ms=lambda: 0))
        self._shown: Mapping[Tenant, RegistryView] = {}

    def show(self, views: Mapping[Tenant, RegistryView]) -> None:
        self._shown = views

    @property
    def tenants(self) -> list[Tenant]:
        return list(self._shown)

    def view(self, tenant: Tenant) -> RegistryView:
        return self._shown.get(tenant) or RegistryView(tenant)

    def knows(self, tenant: Tenant) -> bool:
        return tenant in self._shown

    async def catch_up(self, tenant: Tenant) -> None:
        return


class _StillDiscovery(Discovery):
    """Nobody depends on what was found in the past."""

    def unrecorded(self, tenant: Tenant, queries: Sequence[FindQuery]) -> list[GroupKey]:
        return []
