"""`GET /metrics`: this replica's figures, and those of the workers beside it, in the Prometheus text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from registry.http_api import reply
from registry.http_api.api import Api, Workers
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.metrics.family import PREFIX, WORKER, Family, Point, families, together
from registry.metrics.figure import Figure, Told

#: More lines than these, which take some ten milliseconds, are written beside the loop.
BESIDE_MIN_LINES: Final = 2000


async def get_metrics(api: Api, call: Call) -> Reply:
    """`GET /metrics`: the figures of the replica that answers, and of the workers beside it."""
    told = await (replica_families(api) if api.workers is None else _of_all(api.workers))
    from registry.metrics.exposition import CONTENT_TYPE, render  # as in `_of_process`

    lines = sum(len(point.counts) or 1 for family in told for point in family.points)
    body = render(told) if lines < BESIDE_MIN_LINES else await asyncio.to_thread(render, told)
    return reply.of_type(CONTENT_TYPE, body)


async def _of_all(workers: Workers) -> list[Family]:
    by_worker = await workers.families()
    up = [Point({WORKER: worker}, float(bool(told))) for worker, told in by_worker.items()]
    help = "1 while the worker tells its figures."
    return [Family(f"{PREFIX}worker_up", help, "gauge", up), *together(by_worker)]


async def replica_families(api: Api) -> list[Family]:
    """This replica's own, and those of its process: the system is asked beside the loop."""
    return [*families(_figures(api)), *await asyncio.to_thread(_of_process)]


def _of_process() -> list[Family]:
    # Loaded by the first scrape, in a thread: neither a start nor anyone who is served waits for the library.
    from registry.metrics.exposition import of_process

    return of_process()


def _figures(api: Api) -> Iterator[Told]:
    for figures in api.figures:
        yield from figures()
    under_way = "Requests that are being answered, bodies not awaited."
    yield Figure("requests_under_way", under_way, api.load.count)
    yield Figure("requests_refused_total", "Requests refused: too many under way.", api.load.refused, True)
    yield Figure("ready", "1 while this replica may be sent requests.", float(not api.not_ready()))
    for cache, size in api.caches.items():
        yield Figure("cache_bytes", "Bytes in the caches of the HTTP side.", size(), False, {"cache": cache})
    yield from api.observer.figures()
