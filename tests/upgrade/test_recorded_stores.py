"""What an earlier version has left in Redis is read by this one: every answer and every rev is that of then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from tests.access.people import Office
from tests.support.redis_server import redis_server
from tests.support.replica import replica
from tests.upgrade.record import FOLDER, GUARDED, recorded
from tests.upgrade.stores import load

pytestmark = pytest.mark.slow

STORES = sorted(FOLDER.glob("*.ndjson"))


@pytest.mark.parametrize("store", STORES, ids=lambda path: path.stem)
def test_recorded_store_answers_as_it_did(store: Path) -> None:
    """Tenants, a snapshot with events behind it, a log without one, accounts with their passwords and keys."""
    said = json.loads(store.with_suffix(".answers.json").read_text())
    with redis_server() as server:
        with redis.Redis.from_url(server.url) as client:
            load(client, store)
        with replica("--redis-url", server.url, environment=GUARDED) as process:
            found = recorded(process.connect(), Office(process))
            assert found.keys() == said.keys()
            assert {path: answer for path, answer in found.items() if answer != said[path]} == {}
            # It goes on from there.
            api = process.api("default")
            assert api.put("/microservices/cart-1/instances/a/heartbeat").status == 200
            assert api.put("/microservices/cart-1/instances/a/status?value=DOWN").status == 200
            assert process.said("tenant_set_aside") == []


def test_there_is_a_recorded_store() -> None:
    assert [path.stem for path in STORES] == ["6cd3c24"]
