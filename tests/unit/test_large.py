"""Large dicts stay out of the young generation."""

from __future__ import annotations

import gc

from registry.domain.find import FindQuery
from registry.domain.large import Large
from registry.domain.version import parse_rule
from registry.domain.view import ServiceRow
from registry.http_api.queries import BatchQueries
from registry.upkeep.schedule import Schedule
from tests.support.builders import instance, instance_registered, microservice, service_registered, view_of


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


def test_what_comes_and_goes_a_million_times_is_nothing_to_the_collector() -> None:
    """Where as many come as go, the collector is not called; when it is, it finds all of them young."""
    schedule = Schedule()
    gc.collect()
    for number in range(3):
        schedule.add(0, 1000, ("s1", f"i{number}"))
    assert not gc.is_tracked(schedule.current["s1"])
    assert not [entry for entries in schedule.slots.values() for entry in entries if gc.is_tracked(entry)]
    view = view_of(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    row = view.services["s1"]
    event = instance_registered(instance("s1", "i1"))
    query = FindQuery("shop", "cart", parse_rule("1.0+"))
    known = BatchQueries((query,), ())
    for thing in (view.position, row.changed, *row.instances.values(), event, event.instance, query, query.rule, known):
        assert not gc.is_tracked(thing)


def test_what_grows_with_the_instances_is_large() -> None:
    row: ServiceRow = view_of(service_registered(microservice("s1", "cart"))).services["s1"]
    assert isinstance(row.by_endpoints, Large)
