"""Run a repair: say what is damaged in the store, and mend it when told to."""

from __future__ import annotations

from registry.bootstrap import redis_store
from registry.clock import Clock
from registry.running.replica import starting
from registry.settings import Settings
from registry.store.port import HistoryChanged
from registry.usecases.repair import examine, mend

#: Exit codes: nothing is damaged any more, or something is.
SOUND = 0
DAMAGED = 1


async def repair(settings: Settings, apply: bool) -> int:
    """Print what is damaged and what mending it means; do it with `apply`. The exit code.

    Raises:
        CannotStart: Redis cannot be reached or relied on.
    """
    store, left = redis_store(settings), 0
    try:
        with starting(settings.redis_url):
            await store.open()
            async for finding in examine(store, Clock()):
                print(finding.tenant or "the list of tenants", *finding.sentences, sep="\n  ")
                try:
                    if apply:
                        await mend(store, finding)
                        print("  Mended.")
                        continue
                except HistoryChanged:
                    print("  Not mended: it has changed meanwhile. Run the command again.")
                left += 1
    finally:
        await store.close()
    if left and not apply:
        print("Nothing was changed. With --apply it is done as it is said here.")
    elif not left:
        print("Nothing is damaged." if not apply else "Nothing is damaged any more.")
    return DAMAGED if left else SOUND
