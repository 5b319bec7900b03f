"""The fold does what a pile of plain dicts does, for every log, however it is cut and repeated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.errors import RegistryError
from registry.domain.events import Event, decode_event, encode_event
from registry.domain.find import FindQuery, find
from registry.domain.fold import apply
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView
from registry.projection.projector import APPLY_BATCH_MAX, Projector
from registry.store.lease import Write
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.store.port import Tail
from tests.support.builders import EPOCH, instance, instance_registered, microservice, service_registered
from tests.support.clock import ManualClock
from tests.support.oracle import Oracle, assert_same, assert_weights, told
from tests.support.strategies import (
    INSTANCE_IDS,
    SERVICE_IDS,
    any_queries,
    comings_and_goings,
    find_queries,
    instance_queries,
    logs,
)

#: Every name that the generated worlds know, asked after every step, so that a stale prepared answer is noticed.
EVERY_NAME = [
    FindQuery(app_id=app, service_name=name, environment=environment, tags=tags)
    for app, name, environment, tags in product(
        ["shop", "desk"], ["cart", "till", "basket"], ["", "production"], [(), ("zone",)]
    )
]


def positions(log: Sequence[Event]) -> list[tuple[Position, Event]]:
    return [(Position(EPOCH, sequence), event) for sequence, event in enumerate(log, 1)]


def content(view: RegistryView) -> Any:
    """Everything that a client could tell from the view, and every index; prepared answers aside."""
    return (
        {
            id: (row.body, row.version, dict(row.instances), dict(row.by_endpoints), dict(row.tags), dict(row.schemas))
            for id, row in view.services.items()
        },
        {key: list(group.services) for key, group in view.groups.items()},
        dict(view.ids),
        dict(view.alias_ids),
        {key: list(ids) for key, ids in view.aliases.items()},
        {id: list(providers) for id, providers in view.providers.items()},
        {key: list(ids) for key, ids in view.consumers.items()},
        dict(view.policies),
        view.instance_count,
        view.policy_bytes,
        view.held_bytes,
    )


def answer(view: RegistryView, query: FindQuery | InstanceQuery) -> Any:
    """What the query is answered, decoded: the instances in order, or the error's code."""
    try:
        if isinstance(query, FindQuery):
            prepared = find(view, query)
        else:
            prepared = get_instance(view, query) if query.instance_id else list_instances(view, query)
    except RegistryError as error:
        return error.code
    instances = json.loads(prepared.body).get("instances", [])
    assert prepared.count == len(instances)
    return instances


@given(logs() | comings_and_goings)
def test_after_every_event_the_view_holds_what_plain_dicts_would(log: list[Event]) -> None:
    """A wrong index or a stale prepared answer sends consumers to instances that are gone, or hides new ones."""
    view, oracle = RegistryView(DEFAULT_TENANT), Oracle()
    for position, event in positions(log):
        assert told(apply(view, position, event)) == oracle.apply(position, event)
        assert_same(view, oracle)
        for query in EVERY_NAME:
            assert answer(view, query) == oracle.find(query)


@given(logs(), st.lists(find_queries | any_queries | instance_queries, min_size=1, max_size=12))
def test_every_query_is_answered_as_by_linear_search(
    log: list[Event], queries: list[FindQuery | InstanceQuery]
) -> None:
    """Visibility, version rules, aliases and `*` decide whom a consumer calls; asking twice must change nothing."""
    view, oracle = RegistryView(DEFAULT_TENANT), Oracle()
    for number, (position, event) in enumerate(positions(log)):
        apply(view, position, event)
        oracle.apply(position, event)
        query = queries[number % len(queries)]
        expected = oracle.find(query) if isinstance(query, FindQuery) else oracle.instances_of(query)
        assert answer(view, query) == expected
        assert answer(view, query) == expected


@given(logs(only_ordinary=False))
def test_no_log_makes_the_fold_raise_and_a_refused_event_changes_nothing(log: list[Event]) -> None:
    """One event that raises would stop every replica, and again after every restart."""
    view = RegistryView(DEFAULT_TENANT)
    for position, event in positions(log):
        before = content(view)
        outcome = apply(view, position, event)
        assert view.position == position
        assert_weights(view)
        if outcome.error is not None:
            assert content(view) == before
            assert not outcome.changes


@given(logs(), st.data())
def test_an_event_applied_before_is_applied_to_no_effect(log: list[Event], data: st.DataObject) -> None:
    """Reading the log again after a lost connection must not register, remove or announce anything twice."""
    view = RegistryView(DEFAULT_TENANT)
    for position, event in positions(log):
        apply(view, position, event)
        before = content(view)
        again = data.draw(st.sampled_from(positions(log)[: position.sequence]))
        outcome = apply(view, *again)
        assert (outcome.id, outcome.changes, outcome.error) == ("", (), None)
        assert (content(view), view.position) == (before, position)


class RedeliveringStore(MemoryStore):
    """A store whose reads begin anywhere at or before the position asked for, and end after any number of events."""

    def __init__(self, server: MemoryServer, cuts: Sequence[tuple[int, int]]) -> None:
        super().__init__(server)
        self._cuts = list(cuts)

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        tail = await super().read(after, tenants_after, block_ms)
        if not tail.events or not self._cuts:
            return tail
        repeated, taken = self._cuts.pop()
        events = {}
        for tenant in tail.events:
            whole = (await super().read({tenant: ORIGIN}, tenants_after, 0)).events[tenant]
            at = sum(1 for position, _ in whole if position <= after[tenant])
            events[tenant] = whole[max(at - repeated, 0) : at + taken]
        return Tail(events, tail.tenants, tail.tenants_after)


@given(logs(), st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=8))
def test_replay_in_any_batches_with_any_redelivery_gives_the_live_view(
    log: list[Event], cuts: list[tuple[int, int]]
) -> None:
    """A replica that starts later, or reads in other portions, must answer every client the same."""
    server = MemoryServer(ManualClock())
    live: list[RegistryView] = []

    async def replay() -> Projector:
        store = MemoryStore(server)
        await store.add_tenant(DEFAULT_TENANT)
        appended = await store.commit(DEFAULT_TENANT, 0, [Write(encode_event(event)) for event in log])
        view = RegistryView(DEFAULT_TENANT)
        for position, event in zip(appended, log, strict=True):
            assert position is not None
            apply(view, position, event)
        live.append(view)
        projector = Projector(RedeliveringStore(server, cuts), "r9")
        await projector.start()
        return projector

    replayed = asyncio.run(replay()).view(DEFAULT_TENANT)
    assert replayed.position == live[0].position
    assert content(replayed) == content(live[0])
    for service_id, instance_id in product(SERVICE_IDS, INSTANCE_IDS):
        query = InstanceQuery(service_id, instance_id)
        assert answer(replayed, query) == answer(live[0], query)


async def test_a_log_of_several_batches_is_replayed_to_its_end() -> None:
    """A replica that starts on a long log must not stop where its first batch ends."""
    server = MemoryServer(ManualClock())
    store = MemoryStore(server)
    await store.add_tenant(DEFAULT_TENANT)
    log: list[Event] = [service_registered(microservice("s1", "cart"))]
    log += [instance_registered(instance("s1", f"i{n}")) for n in range(2 * APPLY_BATCH_MAX + 7)]
    await store.commit(DEFAULT_TENANT, 0, [Write(encode_event(event)) for event in log])
    projector = Projector(store, "r9")
    await projector.start()
    assert projector.view(DEFAULT_TENANT).instance_count == 2 * APPLY_BATCH_MAX + 7
    assert projector.view(DEFAULT_TENANT).position.sequence == len(log)


@given(logs())
def test_writing_an_event_down_and_reading_it_back_changes_no_view(log: list[Event]) -> None:
    """The replica that wrote an event applies its own object, the others the decoded one: they must agree."""
    own, other = RegistryView(DEFAULT_TENANT), RegistryView(DEFAULT_TENANT)
    for position, event in positions(log):
        apply(own, position, event)
        apply(other, position, decode_event(encode_event(event)))
    assert content(own) == content(other)
