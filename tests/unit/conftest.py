"""What tests without a real Redis share."""

from __future__ import annotations

import pytest

from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import virtual_ms


@pytest.fixture
def server() -> MemoryServer:
    """A store in memory whose clock is the virtual one."""
    return MemoryServer(virtual_ms)
