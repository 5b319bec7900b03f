"""`GET /metrics`: this replica's figures in the Prometheus text format."""

from __future__ import annotations

from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.metrics.figure import Figure
from registry.metrics.text import render


async def get_metrics(api: Api, call: Call) -> Reply:
    """`GET /metrics`: this replica's figures."""
    more = [figure for figures in api.more_figures for figure in figures()]
    more += [
        Figure("requests_under_way", "Requests that are being answered, bodies not awaited.", api.load.count),
        Figure("requests_refused_total", "There were too many under way.", api.load.refused, True),
    ]
    figures = [*api.figures(), *more, Figure("cache_bytes", "Bytes in the caches of the HTTP side.", api.cache_bytes)]
    return reply.text(200, render(figures) + "\n".join([*api.observer.lines(), ""]))
