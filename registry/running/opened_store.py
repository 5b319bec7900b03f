"""OpenedStore: the store as the verbs that work on it need it, and the tenants in it that are meant."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from registry.bootstrap import redis_store
from registry.domain.errors import RegistryError
from registry.domain.tenant import ACCOUNTS, DEFAULT_TENANT, Tenant
from registry.running.private_redis import CannotStart
from registry.running.replica import starting
from registry.settings import Settings
from registry.store.port import HistoryChanged, Store


@contextlib.asynccontextmanager
async def opened_store(
    settings: Settings, changed: str = "the log changes faster than it can be read"
) -> AsyncIterator[Store]:
    """The store. Raises CannotStart with one sentence for all that can be wrong with it.

    Args:
        changed: what is said when others write faster than what is done here bears.
    """
    store = redis_store(settings)
    try:
        with starting(settings.redis_url):
            await store.open()
            try:
                yield store
            except HistoryChanged:
                raise CannotStart(f"{changed}; try again") from None
            except RegistryError as exc:
                if exc.code // 1000 == 500:
                    raise  # `starting` says what is wrong with the store
                raise CannotStart(f"{exc.message}: {exc.detail}") from exc
    finally:
        await store.close()


async def chosen_tenants(store: Store, only: str) -> list[Tenant]:
    """Those of the store, or the one that is named (`domain/project`). Raises CannotStart where there is no such."""
    found = {DEFAULT_TENANT, *await store.tenants()} - {ACCOUNTS}
    chosen = sorted(tenant for tenant in found if only in ("", str(tenant)))
    if not chosen:
        raise CannotStart(f"the store has no tenant {only}")
    return chosen
