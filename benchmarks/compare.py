"""Compare: what has become better or worse from one run to another, and what does not compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Number, Outcome
from benchmarks.report import Report, digits

#: Numbers that were measured once have no span to judge by: a smaller change of those is none.
NOISE: Final = 0.1
HEAD: Final = ("scene", "number", "before", "after", "unit", "change", "")


def read(path: Path) -> Report:
    """A run from its file.

    Raises:
        BenchmarkError: it is not one that this tool has written.
    """
    try:
        return Report.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise BenchmarkError(f"{path} is no results.json of this tool: {exc!r}.") from exc


def markdown(before: Report, after: Report) -> str:
    """A table of every number that both runs have, and a line for what only one has, or has in another setting."""
    rule = ["---", "---", "---:", "---:", "---", "---:", "---"]
    lines = [f"| {' | '.join(row)} |" for row in (HEAD, rule, *rows(before, after))]
    return "\n".join([*lines, *(f"\n{remark}" for remark in remarks(before, after))])


def rows(before: Report, after: Report) -> Iterator[tuple[str, ...]]:
    """One row per number."""
    for old, new in _pairs(before, after):
        for name, number in old.numbers.items():
            if name in new.numbers:
                yield _row(old.name, name, number, new.numbers[name])


def remarks(before: Report, after: Report) -> Iterator[str]:
    """What to know before believing the table."""
    for old, new in _pairs(before, after):
        for name in {**old.setting, **new.setting}:
            was, is_now = old.setting.get(name), new.setting.get(name)
            if was != is_now:
                yield f"{old.name} does not compare as it is: {name} was {was} and is {is_now}."
    names = [{outcome.name for outcome in report.outcomes} for report in (before, after)]
    for which, only in (("first", names[0] - names[1]), ("second", names[1] - names[0])):
        if only:
            yield f"Only the {which} run has {', '.join(sorted(only))}."
    for key in ("processor", "cores"):
        if before.machine.get(key) != after.machine.get(key):
            yield f"The machines differ: {key} {before.machine.get(key)} and {after.machine.get(key)}."


def verdict(old: Number, new: Number) -> str:
    """`better` or `worse` when the rounds of the two do not overlap (measured once: differ by a tenth), else empty."""
    if not old.better or new.value == old.value:
        return ""
    (old_low, old_high), (new_low, new_high) = old.span, new.span
    if len(old.rounds) > 1 and len(new.rounds) > 1:
        differs = new_low > old_high or new_high < old_low
    else:
        differs = abs(new.value - old.value) > NOISE * abs(old.value)
    if not differs:
        return ""
    return "better" if (new.value > old.value) == (old.better == "more") else "worse"


def _pairs(before: Report, after: Report) -> Iterator[tuple[Outcome, Outcome]]:
    later = {outcome.name: outcome for outcome in after.outcomes}
    return ((outcome, later[outcome.name]) for outcome in before.outcomes if outcome.name in later)


def _row(scene: str, name: str, old: Number, new: Number) -> tuple[str, ...]:
    change = f"{new.value / old.value - 1:+.1%}" if old.value else "-"
    return scene, name, digits(old.value), digits(new.value), old.unit, change, verdict(old, new)
