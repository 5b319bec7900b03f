"""The search for instances, against one that reads every instance as a dict."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.events import Event
from registry.domain.instance_search import FOUND_MAX, search
from registry.domain.steps import at_once
from registry.domain.view import RegistryView
from tests.support.builders import append, instance, instance_registered, microservice, service_registered, view_of
from tests.support.strategies import logs


def ask(view: RegistryView, text: str, status: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(at_once(search(view, text, status, frozenset())))
    return found


def naive(view: RegistryView, text: str, status: str) -> list[dict[str, Any]]:
    bodies = [json.loads(one.body) for row in view.services.values() for one in row.instances.values()]
    return [
        body
        for body in bodies
        if status in ("", body.get("status"))
        and all(
            any(word in part.lower() for part in (body["instanceId"], body["hostName"], *body.get("endpoints", [])))
            for word in text.lower().split()
        )
    ]


@given(
    logs(), st.sampled_from(["a", "i", "host", "HOST 1", "rest", ":80", "1 2", "nobody"]), st.sampled_from(["", "UP"])
)
def test_what_is_found_is_what_has_all_words(log: list[Event], text: str, status: str) -> None:
    view = view_of()
    for event in log:
        append(view, event)
    expected = naive(view, text, status)
    assert ask(view, text, status) == {"instances": expected, "total": len(expected)}


def test_the_answer_ends_and_the_others_are_counted() -> None:
    """A word that all have must not make an answer of a hundred thousand."""
    many = [instance_registered(instance("s", f"i{number}"), chosen=True) for number in range(FOUND_MAX + 7)]
    found = ask(view_of(service_registered(microservice("s", "cart")), *many), "i")
    assert (len(found["instances"]), found["total"]) == (FOUND_MAX, FOUND_MAX + 7)


def test_what_is_hidden_or_out_of_reach_is_not_looked_at() -> None:
    view = view_of(service_registered(microservice("s", "cart")), instance_registered(instance("s", "i"), chosen=True))
    assert json.loads(at_once(search(view, "i", "", frozenset(), lambda *key: False)))["total"] == 0
    assert json.loads(at_once(search(view, "i", "", frozenset(), lambda *key: key[2] == "cart")))["total"] == 1
