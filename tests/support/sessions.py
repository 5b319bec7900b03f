"""Sessions: `console` blocks of the documentation, typed again, each answer compared with what stands there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.pages import REPOSITORY
from tests.support.tools import tool

#: What is another one each time, and what it is compared as.
VARYING: Final = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "MOMENT"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT"),
    (r"\w\w\w, \d\d \w\w\w \d{4} \d\d:\d\d:\d\d GMT", "MOMENT"),
    (r'imestamp":"\d+"', 'imestamp":"SECONDS"'),
    (r"\b\d{13}-\d+\b", "POSITION"),
    (r"replica(\":\"| )[0-9a-f]{12}\b", r"replica\1NAME"),
    (r'userAgent":"[^"]*"', 'userAgent":"PROGRAM"'),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
)
#: For one command, on a busy machine.
LIMIT_S: Final = 120.0


class Typed(NamedTuple):
    """A command, and what it answers."""

    command: str
    answer: str


def typed(session: str) -> list[Typed]:
    """What stands behind each `$ `; a line that ends in a backslash goes on in the next."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    return [Typed(*each) for each in found]


def play(session: str, port: int, folder: Path) -> None:
    """Type it against the registry at that port. Variables that are set stay set.

    Raises:
        AssertionError: a command fails, or answers something else than stands there.
    """
    tool("curl")
    given = ""
    for command, answer in typed(session):
        text = command.replace("30100", str(port))
        if re.match(r"^[A-Z]+=", text):
            given += f"{text}\n"
            continue
        done = subprocess.run(
            ["sh", "-euc", given + text],
            capture_output=True,
            text=True,
            cwd=folder,
            env=_environment(port),
            timeout=LIMIT_S,
        )
        assert normal(done.stdout + done.stderr) == normal(answer), command


def normal(text: str) -> list[str]:
    """Lines without what is another one each time, and without the widths of columns."""
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    for pattern, word in VARYING:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [line for line in lines if line]


def _environment(port: int) -> dict[str, str]:
    programs = REPOSITORY / ".venv" / "bin"
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "REGISTRY_SERVER": f"127.0.0.1:{port}"}
