"""Every `console` block is typed by a test, and answers what stands below each line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import DOCS, blocks, settings_of
from tests.support.replica import replica
from tests.support.sessions import Typed, play

pytestmark = pytest.mark.slow

#: The pages that have one, and with which settings their registry runs.
PLAYED: Final[Mapping[str, Mapping[str, str]]] = {
    "README.md": {},
    "tutorial.md": {},
    "operations.md": {},
    "history.md": {},
    "access.md": settings_of("access.md"),
}
#: ... and those of which other tests take care, or why not.
ELSEWHERE: Final = {
    "command.md": "tests/remote/test_page.py",
    "backup.md": "tests/backup/test_dump.py",
    "moving.md": "test_what_is_typed_to_import_answers_what_stands_there",
}


@pytest.mark.parametrize("page", PLAYED)
def test_what_is_typed_answers_what_stands_there(page: str, redis_url: str, key_prefix: str, tmp_path: Path) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    with replica(*options, environment=PLAYED[page]) as one:
        play(page, one.port, tmp_path)


def test_what_is_typed_to_import_answers_what_stands_there(redis_url: str, key_prefix: str, tmp_path: Path) -> None:
    with (
        replica("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}old:") as old,
        replica("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}new:") as new,
    ):
        api = old.api("default")
        api.instance(api.service("cart", version="1.0.0"), instanceId="a1")
        play("moving.md", new.port, tmp_path, ports={"41981": old.port, "41982": new.port})


def test_every_session_is_played() -> None:
    pages = ["README.md", *(path.name for path in DOCS.glob("*.md") if path.name != "README.md")]
    found = {page for page in pages if any(block.language == "console" for block in blocks(page))}
    assert found == {*PLAYED, *ELSEWHERE}


def test_a_session_that_is_not_true_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*typed: tuple[str, str]) -> None:
        monkeypatch.setattr("tests.support.sessions.session", lambda page: [Typed(*each) for each in typed])
        play("a page", 1, tmp_path)

    told(("A=1", ""), ("echo $A", "1"), ('echo "at 2026-11-29T22:38:13.004Z"', "at 2020-01-01T00:00:00Z"))
    for wrong in (("echo 1", "2"), ("echo 1", ""), ("false", ""), ("true", "1"), ("exit 0", "")):
        with pytest.raises((AssertionError, ValueError)):
            told(wrong)
