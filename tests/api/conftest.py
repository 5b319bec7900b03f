"""One registry for all tests of the API; each test is a tenant of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.api import Api
from tests.support.http import Connection
from tests.support.replica import Replica, replica


@pytest.fixture(scope="session")
def registry(redis_url: str) -> Iterator[Replica]:
    """A registry process on this run's Redis."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"api-{uuid.uuid4().hex[:8]}:") as process:
        yield process


@pytest.fixture(scope="module")
def connection(registry: Replica) -> Iterator[Connection]:
    """A connection that a module's tests share, as clients keep theirs; idle for too long, it would be closed."""
    with registry.connect() as connection:
        yield connection


@pytest.fixture
def api(connection: Connection) -> Api:
    """A client of a tenant that no other test has."""
    return Api(connection, f"tenant-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def default_api(connection: Connection) -> Api:
    """A client of the default tenant, which all tests share: register nothing there."""
    return Api(connection)


@pytest.fixture
def service_id(api: Api) -> str:
    """A microservice to register instances of: shop/cart 0.0.1."""
    return api.service()


@pytest.fixture(scope="session")
def plain_registry(redis_url: str) -> Iterator[Replica]:
    """A registry that answers everything by the full way."""
    options = ("--redis-url", redis_url, "--redis-prefix", f"plain-{uuid.uuid4().hex[:8]}:")
    with replica(*options, "--fast-lane", "off") as process:
        yield process


@pytest.fixture(params=["fast", "plain"])
def client(request: pytest.FixtureRequest, registry: Replica) -> Iterator[Api]:
    """A client of a tenant of its own, over its own connection; of a registry with the hot way, and of one without."""
    lane: Replica = registry if request.param == "fast" else request.getfixturevalue("plain_registry")
    with lane.connect() as connection:
        yield Api(connection, f"tenant-{uuid.uuid4().hex[:12]}")
