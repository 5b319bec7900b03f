"""The event loop waits for nothing but its clients and Redis: no file, no name look-up, no child, no sleep, no import.

A real registry tells of each such call that is made on its loop, while it goes through everything that it does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.access.conftest import RBAC
from tests.access.people import Guest, Office, bearer, permission
from tests.support.api import ok
from tests.support.redis_modes import make_certificates
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync
from tests.support.websocket import beat_by_socket, watch

#: Python tells of every such call under these names.
PROGRAM = """
import logging, sys, threading, traceback
from registry import cli
from registry.running import replica

WAITING = (
    "open", "import", "time.sleep", "os.", "subprocess.", "socket.get", "fcntl.", "shutil.", "tempfile.", "glob.",
    "ctypes.dlopen", "pathlib.", "urllib.",
)
loop = threading.get_ident()
listens = False

def hook(event, arguments):
    global listens
    # What the kernel says of the process itself lies on no disk.
    is_file = not (event == "open" and str(arguments[0]).startswith("/proc/self/"))
    if listens and threading.get_ident() == loop and event.startswith(WAITING) and is_file:
        listens = False  # the look at the stack reads files
        where = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_stack()[-6:-1]))
        logging.error("%s%r at %s", event, arguments[:2], where, extra={"action": "waited"})
        listens = True

class Server(replica.Server):
    async def startup(self, sockets=None):
        global listens
        await super().startup(sockets)
        listens = True

replica.Server = Server
sys.addaudithook(hook)
sys.exit(cli.main())
"""
SHORT = {"mode": "push", "interval": 5, "times": 0}
PAGES = ("/metrics", "/openapi.json", "/v4/default/admin/dump?options=all", "/v4/default/admin/alarms", "/nowhere")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(None, True) as server:
        yield server


def waits(one: Replica) -> list[str]:
    return [record["message"] for record in one.said("waited")]


@pytest.fixture(scope="module")
def registry(server: RedisServer) -> Iterator[Replica]:
    one = Replica("--redis-url", server.url, "--snapshot-every", "20", program=("-c", PROGRAM))
    try:
        yield one.start()
    finally:
        one.clean_up()


def test_the_event_loop_never_waits(server: RedisServer, registry: Replica) -> None:
    """Registering, finding, watching, beating, expiring, snapshots, an outage and its end."""
    api = registry.api("team")
    api.service(serviceId="cart")
    api.service("consumer", serviceId="consumer")
    for number in range(40):
        api.instance("cart", instanceId=f"i{number}", healthCheck=SHORT)
    ok(api.find(consumer="consumer"))
    with watch(api, "consumer") as watcher, beat_by_socket(api, "cart", "i0"):
        ok(api.put("/microservices/cart/instances/i1/status?value=DOWN"))
        watcher.next_event()
    ok(api.batch([{"service": {"serviceName": "cart", "appId": "shop"}}]))
    for page in PAGES:
        api.connection.request("GET", page, headers={"Accept-Encoding": "gzip"})
    until_sync(lambda: bool(registry.said("snapshot_written")), "a snapshot", 20)
    until_sync(lambda: bool(registry.said("instance_expired")), "an instance to expire", 20)
    server.kill()
    until_sync(lambda: bool(registry.said("store_away")), "the outage to be noticed")
    ok(api.find())
    server.start()
    until_sync(lambda: bool(registry.said("store_back")), "Redis to be back")
    until_sync(lambda: api.register("cart", instanceId="new").status == 200, "writes to be taken")
    assert registry.stop() == 0
    assert waits(registry) == []


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """With a path that leaves room for the name of a socket; those of pytest are long."""
    with tempfile.TemporaryDirectory(prefix="rw-") as folder:
        yield Path(folder)


def test_the_event_loop_waits_for_no_secret_and_no_past(
    server: RedisServer, tmp_path: Path, short_folder: Path
) -> None:
    """Accounts, certificates that are renewed, passwords that stand in files, and the process that reads the past."""
    files = make_certificates(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("first")
    options = ["--redis-url", server.url, "--redis-prefix", "secrets:", "--redis-password-file", str(secret)]
    options += ["--tls-cert-file", str(files.server), "--tls-key-file", str(files.server_key), "--tls-port", "0"]
    # A folder of its own: it asks nobody else's process about the past.
    one = Replica(*options, environment={**RBAC, "TMPDIR": str(short_folder)}, program=("-c", PROGRAM))
    with Redis.from_url(server.url) as admin:
        admin.config_set("requirepass", "first")
    with Redis.from_url(server.url, password="first") as admin:
        try:
            one.start()
            office = Office(one)
            guest = Guest(one.connect(), office.person(office.role(permission("service", "*", appId="shop"))), "team")
            guest.instance(guest.service(serviceId="cart"), instanceId="i")
            assert office.log_in("root", "Wrong_password1").status == 401
            for path in ("admin/settings", "admin/store", "admin/replicas", "admin/tenants"):
                ok(office.call("GET", f"/v4/default/{path}"))
            ok(office.call("GET", "/console/"))
            for path in ("history?limit=2", "events?wait=0s", "catalog"):
                ok(
                    guest.connection.request(
                        "GET", f"/v1/default/{path}", headers=bearer(guest.token) | {"X-Domain-Name": "team"}
                    )
                )
            (tmp_path / "other").mkdir()
            shutil.copy(make_certificates(tmp_path / "other").server, files.server)
            until_sync(lambda: bool(one.said("certificate_refused")), "the certificate to be read again", 20)
            admin.client_kill_filter(_type="normal", skipme=True)
            until_sync(lambda: guest.put("/microservices/cart/instances/i/status?value=DOWN").status == 200, "a write")
            assert one.stop() == 0
            assert waits(one) == []
        finally:
            one.clean_up()
            admin.config_set("requirepass", "")
