"""Shared parts: a large body in parts, of which the large ones are those of other answers too, and copied for none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

Part: TypeAlias = "bytes | memoryview"
#: A begin, and what follows.
Parts: TypeAlias = "tuple[bytes, *tuple[Part, ...]]"
#: Bodies from this size on are sent in parts, and parts from this size on as they are. Smaller ones are copied.
BODY_MIN_BYTES: Final = 64 * 1024
PART_MIN_BYTES: Final = 1024


def shared(parts: Iterable[Part]) -> tuple[bytes, tuple[Part, ...]]:
    """The same bytes in fewer parts: the begin, and what follows."""
    found: list[Part] = []
    small: list[Part] = []
    for part in parts:
        if len(part) < PART_MIN_BYTES:
            small.append(part)
            continue
        # The begin is bytes in any case.
        if small or not found:
            found.append(b"".join(small))
            small = []
        found.append(part)
    if small or not found:
        found.append(b"".join(small))
    return bytes(found[0]), tuple(found[1:])
