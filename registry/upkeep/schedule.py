"""Schedules: when to ask about whose lease, so that the sweep looks only at those that may have lapsed."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from msgspec import Struct

from registry.domain.tenant import Tenant

#: Width of a slot, ms; with the sweep's tick it bounds how late a lapse is noticed.
SLOT_MS: Final = 100
#: Nothing is scheduled further ahead than this (ms), so a lease that the store lost without a word is missed after that
#: time at the latest. Longer ones are looked at in between, spread over the second half of it: those that were looked
#: at together, after a start, must not be so for ever.
HORIZON_MS: Final = 600_000
#: How much later (ms) leases that end at the same moment may be expected, because this replica heard of them late.
SAME_MOMENT_MS: Final = 300


class Entry(Struct, gc=False):
    """An instance to look at, the moment (steady ms) at which its lease may end, and in which slot it stands."""

    service_id: str
    instance_id: str
    due_ms: int
    slot: int = 0


@dataclass(slots=True)
class Schedule:
    """One tenant's instances by the slot of steady time in which their lease may lapse.

    Each instance stands in one slot that counts. A later deadline does not move it: it is looked at when it would have
    been, and moves then, so that who registers again and again leaves nothing behind. An earlier one does. What is left
    of those that have moved or gone is passed over, and cleared away when it is most of a slot. Only names are kept, at
    most `HORIZON_MS` ahead, so that replaced content is not held by it; and nothing that the garbage collector would
    look at, for there may be a million of them, which come and go all the time.
    """

    slots: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    #: By service id and instance id, the entry that counts.
    current: dict[str, dict[str, Entry]] = field(default_factory=lambda: defaultdict(dict))
    #: How many in each slot do not count any more, where there are any.
    leftovers: dict[int, int] = field(default_factory=dict)
    reached: int = 0
    #: Told of each slot in which there is something from now on.
    noted: Callable[[int], None] = lambda slot: None

    def add(self, now_ms: int, due_ms: int, name: tuple[str, str]) -> None:
        service_id, instance_id = name
        look_ms = due_ms
        if due_ms > now_ms + HORIZON_MS:
            look_ms = now_ms + HORIZON_MS - crc32(instance_id.encode()) % (HORIZON_MS // 2)
        slot = max(look_ms // SLOT_MS + 1, self.reached)
        current = self.current[service_id]
        held = current.get(instance_id)
        if held is not None and held.slot <= slot:
            held.due_ms = due_ms
        else:
            entries = self.slots[slot]
            if entries:
                slot = entries[0].slot  # one number for all of them
            else:
                self.noted(slot)
            current[instance_id] = entry = Entry(service_id, instance_id, due_ms, slot)
            entries.append(entry)
            if held is not None:
                self._leave_over(held.slot)

    def remove(self, name: tuple[str, str]) -> None:
        entry = self._take(name)
        if entry is not None:
            self._leave_over(entry.slot)

    def _take(self, name: tuple[str, str]) -> Entry | None:
        service_id, instance_id = name
        current = self.current.get(service_id, {})
        entry = current.pop(instance_id, None)
        if not current:
            self.current.pop(service_id, None)
        return entry

    def _leave_over(self, slot: int) -> None:
        """One more there does not count. To clear them away together costs two looks at each, at most."""
        entries, leftovers = self.slots[slot], self.leftovers.get(slot, 0) + 1
        if 2 * leftovers <= len(entries):
            self.leftovers[slot] = leftovers
            return
        self.leftovers.pop(slot, None)
        kept = [entry for entry in entries if self._counts(entry)]
        if kept:
            self.slots[slot] = kept
        else:
            del self.slots[slot]

    def renew(self) -> Iterator[object]:
        """Make its tables as small as can be, step by step, each of which yields what was there."""
        for service_id in list(self.current):
            before = self.current.get(service_id)
            if before:
                self.current[service_id] = dict(before)
            yield before

    def holds(self, name: tuple[str, str]) -> bool:
        """Whether the instance will be due some time."""
        service_id, instance_id = name
        return instance_id in self.current.get(service_id, {})

    def due(self, now_ms: int, most: int) -> list[Entry]:
        """Take up to `most` instances whose slot has begun."""
        found: list[Entry] = []
        last = now_ms // SLOT_MS
        if not self.reached:
            self.reached = min(min(self.slots, default=last), last)
        while self.reached <= last and len(found) < most:
            slot = self.slots.get(self.reached, [])
            while slot and len(found) < most:
                entry = slot.pop()
                if self._counts(entry):
                    self._take((entry.service_id, entry.instance_id))
                    found.append(entry)
            if slot:
                break
            self.slots.pop(self.reached, None)
            self.leftovers.pop(self.reached, None)
            self.reached += 1
        return found

    def ahead(self, now_ms: int) -> Iterator[Entry]:
        """Those that will be due within `SAME_MOMENT_MS`. They stay where they are; the schedule may change."""
        last = (now_ms + SAME_MOMENT_MS) // SLOT_MS
        # A schedule that was made anew while the store was asked has reached nothing yet: not from slot 0 on.
        for slot in range(self.reached or min(self.slots, default=last), last + 1):
            for entry in self.slots.get(slot, ()):
                if self._counts(entry):
                    yield entry

    def _counts(self, entry: Entry) -> bool:
        current = self.current.get(entry.service_id)
        return current is not None and current.get(entry.instance_id) is entry


class Schedules(dict[Tenant, Schedule]):
    """The schedule of each tenant, and which of them have something to look at in which slot.

    So that a sweep costs what is due, and nothing for tenants of whom nobody is.
    """

    def __init__(self) -> None:
        super().__init__()
        #: One tenant, or several.
        self._tenants: dict[int, Tenant | dict[Tenant, None]] = {}
        #: Of the slots above, the earliest first.
        self._slots: list[int] = []
        self._reached = 0

    def __missing__(self, tenant: Tenant) -> Schedule:
        schedule = self[tenant] = Schedule(noted=lambda slot: self._note(slot, tenant))
        return schedule

    def _note(self, slot: int, tenant: Tenant) -> None:
        noted = self._tenants.get(slot)
        if noted is None:
            self._tenants[slot] = tenant
            heapq.heappush(self._slots, slot)
        elif isinstance(noted, dict):
            noted[tenant] = None
        elif noted != tenant:
            self._tenants[slot] = {noted: None, tenant: None}

    def due(self, now_ms: int, others: Iterable[Tenant] = ()) -> list[Tenant]:
        """The tenants of whom somebody may be due, and those of the others that have a schedule."""
        found: dict[Tenant, None] = {}
        self._reached = now_ms // SLOT_MS
        while self._slots and self._slots[0] <= self._reached:
            noted = self._tenants.pop(heapq.heappop(self._slots))
            found.update(noted if isinstance(noted, dict) else {noted: None})
        found.update(dict.fromkeys(others))
        return [tenant for tenant in found if tenant in self]

    def again(self, tenant: Tenant) -> None:
        """Not all of those that were due have been looked at, perhaps: the next sweep is to see."""
        schedule = self.get(tenant)
        if schedule is not None and schedule.reached <= self._reached:
            self._note(self._reached, tenant)

    def forget(self, tenant: Tenant) -> None:
        self.pop(tenant, None)
