"""Versions are ordered as numbers, and every rule means the versions that the naive matcher means."""

from __future__ import annotations

import re
from functools import cmp_to_key
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.errors import InvalidParams
from registry.domain.version import parse_rule, parse_version, select
from tests.support.naive_versions import is_below, is_version, matching, newest_first

part = st.sampled_from(["0", "1", "2", "9", "10", "01", "32767"])
versions = st.lists(part, min_size=1, max_size=4).map(".".join)
rules = st.one_of(
    st.just(""),
    st.just("latest"),
    versions,
    versions.map(lambda version: version + "+"),
    st.tuples(versions, versions).map("-".join),
)


def chosen(rule: str, registered: list[str]) -> list[str]:
    return select(parse_rule(rule), registered, lambda version: (version, parse_version(version)))


@given(rules, st.lists(versions, unique=True, max_size=8))
@example("1.5-1.6", ["1.0.0", "1.0.1", "1.1.0", "2.0.0"])
@example("2.0.0-2.0.0", ["1.0.0", "1.0.1", "1.1.0", "2.0.0"])
def test_a_rule_means_what_the_naive_matcher_means(rule: str, registered: list[str]) -> None:
    """A consumer that asks for `1.0-2.0` must not be sent to version 2."""
    assert chosen(rule, registered) == matching(rule, registered)


@given(rules, st.lists(versions, unique=True, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_registration_does_not_matter(rule: str, registered: list[str], random: Random) -> None:
    """Replicas must answer alike, also where 1.0 and 1.0.0 are equal in number."""
    shuffled = list(registered)
    random.shuffle(shuffled)
    assert chosen(rule, shuffled) == chosen(rule, registered)


@given(versions, versions)
def test_versions_compare_part_by_part_as_numbers(one: str, other: str) -> None:
    """1.10 is newer than 1.9, and 1 is neither newer nor older than 1.0."""
    assert (parse_version(one) < parse_version(other)) == is_below(one, other)
    assert (parse_version(one) > parse_version(other)) == is_below(other, one)


@given(st.lists(versions, unique=True, max_size=8))
def test_versions_are_totally_ordered(some: list[str]) -> None:
    """`latest` is one version only where every two can be compared, the same way round in any order."""

    def compare(one: str, other: str) -> int:
        newest = newest_first([one, other])[0]
        return 0 if one == other else (-1 if newest == one else 1)

    assert chosen("", some) == sorted(some, key=cmp_to_key(compare))


version_like = st.text("0123456789.+-vlatest ", max_size=12) | st.from_regex(
    r"[0-9]{1,6}(\.[0-9]{1,6}){0,5}", fullmatch=True
)


@given(version_like | st.text(max_size=6))
@example("1.0\n")
@example("١")
@example("32768")
@example("1.2.3.4.5")
@example("")
def test_a_text_is_a_version_or_refused_as_an_invalid_parameter(text: str) -> None:
    """A bad version is the caller's mistake (400001), never the registry's failure, and never counts silently as 0."""
    if is_version(text):
        assert list(parse_version(text)) == [int(part) for part in text.split(".")] + [0] * (3 - text.count("."))
    else:
        with pytest.raises(InvalidParams):
            parse_version(text)


@given(version_like | st.text(max_size=6))
@example("%")
@example("%ZZ+")
@example(" ")
@example("latest ")
@example("1.0-")
@example("-1")
def test_a_text_is_a_rule_or_refused_as_an_invalid_parameter(text: str) -> None:
    """Garbage in `version` answers 400001, as a rule it must be one of the four forms."""
    try:
        rule = parse_rule(text)
    except InvalidParams:
        return
    number = r"[0-9]+(\.[0-9]+){0,3}"
    assert re.fullmatch(rf"|latest|{number}|{number}\+|{number}-{number}", rule.text)
    assert rule == parse_rule(rule.text)
