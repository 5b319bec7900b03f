"""`registry dump`: everything in the store into a file, while replicas run or not."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator

from registry import __version__
from registry.bootstrap import redis_store
from registry.clock import Clock
from registry.domain.backup import FORMAT, Header, TenantLine, Writer, held_by
from registry.domain.errors import RegistryError
from registry.domain.position import ORIGIN
from registry.domain.tenant import ACCOUNTS, DEFAULT_TENANT, Tenant
from registry.projection.restoring import restore as replay
from registry.running.dump_file import writing
from registry.running.private_redis import CannotStart
from registry.running.replica import starting
from registry.settings import Settings
from registry.store.port import HistoryChanged, Store


async def dump(settings: Settings, file: str, only: str, accounts: bool) -> int:
    """Write everything to a file. Each tenant is as it was at one moment, the one after the other.

    Args:
        only: one tenant, `domain/project`; blank: all.
        accounts: with accounts, roles, tokens of machines and signing keys.

    Returns:
        The exit code.

    Raises:
        CannotStart: the store cannot be read, or the file not be written.
    """
    writer, told = Writer(), Counter[str]()
    async with opened(settings) as store:
        with writing(file) as out:
            out.write(writer.line(Header(FORMAT, __version__, Clock().wall_ms())))
            for tenant in await _tenants(store, only, accounts):
                view = (await replay(store, tenant, "dump")).view
                if view.position == ORIGIN:
                    continue
                out.write(writer.line(TenantLine(tenant.domain, tenant.project, view.position.text())))
                for line in held_by(view):
                    out.write(writer.line(line))
                    told[str(type(line).__struct_config__.tag)] += 1
            out.write(writer.end())
    said = ", ".join(f"{kind} {number}" for kind, number in told.items()) or "nothing"
    print(f"written to {file}: {said}", file=sys.stderr)
    return 0


async def _tenants(store: Store, only: str, accounts: bool) -> list[Tenant]:
    found = {DEFAULT_TENANT, *await store.tenants()} - {ACCOUNTS}
    if only:
        found = {tenant for tenant in found if str(tenant) == only}
        if not found:
            raise CannotStart(f"the store has no tenant {only}")
    return [*sorted(found), *([ACCOUNTS] if accounts and not only else [])]


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Store]:
    """The store. Raises CannotStart with one sentence for all that can be wrong with it."""
    store = redis_store(settings)
    try:
        with starting(settings.redis_url):
            await store.open()
            try:
                yield store
            except HistoryChanged as exc:
                raise CannotStart(f"the log changes faster than it can be read ({exc}); try again") from exc
            except RegistryError as exc:
                if exc.code // 1000 == 500:
                    raise
                raise CannotStart(f"{exc.message}: {exc.detail}") from exc
    finally:
        await store.close()
