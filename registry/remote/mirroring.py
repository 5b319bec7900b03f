"""Mirroring: what a mirror does in one direction, from a source to a target, as functions of values.

Copies carry a mark that says where they come from. What carries a mark is never mirrored: it belongs elsewhere. An
instance that the target has without a mark is that of its own client, and is left alone. A copy goes when the source
says that it has gone, and not while the source says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from registry.domain.model import Instance
from registry.remote.moving import MARK, Difference, Held, Key, bare, instance_fields, marked, of_metadata

#: A source that has lost more than half of its instances at once is believed when it says so that often in a row.
CONFIRMED: Final = 3
#: Seconds. Of a source of which nothing is known.
LEASE_DEFAULT_S: Final = 120.0
#: A copy is renewed at the latest when this part of its lease is over. The interval of a client that may miss no
#: heartbeat is its whole lease: a mirror that waited for that long would come too late.
RENEWED_AFTER: Final = 1 / 3
#: Seconds between two looks, at least.
PAUSE_MIN_S: Final = 0.2

#: An instance, by the name of its service version and its own id.
Ids = tuple[Key, str]


class Seen(Struct, frozen=True):
    """What a registry holds at one moment: its service versions, and their instances beside them."""

    services: Mapping[Key, Held] = field(default_factory=dict)
    instances: Mapping[Ids, Instance] = field(default_factory=dict)


class BringService(Struct, frozen=True):
    """The target lacks the service version."""

    key: Key


class Put(Struct, frozen=True):
    """Register a copy, or give it the content that its original has now. `is_there`: the target has it already."""

    ids: Ids
    copy: Instance
    is_there: bool = False


class Remove(Struct, frozen=True):
    """The original has gone."""

    ids: Ids


class Beat(Struct, frozen=True):
    """Renew the leases of these copies."""

    ids: tuple[Ids, ...]


Step = BringService | Put | Remove | Beat


class Direction(Struct, frozen=True):
    """What is known of one direction. All seconds are of the steady clock."""

    #: Where the source is, as the mark says it.
    origin: str
    #: When the source last answered; the start of the mirror, before it did.
    heard_at: float
    #: The originals as their clients registered them; None: the source has not answered yet.
    originals: Mapping[Ids, Instance] | None = None
    #: How often the source has answered.
    readings: int = 0
    #: How often in a row the source lacked more than half of them.
    shrunk: int = 0
    #: What the copies were given last, and when they were last renewed.
    given: Mapping[Ids, Instance] = field(default_factory=dict)
    renewed: Mapping[Ids, float] = field(default_factory=dict)
    #: An operator has said that the copies are not to be held any longer while the source is silent.
    let_go: bool = False

    def is_held(self, now: float) -> bool:
        """Whether the source has been silent for longer than a lease, and its copies are there all the same."""
        leases = [instance.health_check.ttl_ms() / 1000 for instance in (self.originals or {}).values()]
        return now - self.heard_at > min(leases, default=LEASE_DEFAULT_S)


def hear(direction: Direction, source: Seen, now: float) -> Direction:
    """The source has answered."""
    found = {ids: bare(one) for ids, one in source.instances.items() if MARK not in one.properties}
    known = direction.originals or {}
    shrunk = direction.shrunk + 1 if 2 * len(known.keys() - found.keys()) > len(known) else 0
    if 0 < shrunk < CONFIRMED:
        found = {**known, **found}
    return replace(
        direction,
        heard_at=now,
        originals=found,
        readings=direction.readings + 1,
        shrunk=shrunk if shrunk < CONFIRMED else 0,
        given={ids: one for ids, one in direction.given.items() if ids in found},
        renewed={ids: at for ids, at in direction.renewed.items() if ids in found},
        let_go=False,
    )


def plan(direction: Direction, target: Seen, now: float) -> list[Step]:
    """What to do at the target now."""
    if direction.let_go:
        return []
    originals = direction.originals or {}
    puts = [put for ids in sorted(originals) if (put := _put(direction, ids, originals[ids], target)) is not None]
    lacking = sorted({put.ids[0] for put in puts} - target.services.keys())
    there = copies(target, direction.origin)
    gone = sorted(there - originals.keys()) if direction.originals is not None else []
    if 2 * len(gone) > len(there) and direction.readings < CONFIRMED:
        # A mirror that has just been started does not know what the source has lost.
        gone = []
    due = tuple(sorted(ids for ids in _held(direction, target) if _is_due(direction, target.instances[ids], ids, now)))
    beats = [Beat(due)] if due else []
    # Heartbeats first: the rest may take long.
    return [*beats, *map(BringService, lacking), *puts, *map(Remove, gone)]


def pause_s(direction: Direction, target: Seen | None, every: float) -> float:
    """Seconds until the next look: as the operator wishes, and not later than copies must be renewed."""
    held = direction.originals
    if held is None:
        held = {ids: target.instances[ids] for ids in copies(target, direction.origin)} if target is not None else {}
    shortest = min((copy.health_check.ttl_ms() / 1000 for copy in held.values()), default=LEASE_DEFAULT_S)
    return min(every, max(shortest * RENEWED_AFTER, PAUSE_MIN_S))


def done(direction: Direction, step: Step, now: float) -> Direction:
    """The target has taken the step. `now`: when it was begun."""
    match step:
        case Put(ids, copy):
            given = {**direction.given, ids: bare(copy)}
            return replace(direction, given=given, renewed={**direction.renewed, ids: now})
        case Beat(ids):
            return replace(direction, renewed={**direction.renewed, **dict.fromkeys(ids, now)})
        case Remove() | BringService():
            return direction


def copies(target: Seen, origin: str) -> set[Ids]:
    """What mirrors and imports from there have put here."""
    return {ids for ids, instance in target.instances.items() if instance.properties.get(MARK) == origin}


def _put(direction: Direction, ids: Ids, original: Instance, target: Seen) -> Put | None:
    there = target.instances.get(ids)
    if there is None:
        return Put(ids, marked(original, direction.origin))
    if MARK not in there.properties:
        return None
    # What a copy was given is compared, not what it is: a registry may store it otherwise, or an operator change it.
    # A mirror that has just been started has given nothing.
    same = direction.given[ids] == original if ids in direction.given else not instance_fields(original, there)
    return None if same else Put(ids, marked(original, direction.origin), True)


def _held(direction: Direction, target: Seen) -> Iterable[Ids]:
    """The copies that are kept alive: those of originals, and while nothing is known of these, all."""
    if direction.originals is None:
        return copies(target, direction.origin)
    there = target.instances
    return [ids for ids in direction.originals if ids in there and MARK in there[ids].properties]


def _is_due(direction: Direction, copy: Instance, ids: Ids, now: float) -> bool:
    check = copy.health_check
    wait_s = min(check.interval, check.ttl_ms() / 1000 * RENEWED_AFTER)
    return ids not in direction.renewed or now - direction.renewed[ids] >= wait_s


# -- what is said ------------------------------------------------------------------------------------------------------


def report(source: Seen, target: Seen, origin: str) -> Sequence[Difference]:
    """In what the copies are not what their originals are, and the metadata of services that both have."""
    found: list[Difference] = []
    for key in sorted(source.services.keys() & target.services.keys()):
        found += (replace(one, step=None) for one in of_metadata(key, source.services[key], target.services[key]))
    originals = {ids: one for ids, one in source.instances.items() if MARK not in one.properties}
    for (key, instance_id), original in sorted(originals.items()):
        there = target.instances.get((key, instance_id))
        if there is None:
            found.append(Difference(key.text(), "the instance is missing", instance_id))
        elif fields := instance_fields(original, there):
            found.append(Difference(key.text(), f"differs in {', '.join(fields)}", instance_id))
    for key, instance_id in sorted(copies(target, origin) - originals.keys()):
        found.append(Difference(key.text(), "the original has gone", instance_id))
    return found
