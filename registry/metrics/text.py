"""Text: figures in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Sequence

from registry.metrics.figure import Figure


def render(figures: Sequence[Figure]) -> str:
    """The figures, each with its help and its type."""
    lines: list[str] = []
    for figure in figures:
        name = f"registry_{figure.name}"
        lines.append(f"# HELP {name} {figure.help}")
        lines.append(f"# TYPE {name} {'counter' if figure.counter else 'gauge'}")
        lines.append(f"{name} {figure.value:.15g}")
    return "\n".join(lines) + "\n"
