"""A websocket lives no longer than the right of the one who opened it."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable

import pytest

from tests.access.people import Guest, Office, bearer, code, permission
from tests.support.replica import Replica
from tests.support.websocket import CLOSE, WebSocket

pytestmark = pytest.mark.slow

WATCH = "/v4/default/registry/microservices/s/watcher"
BEAT = "/v4/default/registry/microservices/s/instances/i/heartbeat"


class Watched:
    """A tenant with one instance, and somebody who watches it at a replica."""

    def __init__(self, office: Office, replica: Replica) -> None:
        self.office = office
        self.role = office.role(permission("service", "*"))
        self.account = office.account(self.role)
        token = office.log_in(self.account).json()["token"]
        domain = f"watched-{uuid.uuid4().hex[:8]}"
        self.guest = Guest(replica.connect(), token, domain)
        self.guest.instance(self.guest.service(serviceId="s"), instanceId="i")
        self.address = (replica.host, replica.port)
        self.headers = {**bearer(token), "X-Domain-Name": domain}

    def open(self, path: str) -> WebSocket:
        socket = WebSocket(self.address, path, self.headers)
        assert socket.status == 101
        return socket


def revoke(watched: Watched) -> None:
    watched.office.done("DELETE", f"/v4/accounts/{watched.account}")


def deactivate(watched: Watched) -> None:
    watched.office.done("PUT", f"/v4/accounts/{watched.account}", {"status": "inactive"})


def take_the_right(watched: Watched) -> None:
    watched.office.done("PUT", f"/v4/roles/{watched.role}", {"perms": [permission("ops", "get")]})


@pytest.mark.parametrize("path", [WATCH, BEAT], ids=["watch", "heartbeat"])
@pytest.mark.parametrize("change", [revoke, deactivate, take_the_right])
def test_it_ends_with_the_right_to_it(
    office: Office, other: Replica, path: str, change: Callable[[Watched], None]
) -> None:
    """It breaks off without a farewell, so that clients come back, and are told why they may not."""
    watched = Watched(office, other)
    with watched.open(path) as socket:
        change(watched)
        assert all(frame.opcode != CLOSE for frame in socket.until_end())
    with WebSocket(watched.address, path, watched.headers) as again:
        assert again.status in (401, 403)


def test_it_goes_on_through_changes_that_leave_the_right(office: Office, guarded: Replica) -> None:
    watched = Watched(office, guarded)
    consumer = watched.guest.service("consumer", serviceId="consumer")
    watched.guest.find(consumer=consumer)
    with watched.open(WATCH.replace("/s/", "/consumer/")) as socket:
        for _ in range(3):
            office.role(permission("ops", "get"))
            office.done("PUT", f"/v4/roles/{watched.role}", {"perms": [permission("service", "*")]})
        watched.guest.put("/microservices/s/instances/i/status?value=DOWN")
        assert socket.next_event()["instance"]["status"] == "DOWN"


def test_it_ends_when_the_token_is_revoked(office: Office, guarded: Replica, name: str) -> None:
    """`test_matrix.py` has the one whose time is over."""
    role = office.role(permission("service", "*"))
    body = {"name": name, "roles": [role]}
    token = office.done("POST", "/v4/machine-tokens", body).json()["token"]
    guest = Guest(guarded.connect(), token, f"machine-{uuid.uuid4().hex[:8]}")
    guest.service(serviceId="s")
    headers = {**bearer(token), "X-Domain-Name": guest.domain}
    with WebSocket((guarded.host, guarded.port), WATCH, headers) as socket:
        assert socket.status == 101
        office.done("DELETE", f"/v4/machine-tokens/{name}")
        socket.until_end()
    assert code(guest.find()) == 401206


# -- the live feed -----------------------------------------------------------------------------------------------------


def narrow(watched: Watched) -> None:
    watched.office.done("PUT", f"/v4/roles/{watched.role}", {"perms": [permission("service", "*", appId="desk")]})


@pytest.mark.parametrize("change", [revoke, deactivate, take_the_right, narrow])
def test_a_feed_ends_with_the_right_to_what_it_tells(
    office: Office, other: Replica, change: Callable[[Watched], None]
) -> None:
    """Also when the right only becomes a smaller one: what is told was chosen by the larger."""
    watched = Watched(office, other)
    with socket.create_connection(watched.address, 20) as feed:
        lines = "".join(f"{name}: {value}\r\n" for name, value in watched.headers.items())
        feed.sendall(f"GET /v1/default/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
        told = feed.recv(65_536)
        assert told.startswith(b"HTTP/1.1 200")
        watched.guest.put("/microservices/s/instances/i/status?value=DOWN")
        while b"instance-status-set" not in told:
            told += feed.recv(65_536)
        change(watched)
        feed.settimeout(10)  # it says more often that it is alive
        while not told.endswith(b"0\r\n\r\n"):
            more = feed.recv(65_536)
            assert b"alive" not in more
            told += more
            if not more:
                break
