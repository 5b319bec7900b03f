"""The client of threads: the same as the one of asyncio, and what happens to it when a process forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import Change, Closed, HealthCheck, Instance, Refused, Registry
from registry.client.sync_registry import open_clients
from tests.support.api import Api, ids
from tests.support.replica import REPOSITORY, Replica
from tests.support.waiting import until_sync

NAME = "shop/cart:1.0.0"
ENDPOINT = "rest://10.0.0.1:8080"
QUICK = Instance(health_check=HealthCheck("push", 0, 1, 3))


@pytest.fixture
def client(registry: Replica, tenant: str, tmp_path: Path) -> Iterator[Registry]:
    url = f"http://127.0.0.1:{registry.port}"
    with Registry(url, tenant=tenant, lock_folder=tmp_path, poll_s=0.05) as client:
        yield client


def registered(api: Api) -> list[str]:
    return ids(api.find())


def test_it_registers_finds_and_leaves(client: Registry, api: Api) -> None:
    with client.registered(NAME, [ENDPOINT]) as one:
        assert registered(api) == [one.instance_id]
        assert [instance.service_id for instance in client.find("shop/cart")] == [one.service_id]
        one.set_status("DOWN")
        one.set_properties({"a": "b"})
        stored = api.read_instance(one.service_id, one.instance_id)
        assert (stored["status"], stored["properties"]) == ("DOWN", {"a": "b"})
        assert one.is_registered
    assert registered(api) == []
    one.unregister()
    with pytest.raises(Refused):
        client.find("shop/nothing")
    assert client.run(client.api.service(one.service_id)).service_name == "cart"


def test_changes_come_to_another_thread_and_end_with_the_client(client: Registry, api: Api) -> None:
    service_id = api.service()
    provider = client.provider("shop/cart")
    assert provider.ready()
    assert provider is client.provider("shop/cart")
    seen: list[str] = []
    follower = threading.Thread(target=lambda: seen.extend(c.kind for c in provider.changes()))
    follower.start()
    api.instance(service_id, instanceId="a")
    until_sync(lambda: seen == ["added"], "the new instance")
    with provider.using() as instance:
        assert instance.instance_id == "a"
    client.close()
    follower.join(10)
    assert not follower.is_alive()
    with pytest.raises(Closed):
        client.find("shop/cart")


def test_a_callback_that_waits_for_the_client_is_told_so(
    client: Registry, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for itself."""

    def find(changes: list[Change]) -> None:
        client.find("shop/cart")

    client.provider("shop/cart").on_change(find)
    api.instance(api.service(), instanceId="a")
    until_sync(lambda: "a callback of the client must not wait for the client" in caplog.text, "the complaint")


def test_a_client_that_is_never_closed_unregisters_at_the_end_of_the_process(
    registry: Replica, api: Api, tenant: str
) -> None:
    program = """
import sys
from registry.client import Registry
registry = Registry(sys.argv[1], tenant=sys.argv[2])
registry.register("shop/cart:1.0.0", ["rest://10.0.0.1:8080"])
print(len(registry.find("shop/cart")))
"""
    url = f"http://localhost:{registry.port}"
    done = subprocess.run(
        [sys.executable, "-c", program, url, tenant], capture_output=True, text=True, cwd=REPOSITORY, timeout=30
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
    assert registered(api) == []


def test_what_cannot_work_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="no address of a registry"):
        Registry("ftp://a")


# -- forks -------------------------------------------------------------------------------------------------------------


def test_forked_children_keep_the_instance_and_the_last_one_unregisters(client: Registry, api: Api) -> None:
    """A pre-fork server that loads its application first: parent and children share the endpoint."""
    one = client.register(NAME, [ENDPOINT], instance=QUICK)
    cart = client.provider("shop/cart")
    assert cart.ready()
    children = [Forked(lambda: serve(client, cart, one)) for _ in range(2)]
    for child in children:
        assert child.said() == b"ready"
    client.close()
    assert registered(api) == [one.instance_id], "the parent went, its children are there"
    api.delete(f"/microservices/{one.service_id}/instances/{one.instance_id}")
    until_sync(lambda: registered(api) == [one.instance_id], "a child to register it again")
    children[0].end()
    assert registered(api) == [one.instance_id], "the last one is still there"
    children[1].end()
    assert registered(api) == []


def test_a_child_that_is_killed_costs_nothing(client: Registry, api: Api) -> None:
    one = client.register(NAME, [ENDPOINT], instance=QUICK)
    cart = client.provider("shop/cart")
    assert cart.ready()
    child = Forked(lambda: serve(client, cart, one))
    assert child.said() == b"ready"
    child.end(signal.SIGKILL)
    assert registered(api) == [one.instance_id]
    client.close()
    assert registered(api) == []


def serve(client: Registry, cart: object, one: object) -> bytes:
    """What a child does: it finds, and is registered, with connections of its own."""
    assert cart.pick().instance_id == one.instance_id  # type: ignore[attr-defined]
    until_sync(lambda: one.is_registered, "the child to be registered")  # type: ignore[attr-defined]
    found = [instance.instance_id for instance in client.find("shop/cart")]
    assert found == [one.instance_id]  # type: ignore[attr-defined]
    assert cart.ready()  # type: ignore[attr-defined]
    return b"ready"


class Forked:
    """A child that does its work, says what came of it, and waits to be ended; then it leaves in order."""

    def __init__(self, work: object) -> None:
        self._said, said = os.pipe()
        waits, self._end = os.pipe()
        with warnings.catch_warnings():
            # From 3.12 on Python warns of forks beside threads; that they end well is what is looked at here.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            # Nothing of pytest may run in here.
            try:
                os.close(self._end)
                os.write(said, work())  # type: ignore[operator]
                os.read(waits, 1)
                for client in list(open_clients):
                    client.close()
                os._exit(0)
            except BaseException as exc:
                os.write(said, repr(exc).encode())
                os._exit(1)
        os.close(said)
        os.close(waits)

    def said(self) -> bytes:
        return os.read(self._said, 10_000)

    def end(self, signum: int = 0) -> None:
        if signum:
            os.kill(self._pid, signum)
        else:
            # Other children hold this end as well: closing it would say nothing.
            os.write(self._end, b".")
        os.close(self._end)
        os.close(self._said)
        assert (os.waitpid(self._pid, 0)[1] == 0) == (signum == 0)
