"""The mirror at a registry that behaves as the reference does where ours differs (api-rules.md 3.5, 3.7)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from registry.client import AsyncRegistry
from registry.client.errors import Refused
from registry.domain.model import Instance
from registry.remote import side
from registry.remote.following import Change
from registry.remote.mirror import Follower, Mirror
from registry.remote.mirroring import Beat, Put
from registry.remote.moving import MARK, Key, SetTags, marked
from registry.remote.reaching import IN_FLIGHT
from registry.remote.side import Side
from tests.client.gate import Answer, Gate, Reply, Request
from tests.support.api import Api, ok
from tests.support.replica import Replica
from tests.support.waiting import until

pytestmark = pytest.mark.slow

KEY = Key("", "shop", "cart", "1.0.0")
ORIGINAL = Instance("i", host_name="h", endpoints=["rest://a:1"], status="UP", properties={"p": "q"})


def as_the_reference_does(api: Api, service_id: str) -> Callable[[Request], Answer]:
    """An instance that lives stays as it is when it is registered again; one unknown heartbeat refuses all."""

    def answer(request: Request) -> Answer:
        if request.method == "POST" and request.path.endswith("/instances"):
            instance_id = json.loads(request.body)["instance"]["instanceId"]
            if api.get(f"/microservices/{service_id}/instances/{instance_id}").status == 200:
                return Reply(200, json.dumps({"instanceId": instance_id}).encode())
        if request.path.endswith("/heartbeats"):
            return Reply(400, b'{"errorCode":"400017","errorMessage":"Instance does not exist"}')
        return None

    return answer


async def test_changes_reach_a_registry_that_does_not_overwrite(registry: Replica, api: Api, tenant: str) -> None:
    service_id = api.service(version="1.0.0")
    async with Gate(registry.port) as gate, AsyncRegistry(gate.url, tenant=tenant, learn=False) as client:
        gate.answer = as_the_reference_does(api, service_id)
        side = Side(client.api, gate.url)
        await side.look()
        await side.take(Put((KEY, "i"), marked(ORIGINAL, "old")), side)
        assert api.read_instance(service_id, "i")["endpoints"] == ["rest://a:1"]

        changed = Instance("i", host_name="h", endpoints=["rest://a:1"], status="DOWN", properties={"p": "r"})
        await side.take(Put((KEY, "i"), marked(changed, "old"), True), side)
        stored = api.read_instance(service_id, "i")
        assert (stored["status"], stored["properties"]) == ("DOWN", {"p": "r", MARK: "old"})
        assert not gate.seen("DELETE", "/i")

        moved = Instance("i", host_name="h", endpoints=["rest://b:1"], status="DOWN", properties={"p": "r"})
        await side.take(Put((KEY, "i"), marked(moved, "old"), True), side)
        assert api.read_instance(service_id, "i")["endpoints"] == ["rest://b:1"]
        assert len(gate.seen("DELETE", "/i")) == 1


async def test_a_client_that_has_come_itself_is_not_overwritten(registry: Replica, api: Api, tenant: str) -> None:
    """It came after the mirror had looked."""
    service_id = api.service(version="1.0.0")
    api.instance(service_id, instanceId="i", endpoints=["rest://own:1"])
    async with AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False) as client:
        side = Side(client.api, "new")
        await side.look()
        await side.take(Put((KEY, "i"), marked(ORIGINAL, "old"), True), side)
        assert api.read_instance(service_id, "i")["endpoints"] == ["rest://own:1"]


async def test_copies_come_side_by_side_and_services_before_them(registry: Replica, api: Api, tenant: str) -> None:
    """A mirror that has much to bring does not do it one after the other, and not all at once."""
    number = 2 * IN_FLIGHT
    for name in range(number):
        api.instance(api.service(name=f"s{name}"), instanceId=f"i{name}")
    here = AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False)
    async with Gate(registry.port) as gate, here, AsyncRegistry(gate.url, tenant=f"{tenant}-b", learn=False) as there:
        gate.answer = lambda request: "hang" if is_registration(request) else None
        sides = Side(here.api, "old"), Side(there.api, "new")
        await asyncio.gather(*(side.look() for side in sides))
        mirror = Mirror(*sides)
        bringing = asyncio.create_task(mirror.tick())
        await until(lambda: said(len(gate.seen("POST", "/instances")) == IN_FLIGHT), "as many as may come at once")
        assert len(gate.seen("POST", "/microservices")) == number
        bringing.cancel()
        await asyncio.wait([bringing])
        gate.answer = lambda request: None
        await mirror.tick()
        assert len((await sides[1].see()).instances) == number


def is_registration(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith("/instances")


async def said(condition: bool) -> bool:
    return condition


async def test_heartbeats_are_sent_one_by_one_where_one_refuses_all(registry: Replica, api: Api, tenant: str) -> None:
    service_id = api.service(version="1.0.0")
    api.instance(service_id, instanceId="i")
    async with Gate(registry.port) as gate, AsyncRegistry(gate.url, tenant=tenant, learn=False) as client:
        gate.answer = as_the_reference_does(api, service_id)
        side = Side(client.api, gate.url)
        await side.look()
        await side.take(Beat(((KEY, "gone"), (KEY, "i"))), side)
        assert {request.path.split("/")[-2] for request in gate.seen("PUT", "/heartbeat")} == {"gone", "i"}


async def test_schemas_follow_with_their_removal(
    registry: Replica, other: Replica, api: Api, new: Api, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "SERVICES_S", 0.0)
    monkeypatch.setattr(side, "SCHEMAS_S", 0.0)
    monkeypatch.setattr(side, "SETTLED_S", 0.0)
    old_id, new_id = api.service(version="1.0.0", serviceId="a"), new.service(version="1.0.0", serviceId="b")
    for name in ("hello", "bye"):
        ok(api.put(f"/microservices/{old_id}/schemas/{name}", {"schema": "1"}))
    async with contextlib.AsyncExitStack() as stack:
        here, there = [
            Side((await stack.enter_async_context(AsyncRegistry(url, tenant=tenant, learn=False))).api, url)
            for url in (f"127.0.0.1:{registry.port}", f"127.0.0.1:{other.port}")
        ]
        follower = Follower(here, there, both=True)

        async def tick() -> None:
            await asyncio.gather(here.look(), there.look())
            await follower.tick()

        await tick()
        assert new.get(f"/microservices/{new_id}/schemas/hello").status == 400, "it was there before"
        ok(api.put(f"/microservices/{old_id}/schemas/hello", {"schema": "2", "summary": "abc"}))
        ok(api.delete(f"/microservices/{old_id}/schemas/bye"))
        ok(new.put(f"/microservices/{new_id}/schemas/other", {"schema": "3"}))
        await tick()
        assert ok(new.get(f"/microservices/{new_id}/schemas/hello")).json() == {"schema": "2"}
        assert ok(new.get(f"/microservices/{new_id}/schemas/hello")).header("X-Schema-Summary") == "abc"
        assert ok(api.get(f"/microservices/{old_id}/schemas/other")).json() == {"schema": "3"}
        ok(api.delete(f"/microservices/{old_id}/schemas/hello"))
        await tick()
        assert new.get(f"/microservices/{new_id}/schemas/hello").status == 400
        assert ok(new.get(f"/microservices/{new_id}/schemas/other")).json() == {"schema": "3"}


async def test_a_change_that_is_refused_is_tried_again_when_services_are_read_again(
    registry: Replica, other: Replica, api: Api, new: Api, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_id = api.service(version="1.0.0")
    new.service(version="1.0.0")
    async with (
        Gate(other.port) as gate,
        AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False) as source,
        AsyncRegistry(gate.url, tenant=tenant, learn=False) as target,
    ):
        forbidden = Reply(403, b'{"errorCode":"403001","errorMessage":"Forbidden"}')
        gate.answer = lambda request: forbidden if request.method == "POST" and "/tags" in request.path else None
        here, there = Side(source.api, "old"), Side(target.api, "new")
        follower = Follower(here, there, both=False)

        async def tick(services_s: float) -> int:
            monkeypatch.setattr(side, "SERVICES_S", services_s)
            await asyncio.gather(here.look(), there.look())
            await follower.tick()
            return len(gate.seen("POST", "/tags"))

        await tick(60.0)
        ok(api.post(f"/microservices/{old_id}/tags", {"tags": {"colour": "blue"}}))
        assert [await tick(services_s) for services_s in (60.0, 0.0, 60.0, 60.0, 0.0)] == [0, 1, 1, 1, 2]


async def test_services_are_read_seldom_and_their_schemas_more_seldom(
    registry: Replica, api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is new brings its schemas along: else they would seem to have changed."""
    service_id = api.service(version="1.0.0")
    ok(api.put(f"/microservices/{service_id}/schemas/hello", {"schema": "1"}))
    async with Gate(registry.port) as gate, AsyncRegistry(gate.url, tenant=tenant, learn=False) as client:
        one = Side(client.api, gate.url)
        for _ in range(3):
            await one.look()
        assert [request.target for request in gate.seen("GET", "/govern/microservices")] == [
            "/v4/default/govern/microservices?options=tags%2Cschemas&withShared=true"
        ]
        later = api.service("later", version="1.0.0")
        ok(api.put(f"/microservices/{later}/schemas/hello", {"schema": "1"}))
        monkeypatch.setattr(side, "SERVICES_S", 0.0)
        await one.look()
        assert one.seen is not None
        assert [set(held.schemas) for held in one.seen.services.values()] == [{"hello"}, {"hello"}]
        assert gate.seen("GET", "/govern/microservices")[1].target.endswith("?options=tags&withShared=true")
        assert [request.path.rpartition("/")[2] for request in gate.seen("GET", f"/{later}")] == [later]


async def test_schemas_that_are_too_much_for_one_answer_are_read_by_service(
    registry: Replica, api: Api, tenant: str
) -> None:
    service_id = api.service(version="1.0.0")
    ok(api.put(f"/microservices/{service_id}/schemas/hello", {"schema": "1"}))
    too_large = Reply(400, b'{"errorCode":"400001","errorMessage":"Invalid parameter(s)"}')
    async with Gate(registry.port) as gate, AsyncRegistry(gate.url, tenant=tenant, learn=False) as client:
        gate.answer = lambda request: too_large if "schemas" in request.target else None
        one = Side(client.api, gate.url)
        await one.look()
        assert one.seen is not None, one.problem
        assert one.seen.services[KEY].schemas["hello"].schema == "1"


async def test_what_was_just_changed_is_not_taken_for_a_change_by_a_registry_that_tells_the_old(
    registry: Replica, api: Api, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side, "SERVICES_S", 0.0)
    service_id = api.service(version="1.0.0")
    async with AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False) as client:
        one = Side(client.api, "new")
        await one.look()
        assert one.seen is not None
        after = replace(one.seen.services[KEY], tags={"colour": "blue"})
        await one.follow(KEY, Change((SetTags(KEY, {"colour": "blue"}),), after))
        ok(api.post(f"/microservices/{service_id}/tags", {"tags": {}}))
        await one.look()
        assert one.seen.services[KEY].tags == {"colour": "blue"}
        monkeypatch.setattr(side, "SETTLED_S", 0.0)
        await one.look()
        assert one.seen.services[KEY].tags == {}


async def test_a_refusal_is_told(registry: Replica, tenant: str) -> None:
    async with AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False) as client:
        side = Side(client.api, "new")
        await side.look()
        with pytest.raises(Refused) as refused:
            await side.take(Put((KEY, "i"), ORIGINAL), side)
        assert refused.value.code == 400012
