"""Progress of work on whole logs: shown at a terminal once it takes more than a second, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from registry.domain.events import encode_event
from tests.support.builders import microservice, service_registered

pytestmark = pytest.mark.slow

#: Enough of them for each verb to take more than a second.
EVENTS = 200_000
LIMIT_S = 120


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("export") / "log.ndjson"
    event = msgspec.to_builtins(msgspec.msgpack.decode(encode_event(service_registered(microservice("cart")))))
    lines = [
        {"type": "registry-log", "format": 1},
        {"type": "tenant", "domain": "d", "project": "p", "after": "0-0"},
        *({"type": "event", "position": f"7-{n}", "event": {**event, "number": n}} for n in range(1, EVENTS + 1)),
        {"type": "end", "events": EVENTS},
    ]
    file.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    return file


def run(*arguments: str, terminal: bool) -> str:
    """What the verb says on standard error, which is a terminal or a pipe."""
    command = [sys.executable, "-m", "registry", *arguments]
    if not terminal:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
        return done.stderr
    ours, theirs = pty.openpty()
    said: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 65536):
                said.append(part)
        except OSError:
            pass  # the last one who had it open has closed it

    reading = threading.Thread(target=read)
    reading.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, timeout=LIMIT_S, check=True)
    finally:
        os.close(theirs)
        reading.join()
        os.close(ours)
    return b"".join(said).decode()


def test_progress_is_shown_at_a_terminal_and_nowhere_else(
    exported: Path, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    store = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    other = ("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}other:")
    out = str(tmp_path / "out.ndjson")
    verbs = {
        "import-log": ("import-log", str(exported), *store),
        "verify": ("verify", *store),
        "export": ("export", out, *store),
    }
    for name, verb in verbs.items():
        shown = run(*verb, terminal=True)
        assert "━" in shown, f"{name}: {shown!r}"
    assert "\x1b[" not in run("import-log", str(exported), *other, terminal=False)
    for name in ("verify", "export"):
        assert "\x1b[" not in run(*verbs[name], terminal=False), name
