"""`version` in find: exact, `x+`, `x-y`, `latest` (D3, api-rules.md 4)."""

from __future__ import annotations

import pytest

from tests.support.api import Api, assert_refused, ok, wanted

VERSIONS = ("1.0.0", "1.0.1", "1.1.0", "2.0.0")


def register(api: Api, *versions: str) -> None:
    """One instance of each version."""
    for version in versions:
        api.instance(api.service(version=version), instanceId=version)


def found(api: Api, raw: str) -> list[str]:
    """The versions found, in the order of the answer, for a query string's `version` exactly as given."""
    response = ok(api.get(f"/instances?appId=shop&serviceName=cart&version={raw}"))
    return [instance["version"] for instance in response.json().get("instances", [])]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("", "2.0.0 1.1.0 1.0.1 1.0.0"),
        ("%20", "2.0.0 1.1.0 1.0.1 1.0.0"),
        ("latest", "2.0.0"),
        ("0%2B", "2.0.0 1.1.0 1.0.1 1.0.0"),
        ("0.0.0.0%2B", "2.0.0 1.1.0 1.0.1 1.0.0"),
        ("0.0.0%2B", "2.0.0 1.1.0 1.0.1 1.0.0"),
        ("1.0.1%2B", "2.0.0 1.1.0 1.0.1"),
        ("2.0.1%2B", ""),
        ("1.0.0-2.0.0", "1.1.0 1.0.1 1.0.0"),
        ("1.0-2.0", "1.1.0 1.0.1 1.0.0"),
        ("2.0.0-1.0.0", "1.1.0 1.0.1 1.0.0"),
        ("1.0.1-1.1.0", "1.0.1"),
        ("1.5.0-3.0.0", "2.0.0"),
        ("1.5-1.6", ""),
        ("2.0.0-2.0.0", ""),
        ("1.0.0-1.0.0", ""),
        ("0.0.0.0-1.0.0", ""),
        ("3.0.0-4.0.0", ""),
        ("1.0.1", "1.0.1"),
    ],
)
def test_rule_finds_its_versions_newest_first(api: Api, rule: str, expected: str) -> None:
    """The reference's table, without its bug in ranges; a rule that matches nothing is 200 with none (D3)."""
    register(api, *VERSIONS)
    assert found(api, rule) == expected.split()


@pytest.mark.parametrize("raw", ["0+", "0%2B", "0%2b", "0%252B", "0%252b"])
def test_plus_is_understood_however_it_is_encoded(api: Api, raw: str) -> None:
    """The batch page shows a bare `0+` at the URL's end, sc-client encodes it twice (D3, clients.md 0.6)."""
    register(api, *VERSIONS)
    assert len(found(api, raw)) == len(VERSIONS)


def test_bare_plus_inside_the_query_is_understood(api: Api) -> None:
    """Not only where the URL ends with it."""
    register(api, *VERSIONS)
    assert found(api, "1.0.1+&env=") == ["2.0.0", "1.1.0", "1.0.1"]


def test_exact_version_is_equal_as_text(api: Api) -> None:
    """1.0 is not 1.0.0 (api-rules.md 4)."""
    register(api, "1.0", "2.0")
    assert_refused(api.find(version="1.0.0"), 400012, "1.0.0")
    assert found(api, "1.0") == ["1.0"]


def test_exact_version_that_is_not_registered_is_400012(api: Api) -> None:
    """A consumer that insists on a version learns that it is not there (D3)."""
    register(api, *VERSIONS)
    assert_refused(api.find(version="1.0.2"), 400012, "1.0.2")


def test_any_rule_for_an_unknown_name_is_400012(api: Api) -> None:
    """Also those that may match nothing."""
    for rule in ("0+", "1-2", "latest", "1"):
        assert_refused(api.find(version=rule), 400012)


def test_versions_compare_as_numbers(api: Api) -> None:
    """1.10 is newer than 1.9 (api-rules.md 4)."""
    register(api, "1.9.0", "1.10.0")
    assert found(api, "latest") == ["1.10.0"]
    assert found(api, "1.9.1%2B") == ["1.10.0"]


@pytest.mark.parametrize(
    ("rule", "registered", "expected"),
    [("1.0.0+", "1.0 2.0", "2.0 1.0"), ("1.0.0+", "1.0.0.1 1.0.0.2", "1.0.0.2 1.0.0.1"), ("1+", "1.0 0.9", "1.0")],
)
def test_missing_parts_count_as_zero(api: Api, rule: str, registered: str, expected: str) -> None:
    """Versions of one to four parts are one order (api-rules.md 4)."""
    register(api, *registered.split())
    assert found(api, rule) == expected.split()


def test_latest_is_the_greatest_registered_even_without_instances(api: Api) -> None:
    """Not the greatest that has instances (api-rules.md 4)."""
    register(api, "1.0.0")
    api.service(version="2.0.0")
    assert found(api, "latest") == []


@pytest.mark.parametrize(
    "rule",
    [
        *("1.0.0.0.0", "32768", "1.", ".1", "v1", "1.0-", "-1", "1.0.0-SNAPSHOT", "Latest", "1%2B%2B", "%2B", "*"),
        *("1,2", "1-2-3", "1 .0", "1.0%00", "%D9%A1", "latest%2B", "0" * 130),
    ],
)
def test_what_is_no_rule_is_400001(api: Api, rule: str) -> None:
    """Anything else is a mistake, not "all" (D3)."""
    register(api, "1.0.0")
    response = api.get(f"/instances?appId=shop&serviceName=cart&version={rule.replace(' ', '%20')}")
    assert_refused(response, 400001, "version")


@pytest.mark.parametrize("rule", ["32767", "01.02", "1.2.3.4", "0.0.0.0+", "1.0-2.0", "32767+"])
def test_rules_at_the_edge_are_rules(api: Api, rule: str) -> None:
    """One to four parts up to 32767, leading zeros allowed (api-rules.md 4)."""
    assert_refused(api.find(version=rule), 400012)


def test_rev_is_of_the_versions_asked_for(api: Api) -> None:
    """An instance of a version outside the rule moves no rev of the rule."""
    register(api, "1.0.0", "2.0.0")
    rev = api.find(version="1.0-2.0").rev
    api.instance(api.service(version="2.0.0"))
    assert api.find(version="1.0-2.0", rev=rev).status == 304
    api.instance(api.service(version="1.0.0"))
    assert api.find(version="1.0-2.0", rev=rev).status == 200


def test_newly_registered_version_becomes_latest(api: Api) -> None:
    """The answer for `latest` follows at once."""
    register(api, "1.0.0")
    assert found(api, "latest") == ["1.0.0"]
    register(api, "1.0.1")
    assert found(api, "latest") == ["1.0.1"]


@pytest.mark.parametrize(
    ("rule", "expected"), [("0+", 4), ("latest", 1), ("1.0-2.0", 3), ("1.0.1", 1), ("", 4), (None, 4), ("0%2B", 4)]
)
def test_batch_find_honours_the_same_rules(api: Api, rule: str | None, expected: int) -> None:
    """The page's example asks for `0+` and `latest` (D3)."""
    register(api, *VERSIONS)
    (updated,) = ok(api.batch([wanted(version=rule)])).json()["services"]["updated"]
    assert len(updated["instances"]) == expected
