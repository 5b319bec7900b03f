"""`registry restore`: what a dump holds back into the store, while replicas run or not."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

from msgspec import structs

from registry.clock import Clock
from registry.domain.backup import Held, InstanceLine
from registry.domain.backup_plan import KINDS, Part, put_back
from registry.domain.decide import Stamp
from registry.domain.events import Event, HistoryResumed, InstanceRegistered, encode_event
from registry.domain.fold import apply
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.tenant import ACCOUNTS, Tenant
from registry.domain.view import RegistryView
from registry.projection.restoring import restore as replay
from registry.projection.saving import save
from registry.running.dump_file import by_tenant, lines_of, reading
from registry.running.opened_store import opened_store
from registry.running.private_redis import CannotStart
from registry.running.progress import Bar
from registry.settings import Settings
from registry.store.lease import Lease, Write
from registry.store.port import Store
from registry.usecases.formats import FIRST, Formats

#: Who puts back.
ACTOR: Final = "registry restore"
#: Lines that are put back together.
BATCH_MAX: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024
#: Digits of a moment in Unix seconds; more are none.
MOMENT_DIGITS: Final = 11
#: Parts that are named, of those that are not as in the dump.
NAMED_MAX: Final = 50
#: Exit codes: all is as in the dump, or something is left as it was.
DONE = 0
DIFFERENT = 1


async def restore(
    settings: Settings, file: str, only: str, accounts: bool, instances: bool, overwrite: bool, dry_run: bool
) -> int:
    """Put back what the file holds and the store lacks. The exit code.

    Args:
        only: one tenant, `domain/project`; blank: all.
        accounts, instances: with these; each instance gets one lease.
        overwrite: also what is there and differs.
        dry_run: only say it.

    Raises:
        CannotStart: the file is no whole dump, or the store cannot be used.
    """
    path, told = Path(file), dict[Tenant, list[Part]]()
    with reading(file), Bar(file, 0) as bar:
        number = sum(1 for _ in lines_of(path))  # to its end, before anything is done
        bar.total = number
        async with opened_store(settings) as store:
            restoring = Restoring(store, overwrite, dry_run)
            for tenant, lines in by_tenant(lines_of(path)):
                wanted = accounts if tenant == ACCOUNTS else only in ("", str(tenant))
                if wanted:
                    held = (line for line in lines if instances or not isinstance(line, InstanceLine))
                    told[tenant] = await restoring.put_back(tenant, bar.over(held))
    if only and not told:
        raise CannotStart(f"{file} has no tenant {only}")
    print(*_report(told, dry_run), sep="\n")
    unlike = any(part.state in ("kept", "refused") for parts in told.values() for part in parts)
    return DIFFERENT if unlike else DONE


class Restoring:
    """Puts lines back, some at a time, on what the log holds then."""

    def __init__(self, store: Store, overwrite: bool, dry_run: bool) -> None:
        self._store = store
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._clock = Clock()
        self._replica = secrets.token_hex(6)
        self._numbers = count(1)
        self._formats = Formats(store, self._replica, self._clock)

    async def put_back(self, tenant: Tenant, lines: Iterator[Held]) -> list[Part]:
        """Every part of these lines, and what came of it. Raises HistoryChanged, StoreUnavailable, Damaged."""
        view, told = await self._view(tenant), []
        while some := list(islice(lines, BATCH_MAX)):
            if view.position == ORIGIN:
                await self._begin(view)
            before = view.position
            parts = [part for line in some for part in put_back(view, line, self._overwrite, self._stamp)]
            events = [event for part in parts for event in part.events]
            told += [structs.replace(part, events=()) for part in parts]
            if self._dry_run:
                continue
            undisturbed = await self._append(tenant, before, events)
            if not undisturbed or view.position.sequence != before.sequence + len(events):
                # Others have written meanwhile, or a refused event is part of this view and of no log.
                view = await self._view(tenant)
        return told

    async def _view(self, tenant: Tenant) -> RegistryView:
        return (await replay(self._store, tenant, self._replica)).view

    async def _begin(self, view: RegistryView) -> None:
        """The log of a tenant that has none begins now, no matter what moments the events that follow tell of.

        It begins as one that was lost does (`projection.mending`), on a snapshot: here of nothing.
        """
        tenant, position = view.tenant, Position(self._clock.wall_ms(), 1)
        resumed = HistoryResumed(after=ORIGIN.text(), **self._stamp("")._asdict())
        if not self._dry_run:
            encoded = encode_event(resumed)
            await self._store.add_tenant(tenant)
            chunks = take(view, encoded, position, resumed.at_ms)
            await save(self._store, tenant, position, chunks, resumed.at_ms, self._replica)
            await self._store.resume_history(tenant, ORIGIN, position.epoch, [encoded], seeded=True)
        apply(view, position, resumed)

    async def _append(self, tenant: Tenant, before: Position, events: Sequence[Event]) -> bool:
        """Append them after `before`, with leases. False when others have written between."""
        if any(event.since > FIRST for event in events):
            await self._formats.announce()
        writes = []
        for event in events:
            self._formats.check(event)
            writes.append(Write(encode_event(event), _leases(event)))
        undisturbed = True
        for some in _batches(writes):
            positions = await self._store.commit(tenant, before.epoch, some, before.sequence)
            for position in positions:
                before = before.next()
                undisturbed = undisturbed and position == before
        return undisturbed

    def _stamp(self, moment: str) -> Stamp:
        at_ms = int(moment) * 1000 if moment.isdecimal() and len(moment) <= MOMENT_DIGITS else self._clock.wall_ms()
        return Stamp(at_ms, self._replica, next(self._numbers), ACTOR)


def _leases(event: Event) -> tuple[Lease, ...]:
    """One full lease, in which a client that lives sends its next heartbeat."""
    if not isinstance(event, InstanceRegistered):
        return ()
    instance = event.instance
    return (Lease(instance.service_id, instance.instance_id, instance.health_check.ttl_ms()),)


def _batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    batch: list[Write] = []
    size = 0
    for write in writes:
        batch.append(write)
        size += len(write.payload or b"")
        if len(batch) >= BATCH_MAX or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _report(told: dict[Tenant, list[Part]], dry_run: bool) -> Iterator[str]:
    for tenant, parts in told.items():
        yield "accounts" if tenant == ACCOUNTS else str(tenant)
        states = Counter((part.kind, part.state) for part in parts)
        for kind in KINDS:
            said = [f"{number} {state}" for (of, state), number in states.items() if of == kind]
            if said:
                yield f"  {kind}: {', '.join(said)}"
        unlike = [part for part in parts if part.state in ("kept", "refused")]
        yield from (f"  {part.state}: {part.kind} {part.name}: {part.note}" for part in unlike[:NAMED_MAX])
        if unlike[NAMED_MAX:]:
            yield f"  ... and {len(unlike) - NAMED_MAX} more"
    if dry_run:
        yield "Nothing was changed. Without --dry-run it is done as it is said here."
