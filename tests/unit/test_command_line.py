"""The command line: what it says of itself."""

from __future__ import annotations

import pytest

from registry.cli import main


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_names_what_people_may_give_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Workers are started by the registry itself; people who read of them try it."""
    for text in (help_of(capsys), help_of(capsys, "serve")):
        assert "SUPPRESS" not in text
        assert "--fd" not in text
    assert "worker " not in help_of(capsys)


def test_help_shows_the_form_of_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "serve")
    assert "--advertise HOST:PORT where clients reach this replica" in text
    assert "--fast-lane ON|OFF" in text
