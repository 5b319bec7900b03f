"""`registry dump`: everything in the store into a file, while replicas run or not."""

from __future__ import annotations

import sys
from collections import Counter

from registry import __version__
from registry.clock import Clock
from registry.domain.backup import FORMAT, Header, TenantLine, Writer, held_by
from registry.domain.position import ORIGIN
from registry.domain.tenant import ACCOUNTS
from registry.projection.restoring import restore as replay
from registry.running.dump_file import writing
from registry.running.opened_store import chosen_tenants, opened_store
from registry.running.progress import Bar
from registry.settings import Settings


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
    async with opened_store(settings) as store:
        with writing(file) as out, Bar(file, 0) as bar:
            out.write(writer.line(Header(FORMAT, __version__, Clock().wall_ms())))
            others = [ACCOUNTS] if accounts and not only else []
            for tenant in [*await chosen_tenants(store, only), *others]:
                view = (await replay(store, tenant, "dump")).view
                if view.position == ORIGIN:
                    continue
                out.write(writer.line(TenantLine(tenant.domain, tenant.project, view.position.text())))
                for line in held_by(view):
                    out.write(writer.line(line))
                    bar.step()
                    told[str(type(line).__struct_config__.tag)] += 1
            out.write(writer.end())
    said = ", ".join(f"{kind} {number}" for kind, number in told.items()) or "nothing"
    print(f"written to {file}: {said}", file=sys.stderr)
    return 0
