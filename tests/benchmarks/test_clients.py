"""Clients of the mixed load: they remember what they are told, and notice what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import clients
from benchmarks.clients import Part
from benchmarks.load.driver import Call
from benchmarks.population import Population
from benchmarks.wire import Address, Request

POPULATION = Population(instances=24, per_service=2, name="t")
REVS = {POPULATION.service(number): f"rev-{number}" for number in range(POPULATION.services)}


@pytest.fixture
def member() -> clients.Clients:
    """The clients of a part in which member 0 is an instance of service 0."""
    return clients.Clients(Part("", Address("localhost", 1), POPULATION, 0, 24, 1, 60, 0, REVS, 0, Request("GET", "/")))


def answer(unmodified: list[int], *updated: dict[str, Any]) -> bytes:
    return json.dumps({"services": {"notModified": unmodified, "updated": list(updated)}}).encode()


def update(index: int, rev: str, instances: int = 2) -> dict[str, Any]:
    return {"index": index, "rev": rev, "instances": [{"instanceId": str(n)} for n in range(instances)]}


def asked_revs(call: Call) -> list[str]:
    body = json.loads(call.data.partition(b"\r\n\r\n")[2])
    return [element["rev"] for element in body["services"]]


ALL = list(range(clients.PROVIDERS))


def test_poll_asks_for_ten_providers_with_the_revs_known(member: clients.Clients) -> None:
    """Without them every poll would be a full find, and the load none of production."""
    call = member.poll(0)
    assert asked_revs(call) == [f"rev-{number}" for number in range(1, 11)]
    assert b"X-ConsumerId: bench-t-000000\r\n" in call.data


def test_unchanged_answer_is_right_in_any_spelling(member: clients.Clients) -> None:
    compact = b'{"services":{"notModified":[0,1,2,3,4,5,6,7,8,9]}}'
    assert member.poll(0).check(b"", compact) is None
    assert member.poll(0).check(b"", answer(ALL)) is None


def test_new_rev_is_asked_for_next_time_by_that_instance_alone(member: clients.Clients) -> None:
    assert member.poll(0).check(b"", answer(ALL[1:], update(0, "new"))) is None
    assert asked_revs(member.poll(0))[0] == "new"
    assert asked_revs(member.poll(1))[0] == "rev-1"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "expected a batch find's answer: Input data was truncated"),
        (b'{"services":7}', "expected a batch find's answer: Expected `object`, got `int` - at `$.services`"),
        (answer(ALL[1:]), "expected each of 10 services once"),
        (answer(ALL, update(0, "new")), "expected each of 10 services once"),
        (answer(ALL[1:], update(0, "new", instances=1)), "expected 2 instances of bench-t-000001, got 1"),
        (answer(ALL[1:], update(0, "rev-1")), "bench-t-000001 was called updated, with the rev that was asked for"),
    ],
)
def test_wrong_answers_are_noticed(member: clients.Clients, body: bytes, problem: str) -> None:
    """A lost instance, a service left out, a needless update: each is a fault that a status does not show."""
    assert member.poll(0).check(b"", body) == problem


def test_everybody_beats_every_half_minute_and_polls_every_quarter(member: clients.Clients) -> None:
    calls = [call for _, call in member.schedule()]
    beats = [call.data.split(b"\r\n")[0] for call in calls if call.kind == "heartbeat"]
    assert len(beats) == 24 * 2
    assert len(set(beats)) == 24
    assert sum(call.kind == "poll" for call in calls) == 24 * 4
