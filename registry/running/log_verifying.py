"""`registry verify`: all that is kept is replayed, and compared with each snapshot and with what replicas say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from registry.bootstrap import past_log
from registry.domain.position import Position
from registry.domain.sections import REST, PartDigest, rest_sections, service_sections
from registry.domain.snapshot import SnapshotUnreadable
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.moments import END, When
from registry.history.past import Past
from registry.projection.restoring import load_mark
from registry.running.opened_store import chosen_tenants, opened_store
from registry.running.progress import Bar, steps
from registry.settings import Settings
from registry.store.damage import Damaged
from registry.store.port import HistoryChanged, PastLog, Store
from registry.upkeep.agreement import STATE_KEPT_MS, read_state

#: Under this name it asks what replicas say; it says nothing itself.
ASKING: Final = "verify"
#: How often a log is replayed anew that is trimmed or mended meanwhile.
TRIES_MAX: Final = 3
#: Exit codes.
RIGHT: Final = 0
WRONG: Final = 1

#: By part of a view (a microservice's id, or the rest): where it last changed, and its digest.
Parts = Mapping[str, tuple[str, bytes]]


class Verified(NamedTuple):
    """What was looked at, and the first thing that is not as it should be ("": all is)."""

    events: int
    snapshots: int
    replicas: int
    begins: Position
    difference: str = ""


async def verify(settings: Settings, only: str) -> int:
    """Verify all tenants, or one; the exit code. Raises CannotStart."""
    async with opened_store(settings) as store:
        for tenant in await chosen_tenants(store, only):
            found = await _verify_somehow(store, past_log(settings, store), tenant)
            if found.difference:
                print(f"{tenant}: {found.difference}", file=sys.stderr)
                return WRONG
            print(
                f"{tenant}: {found.events} events behind {found.begins.text()}, {found.snapshots} snapshots and "
                f"{found.replicas} replicas agree"
            )
    return RIGHT


async def _verify_somehow(store: Store, log: PastLog, tenant: Tenant) -> Verified:
    for attempt in range(TRIES_MAX):
        try:
            return await _verify(store, log, tenant)
        except HistoryChanged:
            if attempt == TRIES_MAX - 1:
                raise
        except Damaged as damage:
            return Verified(0, 0, 0, Position(0, 0), damage.detail)
    raise AssertionError


async def _verify(store: Store, log: PastLog, tenant: Tenant) -> Verified:
    past = Past(log)
    begins = (await past.begins(tenant)).position
    head = await log.head(tenant)
    marks = {mark.position: mark for mark in await log.snapshots.marks(tenant) if begins < mark.position <= head}
    walk = await past.walker(tenant, When(position=begins))
    past.forget()  # each snapshot is to be read from where it is kept
    events = snapshots = 0
    with Bar(str(tenant), steps(begins, head)) as bar:
        async for position, _, _ in walk.until(END):
            events += 1
            bar.step()
            mark = marks.get(position)
            if mark is None:
                continue
            place = f"the snapshot at {position.text()}"
            try:
                kept = (await load_mark(log, tenant, mark)).view
            except SnapshotUnreadable as why:
                return Verified(events, snapshots, 0, begins, f"{place} cannot be read: {why}")
            difference = first_difference(parts_of(walk.view), parts_of(kept))
            if difference:
                return Verified(events, snapshots, 0, begins, f"{place} is not what the events lead to: {difference}")
            snapshots += 1
    replicas = 0
    own = parts_of(walk.view)
    for replica, said in (await store.snapshots.exchange(tenant, ASKING, b"", STATE_KEPT_MS)).items():
        state = read_state(said)
        if state is None:
            continue
        replicas += 1
        difference = first_difference(own, state.parts, whole=state.position == walk.view.position.text())
        if difference:
            return Verified(
                events, snapshots, replicas, begins, f"replica {replica} holds something else: {difference}"
            )
    return Verified(events, snapshots, replicas, begins)


def parts_of(view: RegistryView) -> Parts:
    """The digest of each part, and where it last changed, as replicas tell each other."""
    found: dict[str, tuple[str, bytes]] = {}
    rest = PartDigest()
    for section in rest_sections(view):
        rest.add(section)
    found[REST] = (view.rest_changed.text(), rest.digest())
    for service_id, row in view.services.items():
        part = PartDigest()
        for service_section in service_sections(row):
            part.add(service_section)
        found[service_id] = (row.changed.text(), part.digest())
    return found


def first_difference(expected: Parts, found: Parts, whole: bool = True) -> str:
    """The first part, by its name, that differs, in words; "" when none does.

    Args:
        whole: both are of one position. Else only parts are compared that last changed at the same one.
    """
    for name in sorted({*expected, *found}):
        what = f"microservice {name}" if name != REST else "what belongs to no microservice"
        if name not in found or name not in expected:
            if whole:
                return f"{what} is {'missing' if name in expected else 'there, and should not be'}"
            continue
        (changed, digest), (other_changed, other) = expected[name], found[name]
        if changed == other_changed and digest != other:
            return f"{what} has another content, though both changed it last at {changed}"
        if whole and changed != other_changed:
            return f"{what} changed last at {other_changed}, and should have at {changed}"
    return ""
