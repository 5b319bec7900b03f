"""Lockout: when somebody who gives wrong passwords has to wait (api-rules.md 3.16).

A bucket of two failures, which gains one back in a quarter of an hour. The failure that finds it empty locks the
account for the client's address, for a quarter of an hour.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

WINDOW_MS: Final = 15 * 60_000
FAILURES_MAX: Final = 2
LOCKED_MS: Final = 15 * 60_000
#: How long what failed without a lock is listed.
LISTED_MS: Final = 20 * 60_000


class Failures(Struct, frozen=True, array_like=True):
    """What is kept of one account and address. Times: Unix ms.

    `full_ms`: when the bucket is full again. `release_ms`: until then it is locked, or listed.
    """

    full_ms: int
    release_ms: int
    locked: bool = False

    @property
    def ends_ms(self) -> int:
        """From then on it is as if nothing had happened."""
        return max(self.full_ms, self.release_ms)


def is_locked(failures: Failures | None, now_ms: int) -> bool:
    return failures is not None and failures.locked and now_ms < failures.release_ms


def failed(failures: Failures | None, now_ms: int) -> Failures:
    """After one more failure."""
    full_ms = max(failures.full_ms if failures is not None else 0, now_ms)
    if full_ms + WINDOW_MS - now_ms > FAILURES_MAX * WINDOW_MS:
        return Failures(full_ms, now_ms + LOCKED_MS, True)
    return Failures(full_ms + WINDOW_MS, now_ms + LISTED_MS)
