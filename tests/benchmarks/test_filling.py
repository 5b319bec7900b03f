"""Filling: a whole population is registered, and the census notices who is missing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import filling
from benchmarks.errors import BenchmarkError
from benchmarks.population import Population
from tests.benchmarks.fake_server import fake_server, reply


@given(st.integers(1, 500), st.integers(1, 60))
def test_every_instance_belongs_to_one_service_and_sizes_add_up(instances: int, per_service: int) -> None:
    population = Population(instances, per_service)
    members = [population.member(number) for number in range(instances)]
    assert len(set(members)) == instances
    for number in range(population.services):
        service = population.service(number)
        assert sum(name == service for name, _ in members) == population.size_of(number) > 0


@given(st.integers(1, 500), st.integers(1, 60))
def test_some_members_are_different_ones(instances: int, count: int) -> None:
    """Heartbeats that fell on few instances would be served from a warmer cache."""
    some = Population(instances, 7).some(count)
    assert len(set(some)) == len(some) == min(count, instances)


def listing(service: str, count: int) -> bytes:
    return json.dumps(
        {"instances": [{"instanceId": f"{service}-{number:05d}"} for number in range(count)]}, separators=(",", ":")
    ).encode()


def test_census_counts_who_is_lost() -> None:
    population = Population(5, 2)

    def answer(number: int, head: bytes) -> bytes:
        service = head.split(b"/")[5].decode()
        return reply(200, listing(service, 1))

    with fake_server(answer) as server:
        census = filling.take_census(server.address, population, lambda line: None)
    assert census.lost == 2
    assert "expected 2 instances, got 1" in census.problem


def test_refused_registration_ends_the_filling() -> None:
    """A registry that is less full than the scene says would look fast."""

    def answer(number: int, head: bytes) -> bytes:
        if b"/instances " in head:
            return reply(400, b'{"errorCode":"400100"}')
        return reply(200, b'{"serviceId":"x"}')

    with fake_server(answer) as server, pytest.raises(BenchmarkError, match="400100"):
        filling.fill(server.address, Population(3, 3), lambda line: None)
