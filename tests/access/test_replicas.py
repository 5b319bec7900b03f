"""Two real replicas: whatever changed at one decides the next request at the other."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable

import pytest

from tests.access.conftest import RBAC
from tests.access.people import PASSWORD, Guest, Office, call, code, permission
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

READ = permission("service", "get")
WRITE = permission("service", "*")


def a_world(office: Office, replica: Replica, role: str) -> tuple[Guest, str, str]:
    """A client of a tenant with one beating instance at a replica; its account, and the role alone."""
    account = office.account(role)
    token = office.log_in(account).json()["token"]
    guest = Guest(replica.connect(), token, f"tenant-{uuid.uuid4().hex[:8]}")
    guest.instance(guest.service(serviceId="s"), instanceId="i")
    return guest, account, role


def beat(guest: Guest) -> int:
    return code(guest.put("/microservices/s/instances/i/heartbeat"))


def find(guest: Guest) -> int:
    return code(guest.find())


@pytest.mark.parametrize("both", ["guarded changes, other answers", "other changes, guarded answers"])
def test_a_changed_role_decides_the_next_request_elsewhere(guarded: Replica, other: Replica, both: str) -> None:
    """Twenty times, both ways: each answer says that the change counts, so the very next request must see it."""
    changes, answers = (guarded, other) if both.startswith("guarded") else (other, guarded)
    office = Office(changes)
    guest, _, role = a_world(office, answers, office.role(WRITE))
    for _ in range(20):
        office.done("PUT", f"/v4/roles/{role}", {"perms": [READ]})
        assert beat(guest) == 403205
        assert find(guest) == 0
        office.done("PUT", f"/v4/roles/{role}", {"perms": [WRITE]})
        assert beat(guest) == 0
        office.done("PUT", f"/v4/roles/{role}", {"perms": [permission("ops", "get")]})
        assert find(guest) == 403205
        office.done("PUT", f"/v4/roles/{role}", {"perms": [WRITE]})
        assert find(guest) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda office, name: office.done("PUT", f"/v4/accounts/{name}", {"roles": [office.role(READ)]}), 403205),
        (lambda office, name: office.done("PUT", f"/v4/accounts/{name}", {"status": "inactive"}), 401201),
        (lambda office, name: office.done("DELETE", f"/v4/accounts/{name}"), 401206),
        (
            lambda office, name: office.done("POST", f"/v4/accounts/{name}/password", {"password": "Another_pw1"}),
            401205,
        ),
    ],
    ids=["other roles", "inactive", "deleted", "other password"],
)
def test_a_changed_account_decides_the_next_request_elsewhere(
    guarded: Replica, other: Replica, change: Callable[[Office, str], object], expected: int
) -> None:
    office = Office(other)
    guest, name, _ = a_world(office, guarded, office.role(WRITE))
    assert (find(guest), beat(guest), beat(guest)) == (0, 0, 0)
    change(office, name)
    assert beat(guest) == expected
    assert find(guest) == (0 if expected == 403205 else expected)


def test_a_replica_that_does_not_keep_up_is_named_and_refuses_tokens_as_soon_as_it_can_tell(redis_url: str) -> None:
    """It sleeps while others change accounts. It must be said whose requests may still be decided by the past."""
    on_redis = ["--redis-url", redis_url, "--redis-prefix", f"late-{uuid.uuid4().hex[:8]}:"]
    with replica(*on_redis, environment=RBAC) as one, replica(*on_redis, environment=RBAC) as late:
        office = Office(one)
        role = office.role(WRITE)
        guest, _, _ = a_world(office, late, role)
        late.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            response = office.call("PUT", f"/v4/roles/{role}", {"perms": [READ]})
            took_s = time.monotonic() - began
            assert response.status == 200
            assert response.header("X-Registry-Late-Replicas").endswith(f"127.0.0.1:{late.port}")
            assert 1.5 < took_s < 4
            until_sync(lambda: "AccountsLate" in alarms(office), "the alarm")
        finally:
            late.process.send_signal(signal.SIGCONT)
        assert beat(guest) == 403205
        until_sync(lambda: "AccountsLate" not in alarms(office), "the alarm to end")
        office.done("PUT", f"/v4/roles/{role}", {"perms": [WRITE]})
        assert beat(guest) == 0


def alarms(office: Office) -> list[str]:
    found = office.done("GET", "/v4/default/admin/alarms").json().get("alarms", [])
    return [alarm["id"] for alarm in found if alarm["status"] == "ACTIVATED"]


def test_a_replica_that_was_killed_is_waited_for_no_longer_than_it_counts_as_alive(redis_url: str) -> None:
    on_redis = ["--redis-url", redis_url, "--redis-prefix", f"gone-{uuid.uuid4().hex[:8]}:"]
    with replica(*on_redis, environment=RBAC) as one, replica(*on_redis, environment=RBAC) as gone:
        office = Office(one)
        office.role(READ)
        gone.kill()
        until_sync(
            lambda: (
                not office.call("POST", "/v4/roles", {"name": f"r{uuid.uuid4().hex[:8]}", "perms": [READ]}).header(
                    "X-Registry-Late-Replicas"
                )
            ),
            "the killed one to be forgotten",
            20,
        )


def test_accounts_and_tokens_outlive_every_replica(redis_url: str) -> None:
    """A restart needs no password of root, and tokens from before it count."""
    on_redis = ["--redis-url", redis_url, "--redis-prefix", f"again-{uuid.uuid4().hex[:8]}:"]
    with replica(*on_redis, environment=RBAC) as first:
        office = Office(first)
        name = office.account("developer")
        token = office.log_in(name).json()["token"]
    with replica(*on_redis, environment={"REGISTRY_RBAC": "on"}) as second, second.connect() as connection:
        assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 0
        assert code(call(connection, "POST", "/v4/token", {"name": name, "password": PASSWORD})) == 0
        clash = {**RBAC, "SC_INIT_ROOT_PASSWORD": "Another_password1"}
        with replica(*on_redis, environment=clash) as third, third.connect() as there:
            assert code(call(there, "POST", "/v4/token", {"name": "root", "password": "Another_password1"})) == 401202


def test_replicas_that_start_together_for_the_first_time_agree(redis_url: str) -> None:
    """Both make the account root and a key; one of each counts, at both."""
    on_redis = ["--redis-url", redis_url, "--redis-prefix", f"both-{uuid.uuid4().hex[:8]}:"]
    with replica(*on_redis, "--workers", "2", environment=RBAC) as process:
        tokens = [Office(process).token for _ in range(4)]
        for token in tokens:
            for _ in range(4):
                with process.connect() as connection:
                    assert code(call(connection, "GET", "/v4/self-perms", None, token)) == 0
        # Each worker counts by itself; none of them differs from the other.
        assert process.said("replicas_differ") == []
