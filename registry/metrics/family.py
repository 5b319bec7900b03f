"""Family: figures of one name, as values that processes can send each other and that can be put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct, structs

from registry.metrics.figure import Figure, Told

#: What every name of the registry's own begins with.
PREFIX: Final = "registry_"
#: The label that tells workers apart which are scraped together.
WORKER: Final = "worker"


class Point(Struct, frozen=True, array_like=True):
    """One number with its labels; of a histogram the counts by bucket, and their sum in `value`."""

    labels: dict[str, str]
    value: float
    counts: list[int] = []


class Family(Struct, frozen=True, array_like=True):
    """All points of one name. `bounds`: of a histogram's buckets but the last."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    points: list[Point]
    bounds: Sequence[float] = ()


encode_families = msgspec.msgpack.Encoder().encode
decode_families = msgspec.msgpack.Decoder(list[Family]).decode


def families(told: Iterable[Told]) -> list[Family]:
    """The figures by their names, in the order in which these come first."""
    found: dict[str, Family] = {}
    for one in told:
        name = PREFIX + one.name
        family = found.get(name)
        if isinstance(one, Figure):
            family = family or Family(name, one.help, "counter" if one.counter else "gauge", [])
            family.points.append(Point(dict(one.labels), one.value))
        else:
            histogram = one.histogram
            family = family or Family(name, one.help, "histogram", [], histogram.bounds)
            family.points.append(Point(dict(one.labels), histogram.sum, list(histogram.counts)))
        found[name] = family
    return list(found.values())


def together(by_worker: Mapping[str, Sequence[Family]]) -> list[Family]:
    """The families of several workers as one: each point says whose it is.

    Nothing is added up: one worker's counters begin anew when it is started again, and a sum would fall.
    """
    found: dict[str, Family] = {}
    for worker, told in by_worker.items():
        for family in told:
            whole = found.setdefault(family.name, structs.replace(family, points=[]))
            for point in family.points:
                whole.points.append(structs.replace(point, labels={**point.labels, WORKER: worker}))
    return list(found.values())
