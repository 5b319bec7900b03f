"""Schedule: when to ask about whose lease, so that the sweep looks only at those that may have lapsed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from registry.domain.large import Large

#: Width of a slot, ms; with the sweep's tick it bounds how late a lapse is noticed.
SLOT_MS: Final = 100
#: Nothing is scheduled further ahead than this (ms). Longer leases are looked at in between, spread over the second
#: half of that time: those that were looked at together, after a start, shall not be so for ever.
HORIZON_MS: Final = 150_000
#: Leases that end at the same moment may be expected so much later (ms), because this replica heard of them late.
SAME_MOMENT_MS: Final = 300


@dataclass(slots=True)
class Schedule:
    """One tenant's instances by the slot of steady time in which their lease may lapse.

    Each instance stands in one slot that counts; an entry in another one is a leftover and is passed over. Only names
    are kept, in plain tuples and at most `HORIZON_MS` ahead, so that replaced content is not held by it.
    """

    slots: dict[int, list[tuple[str, str, int]]] = field(default_factory=lambda: defaultdict(list))
    current: dict[tuple[str, str], int] = field(default_factory=Large)
    reached: int = 0

    def add(self, now_ms: int, due_ms: int, name: tuple[str, str]) -> None:
        look_ms = due_ms
        if due_ms > now_ms + HORIZON_MS:
            look_ms = now_ms + HORIZON_MS - crc32(name[1].encode()) % (HORIZON_MS // 2)
        slot = max(look_ms // SLOT_MS + 1, self.reached)
        if self.current.get(name) != slot:
            # A plain tuple, even of a lease's name: the garbage collector looks away from those, of which are many.
            self.current[name[0], name[1]] = slot
            self.slots[slot].append((*name, due_ms))

    def remove(self, name: tuple[str, str]) -> None:
        self.current.pop(name, None)

    def due(self, now_ms: int, most: int) -> list[tuple[str, str, int]]:
        """Take up to `most` instances whose slot has begun, as service id, instance id, deadline."""
        found: list[tuple[str, str, int]] = []
        last = now_ms // SLOT_MS
        if not self.reached:
            self.reached = min(min(self.slots, default=last), last)
        while self.reached <= last and len(found) < most:
            slot = self.slots.get(self.reached, [])
            while slot and len(found) < most:
                service_id, instance_id, due_ms = slot.pop()
                if self.current.get((service_id, instance_id)) == self.reached:
                    del self.current[service_id, instance_id]
                    found.append((service_id, instance_id, due_ms))
            if slot:
                break
            self.slots.pop(self.reached, None)
            self.reached += 1
        return found

    def ahead(self, now_ms: int) -> Iterator[tuple[str, str, int]]:
        """Whoever will be due within `SAME_MOMENT_MS`. They stay where they are; the schedule may change meanwhile."""
        last = (now_ms + SAME_MOMENT_MS) // SLOT_MS
        # A schedule that was made anew while the store was asked has reached nothing yet: not from slot 0 on.
        for slot in range(self.reached or min(self.slots, default=last), last + 1):
            for entry in self.slots.get(slot, ()):
                if self.current.get(entry[:2]) == slot:
                    yield entry
