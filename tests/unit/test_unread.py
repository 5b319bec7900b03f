"""Nobody looks at instances that were not read without that being noted: what came of it would be told as the past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.domain.large import Large
from registry.domain.unread import LOOKS, Unread

#: Of a dict what says nothing of its entries.
OTHERS = {"__class_getitem__", "__getattribute__", "__hash__", "__init__", "__new__", "__sizeof__", "__repr__"}
ORDERS = {"__ge__", "__gt__", "__le__", "__lt__"}


def test_all_by_which_one_looks_at_a_dict_is_noted() -> None:
    own = {name for name in vars(dict) if callable(getattr(dict, name))}
    assert own - OTHERS - ORDERS - {"fromkeys"} == set(LOOKS)


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
