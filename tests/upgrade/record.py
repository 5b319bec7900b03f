"""Record what an earlier version leaves in Redis, and what it answers: `python -m tests.upgrade.record 6cd3c24`.

It is done once for a version that others will have to read, and never again for it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import redis

from tests.access.people import ROOT_PASSWORD, Office
from tests.support.http import Connection
from tests.support.redis_server import redis_server
from tests.support.replica import REPOSITORY, Replica
from tests.support.sample import answers, fill
from tests.support.waiting import until_sync
from tests.upgrade.earlier import earlier_code, earlier_replica
from tests.upgrade.stores import save

FOLDER: Final = REPOSITORY / "tests" / "data" / "stores"
#: Snapshots are taken, and the log behind the older ones is dropped.
SETTINGS: Final = {"REGISTRY_SNAPSHOT_EVERY": "10", "REGISTRY_HISTORY_S": "0"}
GUARDED: Final = {"REGISTRY_RBAC": "observe", "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}


def recorded(connection: Connection, office: Office) -> dict[str, Any]:
    """Everything that is read of a store."""
    found = answers(connection)
    for path in ("/v4/accounts", "/v4/roles", "/v4/machine-tokens"):
        found[f"root GET {path}"] = {"body": office.done("GET", path).json()}
    return found


def record(commit: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as code, redis_server() as server:
        earlier_code(Path(code), commit)
        process = earlier_replica(Path(code), "--redis-url", server.url, environment=SETTINGS | GUARDED)
        try:
            process.start()
            _fill(process)
            said = recorded(process.connect(), Office(process))
        finally:
            process.clean_up()
        with redis.Redis.from_url(server.url) as client:
            save(client, folder / f"{commit}.ndjson")
    (folder / f"{commit}.answers.json").write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")


def _fill(process: Replica) -> None:
    fill(process.connect())
    office = Office(process)
    perms = [{"resources": [{"type": "service", "labels": {"appId": "shop"}}], "verbs": ["get"]}]
    office.done("POST", "/v4/roles", {"name": "reader", "perms": perms})
    office.done("POST", "/v4/accounts", {"name": "ann", "password": "Sufficient_password1", "roles": ["reader"]})
    office.done("POST", "/v4/machine-tokens", {"name": "pipeline", "roles": ["reader"]})
    # Once more, so that there is a snapshot, and events behind it.
    fill_again(process)
    until_sync(lambda: bool(process.said("snapshot_written")), "a snapshot to be written")
    process.api("default").put("/microservices/cart-1/instances/a/status?value=TESTING")


def fill_again(process: Replica) -> None:
    """Events enough for a snapshot."""
    api = process.api("default")
    for number in range(30):
        status = "TESTING" if number % 2 else "UP"
        assert api.put(f"/microservices/cart-1/instances/a/status?value={status}").status == 200


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    record(sys.argv[1], FOLDER)
