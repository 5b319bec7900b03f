"""Writing answers: a table for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from registry.remote.asking import Form

T = TypeVar("T")
STYLES: Final = {
    "UP": "green",
    "DOWN": "red",
    "OUTOFSERVICE": "yellow",
    "STARTING": "yellow",
    "TESTING": "yellow",
    "added": "green",
    "removed": "red",
    "changed": "yellow",
}
#: Where nobody looks at a terminal nothing is cut off, however long it is.
WIDTH_ELSEWHERE: Final = 10_000


class Column(NamedTuple, Generic[T]):
    """One column of a table. `wide`: only shown by `--output wide`."""

    title: str
    text: Callable[[T], str]
    wide: bool = False


def write_rows(form: Form, rows: Sequence[T], columns: Sequence[Column[T]]) -> None:
    """Write one line for each row, or the rows as they come from the API."""
    match form:
        case "json":
            write_json(rows)
        case "ndjson":
            for row in rows:
                write_line(row)
        case _:
            _write_table(rows, [column for column in columns if form == "wide" or not column.wide])


def write_one(form: Form, value: Any) -> None:
    """Write the one value that is the answer, as JSON."""
    if form == "ndjson":
        write_line(value)
    else:
        write_json(value)


def write_json(value: Any) -> None:
    """Write a value over several lines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def write_line(value: Any) -> None:
    """Write a value on one line, at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def _write_table(rows: Sequence[T], columns: Sequence[Column[T]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, no_wrap=not sys.stdout.isatty(), overflow="fold")
    for row in rows:
        table.add_row(*(_styled(column.text(row)) for column in columns))
    console().print(table)


def _styled(text: str) -> Any:
    from rich.text import Text

    return Text(text, STYLES.get(text, ""))


def console() -> Any:
    """The terminal, with colours; elsewhere plain text of any width."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)


def pairs(values: dict[str, str]) -> str:
    """Properties or tags, `key=value key=value`."""
    return " ".join(f"{key}={value}" for key, value in sorted(values.items()))
