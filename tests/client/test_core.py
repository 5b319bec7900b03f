"""Names, back-off, listings, choosing and tokens: the client's small functions of values."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.client.addresses import Zone
from registry.client.answers import Fault, read_answer
from registry.client.backoff import CAP_S, FIRST_S, delay_s, spread_s
from registry.client.calls import steady
from registry.client.choosing import candidates, in_turn, less_busy
from registry.client.errors import Refused
from registry.client.listing import EMPTIES_BELIEVED, Change, Listing, differences
from registry.client.names import ServiceName, parse_name
from registry.client.tokens import LIFE_DEFAULT_S, renew_at
from registry.client.wire import ServiceId
from registry.domain.model import DataCenterInfo, Instance

HERE = Zone("r1", "az1")

# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cart", ServiceName("default", "cart")),
        ("shop/cart", ServiceName("shop", "cart")),
        ("shop/cart:1.0.0", ServiceName("shop", "cart", "1.0.0")),
        ("cart:1.0.0+", ServiceName("default", "cart", "1.0.0+")),
        ("cart:1.0-2.0", ServiceName("default", "cart", "1.0-2.0")),
        ("cart:latest", ServiceName("default", "cart", "latest")),
        ("shop:cart", ServiceName("default", "shop:cart")),
    ],
)
def test_names_are_read_and_written(text: str, name: ServiceName) -> None:
    assert parse_name(text) == name
    assert name.text() == text


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a b", "a/b/c", "cart:", "-a", "a" * 300, "cart\n"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a microservice"):
        parse_name(text)


def test_only_versions_without_a_rule_are_exact() -> None:
    assert parse_name("a:1.0").is_exact
    assert not any(parse_name(text).is_exact for text in ("a", "a:1.0+", "a:latest", "a:1-2"))


def test_environments_are_those_of_the_api() -> None:
    assert parse_name("a", "production").environment == "production"
    with pytest.raises(ValueError, match="no environment 'prod'"):
        parse_name("a", "prod")


# -- back-off ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.floats(0, 0.9999))
def test_delays_double_up_to_the_cap_and_are_spread(failures: int, draw: float) -> None:
    whole = FIRST_S
    for _ in range(min(failures - 1, 20)):
        whole = min(CAP_S, whole * 2)
    assert whole / 2 <= delay_s(failures, draw) <= whole
    assert delay_s(failures, 0.0) < delay_s(failures, 0.9)


@given(st.floats(0.01, 1000), st.floats(0, 0.9999), st.floats(0, 0.9999))
def test_where_there_is_time_clients_come_apart(most_s: float, one: float, other: float) -> None:
    """Evenly, and none at once: a registry that comes back is not asked by all of them in one moment."""
    first, second = spread_s(most_s, one), spread_s(most_s, other)
    assert most_s / 8 <= first <= most_s
    # ... as far as a float tells them apart.
    assert abs(first - second) >= abs(one - other) * most_s * 0.8 - most_s * 1e-9


# -- listings ----------------------------------------------------------------------------------------------------------

instances = st.builds(
    Instance,
    instance_id=st.sampled_from("abcd"),
    service_id=st.sampled_from("st"),
    status=st.sampled_from(["UP", "DOWN"]),
    timestamp=st.sampled_from(["1", "2"]),
)
lists = st.lists(instances, max_size=5, unique_by=lambda i: (i.service_id, i.instance_id))
answers = st.one_of(st.none(), st.tuples(st.one_of(st.just([]), lists), st.sampled_from(["x", "y"])))


@given(st.lists(answers, max_size=12))
def test_an_empty_list_is_believed_only_when_it_is_confirmed(history: list[tuple[list[Instance], str] | None]) -> None:
    """Against an oracle that reads the whole history each time. None is "not modified"."""
    listing = Listing()
    for number, answer in enumerate(history):
        if answer is None:
            listing = listing.unchanged(float(number))
        else:
            listing = listing.answered(answer[0], f"rev-{number}", answer[1], float(number))
        assert sorted(listing.instances, key=repr) == sorted(believed(history[: number + 1]), key=repr)
        assert bool(listing.instances) or not listing.doubts


def believed(history: list[tuple[list[Instance], str] | None]) -> list[Instance]:
    """The last list that was not empty, unless enough empty answers stand behind it."""
    shown: list[Instance] = []
    empties: list[str] = []
    for answer in history:
        if answer is None:
            empties = []
        elif answer[0]:
            shown, empties = answer[0], []
        else:
            empties.append(answer[1])
            if len(empties) == 3 or len(set(empties)) == 2:
                shown, empties = [], []
    return shown


def test_a_doubted_listing_keeps_the_rev_of_what_it_shows() -> None:
    """With the rev of the empty list the next answer would be "not modified", and say nothing."""
    full = Listing().answered([Instance(instance_id="a")], "full", "x", 1.0)
    doubted = full.answered([], "empty", "x", 2.0)
    assert (doubted.rev, doubted.confirmed_at, doubted.doubts) == ("full", 1.0, True)
    for _ in range(EMPTIES_BELIEVED - 1):
        doubted = doubted.answered([], "empty", "x", 3.0)
    assert doubted == Listing((), "empty", 3.0)


@given(lists, lists)
def test_differences_lead_from_one_list_to_the_other(before: list[Instance], after: list[Instance]) -> None:
    """A consumer that follows the changes has what one that reads the lists has, time stamps apart."""
    held = {(i.service_id, i.instance_id): i for i in before}
    for change in differences(before, after):
        key = (change.instance.service_id, change.instance.instance_id)
        assert (change.kind == "added") == (key not in held)
        if change.kind == "removed":
            assert held.pop(key) == change.instance
        else:
            assert key not in held or untimed(held[key]) != untimed(change.instance)
            held[key] = change.instance
    assert sorted(map(repr, map(untimed, held.values()))) == sorted(map(repr, map(untimed, after)))
    assert differences(after, after) == []


def untimed(instance: Instance) -> Instance:
    return replace(instance, timestamp="", mod_timestamp="")


def test_change_names_its_kind() -> None:
    a, b = Instance(instance_id="a"), Instance(instance_id="b")
    down = Instance(instance_id="b", status="DOWN")
    assert differences([a, b], [down]) == [Change("removed", a), Change("changed", down)]


# -- choosing ----------------------------------------------------------------------------------------------------------


def at(name: str, region: str = "", zone: str = "", status: str = "UP") -> Instance:
    where = DataCenterInfo("dc", region, zone) if region else None
    return Instance(instance_id=name, status=status, data_center_info=where)


NEAR, REGIONAL, FAR, DOWN = (
    at("near", "r1", "az1"),
    at("regional", "r1", "az2"),
    at("far"),
    at("down", "r1", "az1", "DOWN"),
)
ALL = [FAR, REGIONAL, DOWN, NEAR]


@pytest.mark.parametrize(
    ("failed", "chosen"),
    [
        ([], [NEAR]),
        (["near"], [REGIONAL]),
        (["near", "regional"], [FAR]),
        (["near", "regional", "far"], [NEAR]),
    ],
)
def test_nearest_that_has_not_failed_lately(failed: list[str], chosen: list[Instance]) -> None:
    assert candidates(ALL, HERE, failed) == chosen


def test_without_a_zone_all_that_are_up() -> None:
    assert candidates(ALL) == [FAR, REGIONAL, NEAR]
    assert candidates(ALL, accepts=lambda instance: instance is REGIONAL) == [REGIONAL]
    assert candidates([DOWN]) == []


def test_in_turn_takes_each_as_often() -> None:
    assert [in_turn(ALL, turn) for turn in range(8)] == ALL * 2


@given(st.integers(1, 6), st.lists(st.integers(0, 3), min_size=6, max_size=6), st.floats(0, 0.999), st.floats(0, 0.999))
def test_less_busy_never_takes_the_busiest_alone(number: int, loads: list[int], first: float, second: float) -> None:
    choices = [at(str(n)) for n in range(number)]
    busy = {str(n): load for n, load in enumerate(loads)}
    taken = less_busy(choices, busy, (first, second))
    others = [load for name, load in busy.items() if int(name) < number and name != taken.instance_id]
    assert not others or busy[taken.instance_id] <= max(others)


def test_two_choices_are_two() -> None:
    choices = [at("a"), at("b")]
    assert all(less_busy(choices, {"a": 1}, (n / 10, m / 10)).instance_id == "b" for n in range(10) for m in range(10))


# -- tokens ------------------------------------------------------------------------------------------------------------


def token(claims: object) -> str:
    return f"head.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sign"


@given(st.integers(-1000, 100_000))
def test_tokens_are_renewed_before_they_end(life: int) -> None:
    at = renew_at(token({"exp": 5000 + life, "account": "root"}), 5000.0)
    assert at == 5000.0 if life <= 0 else 5000.0 < at < 5000.0 + life


@pytest.mark.parametrize("text", ["", "opaque", "a.b.c", "a.\xff.c", token([1]), token({}), token({"exp": "soon"})])
def test_tokens_that_do_not_say_when_they_end(text: str) -> None:
    assert 0 < renew_at(text, 0.0) <= LIFE_DEFAULT_S


# -- answers -----------------------------------------------------------------------------------------------------------

HTML = b"<html><body>Please log in</body></html>"
GONE = b'{"errorCode":"400017","errorMessage":"Instance does not exist","detail":"a"}'
AWAY = b'{"errorCode":"500011","errorMessage":"The store is unavailable"}'


@pytest.mark.parametrize(
    ("status", "body", "wanted", "value"),
    [
        (200, b"", None, None),
        (200, b'{"any":1}', None, None),
        (200, b'{"serviceId":"a"}', ServiceId, ServiceId("a")),
        (304, b"", ServiceId, None),
    ],
)
def test_answers_of_a_registry(status: int, body: bytes, wanted: Any, value: object) -> None:
    assert read_answer(status, body, wanted) == value


@pytest.mark.parametrize(
    ("status", "body", "wanted", "code"),
    [
        (200, HTML, None, 0),
        (200, HTML, ServiceId, 0),
        (200, b"", ServiceId, 0),
        (200, b"{}", ServiceId, 0),
        (200, b"\xff", ServiceId, 0),
        (302, b"", None, 0),
        (400, HTML, None, 0),
        (401, b"", None, 0),
        (404, b"404 page not found", None, 0),
        (400, b'{"errorCode":"soon","errorMessage":""}', None, 0),
        (400, b'{"errorCode":"400002","errorMessage":"Server is unhealthy"}', None, 400002),
        (429, b'{"errorCode":"429001","errorMessage":"Too many"}', None, 429001),
        (500, AWAY, None, 500011),
        (502, HTML, None, 0),
    ],
)
def test_what_another_address_may_answer_better(status: int, body: bytes, wanted: Any, code: int) -> None:
    """The page of a proxy with status 200 is no heartbeat that was taken."""
    with pytest.raises(Fault) as fault:
        read_answer(status, body, wanted)
    assert fault.value.code == code
    assert len(str(fault.value)) < 300


def test_what_every_replica_would_refuse() -> None:
    with pytest.raises(Refused) as refused:
        read_answer(400, GONE, None)
    assert (refused.value.code, refused.value.status, str(refused.value)) == (400017, 400, "Instance does not exist: a")


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux tells the time that a suspension took")
def test_seconds_count_while_the_machine_is_suspended_and_do_not_jump_with_its_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop that wakes up beats at once, and a clock that is set changes nothing."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= steady() <= time.clock_gettime(time.CLOCK_BOOTTIME)
