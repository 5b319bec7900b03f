"""The checker by small histories written by hand: for each rule one that keeps it, and one that breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import structs

from tests.support.checker import (
    BACKWARDS,
    DEAD_KEPT,
    DIVERGENCE,
    DUPLICATE,
    EXACT,
    FAILURE,
    FEED,
    LIVING_REMOVED,
    LOST_WRITE,
    ORDER,
    PAST,
    REV,
    STALE_READ,
    WRONG_304,
    Rules,
    check,
)
from tests.support.exactness import RESUMED
from tests.support.history import (
    CLOCK_JUMP,
    FIND,
    HEARTBEAT,
    LOST_TAIL,
    NOWHERE,
    OK,
    PARTITION,
    REFUSED,
    REGISTER,
    SET_PROPERTIES,
    SET_STATUS,
    STORE_DOWN,
    UNKNOWN,
    UNREGISTER,
    Change,
    Entry,
    Failure,
    Fault,
    Fed,
    FeedBegins,
    FeedEnds,
    LastLook,
    Logged,
    Operation,
    PastLook,
    Position,
    Seen,
    Watch,
    history_of,
    lines,
    read_history,
    write_history,
)

TTL_MS: Final = 10_000
ENDPOINT: Final = "rest://one:80"
ONE: Final = Seen(ENDPOINT, "i1", "UP", "v1")
BUSY: Final = 400100
GONE: Final = 400017


def operation(kind: str, at_ms: int, took_ms: int = 10, **fields: Any) -> Operation:
    said: dict[str, Any] = {"client": "c", "replica": "a.1", "service": "s", "outcome": OK}
    return Operation(kind=kind, start_ms=at_ms, end_ms=at_ms + took_ms, **said | fields)


def write(kind: str, at_ms: int, number: int = 1, **fields: Any) -> Operation:
    """A write of the one instance, answered by a replica that nobody reads from, at that position."""
    position = (1, number) if kind != HEARTBEAT and fields.get("outcome", OK) == OK else NOWHERE
    said = {"endpoint": ENDPOINT, "instance_id": "i1", "position": position, "replica": "p.1"}
    return operation(kind, at_ms, **said | fields)


def register(at_ms: int, number: int = 1, **fields: Any) -> Operation:
    return write(REGISTER, at_ms, number, **{"ttl_ms": TTL_MS, "status": "UP", "value": "v1"} | fields)


def beat(at_ms: int, **fields: Any) -> Operation:
    return write(HEARTBEAT, at_ms, **{"ttl_ms": TTL_MS} | fields)


def find(at_ms: int, *seen: Seen, position: Position = (1, 1), **fields: Any) -> Operation:
    """A list whose rev and digest are what it says they are: equal lists, equal revs."""
    said = {"seen": seen, "rev": rev(seen), "digest": f"d{rev(seen)}", "position": position}
    return operation(FIND, at_ms, **said | fields)


def rev(seen: Sequence[Seen]) -> str:
    return "-".join(instance.value + instance.status for instance in seen) or "none"


def look(at_ms: int, *seen: Seen, replica: str = "a.1", state_hash: str = "h", position: Position = (1, 9)) -> LastLook:
    return LastLook(
        replica=replica,
        at_ms=at_ms,
        service="s",
        rev=rev(seen),
        digest=rev(seen),
        position=position,
        seen=seen,
        state_hash=state_hash,
    )


def watch(changes: Sequence[Change], last: Sequence[Seen], first: Sequence[Seen] = (), dropped: bool = False) -> Watch:
    return Watch(
        client="w",
        replica="a.1",
        service="s",
        opened_ms=500,
        closed_ms=9000,
        dropped=dropped,
        first=tuple(first),
        first_position=(1, 0),
        changes=tuple(changes),
        last=tuple(last),
        last_position=(1, 9),
    )


def fault(kind: str, start_ms: int, end_ms: int, target: str = "") -> Fault:
    return Fault(kind=kind, start_ms=start_ms, end_ms=end_ms, target=target)


def begins(at_ms: int, number: int, given_up: int = 0) -> FeedBegins:
    return FeedBegins(client="f", at_ms=at_ms, position=(1, number), given_up=(1, given_up) if given_up else NOWHERE)


def fed(at_ms: int, number: int, epoch: int = 1, digest: str = "", kind: str = "k") -> Fed:
    return Fed(
        client="f", replica="a.1", at_ms=at_ms, position=(epoch, number), kind=kind, digest=digest or f"d{number}"
    )


def ends(at_ms: int, number: int, epoch: int = 1) -> FeedEnds:
    return FeedEnds(client="f", at_ms=at_ms, position=(epoch, number))


def logged(*numbers: int, epoch: int = 1) -> list[Logged]:
    return [Logged(at_ms=99_000, position=(epoch, number), kind="k", digest=f"d{number}") for number in numbers]


def past_look(at_ms: int, *seen: Seen, as_of: str = "1-1", position: Position = (1, 1)) -> PastLook:
    return PastLook(
        client="p",
        replica="a.1",
        start_ms=at_ms,
        end_ms=at_ms + 10,
        service="s",
        as_of=as_of,
        position=position,
        rev=rev(seen),
        digest=f"d{rev(seen)}",
    )


ALIVE: Final = [register(1000), beat(6000), beat(11_000)]
TWO: Final = structs.replace(ONE, value="v2")
SET_TWO: Final = write(SET_PROPERTIES, 3000, 2, value="v2")
STOPPED: Final = structs.replace(ONE, status="DOWN")
CASES: Final[dict[str, tuple[str, list[Entry], list[Entry]]]] = {
    "a replica that ends": (FAILURE, [], [Failure(replica="a.1", at_ms=5, text="KeyError")]),
    "a write is there at the end": (
        LOST_WRITE,
        [*ALIVE, SET_TWO, look(12_000, TWO)],
        [*ALIVE, SET_TWO, look(12_000, ONE)],
    ),
    "a status is there at the end": (
        LOST_WRITE,
        [*ALIVE, write(SET_STATUS, 3000, 2, status="DOWN"), look(12_000, STOPPED)],
        [*ALIVE, write(SET_STATUS, 3000, 2, status="DOWN"), look(12_000, ONE)],
    ),
    "who has left stays away": (
        LOST_WRITE,
        [*ALIVE, write(UNREGISTER, 12_000, 2), look(13_000)],
        [*ALIVE, write(UNREGISTER, 12_000, 2), look(13_000, ONE)],
    ),
    "a write of unknown outcome may have happened": (
        LOST_WRITE,
        [*ALIVE, write(SET_PROPERTIES, 3000, 2, value="v2", outcome=UNKNOWN), look(12_000, TWO)],
        [*ALIVE, write(SET_PROPERTIES, 3000, 2, value="v3", outcome=UNKNOWN), look(12_000, TWO)],
    ),
    "what is registered is not denied": (
        ORDER,
        [*ALIVE, write(UNREGISTER, 12_000, 2), beat(13_000, outcome=REFUSED, code=GONE)],
        [*ALIVE, write(UNREGISTER, 12_000, 2), beat(13_000)],
    ),
    "a refusal is one of those that deny": (
        ORDER,
        [*ALIVE, write(UNREGISTER, 12_000, 2), beat(13_000, outcome=REFUSED, code=GONE)],
        [*ALIVE, beat(13_000, outcome=REFUSED, code=BUSY)],
    ),
    "a renewal keeps for one lease": (
        LIVING_REMOVED,
        [*ALIVE, beat(21_500, outcome=REFUSED, code=GONE)],
        [*ALIVE, beat(20_000, outcome=REFUSED, code=GONE)],
    ),
    "two lapses in one stretch": (
        LIVING_REMOVED,
        [register(1000), register(15_000, 3, value="v2"), look(40_000)],
        [register(1000), register(15_000, 3, value="v2"), look(24_000)],
    ),
    "who is silent goes": (DEAD_KEPT, [*ALIVE, find(23_000, ONE)], [*ALIVE, find(24_000, ONE)]),
    "who is silent is gone at the end": (DEAD_KEPT, [*ALIVE, look(30_000)], [*ALIVE, look(30_000, ONE)]),
    "replicas agree at the end": (
        DIVERGENCE,
        [*ALIVE, look(12_000, ONE), look(12_010, ONE, replica="b.1")],
        [*ALIVE, look(12_000, ONE), look(12_010, ONE, replica="b.1", state_hash="g")],
    ),
    "one position, one answer": (
        DIVERGENCE,
        [*ALIVE, find(12_000, ONE), find(12_500, ONE, replica="b.1")],
        [*ALIVE, find(12_000, ONE), find(12_500, ONE, replica="b.1", rev="other", digest="other")],
    ),
    "a read is not old": (
        STALE_READ,
        [*ALIVE, SET_TWO, find(4000, ONE)],
        [*ALIVE, SET_TWO, find(5000, ONE)],
    ),
    "a read was true once": (STALE_READ, [*ALIVE, find(3000, ONE)], [*ALIVE, find(3000, TWO)]),
    "nobody is left out": (STALE_READ, [register(1000), find(1005)], [register(1000), find(4000)]),
    "a contradiction is of now": (
        STALE_READ,
        [*ALIVE, SET_TWO, find(3500, TWO, asked_rev=rev([ONE]), position=(1, 2))],
        [*ALIVE, SET_TWO, find(3500, ONE, asked_rev="older")],
    ),
    "not modified means that": (
        WRONG_304,
        [*ALIVE, find(2000, ONE), find(4000, rev=rev([ONE]), asked_rev=rev([ONE]), not_modified=True)],
        [
            *(*ALIVE, SET_TWO, find(2000, ONE)),
            find(6000, rev=rev([ONE]), asked_rev=rev([ONE]), not_modified=True, position=(1, 2)),
        ],
    ),
    "not modified of a rev that was handed out": (
        WRONG_304,
        [*ALIVE, find(2000, ONE), find(4000, rev=rev([ONE]), asked_rev=rev([ONE]), not_modified=True)],
        [*ALIVE, find(2000, ONE), find(4000, rev="made up", asked_rev="made up", not_modified=True)],
    ),
    "one rev, one content": (
        REV,
        [*ALIVE, SET_TWO, find(2000, ONE), find(6000, TWO, position=(1, 2))],
        [*ALIVE, SET_TWO, find(2000, ONE), find(6000, TWO, position=(1, 2), rev=rev([ONE]))],
    ),
    "one content, one rev": (
        REV,
        [*ALIVE, find(2000, ONE), find(6000, ONE, position=(1, 2))],
        [*ALIVE, find(2000, ONE), find(6000, ONE, position=(1, 2), rev="other")],
    ),
    "a replica does not go back": (
        BACKWARDS,
        [*ALIVE, find(2000, ONE, position=(1, 2)), find(2500, ONE, position=(1, 1), replica="b.1")],
        [*ALIVE, find(2000, ONE, position=(1, 2)), find(2500, ONE, position=(1, 1))],
    ),
    "a position that is wanted is met": (
        BACKWARDS,
        [*ALIVE, find(2000, ONE, position=(1, 2), wanted=(1, 2))],
        [*ALIVE, find(2000, ONE, position=(1, 1), wanted=(1, 2))],
    ),
    "a watcher is told what changes": (
        FEED,
        [register(1000), watch([Change(1010, "CREATE", ONE)], [ONE])],
        [register(1000), watch([], [ONE])],
    ),
    "a watcher is told who leaves": (
        FEED,
        [register(1000), watch([Change(1010, "CREATE", ONE), Change(2010, "DELETE", ONE)], [])],
        [register(1000), watch([Change(1010, "CREATE", ONE)], [])],
    ),
    "no change is left out on the way": (
        FEED,
        [register(1000), SET_TWO, watch([Change(1, "CREATE", ONE), Change(2, "UPDATE", TWO)], [TWO])],
        [register(1000), SET_TWO, watch([Change(2, "CREATE", TWO)], [TWO])],
    ),
    "a watcher that was dropped pulls": (
        FEED,
        [register(1000), watch([], [ONE], dropped=True)],
        [register(1000), watch([], [ONE])],
    ),
    "the feed leaves nothing out": (
        EXACT,
        [begins(100, 1), fed(200, 2), fed(210, 3), ends(900, 3), *logged(1, 2, 3)],
        [begins(100, 1), fed(200, 2), ends(900, 3), *logged(1, 2, 3)],
    ),
    "the feed tells nothing twice": (
        EXACT,
        [begins(100, 1), fed(200, 2), fed(210, 3), *logged(1, 2, 3)],
        [begins(100, 1), fed(200, 2), fed(210, 2), fed(220, 3), *logged(1, 2, 3)],
    ),
    "the feed tells what the history has": (
        EXACT,
        [begins(100, 1), fed(200, 2), *logged(2)],
        [begins(100, 1), fed(200, 2, digest="another"), *logged(2)],
    ),
    "who falls behind what is kept takes another place": (
        EXACT,
        [begins(100, 1), begins(200, 8, given_up=1), fed(300, 9), *logged(7, 8, 9)],
        [begins(100, 1), begins(200, 8, given_up=7), fed(300, 9), *logged(7, 8, 9)],
    ),
    "what was at a place stays as it was": (
        PAST,
        [*ALIVE, find(2000, ONE), past_look(3000, ONE), past_look(9000, ONE)],
        [*ALIVE, find(2000, ONE), past_look(3000, ONE), past_look(9000, TWO)],
    ),
    "what was at a place is what was told then": (
        PAST,
        [*ALIVE, find(2000, ONE), past_look(3000, ONE)],
        [*ALIVE, find(2000, ONE), past_look(3000, TWO)],
    ),
    "what was at a moment stays as it was": (
        PAST,
        [past_look(3000, ONE, as_of="2000"), past_look(9000, ONE, as_of="2000")],
        [past_look(3000, ONE, as_of="2000"), past_look(9000, TWO, as_of="2000", position=(1, 2))],
    ),
    "an endpoint once": (
        DUPLICATE,
        [*ALIVE, find(2000, ONE)],
        [*ALIVE, find(2000, ONE, structs.replace(ONE, instance_id="i2"))],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_history_that_keeps_the_rule_is_fine(case: str) -> None:
    _, good, _ = CASES[case]
    assert check(history_of(good)) == []


@pytest.mark.parametrize("case", CASES)
def test_a_history_that_breaks_the_rule_is_found(case: str) -> None:
    rule, _, bad = CASES[case]
    found = check(history_of(bad))
    assert rule in {finding.rule for finding in found}, found


#: What a fault excuses: (history without it is found, the fault).
EXCUSES: Final[dict[str, tuple[list[Entry], Fault]]] = {
    "old reads while the store is away": ([*ALIVE, SET_TWO, find(5000, ONE)], fault(STORE_DOWN, 2900, 6000)),
    "old reads of a replica that is cut off": ([*ALIVE, SET_TWO, find(5000, ONE)], fault(PARTITION, 2900, 6000, "a")),
    "a dead one while leases start anew": ([*ALIVE, find(26_000, ONE)], fault(STORE_DOWN, 20_000, 22_000)),
    "beats that only a replica that is cut off has heard": (
        [*ALIVE, write(SET_STATUS, 18_500, status="UP", outcome=REFUSED, code=GONE)],
        fault(PARTITION, 5500, 18_000, "p"),
    ),
    "a lease by a clock that was set forward": (
        [*ALIVE, beat(19_000, outcome=REFUSED, code=GONE)],
        fault(CLOCK_JUMP, 15_000, 15_000),
    ),
    "a late beat that was only remembered": (
        [*ALIVE, beat(20_500), beat(26_000, outcome=REFUSED, code=GONE)],
        fault(STORE_DOWN, 20_000, 21_000),
    ),
    "an expiry that the log has lost": ([*ALIVE, find(24_000, ONE)], fault(LOST_TAIL, 20_000, 23_500)),
    "a position that the log has lost": (
        [register(1000), SET_TWO, beat(6000), find(2000, ONE, position=(1, 2)), find(4000, TWO, position=(1, 2))],
        fault(LOST_TAIL, 1900, 3000),
    ),
    "a watcher in a history that lacks a write": (
        [register(1000), SET_TWO, watch([Change(1010, "CREATE", ONE)], [ONE])],
        fault(LOST_TAIL, 2900, 4000),
    ),
    "a feed that was told what the log has lost": (
        [
            begins(100, 1),
            fed(2000, 2, digest="lost"),
            fed(9000, 1, 2, kind=RESUMED),
            *logged(1, 2),
            *logged(1, epoch=2),
        ],
        fault(LOST_TAIL, 1900, 3000),
    ),
    "a feed whose reader was told to read the present": (
        [begins(100, 1), fed(2000, 2, digest="lost"), begins(2950, 2, given_up=2), *logged(1, 2)],
        fault(LOST_TAIL, 1900, 3000),
    ),
    "the past of a place that the log has lost": (
        [past_look(2000, ONE), past_look(30_000, TWO), past_look(31_000, TWO)],
        fault(LOST_TAIL, 1900, 3000),
    ),
}


@pytest.mark.parametrize("what", EXCUSES)
def test_a_fault_excuses_only_what_it_touches(what: str) -> None:
    """Excusing too much would make the checker blind, too little would make it cry wolf."""
    entries, of = EXCUSES[what]
    assert check(history_of(entries))
    assert check(history_of([*entries, of])) == []
    elsewhere = structs.replace(of, start_ms=of.start_ms + 200_000, end_ms=of.end_ms + 200_000)
    assert check(history_of([*entries, elsewhere]))


def test_a_fault_of_another_replica_excuses_no_read() -> None:
    entries: list[Entry] = [*ALIVE, SET_TWO, find(5000, ONE), fault(PARTITION, 2900, 6000, "b")]
    assert [finding.rule for finding in check(history_of(entries))] == [STALE_READ]


def test_no_fault_excuses_a_lost_write() -> None:
    entries: list[Entry] = [*ALIVE, SET_TWO, fault(LOST_TAIL, 2900, 4000), look(12_000, ONE)]
    assert LOST_WRITE in {finding.rule for finding in check(history_of(entries))}


def test_what_a_log_has_lost_is_no_excuse_without_a_word_of_it() -> None:
    entries: list[Entry] = [begins(100, 1), fed(2000, 2, digest="lost"), fed(9000, 3), *logged(1, 2, 3)]
    found = check(history_of([*entries, fault(LOST_TAIL, 1900, 3000)]))
    assert [finding.rule for finding in found] == [EXACT]


def test_a_loss_excuses_no_past_that_was_before_it() -> None:
    entries: list[Entry] = [past_look(1000, ONE), past_look(2500, TWO), fault(LOST_TAIL, 1900, 3000)]
    assert [finding.rule for finding in check(history_of(entries))] == [PAST]


def test_tolerances_are_parameters() -> None:
    """A run of real processes on a busy machine is slower than a simulated one."""
    entries: list[Entry] = [*ALIVE, SET_TWO, find(5000, ONE)]
    assert check(history_of(entries))
    assert check(history_of(entries), Rules(lag_ms=2500)) == []
    assert check(history_of(entries), Rules(enabled=(REV,))) == []


def test_a_history_is_written_and_read_again(tmp_path: Path) -> None:
    history = history_of([*ALIVE, SET_TWO, find(2000, ONE), watch([Change(1, "CREATE", ONE)], [ONE]), look(9, ONE)])
    write_history(tmp_path / "history", history)
    assert read_history(tmp_path / "history") == history
    assert len(lines(history)) == len(history.entries())
