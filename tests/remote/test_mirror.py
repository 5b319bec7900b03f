"""`registry mirror` between two real registries, which are killed, and so is the mirror."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.remote.conftest import Shell
from tests.support.api import Api, ids, ok
from tests.support.replica import Replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: A lease of 5 s, for those whose end is waited for.
SHORT = {"mode": "push", "interval": 5, "times": 0}
LIMIT_S = 40.0


class Mirror:
    """A mirror that runs, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def says(self, text: str) -> list[str]:
        """Wait for a line with this text; the lines before it."""
        before: list[str] = []
        while True:
            line = self._lines.get(timeout=LIMIT_S)
            if text in line:
                return before
            before.append(line)

    def end(self, signum: signal.Signals = signal.SIGINT) -> str:
        """End it in order; what it says at the end."""
        self.process.send_signal(signum)
        assert self.process.wait(LIMIT_S) == 0
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def mirroring(shell: Shell, old: Replica, new: Replica, *options: str) -> Iterator[Mirror]:
    with shell.start("mirror", *_ways(old, new), "--every", "0.2", *options) as process:
        try:
            yield Mirror(process)
        finally:
            process.kill()


def _ways(old: Replica, new: Replica) -> list[str]:
    return ["--from", f"127.0.0.1:{old.port}", "--to", f"127.0.0.1:{new.port}"]


def sees(api: Api, *instance_ids: str, name: str = "cart") -> None:
    """Wait until a find has these, and no others."""

    def found() -> bool:
        answer = api.find(name)
        return answer.status == 200 and ids(answer) == sorted(instance_ids)

    until_sync(found, f"{instance_ids} to be found", LIMIT_S)


def test_each_sees_what_the_other_has_and_nothing_comes_back(
    shell: Shell, registry: Replica, other: Replica, api: Api, new: Api
) -> None:
    cart = api.service(version="1.0.0", serviceId="cart-1", properties={"team": "a"})
    ok(api.put(f"/microservices/{cart}/schemas/hello", {"schema": "text"}))
    api.instance(cart, instanceId="a", endpoints=["rest://b:1", "rest://a:1"])
    both = ("--both",)
    with mirroring(shell, registry, other, *both) as mirror:
        sees(new, "a")
        copy = new.read_instance("cart-1", "a")
        assert copy["properties"] == {"mirroredFrom": f"http://127.0.0.1:{registry.port}"}
        assert copy["endpoints"] == ["rest://b:1", "rest://a:1"]
        assert new.read_service("cart-1")["properties"] == {"team": "a"}
        assert ok(new.get("/microservices/cart-1/schemas/hello")).json() == {"schema": "text"}
        # A client that moves, under another id; and one that was there all the time.
        new.instance("cart-1", instanceId="b")
        sees(api, "a", "b")
        ok(api.put(f"/microservices/{cart}/instances/a/status?value=DOWN"))
        until_sync(lambda: new.read_instance("cart-1", "a")["status"] == "DOWN", "the status", LIMIT_S)
        # A client that moves under its own id: the copy becomes its own, and the old registration ends.
        new.instance("cart-1", instanceId="a", status="UP")
        ok(api.delete(f"/microservices/{cart}/instances/a"))
        mirror.says("added    shop/cart:1.0.0 a at " + f"http://127.0.0.1:{registry.port}")
        assert "properties" not in new.read_instance("cart-1", "a")
        ok(new.delete("/microservices/cart-1/instances/b"))
        sees(api, "a")
        sees(new, "a")
        report = shell.run("mirror", *_ways(registry, other), *both, "--report")
        assert (report.code, report.out) == (0, "nothing is different\n")
        assert "copies are left to their leases" in mirror.end()
    sees(api, "a")
    cleared = shell.run("mirror", *_ways(registry, other), *both, "--clear")
    assert cleared.out == (
        f"0 copies of http://127.0.0.1:{registry.port} are removed from http://127.0.0.1:{other.port}\n"
        f"1 copies of http://127.0.0.1:{other.port} are removed from http://127.0.0.1:{registry.port}\n"
    )
    sees(api)
    sees(new, "a")
    report = shell.run("mirror", *_ways(registry, other), *both, "--report")
    assert report.code == 1
    assert "the instance is missing" in report.out


def test_copies_live_as_long_as_their_originals_and_no_longer(
    shell: Shell, registry: Replica, other: Replica, api: Api, new: Api
) -> None:
    """The mirror beats for them; when the client is dead the original's lease ends, and the copy goes with it."""
    cart = api.service()
    api.instance(cart, instanceId="alive", healthCheck=SHORT)
    api.instance(cart, instanceId="dead", healthCheck=SHORT)
    with mirroring(shell, registry, other) as mirror:
        sees(new, "alive", "dead")
        until_sync(lambda: _beat(api, cart, "alive") and ids(new.find()) == ["alive"], "the dead to go", LIMIT_S)
        for _ in range(2):
            assert ids(new.find()) == ["alive"]
        mirror.end(signal.SIGTERM)


def test_what_changes_in_an_original_or_its_service_follows(
    shell: Shell, registry: Replica, other: Replica, api: Api, new: Api
) -> None:
    cart = api.service(serviceId="cart-1", properties={"team": "a"})
    api.instance(cart, instanceId="i", endpoints=["rest://a:1"])
    with mirroring(shell, registry, other, "--both") as mirror:
        sees(new, "i")
        ok(api.put(f"/microservices/{cart}/instances/i/properties", {"properties": {"p": "q"}}))
        until_sync(lambda: new.read_instance(cart, "i")["properties"].get("p") == "q", "the properties", LIMIT_S)
        api.instance(cart, instanceId="i", endpoints=["rest://b:1"])
        until_sync(lambda: new.read_instance(cart, "i")["endpoints"] == ["rest://b:1"], "the endpoints", LIMIT_S)
        ok(api.put(f"/microservices/{cart}/properties", {"properties": {"team": "b"}}))
        ok(api.post(f"/microservices/{cart}/tags", {"tags": {"colour": "blue"}}))
        until_sync(lambda: _metadata(new, cart) == ({"team": "b"}, {"colour": "blue"}), "the metadata", LIMIT_S)
        # What changes at the other side comes back, and there is an end to it.
        ok(new.post(f"/microservices/{cart}/tags", {"tags": {"colour": "red"}}))
        until_sync(lambda: _metadata(api, cart) == ({"team": "b"}, {"colour": "red"}), "the metadata", LIMIT_S)
        said = mirror.says(f"changed  shop/cart:0.0.1 tags at http://127.0.0.1:{registry.port}")
        assert sum("tags" in line for line in said) == 1
        mirror.end()


def _metadata(api: Api, service_id: str) -> tuple[object, object]:
    tags = ok(api.get(f"/microservices/{service_id}/tags")).json().get("tags")
    return api.read_service(service_id)["properties"], tags


def test_an_interval_longer_than_a_lease_is_shortened_and_said(
    shell: Shell, registry: Replica, other: Replica, api: Api, new: Api
) -> None:
    """The lease is 5 s, and the copy is there after 10 s."""
    cart = api.service()
    api.instance(cart, instanceId="i", healthCheck=SHORT)
    with mirroring(shell, registry, other, "--every", "600") as mirror:
        mirror.says("looks every 1.7 s, not 600")
        begun = time.monotonic()

        def ten_seconds_later() -> bool:
            assert _beat(api, cart, "i")
            assert ids(new.find()) == ["i"]
            return time.monotonic() - begun > 10.0

        sees(new, "i")
        until_sync(ten_seconds_later, "two leases to pass", LIMIT_S)
        mirror.end()


def _beat(api: Api, service_id: str, instance_id: str) -> bool:
    return api.put(f"/microservices/{service_id}/instances/{instance_id}/heartbeat").status == 200


@pytest.fixture
def options(redis_url: str) -> tuple[str, ...]:
    """Of a registry of the test's own, which it may kill and start again."""
    return ("--redis-url", redis_url, "--redis-prefix", f"own-{os.urandom(4).hex()}:")


@pytest.fixture
def own(options: tuple[str, ...]) -> Iterator[list[Replica]]:
    """Such a registry; those that are started later go in here too."""
    replicas = [Replica(*options).start()]
    yield replicas
    for each in replicas:
        each.clean_up()


def _again(options: tuple[str, ...], own: list[Replica]) -> Replica:
    """The same registry at the same place, after it was killed."""
    own.append(Replica(*options, port=own[0].port).start())
    return own[-1]


def test_copies_of_a_silent_source_are_held_until_it_answers(
    shell: Shell, other: Replica, new: Api, tenant: str, own: list[Replica], options: tuple[str, ...]
) -> None:
    (old,) = own
    api = old.api(tenant)
    api.instance(api.service(), instanceId="i", healthCheck=SHORT)
    with mirroring(shell, old, other) as mirror:
        sees(new, "i")
        old.kill()
        mirror.says("does not answer")
        mirror.says("is silent for longer than a lease: its copies are held")
        assert ids(new.find()) == ["i"]
        # A mirror that is restarted now knows only what it finds at the other side.
        mirror.process.kill()
        mirror.process.wait()
        with mirroring(shell, old, other) as second:
            second.says("does not answer")
            _again(options, own)
            second.says("answers again")
            # Nobody beats the original any more: its lease ends, and the copy goes.
            second.says("removed  shop/cart:0.0.1 i at")
            sees(new)
            second.end()


def test_an_operator_lets_go_of_what_is_held(
    shell: Shell, other: Replica, new: Api, tenant: str, own: list[Replica]
) -> None:
    (old,) = own
    api = old.api(tenant)
    api.instance(api.service(), instanceId="i", healthCheck=SHORT)
    with mirroring(shell, old, other) as mirror:
        sees(new, "i")
        old.kill()
        mirror.says("does not answer")
        mirror.process.send_signal(signal.SIGUSR1)
        mirror.says("are let go")
        sees(new)
        mirror.end()


def test_a_target_that_is_killed_gets_everything_again(
    shell: Shell, registry: Replica, api: Api, tenant: str, own: list[Replica], options: tuple[str, ...]
) -> None:
    (target,) = own
    cart = api.service()
    with mirroring(shell, registry, target) as mirror:
        api.instance(cart, instanceId="i1")
        mirror.says("added    shop/cart:0.0.1 i1")
        target.kill()
        api.instance(cart, instanceId="i2")
        ok(api.delete(f"/microservices/{cart}/instances/i1"))
        again = _again(options, own)
        sees(again.api(tenant), "i2")
        mirror.end()
