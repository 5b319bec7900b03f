"""Figure: something that a replica has to say of itself in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from registry.histogram import Histogram

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Figure(NamedTuple):
    """One number. `counter`: it only grows while the replica lives; else it is what it is now.

    Figures of one name have the same help and the same names of labels. Names are without the prefix `registry_`.
    """

    name: str
    help: str
    value: float
    counter: bool = False
    labels: Mapping[str, str] = _NONE


class Spread(NamedTuple):
    """A histogram. Its name ends with its unit."""

    name: str
    help: str
    histogram: Histogram
    labels: Mapping[str, str] = _NONE


Told = Figure | Spread
