"""Retelling: what a mended history tells again has limits, names what is undone, and is for those who may see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from registry.access.reach import Reach
from registry.domain import retelling as module
from registry.domain.events import Event, HistoryResumed, InstanceStatusSet, PolicyDeleted, decode_event, encode_event
from registry.domain.fold import apply
from registry.domain.position import Position
from registry.domain.recent import Remembered
from registry.domain.retelling import retelling, tell_again
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.history.choice import Choice
from registry.history.told import encode_told, tell
from tests.support.builders import instance, instance_registered, microservice, service_registered, stamp

FORK = Position(7, 3)
EVERYTHING = Choice()


def view(*events: Event) -> RegistryView:
    found = RegistryView(DEFAULT_TENANT)
    for number, event in enumerate(events, 1):
        apply(found, Position(7, number), event)
    return found


def cart(*ids: str, size: int = 0) -> list[Event]:
    content = {"x": "y" * size} if size else {}
    comes = [instance_registered(instance("cart", id, properties=content), chosen=True) for id in ids]
    return [service_registered(microservice("cart"), chosen=True), *comes]


def down(instance_id: str) -> Event:
    return InstanceStatusSet(service_id="cart", instance_id=instance_id, status="DOWN", **stamp()._asdict())


def told(now: RegistryView, page: Sequence[Any], choice: Choice = EVERYTHING) -> Any:
    """What a client reads of the last event of a mending."""
    begin = HistoryResumed(after="7-9", **stamp()._asdict())
    *_, last = tell_again(begin, 8, 0, 0, module.Retelling("7-3", 0, [list(page)]))
    outcome = apply(now, Position(8, 2), decode_event(encode_event(last)))
    if not choice.takes(last, outcome, None):
        return None
    return msgspec.json.decode(encode_told(tell(Position(8, 2), last, choice.seen(outcome), None)))


def test_an_event_that_is_undone_is_named_with_what_is_so() -> None:
    """Also where who was told everything holds the same: others were told less."""
    now = view(*cart("a"))
    undone = [Remembered(Position(7, 4), down("a")), Remembered(Position(7, 5), down("gone"))]
    undone.append(Remembered(Position(7, 6), PolicyDeleted(policy_id="p", **stamp()._asdict())))
    again = retelling(FORK, undone, (now,), now)
    assert (again.forked, again.undone) == ("7-3", 3)
    policy, one, gone = told(now, again.pages[0])["after"]
    assert policy == {"undone": [{"position": "7-6", "kind": "policy-deleted"}]}
    assert (one["instanceId"], one["undone"]) == ("a", [{"position": "7-4", "kind": "instance-status-set"}])
    assert one["after"]["status"] == "UP"
    assert one["service"]["serviceName"] == now.services["cart"].service.service_name
    assert (gone["instanceId"], "after" in gone) == ("gone", False)


def test_no_page_grows_with_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    now = view(*cart(*(f"i{number:03}" for number in range(250))))
    pages = retelling(FORK, (), (view(),), now).pages
    assert list(map(len, pages)) == [100, 100, 51]  # and the microservice
    monkeypatch.setattr(module, "PAGE_MAX_BYTES", 5_000)
    large = view(*cart("a", "b", "c", size=3_000))
    assert [len(page) for page in retelling(FORK, (), (view(),), large).pages] == [2, 1, 1]


def test_of_too_many_things_nothing_is_told_again_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETOLD_MAX", 3)
    assert retelling(FORK, (), (view(),), view(*cart("a", "b"))).forked == "7-3"
    too_many = retelling(FORK, [Remembered(Position(7, 4), down("a"))], (view(),), view(*cart("a", "b", "c")))
    assert too_many == module.UNKNOWN._replace(undone=1)
    (resumed,) = tell_again(HistoryResumed(after="7-9", **stamp()._asdict()), 8, 0, 0, too_many)
    evidence = tell(Position(8, 1), resumed, apply(view(), Position(8, 1), resumed), None).evidence
    assert "forkedAt" not in evidence


def test_of_one_thing_the_newest_undone_events_are_named() -> None:
    undone = [Remembered(Position(7, number), down("a")) for number in range(4, 40)]
    ((page,),) = retelling(FORK, undone, (), view(*cart("a"))).pages
    assert [position for position, _ in page.undone] == [f"7-{number}" for number in range(30, 40)]


def test_what_is_told_again_is_for_those_who_may_see_it_and_ask_for_it() -> None:
    """Also of a microservice that is gone: its name says who may know of it."""
    was = view(*cart("a"), service_registered(microservice("secret", service_name="secret"), chosen=True))
    now = view(*cart("a", "b"))
    page = retelling(FORK, [Remembered(Position(7, 6), PolicyDeleted(policy_id="p", **stamp()._asdict()))], (was,), now)
    name = was.services["cart"].service.service_name
    reach = Reach(limits=({"serviceName": name},))
    assert [one.get("serviceId") for one in told(now, page.pages[0])["after"]] == [None, "cart", "secret"]
    assert [one["serviceId"] for one in told(view(*cart("a", "b")), page.pages[0], Choice(reach=reach))["after"]] == [
        "cart"
    ]
    only_b = told(view(*cart("a", "b")), page.pages[0], Choice(instance_id="b"))["after"]
    assert [one["instanceId"] for one in only_b] == ["b"]
    assert told(view(*cart("a", "b")), page.pages[0], Choice(service_id="another")) is None
