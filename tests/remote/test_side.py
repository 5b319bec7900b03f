"""The mirror at a registry that behaves as the reference does where ours differs (api-rules.md 3.5, 3.7)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from registry.client import AsyncRegistry
from registry.client.errors import Refused
from registry.domain.model import Instance
from registry.remote.mirroring import Beat, Put
from registry.remote.moving import MARK, Key, marked
from registry.remote.side import Side
from tests.client.gate import Answer, Gate, Reply, Request
from tests.support.api import Api
from tests.support.replica import Replica

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


async def test_heartbeats_are_sent_one_by_one_where_one_refuses_all(registry: Replica, api: Api, tenant: str) -> None:
    service_id = api.service(version="1.0.0")
    api.instance(service_id, instanceId="i")
    async with Gate(registry.port) as gate, AsyncRegistry(gate.url, tenant=tenant, learn=False) as client:
        gate.answer = as_the_reference_does(api, service_id)
        side = Side(client.api, gate.url)
        await side.look()
        await side.take(Beat(((KEY, "gone"), (KEY, "i"))), side)
        assert {request.path.split("/")[-2] for request in gate.seen("PUT", "/heartbeat")} == {"gone", "i"}


async def test_a_refusal_is_told(registry: Replica, tenant: str) -> None:
    async with AsyncRegistry(f"127.0.0.1:{registry.port}", tenant=tenant, learn=False) as client:
        side = Side(client.api, "new")
        await side.look()
        with pytest.raises(Refused) as refused:
            await side.take(Put((KEY, "i"), ORIGINAL), side)
        assert refused.value.code == 400012
