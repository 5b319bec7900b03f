"""`registry replay`: an incident once more, in a registry of its own on another port, for any client to look at."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from registry.bootstrap import past_log, redis_store
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.moments import When
from registry.history.past import Past
from registry.history.told import moment_text
from registry.projection.restoring import restore
from registry.running.log_copying import LEFT_OUT, LogCopy
from registry.running.opened_store import chosen_tenants, opened_store
from registry.running.private_redis import CannotStart, PrivateRedis
from registry.running.progress import Bar, steps
from registry.settings import Settings
from registry.store.lease import Lease
from registry.store.port import Store

#: Nobody sends heartbeats here, so leases last until the log says that they have ended (ms): ten years.
LEASE_MS: Final = 315_360_000_000
#: Leases lengthened together, and seconds between two rounds of it.
LENGTHENED_MAX: Final = 2_000
LENGTHEN_EVERY_S: Final = 5.0
#: Seconds that the registry may take to start, and between looks.
START_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.1
#: The longest pause between two events, seconds; what was quiet for longer is cut short.
PAUSE_MAX_S: Final = 10.0


async def replay(settings: Settings, tenant_name: str, since: When, until: When, speed: float, port: int) -> int:
    """Replay, and serve until stopped; the exit code. Raises CannotStart.

    Args:
        since, until: what is replayed; `since` is the state it begins with.
        speed: how many times as fast as it was; 0: at once.
    """
    async with opened_store(settings) as source:
        (tenant,) = await chosen_tenants(source, tenant_name)
        past = Past(past_log(settings, source))
        base = await past.at(tenant, since)
        with _private(settings) as redis_url:
            target = redis_store(replace(settings, redis_url=redis_url, redis_prefix="registry:"))
            try:
                await target.open()
                copy = LogCopy(target, base, lambda _: LEASE_MS)
                await copy.begin()
                with _serving(redis_url, port):
                    await _until_ready(port)
                    lengthening = asyncio.create_task(_lengthen(target, tenant))
                    where = f"on http://127.0.0.1:{port}, where accounts are left out"
                    print(f"replaying {tenant} from {moment_text(base.moment_ms)} {where}", flush=True)
                    await _replay(past, copy, base, until, speed)
                    print(f"replayed {copy.events} events; Ctrl-C ends it", flush=True)
                    if copy.left_out:
                        print(LEFT_OUT.format(copy.left_out), flush=True)
                    await lengthening
            finally:
                await target.close()
    return 0


async def _replay(past: Past, copy: LogCopy, base: RegistryView, until: When, speed: float) -> None:
    walk = await past.walker(base.tenant, When(position=base.position))
    moment_ms = base.moment_ms
    end = until.position or await past.head(base.tenant)
    with Bar("replay", steps(base.position, end)) as bar:
        async for position, event, _ in walk.until(until):
            pause_s = (walk.view.moment_ms - moment_ms) / 1000 / speed if speed else 0.0
            moment_ms = walk.view.moment_ms
            bar.step()
            if pause_s > 0:
                await copy.flush()
                await asyncio.sleep(min(pause_s, PAUSE_MAX_S))
            if walk.began_anew:
                await copy.seed(walk.view)
            await copy.add(position, event)
    await copy.flush()


async def _lengthen(store: Store, tenant: Tenant) -> None:
    """Leases that a start has begun anew are made long again, until cancelled."""
    while True:
        view = (await restore(store, tenant, "replay")).view
        rows = [row for service in view.services.values() for row in service.instances.values()]
        for start in range(0, len(rows), LENGTHENED_MAX):
            some = rows[start : start + LENGTHENED_MAX]
            await store.beat(tenant, [Lease(row.service_id, row.instance_id, LEASE_MS) for row in some], "replay")
        await asyncio.sleep(LENGTHEN_EVERY_S)


@contextlib.contextmanager
def _private(settings: Settings) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="registry-replay-") as folder:
        private = PrivateRedis(folder, settings.redis_server)
        private.start()
        try:
            yield private.url
        finally:
            private.stop()


@contextlib.contextmanager
def _serving(redis_url: str, port: int) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    command = [sys.executable, "-m", "registry", "serve", "--redis-url", redis_url, "--port", str(port)]
    serving = subprocess.Popen([*command, "--log-level", "error"], env=environment, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        serving.terminate()
        serving.wait()


async def _until_ready(port: int) -> None:
    for _ in range(round(START_WITHIN_S / LOOK_EVERY_S)):
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    b"GET /v4/default/registry/health/readiness HTTP/1.1\r\nHost: replay\r\nConnection: close\r\n\r\n"
                )
                answer = await reader.read(64)
                writer.close()
            if answer.startswith(b"HTTP/1.1 200"):
                return
        await asyncio.sleep(LOOK_EVERY_S)
    raise CannotStart(f"the registry on port {port} has not started within {START_WITHIN_S:.0f} s")
