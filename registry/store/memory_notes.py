"""Notes in memory, for tests and simulation. Keeps the promises of `store.port.Notes`."""

from __future__ import annotations

from collections.abc import Callable

from registry.domain.tenant import Tenant

#: By name: until when (Unix ms), and the note.
NoteData = dict[str, tuple[int, bytes]]


class MemoryNotes:
    def __init__(self, of: Callable[[Tenant], NoteData], clock_ms: Callable[[], int]) -> None:
        self._of = of
        self._clock_ms = clock_ms

    def _living(self, tenant: Tenant) -> NoteData:
        notes, now = self._of(tenant), self._clock_ms()
        for name in [name for name, (until, _) in notes.items() if until <= now]:
            del notes[name]
        return notes

    async def read(self, tenant: Tenant, name: str) -> bytes:
        return self._living(tenant).get(name, (0, b""))[1]

    async def write(self, tenant: Tenant, name: str, seen: bytes, note: bytes, lasts_ms: int, most: int) -> bool:
        notes = self._living(tenant)
        if notes.get(name, (0, b""))[1] != seen:
            return False
        if not note:
            notes.pop(name, None)
            return True
        if name not in notes and len(notes) >= most:
            for soonest in sorted(notes, key=lambda other: notes[other][0])[: len(notes) - most + -(-most // 10)]:
                del notes[soonest]
        notes[name] = (self._clock_ms() + lasts_ms, note)
        return True

    async def all(self, tenant: Tenant) -> dict[str, bytes]:
        return {name: note for name, (_, note) in self._living(tenant).items()}
