"""What is said of a find is what the find does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from registry.domain.errors import RegistryError, ServiceNotExists
from registry.domain.events import Event
from registry.domain.find import FindQuery, find
from registry.domain.find_explained import CANDIDATES_MAX, Reason, explain
from registry.domain.version import parse_rule
from registry.domain.view import Answer, RegistryView
from tests.support.builders import append, instance, instance_registered, microservice, service_registered, view_of
from tests.support.strategies import any_queries, find_queries, logs

MOST = 1 << 30


def answered_or_refused(view: RegistryView, query: FindQuery) -> Answer | RegistryError:
    try:
        return find(view, query)
    except RegistryError as error:
        return error


@given(logs(), find_queries | any_queries)
def test_candidates_without_a_reason_against_them_are_the_answer(log: list[Event], query: FindQuery) -> None:
    """Somebody who looks for a missing instance must be able to believe what is said."""
    view = view_of()
    for event in log:
        append(view, event)
    try:
        explained = explain(view, query, MOST)
    except ServiceNotExists:
        assert query.consumer_id not in view.services
        return
    taken = [one for one in explained.candidates if not one.against]
    answer = answered_or_refused(view, query)
    if isinstance(answer, RegistryError):
        assert explained.refused is not None
        assert explained.refused.error_code == str(answer.code)
        assert not taken
        return
    assert (explained.refused, explained.rev, bytes(explained.answer)) == (None, answer.rev, answer.body)
    answered = json.loads(answer.body).get("instances", [])
    ids = {one.service_id for one in taken}
    assert {one["serviceId"] for one in answered} <= ids
    assert sum(sum(one.instances.values()) for one in taken) == len(answered)
    everyone = {one.service_id for one in explained.candidates}
    named = {
        row.service_id
        for row in view.services.values()
        if query.service_name in ("*", row.service.service_name, row.service.alias)
    }
    assert everyone == named


@pytest.mark.parametrize(
    ("query", "against"),
    [
        (FindQuery("shop", "cart"), []),
        (FindQuery("shop", "cart", parse_rule("2.0.0+")), ["version"]),
        (FindQuery("shop", "cart", environment="production"), ["environment"]),
        (FindQuery("other", "cart"), ["application"]),
        (FindQuery("shop", "cart", tags=("zone",)), ["tags"]),
        (FindQuery("shop", "cart", consumer_id="stranger"), ["crossApp"]),
        (FindQuery("shop", "till", consumer_id=""), ["name"]),
    ],
)
def test_each_reason_is_told(query: FindQuery, against: list[Reason]) -> None:
    view = view_of(
        service_registered(microservice("s1", "cart", alias="till")),
        service_registered(microservice("s2", "till")),
        service_registered(microservice("stranger", "x", app_id="elsewhere")),
        instance_registered(instance("s1", "a"), chosen=True),
    )
    (one,) = [one for one in explain(view, query, MOST).candidates if one.service_id == "s1"]
    assert one.against == against


def test_candidates_that_somebody_may_not_see_are_not_told() -> None:
    """That another application has a service of this name is its own business."""
    view = view_of(
        service_registered(microservice("s1", "cart")),
        service_registered(microservice("s2", "cart", app_id="secret")),
    )
    explained = explain(view, FindQuery("shop", "cart"), MOST, lambda environment, app_id, name: app_id == "shop")
    assert [one.service_id for one in explained.candidates] == ["s1"]


def test_very_many_candidates_are_counted_and_those_in_the_answer_come_first() -> None:
    others = [microservice(f"o{number}", "cart", app_id=f"a{number}") for number in range(CANDIDATES_MAX + 5)]
    view = view_of(*map(service_registered, [*others, microservice("s1", "cart")]))
    explained = explain(view, FindQuery("shop", "cart"), MOST)
    assert explained.candidates[0].service_id == "s1"
    assert (len(explained.candidates), explained.more) == (CANDIDATES_MAX, 6)


def test_of_an_answer_that_is_too_large_is_told_what_the_find_is_told() -> None:
    view = view_of(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    size = find(view, FindQuery("shop", "cart")).size
    assert explain(view, FindQuery("shop", "cart"), size).refused is None
    explained = explain(view, FindQuery("shop", "cart"), size - 1)
    assert explained.refused is not None
    assert (explained.refused.error_code, bytes(explained.answer), explained.rev) == ("400001", b"", "")
