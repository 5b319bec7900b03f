"""Who may do what is decided as somebody would who reads the rules and does not know the code."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.access import lockout
from registry.access.durations import parse_duration
from registry.access.lockout import Failures, failed, is_locked
from registry.access.passwords import complaint, generate
from registry.access.reach import may
from registry.access.rule import ANYBODY, ONLY_ADMIN, OPEN, Need, Rule, Target, right
from registry.domain.accounts import BUILT_IN, RESOURCES, VERBS, Permission, Resource

types = st.sampled_from(["service", "service/schema", "ops", "account"])
labels = st.fixed_dictionaries(
    {},
    optional={
        "environment": st.sampled_from(["", "production"]),
        "appId": st.sampled_from(["shop", "desk"]),
        "serviceName": st.sampled_from(["cart", "till", "c*", "*t", "*", "t*l*l"]),
        "colour": st.just("red"),
    },
)
permissions = st.lists(
    st.builds(
        Permission,
        st.lists(st.builds(Resource, types, st.just({}) | labels), min_size=1, max_size=3),
        st.lists(st.sampled_from([*VERBS, "*"]), min_size=1, max_size=2),
    ),
    max_size=4,
)
rules = st.sampled_from([OPEN, ANYBODY, ONLY_ADMIN]) | st.builds(
    right, types, st.sampled_from(VERBS), st.sampled_from(list(Target))
)
services = st.tuples(
    st.sampled_from(["", "production"]), st.sampled_from(["shop", "desk"]), st.sampled_from(["cart", "till", "t"])
)
role_names = st.lists(st.sampled_from(["admin", "developer", "reader"]), max_size=2)


def naively(roles: Sequence[str], held: Sequence[Permission], rule: Rule, service: tuple[str, str, str]) -> bool:
    """Whether somebody may do this to this microservice, in the words of the rules."""
    if rule.need in (Need.NOTHING, Need.TOKEN) or "admin" in roles:
        return True
    if rule.need is Need.ADMIN:
        return False
    for permission in held:
        for resource in permission.resources:
            if resource.type == rule.resource and (rule.verb in permission.verbs or "*" in permission.verbs):
                if not resource.labels:
                    return True
                if rule.target is not Target.WHOLE and all(
                    _naive_label(label, value, service) for label, value in resource.labels.items()
                ):
                    return True
    return False


def _naive_label(label: str, value: str, service: tuple[str, str, str]) -> bool:
    if label == "serviceName":
        return fnmatch.fnmatchcase(service[2], value)
    return dict(zip(("environment", "appId"), service, strict=False)).get(label) == value


@given(role_names, permissions, rules, services)
def test_rights_reach_as_far_as_the_rules_say(
    roles: list[str], held: list[Permission], rule: Rule, service: tuple[str, str, str]
) -> None:
    assert may(roles, held, rule).covers(*service) == naively(roles, held, rule, service)


@given(role_names, permissions, rules)
def test_who_reaches_nowhere_may_do_nothing(roles: list[str], held: list[Permission], rule: Rule) -> None:
    reach = may(roles, held, rule)
    every = [(e, a, n) for e in ("", "production") for a in ("shop", "desk") for n in ("cart", "till", "t", "ctl")]
    if reach.nowhere:
        assert not any(naively(roles, held, rule, service) for service in every)
    if reach.everywhere:
        assert all(naively(roles, held, rule, service) for service in every)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
@example("a*b*a", "aba")
@example("a*a", "a")
def test_a_star_stands_for_any_text(pattern: str, name: str) -> None:
    """`a*a` must not be held by `a`: the ends may not overlap."""
    reach = may([], [Permission([Resource("service", {"serviceName": pattern})], ["get"])], _GET)
    assert reach.covers("", "", name) == bool(re.fullmatch(pattern.replace("*", ".*"), name))


_GET = right("service", "get", Target.SERVICE)


def test_a_pattern_of_many_stars_is_compared_in_no_time() -> None:
    """Those who may write roles must not be able to stop the registry with one."""
    reach = may([], [Permission([Resource("service", {"serviceName": "a*" * 100 + "b"})], ["*"])], _GET)
    assert not reach.covers("", "", "a" * 20_000)


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_built_in_roles_may_what_the_documents_say(resource: str) -> None:
    rule = right(resource, "delete")
    assert may(["admin"], BUILT_IN["admin"].perms, rule).everywhere
    developer = may(["developer"], BUILT_IN["developer"].perms, rule)
    assert developer.everywhere == (resource not in ("account", "role"))


def test_the_scope_opens_resources_but_never_accounts_and_roles() -> None:
    for scope in ({"ops"}, {"service"}):
        assert right("account", "create").applies(scope)
        assert right("role", "get").applies(scope)
        assert ANYBODY.applies(scope)
        assert ONLY_ADMIN.applies(scope)
        assert not OPEN.applies(scope)
    assert right("service", "get").applies({"*"})
    assert right("service", "get").applies({"service"})
    assert not right("service", "get").applies({"ops"})


# -- lock-out ----------------------------------------------------------------------------------------------------------

MINUTE = 60_000


@given(st.lists(st.integers(0, 40 * MINUTE), max_size=12))
def test_failures_lock_as_a_bucket_of_two_says(pauses: list[int]) -> None:
    """Against a bucket that is counted with fractions, step by step."""
    kept: Failures | None = None
    tokens, before, locked_until, now = 2.0, 0, 0, 1_000_000
    for pause in pauses:
        now += pause
        assert is_locked(kept, now) == (now < locked_until)
        tokens, before = min(2.0, tokens + (now - before) / (15 * MINUTE)), now
        kept = failed(kept, now)
        if tokens >= 1:
            tokens -= 1
            assert not kept.locked
            locked_until = 0
        else:
            locked_until = now + 15 * MINUTE
            assert kept.locked
        assert kept.ends_ms > now


def test_the_third_failure_locks_and_a_quarter_of_an_hour_unlocks() -> None:
    first = failed(None, 0)
    third = failed(failed(first, 1), 2)
    assert not is_locked(first, 0)
    assert is_locked(third, 2 + lockout.LOCKED_MS - 1)
    assert not is_locked(third, 2 + lockout.LOCKED_MS)


# -- durations and passwords -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("24h", 86_400), ("1h30m", 5_400), ("12h0m0s", 43_200), ("1.5h", 5_400), (".5h", 1_800)],
)
def test_a_duration_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "m", "15 m", "-15m", "15m!", "1d", "١٥m", "1h" * 30])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("password", "wrong"),
    [
        ("Complicated_password1", ""),
        ("Aa1_aaaa", ""),
        ("Aa1_aaa", "8 to 32 bytes"),
        ("Aa1_" + "a" * 29, "8 to 32 bytes"),
        ("Aa1_" + "é" * 14, ""),
        ("Aa1_" + "é" * 15, "8 to 32 bytes"),
        ("aa1_aaaa", "upper-case"),
        ("AA1_AAAA", "lower-case"),
        ("Aaa_aaaa", "digit"),
        ("Aa1aaaaa", "punctuation"),
        ("Ann_1234", "account's name"),
        ("4321_nnA", "account's name"),
    ],
)
def test_a_password_has_all_kinds_of_characters(password: str, wrong: str) -> None:
    found = complaint(password, "Ann_1234")
    assert (wrong in found) if wrong else not found
    assert password not in found


def test_a_generated_password_is_a_good_one() -> None:
    assert complaint(generate(), "x") == ""
    assert generate() != generate()
