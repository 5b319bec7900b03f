"""What all verbs have in common: forms of output, colours on terminals only, examples in the help."""

from __future__ import annotations

import os
import pty
import subprocess

import msgspec
import pytest

from registry.cli import EXAMPLES
from registry.remote.asking import FORMS
from registry.remote.main import VERBS
from tests.remote.conftest import Shell
from tests.support.api import Api

ESCAPE = "\x1b["
#: Verbs that answer with something, and what they are asked.
ANSWERING = (
    ("services",),
    ("instances", "cart"),
    ("find", "shop/cart"),
    ("show", "cart"),
    ("status",),
    ("history", "cart"),
    ("explain", "cart", "i"),
    ("explain", "shop/cart"),
    ("diff", "cart", "--from", "1h"),
    ("events", "cart", "-n", "2"),
)


@pytest.fixture
def cart(api: Api) -> None:
    api.instance(api.service(version="1.0.0"), instanceId="i", status="UP")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ANSWERING, ids=" ".join)
def test_every_form_of_every_answer(shell: Shell, cart: None, verb: tuple[str, ...]) -> None:
    """JSON is JSON, in lines or whole; the same exit code; nothing that only a terminal understands."""
    done = {form: shell.run(*verb, "--output", form) for form in FORMS}
    assert len({one.code for one in done.values()}) == 1, done
    assert all(one.out and not one.err and ESCAPE not in one.out for one in done.values()), done
    assert shell.run(*verb, "--json").out[:1] == done["json"].out[:1]
    lines = done["ndjson"].out.splitlines()
    whole = msgspec.json.decode(done["json"].out)
    # A difference is lines in one form, and in the other what it was asked of, too.
    assert verb[0] == "diff" or len(lines) == (len(whole) if isinstance(whole, list) else 1)
    for line in lines:
        msgspec.json.decode(line)
    assert not done["table"].out.startswith(("{", "["))


@pytest.mark.slow
def test_colours_are_for_terminals_and_only_where_they_are_wanted(shell: Shell, cart: None) -> None:
    assert ESCAPE in on_a_terminal(shell)
    assert ESCAPE not in on_a_terminal(shell, NO_COLOR="1").replace(f"{ESCAPE}1m", "").replace(f"{ESCAPE}0m", "")
    assert ESCAPE not in shell.run_process("instances", "cart", TERM="xterm").out


def on_a_terminal(shell: Shell, **variables: str) -> str:
    """What `registry instances cart` writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**shell.environment, "TERM": "xterm", **variables}
    with subprocess.Popen(shell.command("instances", "cart"), stdout=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
        assert process.wait(30) == 0
    os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody writes to it any more
        return b""


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(shell: Shell, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    if verb in EXAMPLES and not VERBS[verb][0]:
        from registry.cli import main as on_the_store

        with pytest.raises(SystemExit):
            on_the_store([verb, "--help"])
        assert f"For example: registry {verb}" in " ".join(capsys.readouterr().out.split())
        return
    first, *lines = shell.run(verb, "--help").out.splitlines()
    assert first.startswith("Usage: ")
    assert any(f"registry {verb}" in line for line in lines)
