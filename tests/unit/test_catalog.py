"""The catalog: pages of what there is, and what has changed since a position."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given

from registry.domain import catalog as module
from registry.domain.catalog import Catalog, catalog
from registry.domain.events import Event, ServiceUnregistered
from registry.domain.position import ORIGIN
from registry.domain.view import RegistryView
from tests.support.builders import (
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    stamp,
    view_of,
)
from tests.support.strategies import logs


def whole(view: RegistryView) -> dict[str, bytes]:
    """Every row of every page, by the service's id."""
    found: dict[str, bytes] = {}
    offset = 0
    while True:
        page = catalog(view, frozenset(), ORIGIN, offset)
        found |= rows(page)
        offset = page.next
        if not offset:
            return found


def rows(page: Catalog) -> dict[str, bytes]:
    return {json.loads(bytes(row.service))["serviceId"]: msgspec.json.encode(row) for row in page.services}


def test_instances_are_counted_by_status() -> None:
    view = view_of(
        service_registered(microservice("s1", "cart")),
        instance_registered(instance("s1", "a", status="UP"), chosen=True),
        instance_registered(instance("s1", "b", status="DOWN"), chosen=True),
        instance_registered(instance("s1", "c", status="UP", properties={"x": '"status":"DOWN"'}), chosen=True),
    )
    (row,) = catalog(view, frozenset()).services
    assert row.instances == {"UP": 2, "DOWN": 1}


@given(logs())
def test_a_copy_that_asks_what_has_changed_is_the_catalog(log: list[Event]) -> None:
    """As the console does: merge what has changed; where the number then differs, one has left, so ask for all."""
    view = view_of()
    copy: dict[str, bytes] = {}
    position = view.position
    for event in log:
        append(view, event)
        page = catalog(view, frozenset(), position)
        copy |= rows(page)
        if len(copy) != page.total:
            copy = whole(view)
        position = view.position
        assert copy == whole(view)


def test_pages_are_bounded_and_hold_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer of everything would be refused for its size, and hold up everybody else."""
    monkeypatch.setattr(module, "PAGE_MAX", 3)
    monkeypatch.setattr(module, "COUNTED_MAX", 2)
    view = view_of(*(service_registered(microservice(f"s{number}", f"n{number}")) for number in range(8)))
    for number in range(3):
        append(view, instance_registered(instance("s0", f"i{number}"), chosen=True))
    pages = []
    offset = 0
    while True:
        page = catalog(view, frozenset(), ORIGIN, offset)
        pages.append(list(rows(page)))
        offset = page.next
        if not offset:
            break
    assert pages == [["s0"], ["s1", "s2", "s3"], ["s4", "s5", "s6"], ["s7"]]


def test_a_page_ends_where_its_services_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a catalog of large services could not be read at all."""
    view = view_of(*(service_registered(microservice(f"s{number}", f"n{number}")) for number in range(4)))
    monkeypatch.setattr(module, "PAGE_MAX_BYTES", len(view.services["s0"].body) + 1)
    assert catalog(view, frozenset()).next == 2
    assert len(whole(view)) == 4


def test_a_service_that_left_is_missing_in_the_total() -> None:
    view = view_of(service_registered(microservice("s1", "cart")), service_registered(microservice("s2", "till")))
    position = view.position
    append(view, ServiceUnregistered(service_id="s1", force=False, **stamp()._asdict()))
    page = catalog(view, frozenset(), position)
    assert (page.services, page.total, page.next) == ([], 1, 0)


def test_shared_services_are_left_out_where_they_are_hidden() -> None:
    view = view_of(service_registered(microservice("s1", "SERVICECENTER", app_id="default")))
    assert catalog(view, frozenset({"SERVICECENTER"})).total == 0
    assert catalog(view, frozenset()).total == 1


def test_what_somebody_may_not_see_is_not_counted() -> None:
    view = view_of(service_registered(microservice("s1", "cart")), service_registered(microservice("s2", "till")))
    page = catalog(view, frozenset(), covers=lambda environment, app_id, name: name == "till")
    assert (list(rows(page)), page.total) == (["s2"], 1)
