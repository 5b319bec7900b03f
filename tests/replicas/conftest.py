"""Several real registries on one real Redis. Every test here is `slow`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import fleet
from tests.support.replica import Replica

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder as slow: real processes, real leases."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def on_redis(redis_url: str) -> list[str]:
    """Options of registries that share this run's Redis, below a prefix that no other module has."""
    return ["--redis-url", redis_url, "--redis-prefix", f"replicas-{uuid.uuid4().hex[:8]}:"]


@pytest.fixture(scope="module")
def replicas(on_redis: list[str]) -> Iterator[list[Replica]]:
    """Two registries of one process each, and one of two workers."""
    with fleet(on_redis, on_redis, [*on_redis, "--workers", "2"]) as started:
        yield started
