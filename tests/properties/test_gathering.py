"""Gathering: what stays is copied, and nobody can tell, whatever happens between its steps."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.events import Event
from registry.domain.find import answer_of_services
from registry.domain.fold import apply
from registry.domain.position import Position
from registry.domain.snapshot import take
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.upkeep.gathering import Gathering
from tests.support.builders import instance, service_with
from tests.support.strategies import histories


def gathering(*views: RegistryView) -> Gathering:
    return Gathering(lambda: views, lambda: iter(()))


def told(view: RegistryView) -> tuple[object, ...]:
    """All that a view holds, in its order, and what is answered from it."""
    services = list(view.services.values())
    tables = [(list(row.by_endpoints.items()), row.shared_endpoints, list(row.instances)) for row in services]
    return list(take(view, b"")), tables, [answer_of_services("s", [row]).body for row in services]


@given(histories(max_size=30), st.lists(st.integers(0, 6), max_size=30))
def test_a_view_is_the_same_whatever_changes_while_it_is_gathered(
    placed: list[tuple[Position, Event]], steps: list[int]
) -> None:
    plain, gathered = RegistryView(DEFAULT_TENANT), RegistryView(DEFAULT_TENANT)
    moving: Iterator[None] = iter(())
    for (position, event), number in zip(placed, [*steps, *[1] * len(placed)], strict=False):
        for _ in range(number):
            if next(moving, "the end") == "the end":
                moving = gathering(gathered).steps()
        outcomes = [apply(view, position, event) for view in (plain, gathered)]
        assert outcomes[0].id == outcomes[1].id
        assert told(gathered) == told(plain)


def test_bodies_are_others_and_tables_have_no_room_for_those_that_left() -> None:
    """Else what was there before holds the memory around it."""
    view = service_with(*(instance("s1", f"i{n}", endpoints=[f"rest://h:{n // 2}"]) for n in range(500)))
    (service,) = view.services.values()
    rows = dict(service.instances)
    for number in range(450):
        del service.instances[f"i{number}"]
    service.by_endpoints = {key: ids for key, ids in service.by_endpoints.items() if ids[0] in service.instances}
    size = sys.getsizeof(service.instances)
    service.answer = answer_of_services("s", [service])
    for _ in gathering(view).steps():
        pass
    assert len(service.instances) == 50
    for instance_id, row in service.instances.items():
        before = rows[row.instance_id]
        assert row == before
        assert row is not before
        assert row.body is not before.body
        assert service.by_endpoints[row.endpoints_key].count(instance_id) == 1
    assert sys.getsizeof(service.instances) < size / 4
    assert service.answer is None


@pytest.mark.parametrize("most", [1, 2])
async def test_more_than_the_limit_are_left_as_they_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are there beside the others for a while."""
    monkeypatch.setattr("registry.upkeep.gathering.GATHER_MAX", most)
    view = service_with(instance("s1", "a"), instance("s1", "b"))
    (service,) = view.services.values()
    before = service.instances
    await gathering(view).gather()
    assert (service.instances is before) == (most < 2)
    assert service.instances == before


#: Prints what instances take in memory: all, when nine tenths have left, and when the others are gathered.
CROWD = """
import random
from registry.domain.events import InstanceUnregistered
from registry.running.memory import give_back_free_pages
from registry.usecases.roster import memory_bytes
from registry.upkeep.gathering import Gathering
from tests.support.builders import append, instance, instance_registered, service_with, stamp

view, number = service_with(), 40_000
empty = memory_bytes()
for n in range(number):
    one = instance("s1", f"instance-{n:09}", endpoints=[f"rest://h:{n}"], properties={"k": "-" * 600})
    append(view, instance_registered(one, chosen=True))
full = memory_bytes()
for n in random.Random(1).sample(range(number), number * 9 // 10):
    append(view, InstanceUnregistered(service_id="s1", instance_id=f"instance-{n:09}", **stamp()._asdict()))
give_back_free_pages()
left = memory_bytes()
for _ in Gathering(lambda: [view], lambda: iter(())).steps():
    pass
give_back_free_pages()
print(full - empty, left - empty, memory_bytes() - empty)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_of_those_that_left_is_given_back() -> None:
    """Nine tenths left at random: of those that stay there is one in most of the pages."""
    ran = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, check=True)
    full, left, gathered = map(int, ran.stdout.split())
    assert gathered < left - full * 0.15
