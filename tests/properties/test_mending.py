"""No matter what was cut from a log, and which replica had applied how much of it: afterwards all hold what plain dicts
would.

The oracle knows nothing of views, snapshots and epochs. It folds the log that survived, what others wrote to it
before the cut was noticed, and then what was lost, in its order, but for what others had meanwhile written anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    ServiceRegistered,
    ServiceUnregistered,
)
from registry.domain.fold import apply
from registry.domain.model import Policy
from registry.domain.position import Position, parse_position
from registry.domain.recent import event_id
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.history.choice import Choice
from registry.history.historian import Historian, PageQuery
from registry.history.past import Past
from registry.store.lease import LeaseName
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from tests.support.feed_copy import FeedCopy
from tests.support.memory_replica import (
    MemoryReplica,
    append,
    cut,
    digests,
    log_of,
    restamped,
    run,
    virtual_ms,
)
from tests.support.oracle import Oracle, assert_same
from tests.support.strategies import (
    instance_registrations,
    logs,
    policy_ids,
    removals,
    service_registrations,
    stamps,
)

T = DEFAULT_TENANT
NOW = 1_700_000_000_000
LATER = NOW + 1_000_000


class Loss(NamedTuple):
    """A log of which only the first `survive` events come back, and what happened around that."""

    log: Sequence[Event]
    survive: int
    #: How many events each replica had applied when the store broke, in the order in which they notice.
    applied: Sequence[int]
    at_once: bool
    #: Written to the log that came back, before anybody noticed.
    meanwhile: Sequence[Event]


#: What is told apart by its subject alone; of tags, schemas and dependencies see tests/unit/test_mending.py.
plain_events: st.SearchStrategy[Event] = st.one_of(
    instance_registrations,
    service_registrations,
    removals,
    st.builds(PolicySaved, policy=st.builds(Policy, name=st.just("n"), id=policy_ids), **stamps),
    st.builds(PolicyDeleted, policy_id=policy_ids, **stamps),
)


@st.composite
def losses(draw: st.DrawFn, holders: int, meanwhile: bool) -> Loss:
    drawn = [event for event in draw(logs()) if not isinstance(event, HistoryResumed)]
    log = restamped(drawn, "w", NOW)
    survive = draw(st.integers(0, len(log)))
    applied = draw(st.lists(st.integers(survive, len(log)), min_size=1, max_size=holders))
    applied += draw(st.lists(st.integers(0, survive), max_size=1))
    others = draw(st.lists(plain_events, min_size=1, max_size=5)) if meanwhile else []
    return Loss(log, survive, draw(st.permutations(applied)), draw(st.booleans()), restamped(others, "x", LATER))


def about(event: Event) -> tuple[str, str]:
    """The service and instance, or the policy, that an event is about."""
    match event:
        case InstanceRegistered():
            return event.instance.service_id, event.instance.instance_id
        case InstanceUnregistered() | InstanceExpired() | InstanceStatusSet() | InstancePropertiesSet():
            return event.service_id, event.instance_id
        case ServiceRegistered():
            return event.service.service_id, ""
        case PolicySaved():
            return "policy", event.policy.id
        case PolicyDeleted():
            return "policy", event.policy_id
        case DependenciesAdded() | DependenciesReplaced():
            return event.consumer_id, ""
    return getattr(event, "service_id", ""), ""


def overruled(lost: Event, meanwhile: Sequence[Event]) -> bool:
    """Whether somebody decided the same thing since. Leases decide who has lapsed, so a lapse counts for nothing."""
    if isinstance(lost, InstanceExpired):
        return True
    service, instance = about(lost)
    for event in meanwhile:
        if isinstance(event, InstanceExpired):
            continue
        if isinstance(lost, InstanceRegistered) and isinstance(event, InstanceRegistered) and took(event, lost):
            return True
        if isinstance(event, ServiceUnregistered) or isinstance(lost, ServiceUnregistered):
            if about(event)[0] == service:
                return True
        elif about(event) == (service, instance) and (instance or type(event) is type(lost)):
            return True
    return False


def took(event: InstanceRegistered, lost: InstanceRegistered) -> bool:
    """Whether the client of the lost registration has registered anew, and was given another id."""
    mine, other = set(lost.instance.endpoints), set(event.instance.endpoints)
    return not lost.chosen and mine == other != set() and event.instance.service_id == lost.instance.service_id


async def held(server: MemoryServer, applied: int, name: str) -> MemoryReplica:
    """A replica that has applied a number of events of the log."""
    data = server.of(T)
    everything = list(data.events)
    del data.events[applied:]
    lane = MemoryReplica(server, name)
    await lane.follow()
    data.events = everything
    return lane


async def mend(loss: Loss) -> tuple[MemoryServer, list[MemoryReplica]]:
    """The loss, and all of it noticed; the replicas, and one that starts afterwards."""
    server = MemoryServer(virtual_ms)
    await append(server, *loss.log)
    lanes = [await held(server, applied, f"r{number}") for number, applied in enumerate(loss.applied)]
    await cut(server, loss.survive)
    if loss.meanwhile:
        await append(server, *loss.meanwhile)
    if loss.at_once:
        await asyncio.gather(*(lane.after_a_break() for lane in lanes))
    for lane in (*lanes, *lanes):
        await lane.after_a_break()
    fresh = MemoryReplica(server, "fresh")
    await fresh.follow()
    return server, [*lanes, fresh]


def check(loss: Loss) -> None:
    server, lanes = run(lambda: mend(loss))
    log = log_of(server)
    # 1. The log holds what it should, each event once, in order. Where it was seeded, what was before is in a snapshot.
    oracle = Oracle()
    first = log[0][1] if log else None
    seeded = 0
    if isinstance(first, HistoryResumed):
        seeded = parse_position(first.after).sequence
        for sequence, event in enumerate(loss.log[:seeded], 1):
            oracle.apply(Position(NOW, sequence), event)
    most = max(loss.survive, *loss.applied)
    lost = [event for event in loss.log[max(loss.survive, seeded) : most] if not overruled(event, loss.meanwhile)]
    surviving = [] if seeded else loss.log[: loss.survive]
    expected = [*surviving, *loss.meanwhile, *lost]
    found = [event for _, event in log if not isinstance(event, HistoryResumed) and event.number >= 0]
    # A lapse is put back, as a departure, only where another took the endpoints afterwards: see test_history.py.
    lapses = {event_id(event) for event in loss.log[loss.survive :] if isinstance(event, InstanceExpired)}
    found = [event for event in found if event_id(event) not in lapses]
    assert [event_id(event) for event in found] == [event_id(event) for event in expected]
    # 2. Every view is what plain dicts make of it, also that of a replica which starts now.
    for position, event in log:
        oracle.apply(position, event)
    for lane in lanes:
        assert_same(lane.view, oracle)
        assert lane.view.position == (log[-1][0] if log else lanes[-1].view.position)
        assert digests(lane.view) == digests(lanes[-1].view)
    # 3. Nobody has lost the lease with the log.
    if lost:
        run(lambda: leased(server, lanes[-1]))


async def leased(server: MemoryServer, lane: MemoryReplica) -> None:
    server.clock_ms = lambda: NOW  # leases were given later: none of them can have lapsed
    rows = [row for service in lane.view.services.values() for row in service.instances.values()]
    left = await MemoryStore(server).remaining(T, [LeaseName(row.service_id, row.instance_id) for row in rows])
    assert all(remaining > 0 for remaining in left)


# -- readers of the feed -----------------------------------------------------------------------------------------------


async def follow(server: MemoryServer, view: RegistryView) -> FeedCopy:
    """Who had read the view, and is then told what comes behind its place."""
    copy, after = FeedCopy(view), view.position
    historian = Historian(Past(MemoryStore(server)))
    while True:
        query = PageQuery(Choice(), newest_first=False, after=after, limit=2)
        page = json.loads(await historian.page(T, query))
        positions = [parse_position(told["position"]) for told in page["events"]]
        assert positions == sorted(set(positions))
        assert all(position > after for position in positions)
        for told in page["events"]:
            assert copy.apply(told), told
        after = parse_position(page["position"])
        if not page["next"]:
            return copy


async def readers(loss: Loss) -> tuple[RegistryView, list[FeedCopy]]:
    """What the registry holds at last, and those who stood at any place that a replica told, before the loss or since.

    Who was told nothing has to read the present, so that it is left out.
    """
    server, lanes = await mend(loss)
    epoch = min([*lanes[0].view.lineage, lanes[0].view.position.epoch])
    most = max(loss.survive, *loss.applied)
    since = [*loss.log[: loss.survive], *loss.meanwhile]
    views = [prefix(loss.log, number, epoch) for number in range(1, most + 1)]
    views += [prefix(since, number, epoch) for number in range(max(loss.survive, 1), len(since) + 1)]
    return lanes[-1].view, [await follow(server, view) for view in views]


def prefix(log: Sequence[Event], number: int, epoch: int) -> RegistryView:
    view = RegistryView(T)
    for sequence, event in enumerate(log[:number], 1):
        apply(view, Position(epoch, sequence), event)
    return view


@given(losses(holders=4, meanwhile=True))
def test_whoever_follows_the_feed_holds_what_the_registry_holds(loss: Loss) -> None:
    """Wherever a reader stood when the log was broken off, it is told enough to mend its own copy."""
    view, copies = run(lambda: readers(loss))
    for copy in copies:
        assert copy.differences(FeedCopy(view)) == ""


@given(losses(holders=3, meanwhile=False))
def test_whoever_follows_the_feed_holds_what_was_put_back(loss: Loss) -> None:
    view, copies = run(lambda: readers(loss))
    for copy in copies:
        assert copy.differences(FeedCopy(view)) == ""


@given(losses(holders=1, meanwhile=True))
def test_one_that_remembers_puts_everything_back(loss: Loss) -> None:
    """The last replica that holds an acknowledged event gives it back, whatever others wrote meanwhile."""
    check(loss)


@given(losses(holders=4, meanwhile=False))
def test_several_that_remember_put_everything_back_once(loss: Loss) -> None:
    """In any order, or at once, and however far each had come."""
    check(loss)


@given(losses(holders=4, meanwhile=True))
def test_several_that_remember_keep_what_others_wrote(loss: Loss) -> None:
    """A write to the log that came back is as much acknowledged as what was lost."""
    check(loss)
