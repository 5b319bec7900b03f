"""Figures of /metrics, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from registry.bootstrap import Replica
from registry.http_api.metrics import replica_families
from registry.metrics.exposition import render

#: A series: its name, and its labels sorted.
Series = tuple[str, tuple[tuple[str, str], ...]]


def series(name: str, **labels: str) -> Series:
    return name, tuple(sorted(labels.items()))


def scraped(text: str | bytes) -> dict[Series, float]:
    """Every series with its value. A series that is there twice is a mistake."""
    found: dict[Series, float] = {}
    for metric in metrics(text):
        for sample in metric.samples:
            key = series(sample.name, **sample.labels)
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def metrics(text: str | bytes) -> Iterable[Metric]:
    return text_string_to_metric_families(text.decode() if isinstance(text, bytes) else text)


async def of_replica(replica: Replica) -> dict[Series, float]:
    """What a replica in this process would tell."""
    return scraped(render(await replica_families(replica.api)))
