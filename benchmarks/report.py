"""Report: outcomes as tables for a terminal or in Markdown, and as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.outcome import Number, Outcome

#: The columns of the closed loops: heading, number of the outcome, decimals.
CLOSED: Final = (
    ("req/s", "req/s", 0),
    ("p50 ms", "p50", 2),
    ("p99 ms", "p99", 2),
    ("p99.9 ms", "p99.9", 2),
    ("CPU µs", "CPU per request", 1),
    ("of it redis", "of it redis", 1),
    ("busy", "busy", 2),
    ("wrk busy", "wrk busy", 2),
    ("bare req/s", "bare req/s", 0),
    ("bare CPU µs", "bare CPU per request", 1),
    ("bare busy", "bare busy", 2),
    ("ratio", "ratio", 2),
)
CLOSED_HEAD: Final = ("scene", "conns", "body B", *(heading for heading, _, _ in CLOSED), "(min–max)")
OTHER_HEAD: Final = ("scene", "number", "value", "unit", "(min–max)")

Table = Sequence[Sequence[str]]


@dataclass(slots=True)
class Report:
    """Everything that one run has to tell."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    outcomes: list[Outcome] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Scenes that could not be asked, each with the reason."""
    problems: list[str] = field(default_factory=list)
    """Why the run fails; empty when it does not."""

    def as_json(self) -> dict[str, Any]:
        """Everything, with every round, for later comparison."""
        return {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "options": {name: str(value) for name, value in self.options.items()},
            "skipped": self.skipped,
            "problems": self.problems,
            "scenes": [outcome.as_json() for outcome in self.outcomes],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Report:
        """Read what `as_json` wrote, after it went through a file."""
        outcomes = [Outcome.from_json(scene) for scene in written["scenes"]]
        facts = {name: written[name] for name in ("machine", "versions", "options", "skipped", "problems")}
        return cls(**facts, outcomes=outcomes)


def text(report: Report) -> str:
    """The tables for a terminal."""
    return "\n\n".join(_columns(table) for table in _tables(report.outcomes))


def markdown(report: Report) -> str:
    """The tables for a README."""
    return "\n\n".join(_pipes(table) for table in _tables(report.outcomes))


def page(report: Report) -> str:
    """A page of Markdown about the whole run."""
    facts = [f"- {name}: {value}" for name, value in {**report.machine, **report.versions, **report.options}.items()]
    skipped = [f"- {name} was skipped: {why}" for name, why in report.skipped.items()]
    problems = [f"- **failed**: {problem}" for problem in report.problems]
    settings = [f"- {outcome.name}: {outcome.question}; {_setting(outcome)}" for outcome in report.outcomes]
    head = ["# Results", "", *facts, "", *skipped, *problems, "", "## Scenes", "", *settings, "", "## Numbers", ""]
    return "\n".join(head) + "\n" + markdown(report) + "\n"


def _tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """One of the closed loops with a row per scene, one of all others with a row per number."""
    closed = [outcome for outcome in outcomes if "ratio" in outcome.numbers]
    others = [outcome for outcome in outcomes if "ratio" not in outcome.numbers]
    tables: list[Table] = []
    if closed:
        tables.append([CLOSED_HEAD, *(_closed_row(outcome) for outcome in closed)])
    rows = [_other_row(outcome.name, name, number) for outcome in others for name, number in outcome.numbers.items()]
    rows += [
        (outcome.name, f"errors: {what}", f"{count:,}", "", "")
        for outcome in outcomes
        for what, count in outcome.errors.items()
    ]
    if rows:
        tables.append([OTHER_HEAD, *rows])
    return tables


def _closed_row(outcome: Outcome) -> tuple[str, ...]:
    numbers = outcome.numbers
    cells = (_cell(numbers.get(name), decimals) for _, name, decimals in CLOSED)
    size = f"{outcome.setting['body bytes']:,}"
    low, high = numbers["ratio"].span
    return (outcome.name, str(outcome.setting["connections"]), size, *cells, f"({low:.2f}–{high:.2f})")


def _cell(number: Number | None, decimals: int) -> str:
    return "-" if number is None else f"{number.mark}{number.value:,.{decimals}f}"


def _other_row(scene: str, name: str, number: Number) -> tuple[str, ...]:
    low, high = number.span
    span = f"({digits(low)}–{digits(high)})" if len(number.rounds) > 1 else ""
    return scene, name, f"{number.mark}{digits(number.value)}", number.unit, span


def digits(value: float) -> str:
    """A number with about three digits that count."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _setting(outcome: Outcome) -> str:
    return ", ".join(f"{name} {value}" for name, value in outcome.setting.items())


def _columns(table: Table) -> str:
    """The first column to the left, numbers to the right; of a row's words, too, the first two to the left."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    left = 2 if table[0] == OTHER_HEAD else 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def _pipes(table: Table) -> str:
    left = 2 if table[0] == OTHER_HEAD else 1
    rule = ["---" if column < left else "---:" for column in range(len(table[0]))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (table[0], rule, *table[1:]))
