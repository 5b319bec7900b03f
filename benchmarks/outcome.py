"""Outcome: what one scene has come to, as plain numbers that can be written, read back and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

Better = Literal["more", "less", ""]
Series = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Number:
    """One measured quantity."""

    value: float
    """The median, when it was measured more than once."""
    unit: str = ""
    better: Better = ""
    """Which way is good; empty: neither."""
    rounds: tuple[float, ...] = ()
    mark: str = ""
    """`~`: too coarse to be exact. `?`: something held the measurement up."""

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest round."""
        values = self.rounds or (self.value,)
        return min(values), max(values)


def median_of(rounds: Sequence[float], unit: str = "", better: Better = "", mark: str = "") -> Number:
    """A number that was measured in rounds."""
    return Number(median(rounds), unit, better, tuple(rounds), mark)


@dataclass(slots=True)
class Outcome:
    """One scene of one run."""

    name: str
    question: str
    setting: dict[str, Any] = field(default_factory=dict)
    """What it was measured with (connections, instances, rates): outcomes with other settings do not compare."""
    numbers: dict[str, Number] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    """Requests that were not answered as they must be, by kind and status."""
    series: dict[str, Series] = field(default_factory=dict)
    """Curves to plot; the key is `what against what`."""
    problem: str = ""
    """Why the run fails, in one sentence; empty when it does not."""

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Outcome:
        """Read what `as_json` wrote, after it went through a file."""
        numbers = {
            key: Number(**{**number, "rounds": tuple(number["rounds"])}) for key, number in written["numbers"].items()
        }
        series = {key: [(x, y) for x, y in points] for key, points in written["series"].items()}
        return cls(**{**written, "numbers": numbers, "series": series})
