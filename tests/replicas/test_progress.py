"""Progress of work on whole logs: shown at a terminal once it takes longer than some time, and nowhere else."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.domain.events import Event
from registry.running.progress import LOOK_EVERY
from tests.support.builders import instance, instance_registered, microservice, service_registered
from tests.support.redis_modes import free_port

pytestmark = pytest.mark.slow

#: More than are done between two looks at the clock; and instances, of which dumps consist.
EVENTS = 4 * LOOK_EVERY
INSTANCES = 4 * LOOK_EVERY
LIMIT_S = 120
#: `registry`, for which this number of seconds is a long time.
PROGRAM = """
import sys
from registry.command import main
from registry.running import progress
progress.SHOWN_AFTER_S = {}
sys.exit(main())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_of(
        tmp_path_factory.mktemp("export") / "log.ndjson", [service_registered(microservice("cart"))] * EVENTS
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    comes = (instance_registered(instance("cart", f"i{number}"), chosen=True) for number in range(INSTANCES))
    events: list[Event] = [service_registered(microservice("cart"), chosen=True), *comes]
    return export_of(tmp_path_factory.mktemp("export") / "many.ndjson", events)


def export_of(file: Path, events: Sequence[Event]) -> Path:
    lines: list[Any] = [
        {"type": "registry-log", "format": 1},
        {"type": "tenant", "domain": "default", "project": "default", "after": "0-0"},
        *({"type": "event", "position": f"7-{number}", "event": event} for number, event in enumerate(events, 1)),
        {"type": "end", "events": len(events)},
    ]
    file.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    return file


def run(*arguments: str, terminal: bool, until: str = "", shown_after_s: float = 0.0) -> str:
    """What the verb says on standard error, which is a terminal or a pipe; it is ended when it has written `until`."""
    command = [sys.executable, "-c", PROGRAM.format(shown_after_s), *arguments]
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
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True) as running:
            assert running.stdout is not None
            if until:
                assert any(until in line for line in running.stdout)
                running.send_signal(signal.SIGINT)
            running.communicate(timeout=LIMIT_S)
        assert until or running.returncode == 0
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
    assert "━" not in run(*verbs["verify"], terminal=True, shown_after_s=LIMIT_S)
    for name in ("verify", "export"):
        assert "\x1b[" not in run(*verbs[name], terminal=False), name
    with Path(out).open() as lines:
        first = json.loads([next(lines) for _ in range(2)][1])["after"]
    replay = ("replay", "--from", first, "--speed", "0", "--on", str(free_port()), *store)
    assert "━" in run(*replay, terminal=True, until="Ctrl-C ends it")


def test_progress_of_dump_and_restore_is_shown_at_a_terminal_and_nowhere_else(
    many: Path, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    store = ("--redis-url", redis_url, "--redis-prefix", key_prefix)
    run("import-log", str(many), *store, terminal=False)
    out = str(tmp_path / "out.ndjson")
    assert "━" in run("dump", out, *store, terminal=True)
    assert "\x1b[" not in run("dump", out, *store, terminal=False)
    for terminal, shown in ((True, "━"), (False, "")):
        other = ("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}{terminal}:")
        said = run("restore", out, *other, terminal=terminal)
        assert (shown in said, "\x1b[" in said) == (True, terminal)
