"""What a provider does, against a real registry: it comes, it stays whatever happens, and it goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.client import HealthCheck, Instance, Microservice, Refused
from registry.client.calls import steady
from registry.client.registering import offer_of
from tests.client.conftest import Connect
from tests.client.gate import BROKEN, HTML, Gate, Reply, Request
from tests.support.api import Api, ids
from tests.support.replica import REPOSITORY, Replica
from tests.support.waiting import until

NAME = "shop/cart:1.0.0"
ENDPOINT = "rest://10.0.0.1:8080"
#: Beats once a second and has a lease of twenty: the smallest that a registry gives, with beats that a test can await.
QUICK = Instance(health_check=HealthCheck("push", 0, 1, 3))


def registered(api: Api) -> list[str]:
    return ids(api.find())


async def test_a_service_comes_and_goes(connect: Connect, api: Api) -> None:
    """With its schemas, its properties and everything else that was said of it."""
    service = Microservice(app_id="shop", service_name="cart", version="1.0.0", properties={"team": "a"})
    instance = Instance(properties={"colour": "blue"}, host_name="here")
    document = {"openapi": "3.1.0", "info": {"title": "Cart"}}
    async with connect() as client:
        one = await client.register(service, [ENDPOINT], instance=instance, openapi=document, schemas={"b": "text"})
        stored = api.read_instance(one.service_id, one.instance_id)
        assert (stored["endpoints"], stored["hostName"], stored["properties"]) == (
            [ENDPOINT],
            "here",
            {"colour": "blue"},
        )
        assert one.is_registered
        schemas = api.get(f"/microservices/{one.service_id}/schemas?withSchema=1").json()["schemas"]
        assert {schema["schemaId"]: schema["schema"] for schema in schemas} == {
            "cart": json.dumps(document, separators=(",", ":")),
            "b": "text",
        }
        assert api.read_service(one.service_id)["properties"] == {"team": "a"}
    assert registered(api) == []


async def test_properties_of_a_known_service_are_brought_up_to_date(connect: Connect, api: Api) -> None:
    """A registry does not change a service that is registered again."""
    service_id = api.service(version="1.0.0", properties={"team": "a"})
    service = Microservice(app_id="shop", service_name="cart", version="1.0.0", properties={"team": "b"})
    async with connect() as client:
        await client.register(service, [ENDPOINT])
        assert api.read_service(service_id)["properties"] == {"team": "b"}


@pytest.mark.parametrize("leaving", [ValueError, asyncio.CancelledError])
async def test_it_goes_by_every_way_out_of_the_block(connect: Connect, api: Api, leaving: type[BaseException]) -> None:

    async def serve() -> None:
        async with connect() as client:
            await client.register(NAME, [ENDPOINT])
            assert len(registered(api)) == 1
            raise leaving

    with pytest.raises(leaving):
        await serve()
    assert registered(api) == []


async def test_a_task_that_is_cancelled_twice_unregisters_all_the_same(connect: Connect, gate: Gate, api: Api) -> None:
    """The second cancellation meets the client while it says goodbye."""
    entered = asyncio.Event()

    async def serve() -> None:
        async with connect(gate.url) as client, client.registered(NAME, [ENDPOINT]):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await entered.wait()

    def cancel_again(request: Request) -> None:
        if request.method == "DELETE":
            task.cancel()

    gate.answer = cancel_again
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert registered(api) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_signals_end_it_in_order(registry: Replica, api: Api, tenant: str, kind: str, signum: int) -> None:
    """SIGTERM is how every supervisor ends a service."""
    program = ASYNC_PROGRAM if kind == "async" else SYNC_PROGRAM
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"http://127.0.0.1:{registry.port}", tenant],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"registered\n"
        assert len(registered(api)) == 1
        process.send_signal(signum)
        process.wait(10)
    assert registered(api) == []
    assert process.returncode in ((143,) if signum == signal.SIGTERM else (1, 130, -signal.SIGINT))


ASYNC_PROGRAM = """
import asyncio, sys
from registry.client import AsyncRegistry
async def main():
    async with AsyncRegistry(sys.argv[1], tenant=sys.argv[2]) as registry:
        await registry.register("shop/cart:1.0.0", ["rest://10.0.0.1:8080"])
        print("registered", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
LOCKING_PROGRAM = ASYNC_PROGRAM.replace(
    "tenant=sys.argv[2]", "tenant=sys.argv[2], lock_folder=__import__('pathlib').Path(sys.argv[3])"
)
SYNC_PROGRAM = """
import sys, threading
from registry.client import Registry
with Registry(sys.argv[1], tenant=sys.argv[2]) as registry:
    registry.register("shop/cart:1.0.0", ["rest://10.0.0.1:8080"])
    print("registered", flush=True)
    threading.Event().wait()
"""


# -- it stays ----------------------------------------------------------------------------------------------------------


async def test_an_instance_that_the_registry_forgot_is_registered_again(connect: Connect, api: Api) -> None:
    """400017 on a heartbeat. It keeps its id."""
    async with connect() as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK)
        api.delete(f"/microservices/{one.service_id}/instances/{one.instance_id}")
        assert registered(api) == []
        await until(lambda: said(registered(api) == [one.instance_id]), "the instance to be back")


async def test_a_service_that_the_registry_forgot_is_registered_again(connect: Connect, api: Api) -> None:
    """400017 on a heartbeat, then 400012 on the registration of the instance. Schemas come back too."""
    async with connect() as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK, schemas={"a": "text"})
        api.delete(f"/microservices/{one.service_id}?force=true")
        assert api.find().status == 400
        await until(lambda: said(api.find().status == 200 and bool(registered(api))), "the instance to be back")
        assert registered(api) == [one.instance_id]
        assert api.get(f"/microservices/{one.service_id}/schemas/a").json() == {"schema": "text"}


async def test_status_that_was_set_outlives_a_registry_that_forgets(connect: Connect, api: Api) -> None:
    async with connect() as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK)
        await one.set_status("TESTING")
        await one.set_properties({"a": "b"})
        api.delete(f"/microservices/{one.service_id}/instances/{one.instance_id}")
        await until(lambda: said(registered(api) == [one.instance_id]), "the instance to be back")
        stored = api.read_instance(one.service_id, one.instance_id)
        assert (stored["status"], stored["properties"]) == ("TESTING", {"a": "b"})


async def test_status_may_be_set_while_the_registry_does_not_have_it(connect: Connect, api: Api, gate: Gate) -> None:
    """Before it answers for the first time, and after it has forgotten: the instance comes with the new status."""
    gate.answer = lambda request: BROKEN
    async with connect(gate.url) as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK, wait_s=0.0)
        await one.set_status("STARTING")
        gate.answer = lambda request: None
        await until(lambda: said(one.is_registered), "the registration")
        assert api.read_instance(one.service_id, one.instance_id)["status"] == "STARTING"
        api.delete(f"/microservices/{one.service_id}/instances/{one.instance_id}")
        await one.set_status("TESTING")
        await until(lambda: said(registered(api) == [one.instance_id]), "the instance to be back")
        assert api.read_instance(one.service_id, one.instance_id)["status"] == "TESTING"


@pytest.mark.parametrize("fault", [BROKEN, HTML, "hang", Reply(401, b"<html>"), Reply(429), Reply(404, b"not here")])
async def test_no_answer_of_anybody_else_is_taken_for_one_of_the_registry(
    connect: Connect, api: Api, gate: Gate, fault: Reply | str
) -> None:
    """Heartbeats fail, whatever the page says, and go on when the registry is back; nothing is registered twice."""
    async with connect(gate.url, timeout_s=1.0) as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK)
        gate.answer = lambda request: fault if request.path.endswith("/heartbeat") else None
        beats = len(gate.seen("PUT", "/heartbeat"))
        await until(lambda: said(len(gate.seen("PUT", "/heartbeat")) >= beats + 2), "two heartbeats that fail")
        gate.answer = lambda request: None
        answered = len(gate.replies)
        await until(lambda: said(any(r.status == 200 for r in gate.replies[answered:])), "a heartbeat that is answered")
        assert registered(api) == [one.instance_id]
        assert len(gate.seen("POST", "/instances")) == 1


async def test_a_registry_that_is_away_at_the_start_is_waited_for_beside_the_program(
    connect: Connect, api: Api, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """A service must be able to start before its registry."""
    gate.answer = lambda request: BROKEN
    async with connect(gate.url) as client:
        one = await client.register(NAME, [ENDPOINT], wait_s=0.05)
        assert not one.is_registered
        assert "is not registered yet, this goes on" in caplog.text
        gate.answer = lambda request: None
        await until(lambda: said(one.is_registered), "the registration")
        assert registered(api) == [one.instance_id]


async def test_what_the_registry_refuses_is_raised(connect: Connect, api: Api) -> None:
    """Waiting would not help: the one who wrote it has to hear it. Nothing goes on afterwards."""
    async with connect() as client:
        with pytest.raises(Refused) as refused:
            await client.register(NAME, [ENDPOINT], instance=Instance(status="SIDEWAYS"))
        assert refused.value.code == 400001
        assert "status" in refused.value.detail
        assert registered(api) == []
        await client.register(NAME, [ENDPOINT])


async def test_a_blocked_loop_is_said(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Anyone who finds the instance gone should read why. The clock goes on while the machine is suspended."""
    async with connect() as client:
        one = await client.register(NAME, [ENDPOINT], instance=QUICK)
        monkeypatch.setattr("registry.client.registering.steady", lambda: steady() + 100.0)
        one.nudge()
        await until(lambda: said("longer than its lease of 20 s" in caplog.text), "the line in the log")


# -- one instance of several processes ---------------------------------------------------------------------------------


def test_ids_are_the_same_for_the_same_endpoints_and_no_others() -> None:
    def id_of(tenant: str = "t", service: str = NAME, *endpoints: str, host: str = "h") -> str:
        offer = offer_of(service, Instance(host_name=host, endpoints=list(endpoints)), tenant=tenant)
        return offer.instance.instance_id

    usual = id_of("t", NAME, "a", "b")
    assert id_of("t", NAME, "b", "a", "a") == usual
    others = [id_of("u", NAME, "a", "b"), id_of("t", "shop/cart:2.0", "a", "b"), id_of("t", NAME, "a")]
    others += [id_of("t", NAME, "a", "b", host="i"), id_of(), id_of()]
    assert len({usual, *others}) == 7


@pytest.mark.parametrize("name", ["shop/cart:1.0+", "shop/cart:latest", "a b"])
def test_what_is_registered_has_one_version(name: str) -> None:
    with pytest.raises(ValueError, match=r"one version|no name"):
        offer_of(name, Instance(), tenant="t")


async def test_two_that_share_an_endpoint_are_one_instance_until_the_last_goes(connect: Connect, api: Api) -> None:
    async with connect() as first:
        one = await first.register(NAME, [ENDPOINT])
        async with connect() as second:
            two = await second.register(NAME, [ENDPOINT])
            assert registered(api) == [one.instance_id] == [two.instance_id]
        assert registered(api) == [one.instance_id]
    assert registered(api) == []


async def test_a_process_that_was_killed_does_not_hold_the_instance(
    connect: Connect, registry: Replica, api: Api, tenant: str, tmp_path: Path
) -> None:
    """The kernel gives its part up. What comes back takes the same instance over."""
    command = [sys.executable, "-c", LOCKING_PROGRAM, f"http://127.0.0.1:{registry.port}", tenant, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:  # noqa: ASYNC220 - it is killed
        assert process.stdout is not None
        assert process.stdout.readline() == b"registered\n"
        before = registered(api)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    async with connect() as client:
        await client.register(NAME, [ENDPOINT])
        assert registered(api) == before
    assert registered(api) == []


async def test_one_who_comes_while_the_last_goes_is_not_lost(connect: Connect, api: Api, gate: Gate) -> None:
    """It waits for the other one to be gone, and registers after it."""
    coming: list[asyncio.Task[None]] = []
    registered_again = asyncio.Event()
    end = asyncio.Event()

    async def come() -> None:
        async with connect() as second:
            await second.register(NAME, [ENDPOINT])
            registered_again.set()
            await end.wait()

    def start_the_other(request: Request) -> None:
        if request.method == "DELETE" and not coming:
            coming.append(asyncio.create_task(come()))

    gate.answer = start_the_other
    async with connect(gate.url) as first:
        await first.register(NAME, [ENDPOINT])
    await registered_again.wait()
    assert len(registered(api)) == 1
    end.set()
    await asyncio.wait(coming)
    assert registered(api) == []


async def said(condition: bool) -> bool:
    return condition


async def test_an_instance_that_may_miss_no_heartbeat_says_so(connect: Connect, api: Api) -> None:
    """Left out, `times` would be taken for 3."""
    once = Instance(health_check=HealthCheck("push", 0, 5, 0))
    async with connect() as client, client.registered(NAME, [ENDPOINT], instance=once) as registered:
        stored = api.read_instance(registered.service_id, registered.instance_id)
        assert stored["healthCheck"] == {"mode": "push", "interval": 5}
        assert registered.lease_s == 5
