"""`GET /metrics`: this replica's figures in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Sequence

from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.figure import Figure
from registry.http_api.reply import Reply


async def get_metrics(api: Api, call: Call) -> Reply:
    """`GET /metrics`: this replica's figures."""
    more = [figure for figures in api.more_figures for figure in figures()]
    more += [
        Figure("requests_under_way", "Requests that are being answered, bodies not awaited.", api.load.count),
        Figure("requests_refused_total", "There were too many under way.", api.load.refused, True),
    ]
    figures = [*api.figures(), *more, Figure("cache_bytes", "Bytes in the caches of the HTTP side.", api.cache_bytes)]
    return reply.text(200, render(figures) + "\n".join([*api.observer.lines(), ""]))


def render(figures: Sequence[Figure]) -> str:
    """The text format, version 0.0.4."""
    lines: list[str] = []
    for figure in figures:
        name = f"registry_{figure.name}"
        lines.append(f"# HELP {name} {figure.help}")
        lines.append(f"# TYPE {name} {'counter' if figure.counter else 'gauge'}")
        lines.append(f"{name} {figure.value:.15g}")
    return "\n".join(lines) + "\n"
