"""Feeds: what clients that listen can make grow has limits."""

from __future__ import annotations

from typing import Any

import pytest

from registry.domain.errors import Overloaded
from registry.domain.position import ORIGIN
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.history import feeds
from registry.history.choice import Choice
from registry.history.feeds import KEPT_S, Feeds
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import VIRTUAL, MemoryReplica, elapse, virtual_ms

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


async def never(*arguments: Any) -> Any:
    raise AssertionError("nothing is read from the log here")


async def test_one_feed_more_than_there_may_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tenants together; one that ends makes room, and what was kept for it goes after a while."""
    monkeypatch.setattr(feeds, "FEEDS_MAX", 2)
    all_feeds = Feeds(MemoryReplica(MemoryServer(virtual_ms), "one").projector)
    first = all_feeds.open(DEFAULT_TENANT, ORIGIN, Choice(), never)
    second = all_feeds.open(Tenant("other", "p"), ORIGIN, Choice(), never)
    for tenant in (DEFAULT_TENANT, Tenant("third", "p")):
        with pytest.raises(Overloaded, match="2 feeds already"):
            all_feeds.open(tenant, ORIGIN, Choice(), never)
    first.close()
    first.close()
    third = all_feeds.open(Tenant("third", "p"), ORIGIN, Choice(), never)
    with pytest.raises(Overloaded):
        all_feeds.open(DEFAULT_TENANT, ORIGIN, Choice(), never)
    for feed in (second, third):
        feed.close()
    assert all_feeds.count == 0
    await elapse(KEPT_S + 1)
    assert not all_feeds._newest
