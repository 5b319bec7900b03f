"""Plots: a run as pictures. Needs matplotlib, which nothing else here does."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Outcome, Series
from benchmarks.report import Report

HOW_TO: Final = (
    "there are no plots because matplotlib is missing: `{python} -m pip install matplotlib`, "
    "then `scripts/bench --plot {file}`."
)
_BARS: Final = {
    "rates.png": ("requests per second", ("req/s", "bare req/s")),
    "cpu.png": ("CPU µs per request", ("CPU per request", "bare CPU per request")),
    "latency.png": ("ms, closed loop", ("p50", "p99", "p99.9")),
}


def plot(report: Report, folder: Path) -> list[Path]:
    """Draw bars of the closed loops and every curve.

    Raises:
        BenchmarkError: matplotlib is missing; the message says how to get the plots.
    """
    try:
        figure_of = importlib.import_module("matplotlib.figure").Figure
    except ImportError as exc:
        raise BenchmarkError(HOW_TO.format(python=sys.executable, file=folder / "results.json")) from exc
    draw = partial(_draw, figure_of)
    written = []
    closed = [outcome for outcome in report.outcomes if "ratio" in outcome.numbers]
    if closed:
        for name, (label, numbers) in _BARS.items():
            written.append(draw(folder / name, partial(_bars, outcomes=closed, names=numbers, label=label)))
    for outcome in report.outcomes:
        for what, points in outcome.series.items():
            path = folder / f"{outcome.name}-{_file_name(what)}.png"
            written.append(draw(path, partial(_curve, points=points, what=what, title=outcome.name)))
    return written


def _draw(figure_of: Callable[..., Any], path: Path, paint: Callable[[Any], None]) -> Path:
    figure = figure_of(figsize=(9, 5), layout="constrained")
    paint(figure.subplots())
    figure.savefig(path, dpi=100)
    return path


def _bars(axes: Any, outcomes: list[Outcome], names: tuple[str, ...], label: str) -> None:
    """One group of horizontal bars per scene, the first on top."""
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        values = [outcome.numbers[name].value if name in outcome.numbers else 0.0 for outcome in outcomes]
        rows = [row + place * height for row in range(len(outcomes))]
        axes.barh(rows, values, height, label=name)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(outcomes))], [outcome.name for outcome in outcomes])
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.legend()


def _curve(axes: Any, points: Series, what: str, title: str) -> None:
    upwards, _, along = what.partition(" against ")
    axes.plot([x for x, _ in points], [y for _, y in points], marker=".")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(along)
    axes.set_ylabel(upwards)
    axes.set_title(title)


def _file_name(what: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")
