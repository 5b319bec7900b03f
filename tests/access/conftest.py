"""Registries with accounts: one that asks for tokens, by both ways through the server, and one beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.access.people import ROOT_PASSWORD, Office
from tests.support.replica import Replica, replica

RBAC = {"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}


@pytest.fixture(scope="package")
def on_redis(redis_url: str) -> list[str]:
    """Options of registries that share this run's Redis, below a prefix of their own."""
    return ["--redis-url", redis_url, "--redis-prefix", f"access-{uuid.uuid4().hex[:8]}:"]


@pytest.fixture(scope="package")
def guarded(on_redis: list[str]) -> Iterator[Replica]:
    with replica(*on_redis, environment=RBAC) as process:
        yield process


@pytest.fixture(scope="package")
def other(on_redis: list[str], guarded: Replica) -> Iterator[Replica]:
    """A second replica of the same deployment, which answers nothing by the short way."""
    with replica(*on_redis, environment={"REGISTRY_RBAC": "on", "REGISTRY_FAST_LANE": "off"}) as process:
        yield process


@pytest.fixture(scope="package")
def office(guarded: Replica) -> Office:
    """Who makes accounts and roles, at the first replica."""
    return Office(guarded)


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"n{uuid.uuid4().hex[:12]}"
