"""Nobody looks at instances that were not read without that being noted: what came of it would be told as the past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.domain.find import FindQuery, find
from registry.domain.instance_reads import InstanceQuery, list_instances
from registry.domain.large import Large
from registry.domain.unread import LOOKS, Part, Unread, forget_answers, leave_out
from tests.support.builders import instance, instance_registered, microservice, service_registered, view_of

#: Of a dict what says nothing of its entries.
OTHERS = {"__class_getitem__", "__getattribute__", "__hash__", "__init__", "__new__", "__sizeof__", "__repr__"}
ORDERS = {"__ge__", "__gt__", "__le__", "__lt__"}


def test_all_by_which_one_looks_at_a_dict_is_noted() -> None:
    own = {name for name in vars(dict) if callable(getattr(dict, name))}
    assert own - OTHERS - ORDERS - {"fromkeys"} == set(LOOKS)


def test_what_was_prepared_from_instances_that_were_not_read_is_forgotten() -> None:
    """Else the next one who asks is answered with it, and nobody has looked."""
    view = view_of(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "a")))
    part = Part(frozenset(), set())
    leave_out(view.services["s1"], part)
    for _ in range(2):
        assert find(view, FindQuery("shop", "cart")).count == 0
        assert part.looked == {"s1"}
        forget_answers(view, part)
        assert list_instances(view, InstanceQuery("s1")).count == 0
        assert part.looked == {"s1"}
        forget_answers(view, part)
        assert part.looked == set()


@pytest.mark.parametrize(
    "look",
    [
        *(len, bool, list, dict, Large, sorted),
        *(lambda unread: {**unread}, lambda unread: {} | unread, lambda unread: unread | {}),
        *(lambda unread: "x" in unread, lambda unread: unread == {}, lambda unread: unread == {}),
        *(lambda unread: unread.get("x"), lambda unread: unread.pop("x", None), lambda unread: unread.copy()),
        *(lambda unread: list(unread.values()), lambda unread: {}.update(unread), lambda unread: [*unread]),
    ],
)
def test_a_look_is_noted_and_finds_nothing(look: Callable[[Any], Any]) -> None:
    looked: set[str] = set()
    unread: Unread[str, str] = Unread("s1", looked)
    assert looked == set()
    found = look(unread)
    assert looked == {"s1"}
    assert not found or found is True
