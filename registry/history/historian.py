"""Historian: answers questions about what happened, from the log and its snapshots.

Long stretches of the log are read from the newest to the eldest, each from the snapshot at its beginning, until the
answer is complete: most questions are about what was lately.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, structs

from registry.access.reach import Reach
from registry.domain.errors import BeforeHistory, InvalidParams
from registry.domain.events import Event, HistoryResumed
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.tenant import Tenant
from registry.domain.version import VersionRule
from registry.domain.view import GroupKey, RegistryView
from registry.history.choice import Choice, service_of
from registry.history.churn import STEPS_MAX, Churn, Timeline
from registry.history.difference import Difference, Held, difference, hold
from registry.history.explain import FAR_AS_READ, UNSEEN, Explanation, Life, explain
from registry.history.explain_find import LOOK_BACK_MS, FindExplanation, Left, explain_find, is_called
from registry.history.moments import END, When
from registry.history.newest import Newest, NewestOf
from registry.history.part_walk import NOTHING_READ, Read, of_some
from registry.history.past import NAMED_MAX, Past, Stretch, covers, goes_on_from
from registry.history.told import Told, encode_told, moment_text, tell
from registry.history.walk import Applied, Walk

#: Events of one page.
PAGE_MAX: Final = 1000
PAGE_DEFAULT: Final = 100
#: Bytes after which a page ends.
PAGE_MAX_BYTES: Final = 4 * 1024 * 1024


class PageQuery(Struct, frozen=True):
    """Which events, between which times (both included), and behind which place (left out) the page goes on."""

    choice: Choice
    newest_first: bool = True
    since: When | None = None
    until: When = END
    after: Position | None = None
    before: Position | None = None
    limit: int = PAGE_DEFAULT


class Page(Struct, frozen=True, rename="camel"):
    """`next`: what to go on with, as `before` (newest first) or `after`; "" at the end.

    `position`: the place in the log up to which it has looked. `kept_since`: what was before
    this moment is not kept; "": all is. `damaged`: files of the archive that cannot be read, ten of them at most: what
    they held, and what was before, is not told.
    """

    events: list[Told]
    next: str
    position: str
    kept_since: str
    damaged: list[str]


class _Encoded(NamedTuple):
    position: Position
    json: bytes


class _Found(NamedTuple):
    """Events, whether there are more, and up to where it was looked."""

    events: list[_Encoded]
    more: bool
    reached: Position


class _Last:
    """The last of many events: a number of them, or as many as fill a page and one more."""

    def __init__(self, most: int) -> None:
        self._events: deque[_Encoded] = deque()
        self._most = most
        self._size = 0

    def add(self, told: _Encoded) -> None:
        self._events.append(told)
        self._size += len(told.json)
        while len(self._events) > self._most or self._has_too_many_bytes():
            self._size -= len(self._events.popleft().json)

    def _has_too_many_bytes(self) -> bool:
        return self._size - sum(len(told.json) for told in islice(self._events, 2)) > PAGE_MAX_BYTES

    def backwards(self) -> Iterator[_Encoded]:
        return reversed(self._events)


class Historian:
    """Errors of all methods: those of `Past.at`."""

    def __init__(self, past: Past, newest: NewestOf | None = None) -> None:
        self.past = past
        self.newest = newest or NewestOf(past)

    def forget(self) -> None:
        """What was read may not be what the log holds now."""
        self.past.forget()
        self.newest.clear()

    # -- events --------------------------------------------------------------------------------------------------------

    async def page(self, tenant: Tenant, query: PageQuery) -> bytes:
        """One page of events, a `Page` as JSON. It ends early where it would be too large."""
        eldest = await self.past.begins(tenant)
        look = self._newest if query.newest_first else self._oldest
        events, more, reached = await of_some(
            lambda read: look(tenant, query, eldest, read), _read(query.choice.service_id)
        )
        rest = {"next": events[-1].position.text() if more else "", "position": reached.text()}
        kept = {"keptSince": _kept_since(await self.past.kept_from(eldest))}
        told = msgspec.json.encode({**rest, **kept, "damaged": self.past.damaged(tenant)[:NAMED_MAX]})
        return b'{"events":[%b],%b' % (b",".join(event.json for event in events), told[1:])

    async def _oldest(self, tenant: Tenant, query: PageQuery, eldest: RegistryView, read: Read) -> _Found:
        found = await self._resumed(tenant, query, eldest)
        if len(found) == query.limit:
            return _Found(found, True, found[-1].position)
        walk = await self._begin(tenant, query, eldest, read)
        size = 0
        async for applied in walk.until(_upper(query)):
            if walk.base.position < (after := query.after or ORIGIN) and not await self._goes_on(
                tenant, applied.event, after
            ):
                raise BeforeHistory(f"the log has lost what stood at {after.text()}, and cannot tell it again")
            told = self._chosen(walk, applied, query)
            if told is not None:
                found.append(told)
                size += len(told.json)
                if len(found) == query.limit or size > PAGE_MAX_BYTES:
                    return _Found(found, True, applied.position)
        return _Found(found, False, max(walk.view.position, query.after or ORIGIN))

    async def _resumed(self, tenant: Tenant, query: PageQuery, eldest: RegistryView) -> list[_Encoded]:
        """Who stands where a lost log was seeded from, or before that and is told what came since, goes on with what
        tells of it. Raises BeforeHistory.
        """
        if query.after is None or query.after >= eldest.position:
            return []
        resumed = await self.past.resumption(tenant)
        if resumed is None or not await self._goes_on(tenant, resumed.event, query.after):
            raise self.past.before_history(eldest)
        if resumed.position < eldest.position:  # the state there cannot be read, nor what came between be told
            raise self.past.before_history(eldest)
        position, event, outcome = resumed
        told = _Encoded(position, encode_told(tell(position, event, query.choice.seen(outcome), None)))
        return [told] if query.choice.takes(event, outcome, None) else []

    async def _goes_on(self, tenant: Tenant, event: Event, after: Position) -> bool:
        """Whether who stands behind the end of what a log had left is told what became of the rest: by this event, with
        which it goes on, or by a later one.
        """
        if not isinstance(event, HistoryResumed) or goes_on_from(event, after):
            return True
        return not covers(event, after) and (await self.newest.of(tenant)).view.includes(after)

    async def _begin(self, tenant: Tenant, query: PageQuery, eldest: RegistryView, read: Read) -> Walk:
        """Where the first event that is asked for can be."""
        start = When(position=query.after) if query.after is not None else None
        if start is None and query.since is not None:
            start = query.since.before()
        if start is None or not start.reaches(eldest.position, eldest.moment_ms):
            start = When(position=eldest.position)
        return await self.past.walker(tenant, start, read)

    async def _newest(self, tenant: Tenant, query: PageQuery, eldest: RegistryView, read: Read) -> _Found:
        lately = await self.newest.of(tenant)
        reached, begins, upper = lately.view.position, lately.begins, _upper(query)
        found, ended = _lately(lately, query, upper)
        fits = _fitting(found, query.limit)
        if len(found) > fits:
            return _Found(found[:fits], True, reached)
        if ended:
            return _Found(found, False, reached)
        upper = upper.up_to(begins)
        for stretch in await self.past.stretches(tenant):
            if stretch.start >= begins or (query.before is not None and stretch.start >= query.before):
                continue
            walk = await self.past.walker(tenant, When(position=stretch.start), read)
            # One more than is wanted says that there are more.
            newest = _Last(query.limit - len(found) + 1)
            async for applied in walk.until(upper.up_to(stretch.end)):
                told = self._chosen(walk, applied, query)
                if told is not None:
                    newest.add(told)
            found += newest.backwards()
            fits = _fitting(found, query.limit)
            if len(found) > fits:
                return _Found(found[:fits], True, reached)
            if query.after is not None and stretch.start <= query.after:
                break
            if query.since is not None and query.since.before().reaches(walk.base.position, walk.base.moment_ms):
                break
        return _Found(found, False, reached)

    @staticmethod
    def _chosen(walk: Walk, applied: Applied, query: PageQuery) -> _Encoded | None:
        position, event, outcome = applied
        if query.after is not None and position <= query.after:
            return None
        if query.since is not None and query.since.before().reaches(position, walk.view.moment_ms):
            return None
        service = service_of(walk.view, event, outcome)
        if not query.choice.takes(event, outcome, service):
            return None
        return _Encoded(position, encode_told(tell(position, event, query.choice.seen(outcome), service)))

    # -- explaining ----------------------------------------------------------------------------------------------------

    async def explain(self, tenant: Tenant, choice: Choice, until: When) -> Explanation:
        """Where an instance is at that time, and why. Of what is out of reach nothing was ever seen."""
        eldest = await self.past.kept_from(await self.past.begins(tenant))
        found = await self._explain_lately(tenant, choice, eldest) if until == END else None
        if found is None:
            found = await of_some(
                lambda read: self._explain(tenant, choice, until, eldest, read), _read(choice.service_id)
            )
        name = found.service
        if name is not None and not choice.reach.covers(name.env, name.app_id, name.service_name):
            kept = _kept_since(eldest), eldest.position == ORIGIN
            found = explain(Life(choice.service_id, choice.instance_id), RegistryView(tenant), (), *kept, None)
        if found.state in UNSEEN and not choice.reach.everywhere:
            found = structs.replace(found, sentence=found.sentence.removesuffix(".") + FAR_AS_READ)
        return found

    async def _explain_lately(self, tenant: Tenant, choice: Choice, eldest: RegistryView) -> Explanation | None:
        """By the newest events alone, if these say where it is."""
        ids = choice.service_id, choice.instance_id
        newest = await self.newest.of(tenant)
        row = newest.view.instance(*ids)
        registration = await self._registration(newest.view, choice)
        newest = await self.newest.of(tenant)
        if newest.view.instance(*ids) is not row:
            return None  # it has changed meanwhile
        life = Life(*ids)
        life.begin(row is not None)
        for position, _, event, outcome, service in reversed(list(newest.backwards(choice.service_id))):
            life.add(position, event, outcome, service)
        if not life.is_told or life.held != (row is not None):
            return None
        kept_since, complete = _kept_since(eldest), eldest.position == ORIGIN
        return explain(life, newest.view, (), kept_since, complete, registration)

    async def _explain(
        self, tenant: Tenant, choice: Choice, until: When, eldest: RegistryView, read: Read
    ) -> Explanation:
        view = (await self.past.seen(tenant, until, read)).view
        row = view.instance(choice.service_id, choice.instance_id)
        life = Life(choice.service_id, choice.instance_id)
        later: list[Told] = []
        for stretch in await self.past.stretches(tenant):
            if stretch.start > view.position or (row is None and await self._is_silent(tenant, stretch, choice)):
                continue
            walk = await self.past.walker(tenant, When(position=stretch.start), read)
            later += (happened.told for happened in reversed(life.happened))
            life.begin(walk.view.instance(choice.service_id, choice.instance_id) is not None)
            async for position, event, outcome in walk.until(until.up_to(stretch.end)):
                life.add(position, event, outcome, service_of(walk.view, event, outcome), walk.view)
            if life.is_told:
                break
        registration = await self._registration(view, choice)
        kept_since, complete = _kept_since(eldest), eldest.position == ORIGIN
        return explain(life, view, later, kept_since, complete, registration)

    async def _is_silent(self, tenant: Tenant, stretch: Stretch, choice: Choice) -> bool:
        """Whether the stretch, behind which the instance is not there, tells nothing of it: nor was it there before."""
        ids = choice.service_id, choice.instance_id
        return await self.past.is_silent(tenant, stretch.start, stretch.end, *ids)

    async def _registration(self, view: RegistryView, choice: Choice) -> Event | None:
        row = view.instance(choice.service_id, choice.instance_id)
        return await self.past.event(view.tenant, parse_position(row.registered)) if row is not None else None

    async def explain_find(
        self, tenant: Tenant, key: GroupKey, rule: VersionRule, at: When, reach: Reach
    ) -> FindExplanation:
        """Why a find has what it has at that time."""
        reached_ms = (await self.past.seen(tenant, at, NOTHING_READ)).view.moment_ms
        moment_ms = reached_ms if at.moment_ms is None else at.moment_ms
        eldest = await self.past.begins(tenant)
        start = When(max(moment_ms - LOOK_BACK_MS, 0))
        if not start.reaches(eldest.position, eldest.moment_ms):
            start = When(position=eldest.position)

        async def versions(read: Read) -> frozenset[str]:
            walk = await self.past.walker(tenant, start, read)
            found = {row.service_id for row in walk.view.services.values() if is_called(row.service, key)}
            async for _, _, outcome in walk.until(at):
                if outcome.added is not None and is_called(outcome.added, key):
                    found.add(outcome.added.service_id)
            return frozenset(found)

        async def explained(read: Read) -> FindExplanation:
            walk, left = await self.past.walker(tenant, start, read), Left(key, reach)
            async for position, event, outcome in walk.until(at):
                left.add(walk.view, position, event, outcome)
            return explain_find(walk.view, key, rule, left, reach)

        return await of_some(explained, await of_some(versions, NOTHING_READ))

    # -- comparing and counting ----------------------------------------------------------------------------------------

    async def diff(self, tenant: Tenant, before: When, after: When, choice: Choice) -> Difference:
        """What is not the same at two times."""
        one = await self._held(tenant, before, choice)
        return difference(one, await self._held(tenant, after, choice))

    async def _held(self, tenant: Tenant, when: When, choice: Choice) -> Held:
        named = choice.service_id or choice.app_id or choice.service_name
        return await self.past.look(tenant, when, lambda view: hold(view, choice), NOTHING_READ if named else None)

    async def churn(
        self, tenant: Tenant, from_ms: int, to_ms: int, step_ms: int, by_service: bool, choice: Choice
    ) -> Timeline:
        """Events per step. Raises InvalidParams when these are too many steps, or none."""
        if to_ms <= from_ms or step_ms <= 0:
            raise InvalidParams("`from` must be before `to`, and `step` above 0")
        if (to_ms - from_ms) / step_ms > STEPS_MAX:
            raise InvalidParams(
                f"there are at most {STEPS_MAX} steps between `from` and `to` - at query parameter `step`"
            )
        eldest = await self.past.begins(tenant)
        query = PageQuery(choice, since=When(from_ms))
        walk = await self._begin(tenant, query, eldest, None)
        churn = Churn(from_ms, to_ms, step_ms, by_service)
        async for _, event, outcome in walk.until(When(to_ms)):
            if choice.takes(event, outcome, service_of(walk.view, event, outcome)):
                churn.add(walk.view.moment_ms, event, outcome)
        return churn.timeline()


def _read(service_id: str) -> Read:
    """What a question about one microservice needs; "": about any."""
    return frozenset({service_id}) if service_id else None


def _lately(newest: Newest, query: PageQuery, upper: When) -> tuple[list[_Encoded], bool]:
    """Of the newest events those that are asked for, one more than a page at most; and whether no older ones are."""
    found: list[_Encoded] = []
    size = 0
    lower = query.since.before() if query.since is not None else None
    for position, moment_ms, event, outcome, service in newest.backwards(query.choice.service_id):
        if not upper.reaches(position, moment_ms):
            continue
        if lower is not None and lower.reaches(position, moment_ms):
            return found, True
        if query.after is not None and position <= query.after:
            return found, True
        if query.choice.takes(event, outcome, service):
            seen = query.choice.seen(outcome)
            found.append(_Encoded(position, encode_told(tell(position, event, seen, service))))
            if len(found) > query.limit or size > PAGE_MAX_BYTES:
                return found, False
            size += len(found[-1].json)
    return found, query.after is not None and newest.begins <= query.after


def _fitting(found: Sequence[_Encoded], limit: int) -> int:
    """How many of them a page holds; at least one of several."""
    size = 0
    for number, told in enumerate(found[:limit], 1):
        size += len(told.json)
        if size > PAGE_MAX_BYTES:
            return number
    return min(len(found), limit)


def _kept_since(eldest: RegistryView) -> str:
    """The moment of the eldest state that is kept; "" where that is the beginning."""
    return "" if eldest.position == ORIGIN else moment_text(eldest.moment_ms)


def _upper(query: PageQuery) -> When:
    return query.until if query.before is None else query.until.up_to(_place_before(query.before))


def _place_before(position: Position) -> Position:
    return When(position=position).before().position or ORIGIN
