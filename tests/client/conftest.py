"""A registry for all tests of the client; each test is a tenant of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.client import AsyncRegistry
from tests.client.gate import Gate
from tests.support.api import Api
from tests.support.replica import Replica, replica

#: A client of this test's tenant: at the registry, or where `servers` says.
Connect = Callable[..., contextlib.AbstractAsyncContextManager[AsyncRegistry]]


@pytest.fixture(scope="session")
def registry(redis_url: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", f"client-{uuid.uuid4().hex[:8]}:") as process:
        yield process


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def api(registry: Replica, tenant: str) -> Api:
    """What the registry really has, seen without the client."""
    return registry.api(tenant)


@pytest.fixture
def connect(registry: Replica, tenant: str, tmp_path: Path) -> Connect:
    def connect(servers: str = "", **named: Any) -> contextlib.AbstractAsyncContextManager[AsyncRegistry]:
        usual = {"tenant": tenant, "lock_folder": tmp_path, "learn": False, "timeout_s": 2.0}
        return AsyncRegistry(servers or f"http://127.0.0.1:{registry.port}", **{**usual, **named})

    return connect


@pytest.fixture
async def gate(registry: Replica) -> AsyncIterator[Gate]:
    async with Gate(registry.port) as gate:
        yield gate
