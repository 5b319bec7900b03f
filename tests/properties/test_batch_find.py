"""A batch answers every element exactly once, and says "not modified" only of what the consumer holds."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.batch_find import BatchResult, batch_find, encode_batch
from registry.domain.errors import AnswerTooLarge, RegistryError
from registry.domain.events import Event
from registry.domain.find import FindQuery, find
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.view import Answer, RegistryView
from tests.support.builders import (
    append,
    view_of,
)
from tests.support.strategies import any_queries, find_queries, instance_queries, logs

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


def run(view: RegistryView, queries: list[Query], most: int = 1 << 30, size: int = 0) -> BatchResult:
    return batch_find(queries, lambda query: answer_from(view, query), most, size)


@given(batches(), st.integers(0, 3000), st.integers(0, 500))
def test_a_batch_is_refused_when_all_that_it_tells_is_larger_than_the_limit(
    batch: tuple[RegistryView, list[Query]], most: int, told: int
) -> None:
    view, queries = batch
    whole = run(view, queries)
    size = told + sum(len(answer.body) for _, answer in whole.updated)
    try:
        assert b"".join(encode_batch(run(view, queries, most, told))) == b"".join(encode_batch(whole))
        assert size <= most or not whole.updated
    except AnswerTooLarge:
        assert size > most


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
    written = json.loads(b"".join(encode_batch(result)))
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
