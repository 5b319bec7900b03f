"""Exposition: families in the Prometheus text format, version 0.0.4, and what the library says of the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from registry.metrics.family import Family, Point

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Collected(Collector):
    """Gives the library what was counted elsewhere."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def render(families: Sequence[Family]) -> bytes:
    """The families as text, each with its help and its type. It takes some 5 µs for each line."""
    registry = CollectorRegistry()
    registry.register(Collected(families))
    return generate_latest(registry)


def of_process() -> list[Family]:
    """What the library says of this process: CPU, memory, files, garbage collection, Python."""
    collectors: Iterable[Collector] = (PROCESS_COLLECTOR, GC_COLLECTOR, PLATFORM_COLLECTOR)
    found: list[Family] = []
    for collector in collectors:
        for metric in collector.collect():
            counter = metric.type == "counter"
            points = [Point(dict(sample.labels), sample.value) for sample in metric.samples]
            name = f"{metric.name}_total" if counter else metric.name
            found.append(Family(name, metric.documentation, "counter" if counter else "gauge", points))
    return found


def _metric(family: Family) -> Metric:
    names = list(family.points[0].labels) if family.points else []
    match family.kind:
        case "counter":
            counter = CounterMetricFamily(family.name.removesuffix("_total"), family.help, labels=names)
            for point in family.points:
                counter.add_metric([point.labels[name] for name in names], point.value)
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(family.name, family.help, labels=names)
            for point in family.points:
                gauge.add_metric([point.labels[name] for name in names], point.value)
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(family.name, family.help, labels=names)
            bounds = [*map(floatToGoString, family.bounds), "+Inf"]
            for point in family.points:
                buckets = [(bound, float(count)) for bound, count in zip(bounds, accumulate(point.counts), strict=True)]
                histogram.add_metric([point.labels[name] for name in names], buckets, point.value)
            return histogram
