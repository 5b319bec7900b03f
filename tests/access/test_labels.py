"""Labels limit a right to some microservices: single calls, each element of a batch, and lists."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.access.people import Guest, Office, bearer, code, permission
from tests.support.api import ids, ok, wanted, wanted_instance
from tests.support.http import Response
from tests.support.replica import Replica
from tests.support.waiting import until_sync
from tests.support.websocket import WebSocket


@pytest.fixture(scope="module", params=["lane", "parser"])
def world(request: pytest.FixtureRequest, guarded: Replica, other: Replica, office: Office) -> World:
    return World(office, guarded if request.param == "lane" else other)


class World:
    """A tenant with microservices of two applications, and somebody who may do everything with those of `shop`."""

    def __init__(self, office: Office, replica: Replica) -> None:
        self.office, self.replica = office, replica
        self.domain = f"labels-{uuid.uuid4().hex[:8]}"
        self.all = Guest(replica.connect(), office.token, self.domain)
        for name, app in (("cart", "shop"), ("till", "shop"), ("vault", "bank")):
            self.all.service(name, appId=app, serviceId=name, alias=f"the-{name}", version="1.0.0")
            self.all.instance(name, instanceId=f"{name}-1", properties={"zone": "a"})
            ok(self.all.put(f"/microservices/{name}/schemas/x", {"schema": "{}"}))
        self.shop = self.guest(
            permission("service", "*", appId="shop"), permission("service/schema", "*", appId="shop")
        )

    def guest(self, *permissions: dict[str, Any]) -> Guest:
        token = self.office.person(self.office.role(*permissions))
        return Guest(self.replica.connect(), token, self.domain)


CALLS: list[tuple[str, str, Any]] = [
    ("GET", "/microservices/{id}", None),
    ("GET", "/microservices/{id}/instances", None),
    ("GET", "/microservices/{id}/instances/{id}-1", None),
    ("PUT", "/microservices/{id}/instances/{id}-1/heartbeat", None),
    ("PUT", "/microservices/{id}/instances/{id}-1/status?value=UP", None),
    ("PUT", "/microservices/{id}/instances/{id}-1/properties", {"properties": {"zone": "a"}}),
    ("PUT", "/microservices/{id}/properties", {"properties": {"a": "b"}}),
    ("POST", "/microservices/{id}/tags", {"tags": {"a": "b"}}),
    ("GET", "/microservices/{id}/tags", None),
    ("PUT", "/microservices/{id}/schemas/x", {"schema": "{}"}),
    ("GET", "/microservices/{id}/schemas/x", None),
    ("GET", "/microservices/{id}/schemas", None),
    ("GET", "/microservices/{id}/providers", None),
    ("GET", "/existence?type=schema&serviceId={id}&schemaId=x", None),
    ("POST", "/microservices/{id}/instances", {"instance": {"hostName": "h", "instanceId": "{id}-2"}}),
    ("DELETE", "/microservices/{id}/instances/{id}-2", None),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]} {call[1].partition('?')[0]}")
def test_a_single_call_is_for_microservices_with_the_labels(world: World, call: tuple[str, str, Any]) -> None:
    method, path, body = call

    def ask(id: str) -> int:
        told = None if body is None else json.dumps(body).replace("{id}", id).encode()
        return code(world.shop.call(method, path.replace("{id}", id), told))

    assert ask("cart") in (0, 400017), "the instance that is deleted may be gone"
    assert ask("vault") == 403205
    assert ask("nothing") in (400012, 400017), "what is not there is told as always"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]} {call[1].partition('?')[0]}")
def test_the_past_is_no_way_round_the_labels(world: World, call: tuple[str, str, Any]) -> None:
    """What can be asked of another time is compared there; what cannot, such as a write, is compared as always."""
    method, path, body = call
    path = path.replace("{id}", "vault")
    position = world.all.get("/microservices/vault").position
    for moment in ("0", position, "junk"):
        told = None if body is None else json.dumps(body).replace("{id}", "vault").encode()
        response = world.shop.call(method, f"{path}{'&' if '?' in path else '?'}asOf={moment}", told)
        assert response.status >= 400, (moment, response)
        assert (code(response) == 403205) or method == "GET"


def test_a_find_is_for_microservices_with_the_labels(world: World) -> None:
    assert ids(world.shop.find("cart")) == ["cart-1"]
    assert code(world.shop.find("vault", "bank")) == 403205
    assert code(world.shop.find("ghost", "bank")) == 403205, "also whether it is there is not said"
    assert code(world.shop.find("ghost", "shop")) == 400012
    assert ids(world.shop.find("the-cart")) == ["cart-1"]
    assert code(world.shop.get("/existence?type=microservice&appId=shop&serviceName=cart&version=1.0.0")) == 0
    assert code(world.shop.get("/existence?type=microservice&appId=bank&serviceName=vault&version=1.0.0")) == 403205


def test_an_alias_is_no_way_round_the_labels(world: World) -> None:
    """`trick` is covered by its name, and leads to a microservice that is not."""
    world.all.service("secret", appId="shop", serviceId="secret", alias="trick", version="1.0.0")
    world.all.instance("secret", instanceId="secret-1")
    guest = world.guest(permission("service", "*", serviceName="trick"))
    assert code(guest.find("trick")) == 403205
    assert code(guest.get("/existence?type=microservice&appId=shop&serviceName=trick&version=1.0.0")) == 403205
    batch = ok(guest.batch([wanted("trick")])).json()["services"]
    assert batch["failed"][0]["error"]["errorCode"] == "403205"
    body = {"service": {"appId": "shop", "serviceName": "trick", "alias": "trick", "version": "1.0.0"}}
    inline = {**body, "instances": [{"hostName": "h", "instanceId": "smuggled"}], "tags": {"smuggled": "yes"}}
    assert code(guest.post("/microservices", inline)) == 403205
    assert ids(world.all.instances_of("secret")) == ["secret-1"]
    assert ok(world.all.get("/microservices/secret/tags")).json() == {}


def test_a_batch_find_answers_the_elements_that_are_allowed(world: World) -> None:
    services = [wanted("cart"), wanted("vault", "bank"), wanted("ghost"), wanted("till"), wanted("*")]
    instances = [wanted_instance(*pair) for pair in (("cart", "cart-1"), ("vault", "vault-1"), ("ghost", "ghost-1"))]
    for _ in range(2):
        answer = ok(world.shop.batch(services, instances)).json()
        assert [one["index"] for one in answer["services"]["updated"]] == [0, 3, 4]
        assert failures(answer["services"]) == {"403205": [1], "400012": [2]}
        assert [one["index"] for one in answer["instances"]["updated"]] == [0]
        assert failures(answer["instances"]) == {"403205": [1], "400012": [2]} | {}
    everything = ok(world.shop.batch([wanted("*", "")])).json()["services"]
    assert failures(everything) == {"403205": [0]}


def failures(result: Any) -> dict[str, list[int]]:
    return {failed["error"]["errorCode"]: failed["indexes"] for failed in result.get("failed", [])}


def test_a_heartbeat_set_renews_the_elements_that_are_allowed(world: World) -> None:
    pairs = [("cart", "cart-1"), ("vault", "vault-1"), ("ghost", "ghost-1")]
    body = {"instances": [{"serviceId": s, "instanceId": i} for s, i in pairs]}
    elements = ok(world.shop.put("/heartbeats", body)).json()["instances"]
    assert [(one["serviceId"], one.get("errMessage", "").partition("(")[0]) for one in elements] == [
        *(("cart", ""), ("vault", "No permission"), ("ghost", "Instance does not exist")),
    ]


def test_a_heartbeat_set_leaves_the_leases_of_others_alone(world: World) -> None:
    def left(id: str) -> int:
        return int(own(world, world.all.token, f"/leases/{id}/{id}-1").json()["leftMs"])

    until_sync(lambda: max(left("cart"), left("vault")) < 120_000 - 300, "both to have lost something of their leases")
    body = {"instances": [{"serviceId": id, "instanceId": f"{id}-1"} for id in ("cart", "vault")]}
    ok(world.shop.put("/heartbeats", body))
    assert left("cart") > 120_000 - 300 > left("vault")


def own(world: World, token: str, path: str) -> Response:
    """One of the registry's own reads, below /v1."""
    headers = {"X-Domain-Name": world.domain, "Authorization": f"Bearer {token}"}
    return world.all.connection.request("GET", f"/v1/default{path}", None, headers)


@pytest.mark.parametrize(
    "path", ["/leases/{id}/{id}-1", "/schemas/{id}/x", "/find/explain?appId={app}&serviceName={id}"]
)
def test_the_registrys_own_reads_are_for_microservices_with_the_labels(world: World, path: str) -> None:
    def ask(id: str, app: str) -> int:
        return code(own(world, world.shop.token, path.replace("{id}", id).replace("{app}", app)))

    assert ask("cart", "shop") == 0
    assert ask("vault", "bank") == 403205


@pytest.mark.parametrize(
    "path",
    ["/catalog", "/instances?text=-1", "/history?limit=1000", "/history/churn?byService=true", "/history/diff?from=0"],
)
def test_the_registrys_own_lists_hold_what_is_allowed(world: World, path: str) -> None:
    everything = own(world, world.all.token, path).body.decode()
    allowed = own(world, world.shop.token, path)
    assert allowed.status < 400 or allowed.status == 410, allowed
    if allowed.status < 400:
        assert "vault" in everything
        assert "cart" in allowed.body.decode()
    assert "vault" not in allowed.body.decode()


@pytest.mark.parametrize("follows", [False, True], ids=["history", "feed"])
def test_the_past_names_the_providers_that_are_allowed(world: World, follows: bool) -> None:
    """An event about a consumer says what it has found, which need not be within reach."""
    own_world = World(world.office, world.replica)
    consumer = {"appId": "shop", "serviceName": "cart", "version": "1.0.0"}
    providers = [{"appId": "shop", "serviceName": "till"}, {"appId": "bank", "serviceName": "vault"}]
    before = ok(own_world.all.get("/microservices")).position
    for method in ("POST", "PUT"):
        told = {"dependencies": [{"consumer": consumer, "providers": providers}]}
        ok(own_world.all.call(method, "/dependencies", told))
    path = (
        f"/events?wait=5s&after={before}" if follows else "/history?kind=dependencies-added&kind=dependencies-replaced"
    )
    for guest, names in ((own_world.all, {"till", "vault"}), (own_world.shop, {"till"})):
        answer = own(own_world, guest.token, path)
        assert answer.status == 200, answer
        events = json.loads(answer.body)["events"]
        assert len(events) == 2
        assert {name for name in ("till", "vault") if name in json.dumps(events)} == names


def test_a_watch_tells_of_microservices_with_the_labels(world: World) -> None:
    """The consumer is within reach; what it has found, by whomever, need not be."""
    own = World(world.office, world.replica)
    ok(own.all.put("/microservices/vault/properties", {"properties": {"allowCrossApp": "true"}}))
    for name, app in (("vault", "bank"), ("till", "shop")):
        ok(own.all.find(name, app, consumer="cart"))

    def watch(guest: Guest) -> WebSocket:
        headers = {**bearer(guest.token), "X-Domain-Name": own.domain}
        path = "/v4/default/registry/microservices/cart/watcher"
        return WebSocket((own.replica.host, own.replica.port), path, headers)

    with watch(own.shop) as limited, watch(own.all) as whole:
        for name in ("vault", "till"):
            ok(own.all.put(f"/microservices/{name}/instances/{name}-1/status?value=DOWN"))
        told = [limited.next_event()["key"]["serviceName"], *(whole.next_event()["key"]["serviceName"] for _ in "12")]
        assert told == ["till", "vault", "till"]


def test_a_bulk_status_change_reaches_what_is_allowed(world: World) -> None:
    ok(world.shop.put("/instances/status", {"matches": {"properties": {"zone": "a"}}, "status": "DOWN"}))
    assert world.all.read_instance("vault", "vault-1")["status"] == "UP"
    assert world.all.read_instance("till", "till-1")["status"] == "DOWN"


def test_bulk_deletion_deletes_what_is_allowed(world: World) -> None:
    world.all.service("old", serviceId="old", version="1.0.0")
    body = {"serviceIds": ["old", "vault", "ghost"], "force": True}
    elements = ok(world.shop.call("DELETE", "/microservices", body)).json()["services"]
    told = {one["serviceId"]: one.get("errMessage", "").partition("(")[0] for one in elements}
    assert told == {"old": "", "vault": "No permission", "ghost": "Micro-service does not exist"}
    assert world.all.read_service("vault")["serviceId"] == "vault"


def test_registering_is_for_names_with_the_labels(world: World) -> None:
    assert code(world.shop.post("/microservices", {"service": {"appId": "bank", "serviceName": "new"}})) == 403205
    service_id = world.shop.service("new")
    assert world.all.read_service(service_id)["appId"] == "shop"


def test_dependencies_are_for_consumers_with_the_labels(world: World) -> None:
    def body(app: str, name: str) -> Any:
        consumer = {"appId": app, "serviceName": name, "version": "1.0.0"}
        return {"consumer": consumer, "providers": [{"appId": "shop", "serviceName": "till", "version": "1.0.0"}]}

    both = {"dependencies": [body("shop", "cart"), body("bank", "vault")]}
    for method in ("POST", "PUT"):
        assert code(world.shop.call(method, "/dependencies", both)) == 403205
        assert code(world.shop.call(method, "/dependencies", {"dependencies": [body("shop", "cart")]})) == 0


def test_what_a_consumer_finds_is_recorded_by_those_who_may_write_its_dependencies(world: World) -> None:
    """A find is a read: it must not let a reader change a microservice of somebody else's."""
    world.all.service("buyer", serviceId="buyer")
    read, write = (permission("service", *verbs) for verbs in (("get",), ("get", "create")))
    own, others = ({"serviceName": "buyer"}, {"serviceName": "cart"})

    def limited(granted: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
        return permission("service", *granted["verbs"], **labels)

    def recorded() -> int:
        return len(ok(world.all.get("/microservices/buyer/providers")).json().get("providers", []))

    for permissions, counts in (
        ([limited(read, others)], 0),
        ([limited(read, others), limited(read, own)], 0),
        ([limited(write, others)], 0),
        ([read], 0),
        ([read, limited(write, own)], 1),
        ([limited(read, others), limited(write, own)], 1),
    ):
        guest = world.guest(*permissions)
        for _ in range(2):
            assert ids(guest.find("cart", consumer="buyer")) == ["cart-1"]
            assert recorded() == counts, permissions
        ok(world.all.put("/dependencies", {"dependencies": [{"consumer": BUYER, "providers": []}]}))
        for _ in range(2):
            answer = ok(guest.batch([wanted("cart")], consumer="buyer")).json()["services"]
            assert [one["index"] for one in answer["updated"]] == [0]
            assert recorded() == counts, permissions
        ok(world.all.put("/dependencies", {"dependencies": [{"consumer": BUYER, "providers": []}]}))


BUYER = {"appId": "shop", "serviceName": "buyer", "version": "0.0.1"}


def test_lists_hold_what_is_allowed(world: World) -> None:
    def names(services: list[Any]) -> set[str]:
        return {service["serviceName"] for service in services}

    listed = names(ok(world.shop.get("/microservices")).json()["services"])
    assert {"cart", "till"} <= listed
    assert "vault" not in listed
    details = govern(world, "/microservices?options=all")
    assert "vault" not in {service["microService"]["serviceName"] for service in details["allServicesDetail"]}
    assert details["statistics"]["apps"]["count"] == 1
    assert govern(world, "/apps")["appIds"] == ["shop"]
    assert govern(world, "/statistics")["statistics"]["apps"]["count"] == 1
    assert "vault" not in {node["name"] for node in govern(world, "/relations")["nodes"]}
    consumers = ok(world.shop.get("/microservices/till/consumers")).json().get("consumers", [])
    assert "vault" not in names(consumers)


def test_who_is_related_is_told_as_far_as_it_is_allowed(world: World) -> None:
    """By every way that names consumers and providers; those that one may see are there."""

    def found(consumer: tuple[str, str], *names: tuple[str, str]) -> Any:
        one, *others = ({"appId": app, "serviceName": name, "version": "1.0.0"} for app, name in (consumer, *names))
        return {"consumer": one, "providers": others}

    both = [found(("shop", "cart"), ("shop", "till"), ("bank", "vault")), found(("bank", "vault"), ("shop", "cart"))]
    ok(world.all.put("/dependencies", {"dependencies": [*both, found(("shop", "till"), ("shop", "cart"))]}))
    for path in ("/microservices/cart", "/microservices?options=dependencies&serviceName=cart"):
        for who, expected in ((world.all, {"till", "vault"}), (world.shop, {"till"})):
            answer = govern(world, path, who.token)
            told = answer["service"] if "service" in answer else answer["allServicesDetail"][0]
            for member in ("providers", "consumers"):
                assert {one["serviceName"] for one in told[member]} == expected, (path, member)
    for member in ("providers", "consumers"):
        told = ok(world.shop.get(f"/microservices/cart/{member}")).json()[member]
        assert {one["serviceName"] for one in told} == {"till"}
    lines = govern(world, "/relations")["lines"]
    assert {(line["from"]["name"], line["to"]["name"]) for line in lines} == {("cart", "till"), ("till", "cart")}


def govern(world: World, path: str, token: str = "") -> Any:
    headers = {"X-Domain-Name": world.domain, "Authorization": f"Bearer {token or world.shop.token}"}
    return ok(world.shop.connection.request("GET", f"/v4/default/govern{path}", None, headers)).json()


@pytest.mark.parametrize(
    ("labels", "reached"),
    [
        ({"serviceName": "cart"}, {"cart"}),
        ({"serviceName": "*t"}, {"cart", "vault"}),
        ({"serviceName": "c*t"}, {"cart"}),
        ({"serviceName": "*"}, {"cart", "till", "vault"}),
        ({"environment": ""}, {"cart", "till", "vault"}),
        ({"environment": "production"}, set()),
        ({"appId": "shop", "serviceName": "till"}, {"till"}),
        ({"appId": "bank", "serviceName": "till"}, set()),
    ],
)
def test_every_label_has_to_be_held(world: World, labels: dict[str, str], reached: set[str]) -> None:
    guest = world.guest(permission("service", "get", **labels))
    for name, app in (("cart", "shop"), ("till", "shop"), ("vault", "bank")):
        expected = 0 if name in reached else 403205
        assert code(guest.find(name, app)) == expected, name
        assert code(guest.get(f"/microservices/{name}")) == expected, name


def test_a_second_permission_adds_to_the_first(world: World) -> None:
    guest = world.guest(permission("service", "get", serviceName="cart"), permission("service", "get", appId="bank"))
    assert [code(guest.find(*who)) for who in (("cart", "shop"), ("vault", "bank"), ("till", "shop"))] == [0, 0, 403205]
