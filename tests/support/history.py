"""History: what happened in one run - operations, watches, faults and last looks - independent of who recorded it.

The simulation records it in virtual time, the chaos run over HTTP in real time; `tests.support.checker` judges both.

Conventions of the workload that let a checker judge without knowing the registry:

- Every instance has exactly one endpoint, which no other instance of its service has: it names the instance even
  where its id is not known (a registration whose answer was lost). One client writes to it, one request at a time.
- Its lease is as long in every registration of it.
- What a write sets is told apart by one property, `VALUE`, which no two writes set to the same text.
- A request that is sent again (its answer was lost) is an operation of its own, with the same value.

All times are of one clock. Over HTTP, begin is noted before a request is written and end when its answer has been read:
what lies between bounds the moment at which it happened, so noting late makes a checker milder, never wrong. A fault is
noted from before it is made until it is mended; for a tail that is lost, from the moment to which the store falls back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

#: The property that tells writes apart.
VALUE: Final = "v"

# Outcomes.
OK: Final = "ok"
REFUSED: Final = "refused"  # by a 4xx answer; `code` says which
UNKNOWN: Final = "unknown"  # 5xx, time-out or broken connection: it may have happened, or happen yet

# Kinds of operations.
REGISTER: Final = "register"
UNREGISTER: Final = "unregister"
HEARTBEAT: Final = "heartbeat"
SET_STATUS: Final = "set_status"
SET_PROPERTIES: Final = "set_properties"
FIND: Final = "find"  # also each element of a batch find that was answered
BATCH: Final = "batch"  # a batch find that was not answered
REGISTER_SERVICE: Final = "register_service"
WRITES: Final = frozenset((REGISTER, UNREGISTER, SET_STATUS, SET_PROPERTIES))

# Kinds of faults; `target` names a replica, or is "" where all are concerned.
CRASH: Final = "crash"
STALL: Final = "stall"
PARTITION: Final = "partition"
SLOW: Final = "slow"
STORE_DOWN: Final = "store_down"
STORE_STALLED: Final = "store_stalled"
LOST_TAIL: Final = "lost_tail"
FLUSH: Final = "flush"
CLOCK_JUMP: Final = "clock_jump"
BREAK: Final = "break"  # one connection broke around one call; felt for a moment only
#: Faults after which the log is not what it was.
LOSSES: Final = frozenset((LOST_TAIL, FLUSH))

Position = tuple[int, int]
NOWHERE: Final[Position] = (0, 0)


class Seen(Struct, frozen=True):
    """One instance in an answer."""

    endpoint: str
    instance_id: str
    status: str
    value: str


class Operation(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="operation"):
    """One request of one client, from sending it until its answer, or until nobody waited any more (Unix ms)."""

    client: str
    #: One life of a replica: after a crash it is another one. What comes before a dot names the replica of a fault.
    replica: str
    kind: str
    start_ms: int
    end_ms: int
    outcome: str
    #: The error code of what was refused, or failed.
    code: int = 0
    service: str = ""
    # -- writes and heartbeats
    endpoint: str = ""
    #: The id in the request; of a registration the one in the answer, "" where there was none.
    instance_id: str = ""
    ttl_ms: int = 0
    #: What a registration or a change sets.
    status: str = ""
    value: str = ""
    # -- finds
    asked_rev: str = ""
    rev: str = ""
    not_modified: bool = False
    #: The list as it was answered (empty with `not_modified`), and a digest of its bytes.
    seen: tuple[Seen, ...] = ()
    digest: str = ""
    # -- positions
    #: What the request wanted the answer to include, and what it did include.
    wanted: Position = NOWHERE
    position: Position = NOWHERE


class Change(Struct, frozen=True):
    """One event as a watcher was told it."""

    at_ms: int
    action: str
    seen: Seen


class Watch(Struct, frozen=True, kw_only=True, tag="watch"):
    """One session of a watcher on one replica, for one service that it has found before."""

    client: str
    replica: str
    service: str
    #: When the session stood, and when it ended.
    opened_ms: int
    closed_ms: int
    #: The connection was broken by the registry or by a crash: the client has to pull, and does.
    dropped: bool
    #: The list that was pulled from this replica when the session stood, and (unless dropped) at its end, each with
    #: its position. Over HTTP, where both take a moment, events that the list held already come again: harmless.
    first: tuple[Seen, ...]
    first_position: Position
    changes: tuple[Change, ...]
    last: tuple[Seen, ...] = ()
    last_position: Position = NOWHERE


class Fault(Struct, frozen=True, kw_only=True, tag="fault"):
    """What was done to the system, and for how long (Unix ms). A crash ends when the replica is started again."""

    kind: str
    start_ms: int
    end_ms: int
    target: str = ""


class Failure(Struct, frozen=True, kw_only=True, tag="failure"):
    """A replica ended by itself, or answered 500003: always a bug."""

    replica: str
    at_ms: int
    text: str


class LastLook(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="last_look"):
    """One service on one replica at the end, after a while without faults."""

    replica: str
    at_ms: int
    service: str
    rev: str
    digest: str
    position: Position
    seen: tuple[Seen, ...]
    #: Of the whole view, where the registry tells one.
    state_hash: str = ""


class FeedBegins(Struct, frozen=True, kw_only=True, tag="feed_begins"):
    """A reader of the feed takes a place: its first, or another one as what came behind its own is not kept."""

    client: str
    at_ms: int
    position: Position
    #: The place that is not kept.
    given_up: Position = NOWHERE


class Fed(Struct, frozen=True, kw_only=True, tag="fed"):
    """One event as a reader of the feed was told it. `digest`: of its JSON."""

    client: str
    replica: str
    at_ms: int
    position: Position
    kind: str
    digest: str


class FeedMisled(Struct, frozen=True, kw_only=True, tag="feed_misled"):
    """What a reader holds that followed the feed up to here is not what the replica holds that stands here too."""

    client: str
    replica: str
    at_ms: int
    position: Position
    #: When it was last told to the end how a history was mended.
    mended_ms: int
    text: str


class FeedEnds(Struct, frozen=True, kw_only=True, tag="feed_ends"):
    """A reader of the feed has read until nothing came any more, when nothing was written any more: up to here."""

    client: str
    at_ms: int
    position: Position


class Logged(Struct, frozen=True, kw_only=True, tag="logged"):
    """One event as the history tells it at the end, the eldest first. `digest`: of its JSON."""

    at_ms: int
    position: Position
    kind: str
    digest: str


class PastLook(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="past_look"):
    """A find `asOf` a time that has passed."""

    client: str
    replica: str
    start_ms: int
    end_ms: int
    service: str
    #: What was asked for, as it was written.
    as_of: str
    #: The place that the answer is of.
    position: Position
    rev: str
    digest: str


class PastGone(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="past_gone"):
    """A find `asOf` a time of which nothing is kept any more, though the archive is to keep everything."""

    client: str
    replica: str
    at_ms: int
    service: str
    as_of: str


Entry = (
    Operation
    | Watch
    | Fault
    | Failure
    | LastLook
    | FeedBegins
    | Fed
    | FeedMisled
    | FeedEnds
    | Logged
    | PastLook
    | PastGone
)
#: What readers of the feed take down.
Reading = FeedBegins | Fed | FeedEnds


class History(Struct, frozen=True):
    """Everything that was recorded of one run."""

    operations: tuple[Operation, ...] = ()
    watches: tuple[Watch, ...] = ()
    faults: tuple[Fault, ...] = ()
    failures: tuple[Failure, ...] = ()
    last_looks: tuple[LastLook, ...] = ()
    #: In the order in which they were taken down.
    readings: tuple[Reading, ...] = ()
    misled: tuple[FeedMisled, ...] = ()
    logged: tuple[Logged, ...] = ()
    past_looks: tuple[PastLook, ...] = ()
    past_gone: tuple[PastGone, ...] = ()

    def entries(self) -> list[Entry]:
        told = [*self.readings, *self.misled, *self.logged, *self.past_looks, *self.past_gone]
        return [*self.operations, *self.watches, *self.faults, *self.failures, *self.last_looks, *told]


_decode = msgspec.json.Decoder(Entry).decode


def history_of(entries: Iterable[Entry]) -> History:
    """Sort entries into a history, in the order in which they come."""
    found: dict[type[Entry], list[Any]] = defaultdict(list)
    readings: list[Reading] = []
    for entry in entries:
        if isinstance(entry, FeedBegins | Fed | FeedEnds):
            readings.append(entry)
        else:
            found[type(entry)].append(entry)
    return History(
        tuple(found[Operation]),
        tuple(found[Watch]),
        tuple(found[Fault]),
        tuple(found[Failure]),
        tuple(found[LastLook]),
        tuple(readings),
        tuple(found[FeedMisled]),
        tuple(found[Logged]),
        tuple(found[PastLook]),
        tuple(found[PastGone]),
    )


def lines(history: History) -> list[str]:
    """One line for each entry, in the order of their begin, with only what it says; times from the first one."""
    entries = sorted(history.entries(), key=_begin_ms)
    first_ms = _begin_ms(entries[0]) if entries else 0
    return [f"{(_begin_ms(entry) - first_ms) / 1000:9.3f} {_text(entry, first_ms)}" for entry in entries]


def _begin_ms(entry: Entry) -> int:
    match entry:
        case Operation() | Fault() | PastLook():
            return entry.start_ms
        case Watch():
            return entry.opened_ms
    return entry.at_ms


def _text(entry: Entry, first_ms: int) -> str:
    known = {name: value for name, value in msgspec.to_builtins(entry).items() if value not in ("", [], False)}
    words = [str(known.pop(name)) for name in ("type", "kind", "outcome") if name in known]
    for name, value in known.items():
        if name.endswith("position") or name == "wanted":
            known[name] = f"{value[0]}-{value[1]}"
        elif name.endswith("_ms") and name != "ttl_ms":
            known[name] = (value - first_ms) / 1000
    return " ".join([*words, *(f"{name}={value}" for name, value in known.items())])


def write_history(path: Path, history: History) -> None:
    """Write JSON lines, one entry each."""
    path.write_bytes(msgspec.json.Encoder().encode_lines(history.entries()))


def read_history(path: Path) -> History:
    """Read what `write_history` has written."""
    return history_of(_decode(line) for line in path.read_bytes().splitlines() if line)
