"""Bodies: the short way over a request body leads nowhere else than the careful one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from registry.domain.errors import InvalidParams
from registry.domain.request_bodies import RegisterInstance
from registry.http_api import bodies

NAMES = ("instance", "hostName", "healthCheck", "mode", "interval", "properties", "endpoints", "x", "ü", "ſtatus")


def written(name: str, way: int) -> str:
    return (name, name, name, name.lower(), name.upper(), name.title())[way]


names = st.builds(written, st.sampled_from(NAMES), st.integers(0, 5))
scalars = st.sampled_from(
    ["h", "push", "", "<&>", "\\", "\x7f", ":", 'a":', " : ", '":"', 5, 30, -0.0, 1e300, None, True]
)


class Members(list[tuple[str, Any]]):
    """The members of an object, repetitions included."""


trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(names, inner), max_size=4).map(Members),
    max_leaves=8,
)
hosts = st.lists(st.tuples(names, trees), max_size=3).map(lambda more: Members([("hostName", "h"), *more]))
requests = hosts.map(lambda host: Members([("instance", host)])) | trees


def text(tree: Any, colon: str) -> str:
    """As JSON, members in order and repeated as they are."""
    match tree:
        case Members():
            return "{" + ",".join(f"{json.dumps(name)}{colon}{text(inner, colon)}" for name, inner in tree) + "}"
        case list():
            return "[" + ",".join(text(inner, colon) for inner in tree) + "]"
    return json.dumps(tree, ensure_ascii=False)


def members_of(tree: Any) -> list[list[str]]:
    """The names of each object in a tree."""
    below = [inner for _, inner in tree] if isinstance(tree, Members) else tree if isinstance(tree, list) else []
    own = [[name for name, _ in tree]] if isinstance(tree, Members) else []
    return own + [found for inner in below for found in members_of(inner)]


def carefully(body: bytes) -> RegisterInstance | str:
    """What the careful way alone makes of it."""
    decoder: Any = bodies._decoder
    try:
        value: RegisterInstance = decoder(RegisterInstance).decode(body)
        return bodies._decode_carefully(body, RegisterInstance, value)
    except (InvalidParams, ValueError) as exc:
        return type(exc).__name__


@given(tree=requests, colon=st.sampled_from([":", ": ", " : ", "\n:"]))
def test_short_way_is_taken_only_where_it_leads_to_the_same(tree: Any, colon: str) -> None:
    """What is taken to be usual has no repeated member, and the careful way makes the same of it."""
    body = text(tree, colon).encode()
    names: Any = bodies._names
    repeated = any(len(set(found)) < len(found) for found in members_of(tree))
    usual = bodies._is_usual(body, names(RegisterInstance))
    event("usual" if usual else "careful")
    assert not (usual and repeated)
    try:
        value = bodies.decode(body, RegisterInstance)
    except InvalidParams:
        assert isinstance(carefully(body), str)
    else:
        assert value == carefully(body)
        assert not repeated


@pytest.mark.parametrize("written", [{"separators": (",", ":")}, {}, {"indent": 2}, {"ensure_ascii": False}])
def test_bodies_of_every_usual_encoder_go_the_short_way(written: dict[str, Any]) -> None:
    """Compact as Go and Java write them, with blanks as Python does, over several lines, with and without escapes."""
    body = json.dumps({"instance": INSTANCE | {"properties": {"ü": "a/ü <&>"}}}, **written).encode()
    names: Any = bodies._names
    assert bodies._is_usual(body, names(RegisterInstance))


INSTANCE = {"hostName": "h", "endpoints": ["rest://a"], "healthCheck": {"mode": "push", "interval": 30}}


def renamed(tree: Any, name: str, other: str) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {other if key == name else key: renamed(inner, name, other) for key, inner in tree.items()}


@given(name=st.sampled_from(NAMES[:5]), way=st.integers(0, 5))
def test_one_name_in_any_letter_case_is_the_member(name: str, way: int) -> None:
    """One at a time: `hostname`, all in lower case and nothing else odd beside it, was once passed over."""
    exact = {"instance": INSTANCE}
    odd = renamed(exact, name, written(name, way))
    decoded = [bodies.decode(json.dumps(tree).encode(), RegisterInstance) for tree in (exact, odd)]
    assert decoded[0] == decoded[1]
