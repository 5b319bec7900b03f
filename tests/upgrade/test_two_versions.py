"""Replicas of two versions on one store, as in a rolling upgrade and after a step back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.domain.events import EVENT_FORMAT
from tests.support.api import Api, ids, ok
from tests.support.http import Connection
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica, replica
from tests.support.sample import answers, fill
from tests.support.waiting import until_sync
from tests.upgrade.earlier import earlier_code, earlier_replica

pytestmark = pytest.mark.slow

#: A snapshot now and then, written by whichever comes first.
SETTINGS = {"REGISTRY_SNAPSHOT_EVERY": "10"}
POLICY = {"name": "slow", "selector": {"app": "shop", "environment": ""}, "spec": {"maxAttempts": 3}}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = earlier_code(tmp_path_factory.mktemp("earlier"))
    assert not (found / "registry" / "domain" / "backup.py").exists(), "else one version would be tried twice"
    return found


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def earlier(code: Path, server: RedisServer) -> Iterator[Replica]:
    process = earlier_replica(code, "--redis-url", server.url, environment=SETTINGS)
    try:
        yield process.start()
    finally:
        process.clean_up()


@pytest.fixture
def present(server: RedisServer) -> Iterator[Replica]:
    with replica("--redis-url", server.url, environment=SETTINGS) as process:
        yield process


def answers_alike(one: Connection, other: Connection) -> bool:
    return answers(one) == answers(other)


@pytest.mark.parametrize("writer", ["earlier", "present"])
def test_each_reads_what_the_other_writes(writer: str, earlier: Replica, present: Replica) -> None:
    """Every answer and rev is the same at both, whichever wrote; neither sets the tenant aside, neither rebuilds."""
    fill((earlier if writer == "earlier" else present).connect())
    one, other = earlier.connect(), present.connect()
    until_sync(lambda: answers_alike(one, other), "both versions to answer alike")
    for process in (earlier, present):
        for action in ("tenant_set_aside", "views_differ", "history_mended", "history_seeded"):
            assert process.said(action) == []


def test_each_explains_an_expiry_that_the_other_wrote(earlier: Replica, present: Replica) -> None:
    """The present version records when replicas could write; the earlier one passes over it, and records nothing."""
    for removing, other in ((present, earlier), (earlier, present)):
        name = str(removing.port)
        api = removing.api("default")
        service = api.service(name, serviceId=name)
        api.instance(service, instanceId=name, healthCheck={"mode": "push", "interval": 5, "times": 0})
        until_sync(partial(is_there, other.api("default"), name), "the other to have heard of it")
        other.process.send_signal(signal.SIGSTOP)  # else either may remove it
        try:
            until_sync(partial(is_gone, api, name), "the lease to end", 15)
        finally:
            other.process.send_signal(signal.SIGCONT)
        found = [explained(one, name) for one in (removing, other)]
        assert found[0]["position"] == found[1]["position"]
        assert [told["evidence"]["leaseMs"] for told in found] == [5000, 5000]
        assert ["replicas" in told["evidence"] for told in found] == [
            removing is present and one is present for one in (removing, other)
        ]
    assert present.said("tenant_set_aside") == earlier.said("tenant_set_aside") == []


def is_there(api: Api, name: str) -> bool:
    return ids(api.find(name)) == [name]


def is_gone(api: Api, name: str) -> bool:
    return ids(api.find(name)) == []


def explained(one: Replica, name: str) -> Any:
    """How it left."""
    path = f"/v1/default/history/explain?serviceId={name}&instanceId={name}"
    return ok(one.connect().request("GET", path)).json()["removal"]


def test_replicas_are_replaced_one_by_one_and_back_again(code: Path, server: RedisServer, earlier: Replica) -> None:
    """Nothing that was answered is lost, in either direction; a snapshot of the one is read by the other."""
    fill(earlier.connect())
    before = answers(earlier.connect())
    with replica("--redis-url", server.url, environment=SETTINGS) as process:
        until_sync(lambda: answers(process.connect()) == before, "the new version to answer as the old one did")
        assert earlier.stop() == 0
        api = process.api("default")
        for number in range(12):
            status = "TESTING" if number % 2 else "UP"
            assert api.put(f"/microservices/cart-1/instances/a/status?value={status}").status == 200
        after = answers(process.connect())
        back = earlier_replica(code, "--redis-url", server.url)
        try:
            back.start()
            until_sync(lambda: answers(back.connect()) == after, "the old version to answer as the new one did")
        finally:
            back.clean_up()


def test_new_events_wait_for_the_last_replica_that_cannot_read_them(server: RedisServer, present: Replica) -> None:
    """Decision 11. It is told which replica it is; ten seconds after its end they are written."""
    process = Replica("--redis-url", server.url, program=("-m", "tests.upgrade.next_version"))
    try:
        connection = process.start().connect()

        def save() -> Any:
            return connection.request("POST", "/v1/default/gov/retry", json.dumps(POLICY).encode())

        refused = save()
        assert (refused.status, refused.json()["errorCode"]) == (500, "500011")
        assert f"reads events up to format {EVENT_FORMAT}" in refused.json()["detail"]
        assert present.stop() == 0
        until_sync(lambda: save().status == 200, "the new event to be written", 30)
    finally:
        process.clean_up()
