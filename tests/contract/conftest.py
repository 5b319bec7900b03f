"""`world`: every test of the contract runs once per adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.worlds import ClusterWorld, MemoryWorld, RedisWorld, World


@pytest.fixture(params=["memory", "redis", "cluster"])
def unopened_world(request: pytest.FixtureRequest, key_prefix: str) -> World:
    if request.param == "memory":
        return MemoryWorld()
    if request.param == "cluster":
        return ClusterWorld(request.getfixturevalue("cluster_url"), key_prefix)
    return RedisWorld(request.getfixturevalue("redis_url"), key_prefix)


@pytest.fixture
async def world(unopened_world: World) -> AsyncIterator[World]:
    yield unopened_world
    await unopened_world.close()
