"""WriteTimes: when a replica could write to the store, as it tells the others; and what an expiry records of that.

A replica that cannot write takes heartbeats that renew no lease. So anyone who asks why an instance expired wants to
know which replica could not write, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct, structs

#: Outages that a replica tells of, the newest ones; and those of one replica, and replicas, that one expiry records.
OUTAGES_MAX: Final = 16
OUTAGES_RECORDED_MAX: Final = 4
REPLICAS_RECORDED_MAX: Final = 16
#: A replica that was last heard of this long (ms) before an instance was last renewed has nothing to do with its end.
LATELY_MS: Final = 60_000

#: From when to when a replica could not write, Unix ms by its own clock. From 0: nothing is known of it before. To 0:
#: nothing is known of it after.
Window = tuple[int, int]
#: Per replica its windows, eldest first; none where it could write all the time.
Outages = Mapping[str, Sequence[Window]]


class Writing(NamedTuple):
    """What one expiry records: who could write all the time, with spaces between, and when the others could not."""

    writers: str
    outages: Outages

    def between(self, since_ms: int, until_ms: int) -> dict[str, list[Window]]:
        """That of a shorter time: it is recorded once for all instances that went together."""
        could: Outages = dict.fromkeys(self.writers.split(), ())
        return around({**could, **self.outages}, since_ms, until_ms)


class Outage(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """From when to when (Unix ms) a replica could not write; `until_ms` 0: it still cannot.

    `part`: the tenant that stands for the part of the store that took no writes; "": it may be any part.
    """

    since_ms: int
    until_ms: int = 0
    part: str = ""


class WriteTimes(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`since_ms` (Unix ms): from then on the replica could write, but for the outages, eldest first."""

    since_ms: int
    outages: tuple[Outage, ...] = ()

    def with_outage(self, outage: Outage) -> WriteTimes:
        """One more, which is over. For one too many the eldest goes, and nothing is said of the time before its end."""
        found = (*self.outages, outage)
        if len(found) <= OUTAGES_MAX:
            return structs.replace(self, outages=found)
        return WriteTimes(max(self.since_ms, found[0].until_ms), found[1:])

    def with_present(self, lasting: Sequence[Outage]) -> WriteTimes:
        """Together with those that are not over. Where they are too many they count as one of any part."""
        if len(lasting) > OUTAGES_MAX:
            lasting = [Outage(min(outage.since_ms for outage in lasting))]
        return structs.replace(self, outages=(*self.outages, *lasting)) if lasting else self


def windows(times: WriteTimes, part: str, heard_until_ms: int = 0) -> list[Window]:
    """When a replica could not write to that part of the store, at any time.

    Args:
        heard_until_ms: nothing was heard of it since; 0 for one that is heard of.
    """
    found = [(0, times.since_ms)]
    found += [(outage.since_ms, outage.until_ms) for outage in times.outages if outage.part in ("", part)]
    if heard_until_ms:
        found.append((heard_until_ms, 0))
    return found


def around(outages: Outages, since_ms: int, until_ms: int) -> dict[str, list[Window]]:
    """Those between two times, of the replicas that were known of then, or shortly before."""
    found: dict[str, list[Window]] = {}
    for replica, all_of_it in outages.items():
        if _is_known(all_of_it, since_ms, until_ms):
            found[replica] = [window for window in all_of_it if _overlaps(window, since_ms, until_ms)]
    return found


def record(outages: Outages) -> Writing:
    """As many of them as an expiry records: first of all the replicas that could not write."""
    chosen = sorted(outages, key=lambda replica: (not outages[replica], replica))[:REPLICAS_RECORDED_MAX]
    writers = " ".join(replica for replica in chosen if not outages[replica])
    return Writing(writers, {replica: _newest(outages[replica]) for replica in chosen if outages[replica]})


def _newest(all_of_it: Sequence[Window]) -> list[Window]:
    """The newest windows. What is left out is not said to have been well: nothing is known of that time."""
    if len(all_of_it) <= OUTAGES_RECORDED_MAX:
        return list(all_of_it)
    left_out, kept = all_of_it[: 1 - OUTAGES_RECORDED_MAX], all_of_it[1 - OUTAGES_RECORDED_MAX :]
    return [(0, max(until_ms for _, until_ms in left_out)), *kept]


def _is_known(all_of_it: Iterable[Window], since_ms: int, until_ms: int) -> bool:
    return not any(
        (begin_ms == 0 and end_ms >= until_ms) or (end_ms == 0 and begin_ms < since_ms - LATELY_MS)
        for begin_ms, end_ms in all_of_it
    )


def _overlaps(window: Window, since_ms: int, until_ms: int) -> bool:
    begin_ms, end_ms = window
    return begin_ms < until_ms and (end_ms == 0 or end_ms > since_ms)
