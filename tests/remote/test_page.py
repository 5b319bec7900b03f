"""registry/docs/command.md: what is typed there answers what stands there, and its tables are those of the code."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Final

import pytest

from registry.remote.asking import IN_PROFILES
from registry.remote.failing import Exit
from registry.remote.main import VERBS
from tests.remote.conftest import Shell
from tests.support.replica import replica

PAGE: Final = (Path(__file__).resolve().parents[2] / "registry" / "docs" / "command.md").read_text()
BLOCKS: Final = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: What is another one each time.
VARYING: Final = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r'imestamp":"\d+"', 'imestamp":"TIME"'),
    (r"http://127\.0\.0\.1:\d+", "ADDRESS"),
    (r"ready 0\.1\.0 .*", "ready FIGURES"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"position \d+-\d+", "position PLACE"),
    (r"replica [0-9a-f]{12}", "replica REPLICA"),
    (r"eyJ\S+", "TOKEN"),
)
PASSWORDS: Final = {"REGISTRY_PASSWORD": "Root_password_1", "REGISTRY_NEW_PASSWORD": "Ann_password_1"}
#: How the registry of each block of commands is set up, and who types.
SETTINGS: Final[list[tuple[dict[str, str], dict[str, str]]]] = [
    ({}, {}),
    ({"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": "Root_password_1"}, PASSWORDS),
]


def normal(text: str) -> list[str]:
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    for pattern, word in VARYING:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [re.sub(r"\b(vm|HOST)$|(?<=hostName\":\")vm", "vm", line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SETTINGS)))
def test_what_is_typed_answers_what_stands_there(
    shell: Shell, redis_url: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    sessions = [text for language, text in BLOCKS if language == "console"]
    assert len(sessions) == len(SETTINGS)
    typed = re.findall(r"^\$ registry (.*)\n((?:(?!\$ ).*\n)*)", sessions[number], re.MULTILINE)
    assert len(typed) == sessions[number].count("$ registry ")
    environment, variables = SETTINGS[number]
    options = ("--redis-url", redis_url, "--redis-prefix", f"page-{number}-{os.getpid()}:")
    with replica(*options, environment=environment) as one:
        where = {"REGISTRY_SERVER": f"127.0.0.1:{one.port}", "REGISTRY_TENANT": "default", **variables}
        for command, answer in typed:
            done = shell.run(*shlex.split(command), **where)
            assert normal(done.out + done.err) == normal(answer), command


def test_table_of_verbs_is_that_of_the_command() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", PAGE, re.MULTILINE)
    assert rows == [(name, about) for name, (_, about) in VERBS.items()]


def test_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert rows == {code for code in Exit if code is not Exit.INTERRUPTED}


def test_profile_could_be_used() -> None:
    (profile,) = (tomllib.loads(text) for language, text in BLOCKS if language == "toml")
    assert set(profile["far"]) <= set(IN_PROFILES)
    assert {language for language, _ in BLOCKS} == {"console", "toml"}
