"""Who finds whom: visibility, aliases, `*`, versions and existence (api-rules.md 3.2, 3.5, 3.6, 4, D3, D4, D6)."""

from __future__ import annotations

import json

import pytest

from registry.domain.errors import InvalidParams, RegistryError
from registry.domain.events import ServicePropertiesSet, TagsReplaced
from registry.domain.find import FindQuery, find
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.service_reads import exists, list_services
from registry.domain.steps import STEP_ROWS, at_once
from registry.domain.version import parse_rule, parse_version, select
from registry.domain.view import Answer, RegistryView
from tests.support.builders import (
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    stamp,
    view_of,
)


def world() -> RegistryView:
    """Applications shop and desk, with and without environment; every service has one instance, `i-<service id>`."""
    services = [
        microservice("cart", app_id="shop", alias="basket"),
        microservice("cart2", "cart", app_id="shop", version="2.0.0"),
        microservice("till", app_id="shop"),
        microservice("open", app_id="desk", properties={"allowCrossApp": "TRUE"}),
        microservice("closed", app_id="desk", properties={"allowCrossApp": "yes"}),
        microservice("cart-p", "cart", app_id="shop", environment="production"),
        microservice("open-p", "open", app_id="desk", environment="production", properties={"allowCrossApp": "true"}),
    ]
    view = view_of()
    for service in services:
        append(view, service_registered(service, chosen=True))
        append(view, instance_registered(instance(service.service_id, f"i-{service.service_id}"), chosen=True))
    return view


def ids(answer: Answer) -> list[str]:
    return [found["instanceId"] for found in json.loads(answer.body).get("instances", [])]


def found(view: RegistryView, query: FindQuery | InstanceQuery) -> list[str] | int:
    try:
        if isinstance(query, FindQuery):
            return ids(find(view, query))
        return ids(get_instance(view, query) if query.instance_id else list_instances(view, query))
    except RegistryError as error:
        return error.code


FINDS: list[tuple[str, FindQuery, list[str] | int]] = [
    ("all versions, newest first", FindQuery("shop", "cart"), ["i-cart2", "i-cart"]),
    ("3.6: absent env means empty", FindQuery("shop", "cart", environment="production"), ["i-cart-p"]),
    ("3.6: unknown name", FindQuery("shop", "ghost"), 400012),
    ("3.6: unknown app", FindQuery("ghost", "cart"), 400012),
    ("3.6: name in another environment only", FindQuery("shop", "till", environment="production"), 400012),
    ("3.6: unknown consumer", FindQuery("shop", "cart", consumer_id="ghost"), 400012),
    (
        "3.6: with a consumer the environment is its own",
        FindQuery("shop", "cart", environment="testing", consumer_id="cart-p"),
        ["i-cart-p"],
    ),
    ("3.6: another app that allows it", FindQuery("desk", "open", consumer_id="cart"), ["i-open"]),
    ("3.6: another app that does not is silent", FindQuery("desk", "closed", consumer_id="cart"), []),
    ("3.6: the same app needs no leave", FindQuery("desk", "closed", consumer_id="open"), ["i-closed"]),
    ("3.6: no consumer, no check", FindQuery("desk", "closed"), ["i-closed"]),
    ("3.6: alias", FindQuery("shop", "basket"), ["i-cart"]),
    ("3.6: alias of the exact version", FindQuery("shop", "basket", parse_rule("1.0.0")), ["i-cart"]),
    ("3.6: alias, wrong version", FindQuery("shop", "basket", parse_rule("2.0.0")), 400012),
    ("3.6: a tag that no version has", FindQuery("shop", "cart", tags=("zone",)), []),
    ("D3: exact", FindQuery("shop", "cart", parse_rule("1.0.0")), ["i-cart"]),
    ("D3: exact is textual", FindQuery("shop", "cart", parse_rule("1.0")), 400012),
    ("D3: latest", FindQuery("shop", "cart", parse_rule("latest")), ["i-cart2"]),
    ("D3: from", FindQuery("shop", "cart", parse_rule("1.0.1+")), ["i-cart2"]),
    ("D3: what java clients send", FindQuery("shop", "cart", parse_rule("0.0.0.0+")), ["i-cart2", "i-cart"]),
    ("D3: half open", FindQuery("shop", "cart", parse_rule("1.0.0-2.0.0")), ["i-cart"]),
    ("D3: a rule that matches nothing is no error", FindQuery("shop", "cart", parse_rule("3+")), []),
    ("D4: any service, by service id", FindQuery("", "*"), ["i-cart", "i-cart2", "i-closed", "i-open", "i-till"]),
    ("D4: any service of an app", FindQuery("desk", "*"), ["i-closed", "i-open"]),
    (
        "D4: that the consumer may see",
        FindQuery("", "*", consumer_id="till"),
        ["i-cart", "i-cart2", "i-open", "i-till"],
    ),
    ("D4: in its environment", FindQuery("", "*", consumer_id="cart-p"), ["i-cart-p", "i-open-p"]),
    ("D4: the rule per name", FindQuery("shop", "*", parse_rule("latest")), ["i-cart2", "i-till"]),
    ("D4: an exact version that some have not", FindQuery("shop", "*", parse_rule("2.0.0")), ["i-cart2"]),
    ("D4: nothing there is no error", FindQuery("", "*", environment="testing"), []),
    ("D4: unknown consumer", FindQuery("", "*", consumer_id="ghost"), 400012),
]


@pytest.mark.parametrize(("query", "expected"), [case[1:] for case in FINDS], ids=[case[0] for case in FINDS])
def test_find(query: FindQuery, expected: list[str] | int) -> None:
    """Whom a consumer is sent to: the section is in the name of each case."""
    view = world()
    assert found(view, query) == expected
    assert found(view, query) == expected


READS: list[tuple[str, InstanceQuery, list[str] | int]] = [
    ("3.5: list", InstanceQuery("cart"), ["i-cart"]),
    ("3.5: list of an unknown provider", InstanceQuery("ghost"), 400012),
    ("3.5: list for an unknown consumer", InstanceQuery("cart", consumer_id="ghost"), 400012),
    ("3.5: list without access", InstanceQuery("closed", consumer_id="cart"), 400012),
    ("3.5: list across environments", InstanceQuery("open-p", consumer_id="cart"), 400012),
    ("3.5: list without the tag", InstanceQuery("cart", tags=("zone",)), 400012),
    ("3.5: get one", InstanceQuery("cart", "i-cart"), ["i-cart"]),
    ("D10: exact match only", InstanceQuery("cart", "i-car"), 400017),
    ("3.5: get one of another service", InstanceQuery("cart", "i-till"), 400017),
    ("3.5: get one of an unknown service", InstanceQuery("ghost", "i-cart"), 400012),
    ("3.5: get one for an unknown consumer", InstanceQuery("cart", "i-cart", consumer_id="ghost"), 400012),
    ("3.5: get one without access", InstanceQuery("closed", "i-closed", consumer_id="cart"), 400017),
    ("3.5: get one without the tag", InstanceQuery("cart", "i-cart", tags=("zone",)), 400017),
]


@pytest.mark.parametrize(("query", "expected"), [case[1:] for case in READS], ids=[case[0] for case in READS])
def test_list_and_get(query: InstanceQuery, expected: list[str] | int) -> None:
    """What one service shows, and with which code it refuses: the section is in the name of each case."""
    assert found(world(), query) == expected


def test_a_provider_that_stops_allowing_other_apps_disappears_for_them_at_once() -> None:
    """3.6: prepared answers must not outlive the permission they were prepared under."""
    view = world()
    query = FindQuery("desk", "open", consumer_id="cart")
    assert found(view, query) == ["i-open"]
    append(view, ServicePropertiesSet(service_id="open", properties={}, **stamp()._asdict()))
    assert found(view, query) == []
    assert found(view, FindQuery("desk", "open")) == ["i-open"]


def test_a_tag_opens_and_closes_a_find_at_once() -> None:
    """3.3, 3.6: prepared answers must not outlive the tags they were prepared under."""
    view = world()
    query, listed = FindQuery("shop", "cart", tags=("zone",)), InstanceQuery("cart2", tags=("zone",))
    for tags, expected, code in (({}, [], 400012), ({"zone": "a"}, ["i-cart2"], ["i-cart2"]), ({}, [], 400012)):
        append(view, TagsReplaced(service_id="cart2", tags=tags, **stamp()._asdict()))
        assert found(view, query) == expected
        assert found(view, listed) == code


def test_an_answer_that_one_consumer_was_prepared_is_not_given_to_another() -> None:
    """3.6: the same name, asked from inside and outside the application."""
    view = world()
    for consumer, expected in (("cart", []), ("open", ["i-closed"]), ("cart", []), ("", ["i-closed"]), ("till", [])):
        assert found(view, FindQuery("desk", "closed", consumer_id=consumer)) == expected


def test_an_empty_answer_has_a_body_and_a_rev() -> None:
    """api-rules.md 3.6, 5: `{}` and a rev that is never empty."""
    view = view_of(service_registered(microservice("s1", "cart")))
    answer = find(view, FindQuery("shop", "cart"))
    assert (answer.body, answer.count, answer.array()) == (b"{}", 0, b"")
    assert len(answer.rev) == 40


def test_hidden_services_are_left_out_of_the_list_only() -> None:
    """api-rules.md 3.2: shared services of app `default` are hidden by name or alias, others never."""
    own = microservice("own", "SERVICECENTER", app_id="default")
    by_alias = microservice("aliased", app_id="default", alias="SERVICECENTER", version="2.0.0")
    same_name = microservice("shop", "SERVICECENTER", app_id="shop")
    view = view_of(*(service_registered(service, chosen=True) for service in (own, by_alias, same_name)))
    listed = json.loads(at_once(list_services(view, frozenset({"SERVICECENTER"}))))["services"]
    assert [service["serviceId"] for service in listed] == ["shop"]
    assert len(json.loads(at_once(list_services(view, frozenset())))["services"]) == 3
    assert at_once(list_services(view_of(), frozenset())) == b"{}"


def test_list_of_services_is_put_together_after_it_was_told_how_much_it_is() -> None:
    """One that is too large for an answer is given up before; what is made is as it was at the first step."""
    names = [f"s{n}" for n in range(2 * STEP_ROWS + 1)]
    view = view_of()
    for name in names:
        append(view, service_registered(microservice(name), chosen=True))
    whole = at_once(list_services(view, frozenset()))
    assert [one["serviceId"] for one in json.loads(whole)["services"]] == names
    steps = list_services(view, frozenset())
    sizes = [next(steps), next(steps)]
    view.services.clear()
    pieces: list[bytes] = []
    while not pieces:
        try:
            sizes.append(next(steps))
        except StopIteration as end:
            pieces = end.value
    assert b"".join(pieces) == whole
    assert len(sizes) == 3
    assert sum(sizes) == len(whole) - len(b'{"services":[]}') + 1


# -- existence ---------------------------------------------------------------------------------------------------------

EXISTENCES: list[tuple[str, tuple[str, str, str, str], str | int]] = [
    ("3.2: name", ("", "shop", "cart", "1.0.0"), "cart"),
    ("3.2: alias", ("", "shop", "basket", "1.0.0"), "cart"),
    ("3.2: env", ("production", "shop", "cart", "1.0.0"), "cart-p"),
    ("3.2: unknown name", ("", "shop", "ghost", "1.0.0"), 400012),
    ("3.2: name in another env", ("testing", "shop", "cart", "1.0.0"), 400012),
    ("3.2: name in another app", ("", "desk", "cart", "1.0.0"), 400012),
    ("3.2: version unknown", ("", "shop", "cart", "1.0"), 400026),
    ("3.2: version of the alias unknown", ("", "shop", "basket", "2.0.0"), 400026),
    ("D6: newest match", ("", "shop", "cart", "0+"), "cart2"),
    ("D6: latest", ("", "shop", "cart", "latest"), "cart2"),
    ("D6: range", ("", "shop", "cart", "1-2"), "cart"),
    ("D6: a rule that matches nothing", ("", "shop", "cart", "3+"), 400026),
]


@pytest.mark.parametrize(("asked", "expected"), [case[1:] for case in EXISTENCES], ids=[case[0] for case in EXISTENCES])
def test_existence(asked: tuple[str, str, str, str], expected: str | int) -> None:
    """Java clients decide by this whether to register: 400012 and 400026 both lead to a registration."""
    try:
        answer: str | int = exists(world(), *asked[:3], parse_rule(asked[3]))
    except RegistryError as error:
        answer = error.code
    assert answer == expected


def test_existence_without_a_version_is_refused() -> None:
    """api-rules.md 3.2: `version` is required (400001)."""
    with pytest.raises(InvalidParams):
        exists(world(), "", "shop", "cart", parse_rule(""))


# -- versions ----------------------------------------------------------------------------------------------------------

FOUR = ["1.0.0", "1.0.1", "1.1.0", "2.0.0"]
#: api-rules.md 4, second table; D3 decides against the two results that it marks as the reference's bug.
RULES: list[tuple[str, list[str], list[str]]] = [
    ("latest", FOUR, ["2.0.0"]),
    ("latest", ["1.9.0", "1.10.0"], ["1.10.0"]),
    ("0+", FOUR, ["2.0.0", "1.1.0", "1.0.1", "1.0.0"]),
    ("0.0.0.0+", FOUR, ["2.0.0", "1.1.0", "1.0.1", "1.0.0"]),
    ("1.0.1+", FOUR, ["2.0.0", "1.1.0", "1.0.1"]),
    ("2.0.1+", FOUR, []),
    ("1.0.0-2.0.0", FOUR, ["1.1.0", "1.0.1", "1.0.0"]),
    ("1.0-2.0", FOUR, ["1.1.0", "1.0.1", "1.0.0"]),
    ("2.0.0-1.0.0", FOUR, ["1.1.0", "1.0.1", "1.0.0"]),
    ("1.0.1-1.1.0", FOUR, ["1.0.1"]),
    ("1.5.0-3.0.0", FOUR, ["2.0.0"]),
    ("1.5-1.6", FOUR, []),
    ("2.0.0-2.0.0", FOUR, []),
    ("1.0.0-1.0.0", FOUR, []),
    ("0.0.0.0-1.0.0", FOUR, []),
    ("3.0.0-4.0.0", FOUR, []),
    ("0.1.0-0.2.0", FOUR, []),
    ("1.0.0", ["1.0", "2.0"], []),
    ("1.0.0+", ["1.0", "2.0"], ["2.0", "1.0"]),
    ("1.0.0+", ["1.0.0.1", "1.0.0.2"], ["1.0.0.2", "1.0.0.1"]),
]


@pytest.mark.parametrize(("rule", "registered", "expected"), RULES)
def test_a_version_rule_means_what_the_specification_says(
    rule: str, registered: list[str], expected: list[str]
) -> None:
    """api-rules.md 4: in this order."""
    assert select(parse_rule(rule), registered, lambda version: (version, parse_version(version))) == expected


@pytest.mark.parametrize("text", ["1", "1.0", "1.0.0", "1.0.0.0", "32767", "01.02"])
def test_texts_that_are_versions_and_rules(text: str) -> None:
    """api-rules.md 4: "yes/yes"."""
    parse_version(text)
    assert parse_rule(text).kind == "exact"


@pytest.mark.parametrize("text", ["1.0.0+", "0+", "latest", "1.0-2.0"])
def test_texts_that_are_rules_only(text: str) -> None:
    """api-rules.md 4: "no/yes"."""
    parse_rule(text)
    with pytest.raises(InvalidParams):
        parse_version(text)


@pytest.mark.parametrize("text", ["1.0.0.0.0", "32768", "1.", "v1", "1.0-", "-1", "1.0.0-SNAPSHOT", "*", "1.0.0\n-2"])
def test_texts_that_are_neither(text: str) -> None:
    """api-rules.md 4: "no/no"; D3: 400001."""
    with pytest.raises(InvalidParams):
        parse_rule(text)
    with pytest.raises(InvalidParams):
        parse_version(text)


@pytest.mark.parametrize("text", ["1.0+", "1.0%2B", "1.0 ", " 1.0+ "])
def test_the_plus_is_understood_in_every_way_that_clients_encode_it(text: str) -> None:
    """D3: `0%2B` that arrives encoded twice, and the bare plus that a query string turns into a space."""
    assert parse_rule(text) == parse_rule("1.0+")


@pytest.mark.parametrize("text", ["latest", "1.0-2.0", "1.0+"])
def test_a_space_behind_any_other_rule_is_no_plus(text: str) -> None:
    """Only a version can have lost its plus."""
    assert parse_rule(text + " ") == parse_rule(text)


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_a_blank_version_means_all(text: str) -> None:
    """D3: missing or blank."""
    assert parse_rule(text).kind == "all"
