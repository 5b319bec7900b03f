"""Sessions: `console` blocks of the documentation, typed again, each answer compared with what stands there."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.pages import REPOSITORY, blocks
from tests.support.tools import tool

#: What is another one each time, and what it is compared as.
VARYING: Final = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "MOMENT"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT"),
    (r"\w\w\w, \d\d \w\w\w \d{4} \d\d:\d\d:\d\d GMT", "MOMENT"),
    (r'(imestamp|Time)":"\d+"', r'\1":"SECONDS"'),
    (r'"id":"[0-9a-f]{32}"', '"id":"ID"'),
    (r"\b\d{13}-\d+\b", "POSITION"),
    (r"replica(\":\"| )[0-9a-f]{12}\b", r"replica\1NAME"),
    # Whether a heartbeat came since it was registered depends on how fast this machine is.
    (r" through replica NAME(?= and ended at )", ""),
    (r'"renewedThrough":"[^"]*",', ""),
    (r'userAgent":"[^"]*"', 'userAgent":"PROGRAM"'),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"ready 0\.1\.0 .*", "ready FIGURES"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
    (r"\b\d+ ms\b|(?<=lateMs\":)\d+", "N ms"),
)
#: These end with 1 where something is not the same, as it is in the pages.
DIFFERENT: Final = re.compile(r"registry (diff|import(?!.*--apply)) ")
#: For a whole session, on a busy machine.
LIMIT_S: Final = 180.0
_END: Final = "\n-- end of an answer: {} --\n"


class Typed(NamedTuple):
    """A command, and what it answers."""

    command: str
    answer: str


def session(page: str) -> list[Typed]:
    """What is typed in all `console` blocks of a page: behind each `$ `; a line that ends in a backslash goes on."""
    text = "\n".join(block.text for block in blocks(page) if block.language == "console")
    return [Typed(*each) for each in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)]


def play(
    page: str,
    port: int,
    folder: Path,
    variables: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
) -> None:
    """Type the session of a page, in one shell, against the registry at that port.

    Args:
        variables: further ones of its environment.
        ports: which port is meant where the page has another one than 30100.

    Raises:
        AssertionError: a command fails, or answers something else than stands there.
    """
    tool("curl")
    typed = session(page)
    end = _END.format("$?").replace("\n", "\\n")
    script = "".join(f'{command}\nprintf "{end}"\n' for command, _ in typed)
    for written, meant in {"30100": port, **(ports or {})}.items():
        script = script.replace(written, str(meant))
    done = subprocess.run(
        ["sh", "-uc", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=_environment(port) | dict(variables or {}),
        timeout=LIMIT_S,
    )
    said = re.sub(rf"\b{re.escape(socket.gethostname())}\s*$", "vm", done.stdout, flags=re.MULTILINE)
    for (command, expected), (answer, code) in zip(typed, _answers(said), strict=True):
        assert normal(answer) == normal(expected), f"{command} answered {answer}"
        assert code == (DIFFERENT.match(command) is not None), f"{command} ended with {code}"


def _answers(text: str) -> Iterator[tuple[str, int]]:
    pieces = re.split(_END.format(r"(\d+)"), text)
    return zip(pieces[::2], map(int, pieces[1::2]), strict=False)


def normal(text: str) -> list[str]:
    """Lines without what is another one each time, and without the widths of columns."""
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    for pattern, word in VARYING:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [line for line in lines if line]


def _environment(port: int) -> dict[str, str]:
    programs = REPOSITORY / ".venv" / "bin"
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "REGISTRY_SERVER": f"127.0.0.1:{port}"}
