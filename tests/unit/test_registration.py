"""Registering: which id is answered, and when nothing changes (api-rules.md D1, D2, D11, D19, 3.2, 3.5, 6.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.domain import decide
from registry.domain.decide import Known, generated_service_id
from registry.domain.errors import (
    DeployedInstance,
    InstanceNotExists,
    InvalidParams,
    NotEnoughQuota,
    RegistryError,
    ServiceAlreadyExists,
    ServiceNotExists,
)
from registry.domain.events import InstanceExpired, InstanceRegistered, InstanceStatusSet, ServiceRegistered
from registry.domain.fold_instances import endpoints_key
from registry.domain.model import HealthCheck
from registry.domain.outcome import Outcome
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import HealthCheckBody, InstanceBody, MicroserviceBody, to_properties
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView
from tests.support.builders import (
    AT_MS,
    append,
    instance,
    instance_body,
    instance_registered,
    microservice,
    microservice_body,
    service_registered,
    service_with,
    stamp,
    view_of,
)

REST, GRPC = "rest://10.0.0.1:80", "grpc://10.0.0.1:81"


def register(view: RegistryView, body: InstanceBody | None, new_id: str = "new", at_ms: int = AT_MS) -> str:
    """Register as one replica would. Returns the id answered."""
    decision = decide.register_instance(view, "s1", body, new_id, Quotas(), stamp(at_ms))
    if isinstance(decision, Known):
        return decision.id
    outcome = append(view, decision)
    assert outcome.error is None
    return outcome.id


def decision_of(view: RegistryView, body: InstanceBody) -> InstanceRegistered | Known:
    return decide.register_instance(view, "s1", body, "new", Quotas(), stamp())


def wire(view: RegistryView, instance_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(view.services["s1"].instances[instance_id].body)
    return found


# -- instances ---------------------------------------------------------------------------------------------------------


def test_an_instance_is_written_as_clients_read_it() -> None:
    """api-rules.md 3.0, 3.5, 6.1: defaults filled in, the service's version, times as strings of seconds."""
    view = service_with()
    register(view, instance_body(endpoints=[REST]), new_id="i1", at_ms=1_650_545_035_999)
    assert wire(view, "i1") == {
        "instanceId": "i1",
        "serviceId": "s1",
        "version": "1.0.0",
        "hostName": "host",
        "endpoints": [REST],
        "status": "UP",
        "healthCheck": {"mode": "push", "interval": 30, "times": 3},
        "timestamp": "1650545035",
        "modTimestamp": "1650545035",
    }


def test_a_custom_id_that_exists_overwrites_all_content() -> None:
    """D1: the second registration is what consumers see; only `timestamp` remembers the first."""
    view = service_with()
    register(view, instance_body(instance_id="i1", endpoints=[REST], properties={"a": "1"}, status="DOWN"))
    register(view, instance_body(instance_id="i1", endpoints=[GRPC], host_name="other"), at_ms=AT_MS + 9_000)
    after = wire(view, "i1")
    assert (after["endpoints"], after["hostName"]) == ([GRPC], "other")
    assert "properties" not in after
    assert int(after["modTimestamp"]) - int(after["timestamp"]) == 9
    assert view.instance_count == 1


@pytest.mark.parametrize("silent", [None, ""])
@pytest.mark.parametrize("instance_id", ["i1", None], ids=["by id", "by endpoints"])
def test_a_registration_that_names_no_status_keeps_the_present_one(instance_id: str | None, silent: str | None) -> None:
    """What an operator has set outlives the client's next registration, whether it changes anything else or not."""
    view = service_with()
    register(view, instance_body(instance_id=instance_id, endpoints=[REST]), new_id="i1")
    append(view, decide.set_instance_status(view, "s1", "i1", "OUTOFSERVICE", stamp()))  # type: ignore[arg-type]
    again = instance_body(instance_id=instance_id, endpoints=[REST], status=silent)
    assert decision_of(view, again) == Known("i1")
    register(view, instance_body(instance_id=instance_id, endpoints=[REST], host_name="moved", status=silent))
    assert (wire(view, "i1")["hostName"], wire(view, "i1")["status"]) == ("moved", "OUTOFSERVICE")
    register(view, instance_body(instance_id=instance_id, endpoints=[REST], status="UP"))
    assert wire(view, "i1")["status"] == "UP"


@pytest.mark.parametrize(("named", "status"), [(None, "DOWN"), ("STARTING", "STARTING")])
@pytest.mark.parametrize("instance_id", ["i1", None], ids=["by id", "by endpoints"])
def test_a_status_set_meanwhile_is_kept(instance_id: str | None, named: str | None, status: str) -> None:
    """Two registrations are decided on a view without the instance; its status is set between them in the log."""
    body, view = instance_body(instance_id=instance_id, endpoints=[REST], status=named), service_with()
    first, second = (decide.register_instance(view, "s1", body, id, Quotas(), stamp()) for id in ("i1", "i2"))
    set_down = InstanceStatusSet(service_id="s1", instance_id="i1", status="DOWN", **stamp()._asdict())
    assert [append(view, event).id for event in (first, set_down, second)] == ["i1"] * 3  # type: ignore[arg-type]
    assert wire(view, "i1")["status"] == status


def test_a_status_is_not_kept_of_an_instance_that_left_meanwhile() -> None:
    """What is registered then is a new instance, and it is UP."""
    view = service_with(instance("s1", "i1", status="OUTOFSERVICE"))
    late = decision_of(view, instance_body(instance_id="i1", host_name="moved"))
    append(view, decide.unregister_instance(view, "s1", "i1", stamp()))
    append(view, late)  # type: ignore[arg-type]
    assert wire(view, "i1")["status"] == "UP"


@pytest.mark.parametrize("instance_id", ["i1", None], ids=["D1: by id", "D2: by endpoints"])
def test_registering_equal_content_again_changes_nothing(instance_id: str | None) -> None:
    """D1: no event, so no new rev and no new modTimestamp; the caller only renews the lease."""
    view = service_with()
    body = instance_body(instance_id=instance_id, endpoints=[REST], properties={"b": "2", "a": None})
    assert register(view, body, new_id="i1") == "i1"
    same = instance_body(instance_id=instance_id, endpoints=[REST], properties={"a": "", "b": "2"}, status="UP")
    assert decision_of(view, same) == Known("i1")


def test_the_default_health_check_asked_for_or_not_is_equal_content() -> None:
    """6.1: none means push, 30 s, 3 times; both are the same bytes, so the same rev."""
    explicit = HealthCheckBody(mode="push", interval=30, times=3)
    one, other = service_with(), service_with()
    register(one, instance_body(instance_id="i1"))
    register(other, instance_body(instance_id="i1", health_check=explicit))
    assert one.services["s1"].instances["i1"].body == other.services["s1"].instances["i1"].body
    assert wire(one, "i1")["healthCheck"] == {"mode": "push", "interval": 30, "times": 3}


@pytest.mark.parametrize(
    "again", [[REST, GRPC], [GRPC, REST], [REST, GRPC, REST]], ids=["equal", "other order", "repeated"]
)
def test_the_same_endpoints_keep_the_original_id(again: list[str]) -> None:
    """D2: a provider that restarts without an id of its own is the same instance, not a second one."""
    view = service_with()
    assert register(view, instance_body(endpoints=[REST, GRPC]), new_id="first") == "first"
    assert register(view, instance_body(endpoints=again, host_name="moved"), new_id="second") == "first"
    assert wire(view, "first")["hostName"] == "moved"
    assert view.instance_count == 1


@pytest.mark.parametrize("other", [[], [REST], [REST, GRPC, "x"], [REST.upper(), GRPC]])
def test_other_endpoints_are_another_instance(other: list[str]) -> None:
    """D2 compares the whole set, as text."""
    view = service_with()
    register(view, instance_body(endpoints=[REST, GRPC]), new_id="first")
    assert register(view, instance_body(endpoints=other), new_id="second") == "second"
    assert view.instance_count == 2


def test_instances_without_endpoints_never_are_the_same() -> None:
    """D2: a client that only consumes has no endpoints; all such clients are not one."""
    view = service_with()
    assert register(view, instance_body(), new_id="first") == "first"
    assert register(view, instance_body(), new_id="second") == "second"
    assert endpoints_key([]) == b""


def test_the_same_endpoints_of_another_service_are_another_instance() -> None:
    """D2: "of the same service"."""
    view = service_with(instance("s1", "i1", endpoints=[REST]))
    append(view, service_registered(microservice("s2", "till")))
    decision = decide.register_instance(view, "s2", instance_body(endpoints=[REST]), "new", Quotas(), stamp())
    assert isinstance(decision, InstanceRegistered)
    assert decision.instance.instance_id == "new"


def test_a_custom_id_wins_over_equal_endpoints() -> None:
    """D2 speaks of registrations without an id only."""
    view = service_with(instance("s1", "i1", endpoints=[REST]))
    assert register(view, instance_body(instance_id="i2", endpoints=[REST])) == "i2"
    assert view.instance_count == 2
    # One that then comes without an id is the oldest of them.
    assert register(view, instance_body(endpoints=[REST], host_name="x")) == "i1"


def test_endpoints_that_were_left_are_free_again() -> None:
    """D2 is about live instances: an address may be reused by another provider."""
    view = service_with(instance("s1", "i1", endpoints=[REST]))
    register(view, instance_body(instance_id="i1", endpoints=[GRPC]))
    assert register(view, instance_body(endpoints=[REST]), new_id="i2") == "i2"


def test_two_replicas_that_register_the_same_endpoints_at_once_come_to_one_instance() -> None:
    """D2 in a race: both decide on a view without the instance; the log's order says whose id it is."""
    view = service_with()
    body = instance_body(endpoints=[REST])
    decisions = [decide.register_instance(view, "s1", body, id, Quotas(), stamp()) for id in ("a", "b")]
    ids = []
    for decision in decisions:
        assert isinstance(decision, InstanceRegistered)
        ids.append(append(view, decision).id)
    assert ids == ["a", "a"]
    assert list(view.services["s1"].instances) == ["a"]


def test_path_wins_over_the_service_id_of_the_body() -> None:
    """D9: else a client could register into a service that it was not allowed to name."""
    view = service_with()
    body = instance_body(instance_id="i1")
    body.service_id = "s2"
    register(view, body)
    assert wire(view, "i1")["serviceId"] == "s1"


@pytest.mark.parametrize(
    ("body", "error"), [(None, InvalidParams), (instance_body(host_name=None), InvalidParams)], ids=["none", "no host"]
)
def test_an_instance_without_content_or_host_is_refused(body: InstanceBody | None, error: type[RegistryError]) -> None:
    """api-rules.md 3.5: `instance` and `hostName` are required (400001)."""
    with pytest.raises(error):
        decide.register_instance(service_with(), "s1", body, "new", Quotas(), stamp())


def test_an_instance_of_an_unknown_service_is_refused() -> None:
    """api-rules.md 3.5: 400012 makes the client register the service first."""
    with pytest.raises(ServiceNotExists):
        decide.register_instance(service_with(), "s9", instance_body(), "new", Quotas(), stamp())


def test_at_the_quota_what_exists_may_still_register() -> None:
    """D11: a full registry must not lock out the instances that fill it."""
    view = service_with(instance("s1", "i1", endpoints=[REST]))
    full = Quotas(services=1, instances=1)
    for body in (instance_body(instance_id="i1", host_name="x"), instance_body(endpoints=[REST], host_name="y")):
        assert isinstance(decide.register_instance(view, "s1", body, "new", full, stamp()), InstanceRegistered)
    with pytest.raises(NotEnoughQuota):
        decide.register_instance(view, "s1", instance_body(), "new", full, stamp())
    assert decide.register_service(
        view, microservice_body("cart", app_id="shop", version="1.0.0"), full, stamp()
    ) == Known("s1")
    with pytest.raises(NotEnoughQuota):
        decide.register_service(view, microservice_body("till", app_id="shop"), full, stamp())


# -- leases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "stored", "ttl_s"),
    [
        (None, HealthCheck("push", 0, 30, 3), 120),
        (HealthCheckBody(mode="push", interval=30, times=3), HealthCheck("push", 0, 30, 3), 120),
        (HealthCheckBody(mode="push", interval=1, times=0), HealthCheck("push", 0, 5, 0), 5),
        (HealthCheckBody(mode="push", interval=4, times=2), HealthCheck("push", 0, 5, 2), 15),
        (HealthCheckBody(mode="push", interval=5, times=1), HealthCheck("push", 0, 5, 1), 10),
        (HealthCheckBody(mode="push", interval=10), HealthCheck("push", 0, 10, 3), 40),
        (HealthCheckBody(mode="push", times=0), HealthCheck("push", 0, 30, 0), 30),
        (HealthCheckBody(mode="push"), HealthCheck("push", 0, 30, 3), 120),
        (HealthCheckBody("pull", 8080, 7, 9, "/health"), HealthCheck("pull", 8080, 30, 3, "/health"), 120),
        (HealthCheckBody(mode="push", interval=2**31 - 1, times=2**31 - 1), None, 2**31 - 1),
    ],
)
def test_the_lease_is_interval_times_times_plus_one(
    sent: HealthCheckBody | None, stored: HealthCheck | None, ttl_s: int
) -> None:
    """A short interval is raised to 5, times kept, also 0; absent is 30 and 3; pull is 30 x 4; all is capped."""
    view = service_with()
    register(view, instance_body(instance_id="i1", health_check=sent))
    row = view.services["s1"].instances["i1"]
    assert row.ttl_ms == ttl_s * 1000
    if stored is not None:
        shown = {"port": 0, "times": 0, "url": ""} | wire(view, "i1")["healthCheck"]
        assert shown == {
            "mode": stored.mode,
            "port": stored.port,
            "interval": stored.interval,
            "times": stored.times,
            "url": stored.url,
        }


@pytest.mark.parametrize("sent", [HealthCheckBody(), HealthCheckBody(mode=""), HealthCheckBody(interval=5, times=1)])
def test_a_health_check_without_mode_is_refused(sent: HealthCheckBody) -> None:
    """api-rules.md 6.1: 400001."""
    with pytest.raises(InvalidParams):
        register(service_with(), instance_body(health_check=sent))


# -- edits and removals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING"])
def test_the_five_statuses_may_be_set(status: str) -> None:
    """D8."""
    view = service_with(instance("s1", "i1", status=""))
    event = decide.set_instance_status(view, "s1", "i1", status, stamp(AT_MS + 5_000))
    assert isinstance(event, InstanceStatusSet)
    append(view, event)
    assert wire(view, "i1")["status"] == status
    assert wire(view, "i1")["modTimestamp"] == str(AT_MS // 1000 + 5)
    assert decide.set_instance_status(view, "s1", "i1", status, stamp()) == Known("i1")


@pytest.mark.parametrize("status", ["", "up", "SLEEPING"])
def test_no_other_status_may_be_set(status: str) -> None:
    """api-rules.md 3.7: 400001, before anybody looks for the instance."""
    with pytest.raises(InvalidParams):
        decide.set_instance_status(service_with(), "s1", "i9", status, stamp())


def test_writes_about_an_unknown_instance_or_service_are_refused_alike() -> None:
    """api-rules.md 3.7: 400017 in both cases; clients register again on it."""
    view = service_with()
    for service_id in ("s1", "s9"):
        with pytest.raises(InstanceNotExists):
            decide.set_instance_status(view, service_id, "i9", "UP", stamp())
        with pytest.raises(InstanceNotExists):
            decide.set_instance_properties(view, service_id, "i9", {}, Quotas(), stamp())
        with pytest.raises(InstanceNotExists):
            decide.unregister_instance(view, service_id, "i9", stamp())


def test_properties_are_replaced_and_nulls_are_empty() -> None:
    """api-rules.md 3.7: missing means cleared; java clients write out nulls."""
    assert to_properties({"b": None, "a": "1"}) == {"a": "1", "b": ""}
    assert list(to_properties({"b": "", "a": ""})) == ["a", "b"]
    assert to_properties(None) == {}


def test_a_service_with_instances_is_deleted_only_by_force() -> None:
    """api-rules.md 3.2: 400013."""
    view = service_with(instance("s1", "i1"))
    with pytest.raises(DeployedInstance):
        decide.unregister_service(view, "s1", False, stamp())
    outcome = append(view, decide.unregister_service(view, "s1", True, stamp()))
    assert [(change.action, change.row.instance_id) for change in outcome.changes] == [("DELETE", "i1")]
    assert (view.services, view.groups, view.ids, view.instance_count) == ({}, {}, {}, 0)


# -- expiry ------------------------------------------------------------------------------------------------------------


def lapse(view: RegistryView, registered: str) -> Outcome:
    event = InstanceExpired(service_id="s1", instance_id="i1", registered=registered, **stamp()._asdict())
    return append(view, event)


def test_a_lapse_removes_the_registration_that_it_names() -> None:
    """api-rules.md 6.2: removed exactly as by deregistration; watchers get DELETE with the last content."""
    view = service_with(instance("s1", "i1", endpoints=[REST]))
    (change,) = lapse(view, view.position.text()).changes
    assert (change.action, json.loads(change.row.body)["endpoints"]) == ("DELETE", [REST])
    assert (view.instance_count, view.services["s1"].by_endpoints) == (0, {})


def test_a_lapse_of_an_earlier_registration_is_void() -> None:
    """design.md 2-6: the provider came back before the event was appended; it must not vanish."""
    view = service_with(instance("s1", "i1"))
    earlier = view.position.text()
    register(view, instance_body(instance_id="i1", host_name="again"))
    assert isinstance(lapse(view, earlier).error, InstanceNotExists)
    assert wire(view, "i1")["hostName"] == "again"
    assert lapse(view, "").error is not None
    assert lapse(view, "1-1").error is not None


def test_an_edit_is_no_registration() -> None:
    """api-rules.md 3.7: setting the status does not renew; a lapse that was under way still counts."""
    view = service_with(instance("s1", "i1"))
    registered = view.position.text()
    event = decide.set_instance_status(view, "s1", "i1", "DOWN", stamp())
    assert isinstance(event, InstanceStatusSet)
    append(view, event)
    assert lapse(view, registered).error is None
    assert view.instance_count == 0


def test_a_second_lapse_of_the_same_registration_is_void() -> None:
    """Two replicas may both have appended it: watchers are told once."""
    view = service_with(instance("s1", "i1"))
    registered = view.position.text()
    assert lapse(view, registered).error is None
    assert isinstance(lapse(view, registered).error, InstanceNotExists)
    assert view.instance_count == 0


# -- services ----------------------------------------------------------------------------------------------------------


def register_service(view: RegistryView, body: MicroserviceBody) -> str | int:
    """The id answered, or the error's code."""
    try:
        decision = decide.register_service(view, body, Quotas(), stamp())
    except RegistryError as error:
        return error.code
    if isinstance(decision, Known):
        return decision.id
    outcome: Outcome = append(view, decision)
    assert outcome.error is None
    return outcome.id


def test_a_service_whose_client_names_no_id_gets_the_references_id() -> None:
    """api-rules.md 3.2: the example there; so a client that moves here finds its service under the id it knows."""
    expected = "8ef9d644842988a427357b8f4488ea0d0b2b5e77"
    assert generated_service_id(DEFAULT_TENANT, "", "default", "calculator", "0.0.1") == expected
    assert register_service(view_of(), microservice_body("calculator")) == expected
    assert generated_service_id(Tenant("default", "other"), "", "default", "calculator", "0.0.1") != expected


def test_a_service_is_filled_in_with_the_defaults() -> None:
    """api-rules.md 3.2, column Default."""
    decision = decide.register_service(view_of(), microservice_body("cart"), Quotas(), stamp())
    assert isinstance(decision, ServiceRegistered)
    service = decision.service
    assert (service.app_id, service.version, service.environment) == ("default", "0.0.1", "")
    assert (service.level, service.status, decision.chosen) == ("BACK", "UP", False)


#: api-rules.md 3.2, table "Identity and idempotency": what is there is s1 = shop/cart/1.0.0, alias basket.
IDENTITIES: list[tuple[dict[str, str], str | int]] = [
    ({"service_name": "till", "service_id": "s2"}, "s2"),
    ({"service_name": "cart"}, "s1"),
    ({"service_name": "cart", "service_id": "s1"}, "s1"),
    ({"service_name": "cart", "service_id": "s2"}, 400010),
    ({"service_name": "till", "alias": "basket"}, "s1"),
    ({"service_name": "till", "alias": "basket", "service_id": "s1"}, "s1"),
    ({"service_name": "till", "alias": "basket", "service_id": "s2"}, 400010),
    ({"service_name": "till", "service_id": "s1"}, 400010),
    ({"service_name": "cart", "version": "1.0", "service_id": "s2"}, "s2"),
    ({"service_name": "cart", "environment": "production", "service_id": "s2"}, "s2"),
    ({"service_name": "cart", "app_id": "desk", "service_id": "s2"}, "s2"),
    ({"service_name": "till", "alias": "basket", "version": "2.0.0", "service_id": "s2"}, "s2"),
]


@pytest.mark.parametrize(("body", "answer"), IDENTITIES)
def test_a_service_is_known_by_its_name_or_alias_in_its_version(body: dict[str, str], answer: str | int) -> None:
    """Registration is idempotent: clients repeat it at every start."""
    view = service_with(service=microservice("s1", "cart", alias="basket"))
    members = {"app_id": "shop", "version": "1.0.0"} | body
    assert register_service(view, microservice_body(members.pop("service_name"), **members)) == answer


def test_registering_a_known_service_updates_nothing() -> None:
    """api-rules.md 3.2: properties of the second registration are ignored."""
    view = service_with()
    before = view.services["s1"].body
    register_service(view, microservice_body("cart", app_id="shop", version="1.0.0", properties={"new": "1"}))
    assert view.services["s1"].body == before


def test_two_replicas_that_register_the_same_service_at_once_come_to_one_id() -> None:
    """The loser of the race is answered with the winner's id, or refused when it insists on its own."""
    view = view_of()
    body = microservice_body("cart")
    first, second = (decide.register_service(view, body, Quotas(), stamp()) for _ in range(2))
    insisting = decide.register_service(view, microservice_body("cart", service_id="mine"), Quotas(), stamp())
    assert isinstance(first, ServiceRegistered)
    assert isinstance(second, ServiceRegistered)
    assert isinstance(insisting, ServiceRegistered)
    winner = append(view, first)
    assert append(view, second).id == winner.id
    assert isinstance(append(view, insisting).error, ServiceAlreadyExists)
    assert len(view.services) == 1


def test_an_instance_registered_into_a_service_that_was_just_deleted_is_refused() -> None:
    """The log's order decides: the client is told 400012 and registers its service again."""
    view = service_with()
    late = instance_registered(instance("s1", "i1"))
    append(view, decide.unregister_service(view, "s1", False, stamp()))
    assert isinstance(append(view, late).error, ServiceNotExists)
    assert view.instance_count == 0
