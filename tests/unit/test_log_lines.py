"""What a line of the log looks like: whatever a client has sent, it is one line that says what was meant."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.log_lines import JsonLines, TextLines

NAMES = st.sampled_from(["action", "tenant", "target"])


def record(message: str, level: int = logging.INFO, /, **fields: Any) -> logging.LogRecord:
    made = {"msg": "%s", "args": (message,), "levelno": level, "levelname": logging.getLevelName(level)}
    return logging.makeLogRecord({**made, **fields})


@given(st.text(), st.dictionaries(NAMES, st.text()))
def test_json_says_everything_in_one_object(message: str, fields: dict[str, str]) -> None:
    line = JsonLines("a1b2").format(record(message, **fields))
    assert "\n" not in line
    read = json.loads(line)
    assert read.pop("at").endswith("Z")
    assert read == {"level": "info", "replica": "a1b2", "pid": os.getpid(), "message": message, **fields}


def test_process_that_is_no_replica_names_none() -> None:
    assert "replica" not in json.loads(JsonLines("").format(record("x")))


@given(st.text(), st.dictionaries(NAMES, st.text()))
def test_text_is_one_line_of_what_a_terminal_can_show(message: str, fields: dict[str, str]) -> None:
    """A name with a line end in it, or an escape, must not look like another line or change the screen."""
    line = TextLines().format(record(message, **fields))
    assert line.replace("·", "").isprintable()
    for name, value in fields.items():
        if value.isprintable():
            assert f" {name}={value}" in line or f' {name}="{value}"' in line


def test_text_says_how_grave_a_line_is_unless_that_is_usual() -> None:
    assert TextLines().format(record("all is well")).endswith(" all is well")
    assert TextLines().format(record("not well", logging.WARNING, action="a")).endswith(" WARNING not well · action=a")


def test_an_exception_follows_its_line() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    assert TextLines().format(failed).endswith("ValueError: wrong")
    assert json.loads(JsonLines("r").format(failed))["exception"].endswith("ValueError: wrong")
