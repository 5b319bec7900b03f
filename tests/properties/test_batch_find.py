"""A batch answers every element exactly once, and says "not modified" only of what the consumer holds."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain import find as domain_find
from registry.domain.batch_find import BatchResult, batch_find, encode_batch
from registry.domain.errors import RegistryError
from registry.domain.events import DependenciesAdded, Event, ServiceRegistered, ServiceUnregistered
from registry.domain.find import FindQuery, find
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.version import ALL_VERSIONS, parse_rule
from registry.domain.view import DEFAULT_TENANT, Answer, RegistryView, Tenant
from registry.http_api.api import Api
from registry.http_api.discovery import batch_here
from registry.http_api.queries import BatchQueries
from registry.projection.projector import Projector
from registry.usecases.discovery import Discovery
from tests.support.builders import (
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    stamp,
    view_of,
)
from tests.support.strategies import any_queries, comings_and_goings, find_queries, instance_queries, logs

Query = FindQuery | InstanceQuery


def answer_from(view: RegistryView, query: Query) -> Answer:
    if isinstance(query, FindQuery):
        return find(view, query)
    return get_instance(view, query) if query.instance_id else list_instances(view, query)


def current(view: RegistryView, query: Query) -> Answer | RegistryError:
    """What the query alone would be answered."""
    try:
        return answer_from(view, query)
    except RegistryError as error:
        return error


@st.composite
def batches(draw: st.DrawFn) -> tuple[RegistryView, list[Query]]:
    """A view, and queries that hold nothing, what is current, what was current, or garbage."""
    log: list[Event] = draw(logs())
    view, earlier = view_of(), view_of()
    for number, event in enumerate(log):
        append(view, event)
        if number < len(log) // 2:
            append(earlier, event)
    queries: list[Query] = []
    for query in draw(st.lists(find_queries | any_queries | instance_queries, max_size=10)):
        revs = ["", "garbage"]
        for known in (view, earlier):
            answer = current(known, query)
            if isinstance(answer, Answer):
                revs.append(answer.rev)
        queries.append(structs.replace(query, rev=draw(st.sampled_from(revs))))
    return view, queries


def run(view: RegistryView, queries: list[Query]) -> BatchResult:
    return batch_find(queries, lambda query: answer_from(view, query))


@given(batches())
def test_every_index_is_answered_exactly_once_and_ascending(batch: tuple[RegistryView, list[Query]]) -> None:
    """An index that is missing leaves a consumer with an empty list; one that is there twice contradicts itself."""
    view, queries = batch
    result = run(view, queries)
    lists = [
        *(indexes for _, indexes in result.failed),
        result.not_modified,
        [index for index, _ in result.updated],
    ]
    assert sorted(index for indexes in lists for index in indexes) == list(range(len(queries)))
    assert all(indexes == sorted(indexes) for indexes in lists)


@given(batches())
def test_not_modified_means_that_a_rev_was_sent_and_is_current(batch: tuple[RegistryView, list[Query]]) -> None:
    """A consumer without a list (empty rev) must be sent one; one with the current list must not."""
    view, queries = batch
    result = run(view, queries)
    updated = dict(result.updated)
    for index, query in enumerate(queries):
        answer = current(view, query)
        if isinstance(answer, RegistryError):
            continue
        assert (index in result.not_modified) == (query.rev != "" and query.rev == answer.rev)
        assert (index in updated) == (query.rev == "" or query.rev != answer.rev)
        assert updated.get(index, answer) == answer


@given(batches())
def test_failures_are_grouped_by_code_with_the_words_of_the_first(batch: tuple[RegistryView, list[Query]]) -> None:
    """Clients look for an index under its code: 400012 makes them forget a provider (api-rules.md 3.8)."""
    view, queries = batch
    result = run(view, queries)
    for error, indexes in result.failed:
        told = [current(view, queries[index]) for index in indexes]
        assert {failure.code for failure in told if isinstance(failure, RegistryError)} == {error.code}
        assert isinstance(told[0], RegistryError)
        assert told[0].detail == error.detail
    codes = [error.code for error, _ in result.failed]
    assert len(set(codes)) == len(codes)
    assert [indexes[0] for _, indexes in result.failed] == sorted(indexes[0] for _, indexes in result.failed)


@given(batches())
def test_a_batch_is_written_as_clients_read_it(batch: tuple[RegistryView, list[Query]]) -> None:
    """Empty members are left out, `rev` never is, and the error code is a string (api-rules.md 3.8, 9.1-1)."""
    result = run(*batch)
    written = json.loads(encode_batch(result))
    expected: dict[str, object] = {}
    if result.failed:
        expected["failed"] = [
            {"indexes": indexes, "error": json.loads(error.body())} for error, indexes in result.failed
        ]
    if result.not_modified:
        expected["notModified"] = result.not_modified
    if result.updated:
        expected["updated"] = [
            {"index": index, "rev": answer.rev} | json.loads(answer.body) for index, answer in result.updated
        ]
    assert written == expected
    assert all(isinstance(group["error"]["errorCode"], str) for group in written.get("failed", []))


class OneView:
    """What a batch asks of a projector: the view, which may be replaced."""

    def __init__(self, view: RegistryView) -> None:
        self.it = view

    def view(self, tenant: Tenant) -> RegistryView:
        return self.it


@given(comings_and_goings | logs(max_size=20), st.lists(st.tuples(find_queries, find_queries), max_size=3), st.data())
def test_a_kept_answer_is_the_answer_made_anew(
    log: list[Event], asked: list[tuple[FindQuery, FindQuery]], data: st.DataObject
) -> None:
    """Clients repeat a batch byte for byte, and its answer is kept: one that outlives a change is a 304 that lies."""
    held = OneView(view_of())
    discovery = Discovery(cast(Projector, held))
    present = [
        FindQuery(event.service.app_id, event.service.service_name, ALL_VERSIONS, event.service.environment)
        for event in log
        if isinstance(event, ServiceRegistered)
    ]
    consumer = data.draw(st.sampled_from(["", "s1"]))
    lists = [[query] for query in present] + [[present[0], *pair] for pair in asked]
    lists = [[structs.replace(query, consumer_id=consumer) for query in queries] for queries in lists]
    kept = [BatchQueries(tuple(queries), (), consumer) for queries in lists]
    found = [(query.environment, query.app_id, query.service_name) for queries in lists for query in queries]
    recorded = DependenciesAdded(consumer_id="s1", providers=found, **stamp()._asdict())
    with patch.object(domain_find, "ANSWERS_PER_GROUP_MAX", 2):
        for number, event in enumerate([log[0], recorded, *log[1:]]):
            append(held.it, event)
            if data.draw(st.integers(0, 15)) == 15:
                held.it = view_of()  # a rebuild, of a log that is gone
            for index, queries in enumerate(lists):
                body = told(discovery, kept[index])
                assert body == told(discovery, BatchQueries(tuple(queries), (), consumer))
                if body is not None and number % 2:
                    # The client remembers what it was told, and asks with that from now on.
                    answers = [find(held.it, query) for query in queries]
                    lists[index] = [
                        structs.replace(query, rev=answer.rev) for query, answer in zip(queries, answers, strict=True)
                    ]
                    kept[index] = BatchQueries(tuple(lists[index]), (), consumer)


class Kept:
    """A batch about `cart` that a client repeats."""

    def __init__(self, *queries: FindQuery) -> None:
        self.held = OneView(view_of(service_registered(microservice("s1", "cart"))))
        self.queries = queries
        self.batch = self.made()

    def made(self) -> BatchQueries:
        return BatchQueries(self.queries, (), self.queries[0].consumer_id)

    def told(self, batch: BatchQueries | None = None) -> bytes | None:
        return told(Discovery(cast(Projector, self.held)), batch or self.batch)


def told(discovery: Discovery, batch: BatchQueries) -> bytes | None:
    """The answer's body as it can be given without waiting; None: it would contradict the client, or refuse."""
    api = cast(Api, SimpleNamespace(discovery=discovery, answer_max_bytes=1 << 20))
    answer = batch_here(api, DEFAULT_TENANT, batch)
    return None if answer is None or answer.contradicts else answer.body


@pytest.mark.parametrize("number", range(3))
def test_an_answer_that_made_room_for_others_still_falls_with_the_next_change(number: int) -> None:
    """A group prepares a few answers only; one that it has put away must not outlive a change that it cannot see."""
    kept = Kept(*(FindQuery("shop", "cart", parse_rule(rule)) for rule in ("0+", "1.0.0", "latest")))
    with patch.object(domain_find, "ANSWERS_PER_GROUP_MAX", number + 1):
        before = [kept.told(), kept.told()]
        append(kept.held.it, instance_registered(instance("s1", "i1")))
        assert before[0] == before[1] != kept.told()
        assert kept.told() == kept.told(kept.made())


def test_a_consumer_that_left_is_not_answered_what_it_was_answered_before() -> None:
    kept = Kept(FindQuery("shop", "cart", consumer_id="s2"))
    append(kept.held.it, service_registered(microservice("s2", "till")))
    append(kept.held.it, DependenciesAdded(consumer_id="s2", providers=[("", "shop", "cart")], **stamp()._asdict()))
    assert kept.told() is not None
    append(kept.held.it, ServiceUnregistered(service_id="s2", **stamp()._asdict()))
    assert kept.told() is None


def test_a_view_that_was_replaced_answers_for_itself() -> None:
    """The replaced one may have counted as many changes."""
    kept = Kept(FindQuery("shop", "cart"))
    before = kept.told()
    other = instance_registered(instance("s1", "i2"))
    kept.held.it = view_of(service_registered(microservice("s1", "cart")), other)
    assert before != kept.told() == kept.told(kept.made())
