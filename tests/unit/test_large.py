"""Large dicts stay out of the young generation."""

from __future__ import annotations

import gc

from registry.domain.large import Large
from registry.domain.view import ServiceRow
from registry.usecases.schedule import Schedule
from tests.support.builders import microservice, service_registered, view_of


def young(thing: object) -> bool:
    return any(thing is other for other in gc.get_objects(0)) or any(thing is other for other in gc.get_objects(1))


def test_an_addition_does_not_make_a_large_dict_young() -> None:
    """Every look at the youngest objects would be one at a million entries: ten milliseconds in which nobody is
    answered, many times a second."""
    large: Large[tuple[str, str], int] = Large({("s", str(number)): number for number in range(10)})
    plain = dict(large)
    gc.collect()
    assert not gc.is_tracked(plain)  # what this is about does happen
    name = ("s", str(len(plain)))
    large[name] = plain[name] = 1
    assert young(plain)
    assert not young(large)


def test_what_grows_with_the_instances_is_large() -> None:
    schedule = Schedule()
    row: ServiceRow = view_of(service_registered(microservice("s1", "cart"))).services["s1"]
    assert isinstance(schedule.current, Large)
    assert isinstance(row.by_endpoints, Large)
