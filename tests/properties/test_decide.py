"""What is decided on a view is what applying the event to that view does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from registry.domain import decide
from registry.domain.decide import Known
from registry.domain.errors import RegistryError
from registry.domain.events import Event, InstanceRegistered, ServiceRegistered
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import InstanceBody, MicroserviceBody
from registry.domain.view import RegistryView
from tests.support.builders import append, stamp, view_of
from tests.support.oracle import Oracle, assert_same
from tests.support.strategies import (
    INSTANCE_IDS,
    SERVICE_IDS,
    instance_bodies,
    logs,
    microservice_bodies,
)

Decision = Callable[[RegistryView], Event | Known]

NEW_IDS = st.sampled_from(["n1", "n2"])
raw_properties = st.sampled_from([None, {}, {"k": "v"}, {"z": None, "a": "1"}])
service_ids = st.sampled_from([*SERVICE_IDS, "ghost"])
instance_ids = st.sampled_from([*INSTANCE_IDS, "ghost"])


def decided(view: RegistryView, decision: Decision) -> Event | Known | int:
    try:
        return decision(view)
    except RegistryError as error:
        return error.code


def view_after(log: list[Event]) -> RegistryView:
    view = view_of()
    for event in log:
        append(view, event)
    return view


def wires(view: RegistryView, service_id: str) -> dict[str, Any]:
    row = view.services.get(service_id)
    return {id: json.loads(found.body) for id, found in row.instances.items()} if row else {}


@given(logs(), service_ids, instance_bodies, NEW_IDS)
def test_a_registration_ends_up_as_it_was_decided(
    log: list[Event], service_id: str, body: InstanceBody, new_id: str
) -> None:
    """The client is answered with the id under which its content can really be found."""
    view = view_after(log)
    before = wires(view, service_id)
    decision = decided(view, lambda view: decide.register_instance(view, service_id, body, new_id, Quotas(), stamp()))
    if service_id not in view.services:
        assert decision == 400012
        return
    expected = {
        "hostName": body.host_name,
        "endpoints": body.endpoints or [],
        "status": body.status or "UP",
        "properties": {key: value or "" for key, value in (body.properties or {}).items()},
    }
    if isinstance(decision, InstanceRegistered):
        outcome = append(view, decision)
        assert outcome.error is None
        assert outcome.id == decision.instance.instance_id
        id = outcome.id
        after = wires(view, service_id)
        assert {other: wire for other, wire in after.items() if other != id} == {
            other: wire for other, wire in before.items() if other != id
        }
    else:
        assert isinstance(decision, Known)
        id, after = decision.id, before
    if not body.status and id in before:
        expected["status"] = before[id].get("status", "")
    found = {"endpoints": [], "properties": {}, "status": ""} | after[id]
    assert {member: found[member] for member in expected} == expected
    twins = [other for other, wire in before.items() if set(wire.get("endpoints", [])) == set(body.endpoints or [])]
    if body.instance_id:
        assert id == body.instance_id
    elif twins and body.endpoints:
        assert id in twins
    else:
        assert id == new_id


@given(logs(), service_ids, instance_bodies)
def test_registering_the_same_again_needs_no_event(log: list[Event], service_id: str, body: InstanceBody) -> None:
    """A client that registers instead of sending heartbeats must not move every consumer's rev (D1)."""
    view = view_after(log)
    assume(service_id in view.services)
    first = decide.register_instance(view, service_id, body, "n1", Quotas(), stamp())
    if not isinstance(first, Known):
        append(view, first)
    if body.instance_id or body.endpoints:
        again = decide.register_instance(view, service_id, body, "n2", Quotas(), stamp())
        assert isinstance(again, Known)
        assert again.id == (first.id if isinstance(first, Known) else first.instance.instance_id)


@given(logs(), microservice_bodies)
def test_a_service_registration_ends_up_as_it_was_decided(log: list[Event], body: MicroserviceBody) -> None:
    """The id that is answered is the one under which name and version are found."""
    view = view_after(log)
    decision = decided(view, lambda view: decide.register_service(view, body, Quotas(), stamp()))
    if isinstance(decision, int):
        assert decision == 400010
        assert body.service_id
        return
    if isinstance(decision, ServiceRegistered):
        outcome = append(view, decision)
        assert outcome.error is None
        id = outcome.id
        assert id == decision.service.service_id
        assert id == view.ids[body.environment or "", body.app_id or "", body.service_name or "", body.version or ""]
    else:
        assert isinstance(decision, Known)
        id = decision.id
    row = view.services[id].service
    assert (row.environment, row.app_id, row.version) == (body.environment, body.app_id, body.version)
    assert row.service_name == body.service_name or (row.alias == body.alias != "")
    assert body.service_id in (None, "", id)
    again = decide.register_service(view, body, Quotas(), stamp())
    assert again == Known(id)


@given(logs(), service_ids, instance_ids, st.sampled_from(["UP", "DOWN"]), raw_properties)
def test_an_edit_ends_up_as_it_was_decided_and_an_equal_one_needs_no_event(
    log: list[Event], service_id: str, instance_id: str, status: str, properties: dict[str, str | None] | None
) -> None:
    """Setting what is set already sends no consumer its list again."""
    for decision, member, value in (
        (lambda v: decide.set_instance_status(v, service_id, instance_id, status, stamp()), "status", status),
        (
            lambda v: decide.set_instance_properties(v, service_id, instance_id, properties, Quotas(), stamp()),
            "properties",
            {key: value or "" for key, value in (properties or {}).items()},
        ),
    ):
        view = view_after(log)
        before = wires(view, service_id).get(instance_id)
        result = decided(view, decision)
        if before is None:
            assert result == 400017
            continue
        assert isinstance(result, Known) == (before.get(member, {}) == value)
        if not isinstance(result, Known | int):
            assert append(view, result).error is None
        after = wires(view, service_id)[instance_id]
        assert after.get(member, {}) == value
        assert {k: v for k, v in after.items() if k not in (member, "modTimestamp")} == {
            k: v for k, v in before.items() if k not in (member, "modTimestamp")
        }


@given(logs(), service_ids, instance_ids, st.booleans(), raw_properties)
def test_a_removal_ends_up_as_it_was_decided(
    log: list[Event], service_id: str, instance_id: str, force: bool, properties: dict[str, str | None] | None
) -> None:
    """What was answered as deleted is gone, and nothing else is."""
    view = view_after(log)
    had = wires(view, service_id)
    result = decided(view, lambda v: decide.unregister_instance(v, service_id, instance_id, stamp()))
    if isinstance(result, int):
        assert (result, instance_id in had) == (400017, False)
    else:
        assert not isinstance(result, Known)
        assert append(view, result).error is None
        assert wires(view, service_id) == {id: wire for id, wire in had.items() if id != instance_id}
    view = view_after(log)
    known = service_id in view.services
    edit = decided(view, lambda v: decide.set_service_properties(v, service_id, properties, Quotas(), stamp()))
    assert (edit == 400012) == (not known)
    if not isinstance(edit, Known | int):
        assert append(view, edit).error is None
        assert view.services[service_id].service.properties == {k: v or "" for k, v in (properties or {}).items()}
    result = decided(view, lambda v: decide.unregister_service(v, service_id, force, stamp()))
    if isinstance(result, int):
        row = view.services.get(service_id)
        consumers = set(view.consumers.get(row.group.key, ())) - {service_id} if row else set()
        assert result == ((400023 if consumers else 400013) if known else 400012)
        assert not known or (not force and (consumers or had))
    else:
        assert not isinstance(result, Known)
        assert append(view, result).error is None
        assert service_id not in view.services


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    """Any write that a replica may decide."""
    service_id, instance_id = draw(service_ids), draw(instance_ids)
    kind = draw(st.integers(0, 6))
    if kind <= 1:
        instance, new_id = draw(instance_bodies), draw(st.sampled_from(["n1", "n2", "n3"]))
        return lambda view: decide.register_instance(view, service_id, instance, new_id, Quotas(), stamp())
    if kind == 2:
        service = draw(microservice_bodies)
        return lambda view: decide.register_service(view, service, Quotas(), stamp())
    if kind == 3:
        return lambda view: decide.unregister_instance(view, service_id, instance_id, stamp())
    if kind == 4:
        return lambda view: decide.set_instance_status(view, service_id, instance_id, "DOWN", stamp())
    if kind == 5:
        force = draw(st.booleans())
        return lambda view: decide.unregister_service(view, service_id, force, stamp())
    return lambda view: decide.set_service_properties(view, service_id, {"k": "raced"}, Quotas(), stamp())


@given(logs(), st.lists(st.tuples(decisions(), st.integers(0, 2)), max_size=10))
def test_writes_decided_on_views_that_lag_behind_come_to_the_same_on_every_replica(
    log: list[Event], writes: list[tuple[Decision, int]]
) -> None:
    """Two replicas decide on what each has seen; the log's order alone says who wins, and everyone agrees."""
    appended = list(log)
    replicas = [view_of(), view_of(), view_of()]
    read = [0, 0, 0]
    for decision, replica in writes:
        result = decided(replicas[replica], decision)
        if not isinstance(result, Known | int):
            appended.append(result)
        # Only this replica reads on, and not to the end: the others decide on an older view.
        ahead = (read[replica] + len(appended) + 1) // 2
        for event in appended[read[replica] : ahead]:
            append(replicas[replica], event)
        read[replica] = ahead
    oracle = Oracle()
    reference = view_of()
    for event in appended:
        told = append(reference, event)
        assert oracle.apply(reference.position, event).error == (told.error.code if told.error else None)
    assert_same(reference, oracle)
    for view, start in zip(replicas, read, strict=True):
        for event in appended[start:]:
            append(view, event)
        assert_same(view, oracle)
    for view in replicas:
        assert all(view.services[id].instances.keys() == row.instances.keys() for id, row in reference.services.items())
