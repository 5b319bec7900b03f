"""Memo: a bounded memory of what follows from its key alone, so that it never goes out of date."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Keeps what was asked for lately, in two generations.

    What is new, or asked for again, is young. When the young are half of what may be kept, they become the old ones,
    and those that were old until then are forgotten. So one more than the limit costs one, and not all of them.

    Args:
        entries_max: entries kept, at most.
        bytes_max: their sizes altogether, at most; a single entry that is larger than half of it is not kept.
        size: of one entry, bytes. It must not change.
        forgets: called before entries are forgotten.
    """

    def __init__(
        self,
        entries_max: int,
        bytes_max: int,
        size: Callable[[K, V], int],
        forgets: Callable[[], None] = lambda: None,
    ) -> None:
        self._half = entries_max // 2
        self._half_bytes = bytes_max // 2
        self._size = size
        self._forgets = forgets
        self._young: dict[K, V] = {}
        self._young_bytes = 0
        self._old: dict[K, V] = {}
        self._old_bytes = 0

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return self._young_bytes + self._old_bytes

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def young(self, keys: Iterable[K]) -> list[V | None]:
        """As `get` of each, fast; None also for what is not young. `get` finds that too, and makes it young."""
        return list(map(self._young.get, keys))

    def put(self, key: K, value: V) -> None:
        """Remember it; what was remembered under the same key is replaced."""
        size = self._size(key, value)
        before = self._young.pop(key, None)
        if before is not None:
            self._young_bytes -= self._size(key, before)
        before = self._old.pop(key, None)
        if before is not None:
            self._old_bytes -= self._size(key, before)
        if size > self._half_bytes:
            return
        if len(self._young) >= self._half or self._young_bytes + size > self._half_bytes:
            if self._old:
                self._forgets()
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        self._young[key] = value
        self._young_bytes += size

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()
        self._young_bytes = self._old_bytes = 0
