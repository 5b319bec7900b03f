"""Every block of README.md and of the pages can be pasted as it is: each is executed, or validated, by a test."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from registry.environment import read_settings
from tests.support.deployments import check_deployment
from tests.support.pages import DOCS, REPOSITORY, block, blocks, is_settings, settings_of
from tests.support.replica import Replica, replica
from tests.support.sessions import play

#: The page and the beginning of each block of `sh` and the like, and where it is executed. Those of settings and of
#: deployments are validated here, sessions (`console`) are typed by `test_sessions.py`.
EXECUTED: Final = {
    ("README.md", "scripts/serve"): "tests/docs/test_scripts.py",
    ("README.md", "docker compose up"): "no engine here; the file is validated in tests/deploy/test_compose.py",
    ("access.md", "registry accounts rotate-key"): "tests/docs/test_blocks.py",
    ("api.md", "H=http://127.0.0.1:30100"): "tests/docs/test_blocks.py",
    ("archive.md", "scripts/serve"): "tests/docs/test_blocks.py",
    ("client.md", "# "): "tests/client/test_docs.py",
    ("command.md", "[far]"): "tests/remote/test_page.py",
    ("deploy.md", "docker build"): "no engine here; the Dockerfile is judged in tests/deploy/test_compose.py",
    (
        "deploy.md",
        "REGISTRY_PUBLISH_ON",
    ): "no engine here; both are variables of the file that tests/deploy/test_compose.py reads",
    ("deploy.md", "kubectl create"): "no cluster here; the manifests are judged in tests/deploy/test_kubernetes.py",
    ("deploy.md", "python3 -m venv /opt"): "it needs root; the unit is judged in tests/deploy/test_systemd.py",
    ("deploy.md", "valkey-server"): "tests/deploy/test_by_hand.py",
    ("migration.md", "registry import"): "tests/docs/test_blocks.py",
    ("moving.md", "$ registry mirror"): "it runs until Ctrl-C; the verb is tried in tests/remote/test_mirror.py",
    ("production.md", "redis-cli ACL SETUSER"): "tests/modes/test_secured.py",
    ("tutorial.md", "scripts/serve"): "tests/docs/test_scripts.py",
}
PAGES: Final = ("README.md", *sorted(path.name for path in DOCS.glob("*.md") if path.name != "README.md"))
#: What the lines of the block about the past answer, after the five minutes.
ANSWERED_OF_THE_PAST: Final = (
    r'\{"serviceId":"cart-1","instanceId":"a","state":"left","sentence":"Instance a of shop/cart 1.*',
    r'\{"events":\[\{.*"kind":"instance-registered".*"kind":"service-registered".*\],"next":"".*',
    r"HTTP/1.1 200 OK.*X-Registry-As-Of: 2.*",
    r'\{"services":\{"added":\[\],.*\}',
)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_executed_by_a_test(name: str) -> None:
    """A new one needs a test before it stands there."""
    begins = [begins for page, begins in EXECUTED if page == name]
    found = blocks(name)
    for language, text in found:
        if language == "yaml":
            check_deployment(text)
        elif language == "sh" and is_settings(text):
            read_settings(settings_of(name))
        elif language == "json":
            assert all(json.loads(line) for line in text.splitlines())
        elif language != "console" and not is_drawing(language, text):
            assert any(text.startswith(each) for each in begins), f"nobody executes this block: {text}"
    assert [each for each in begins if not any(text.startswith(each) for _, text in found)] == []


def is_drawing(language: str, text: str) -> bool:
    """No program: every line of it is indented."""
    return language == "text" and all(line.startswith("   ") or not line for line in text.splitlines())


def test_every_test_that_executes_a_block_is_there() -> None:
    named = [re.findall(r"tests/[\w/]+\.py", where) for where in EXECUTED.values()]
    assert all(paths and all((REPOSITORY / path).exists() for path in paths) for paths in named)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Replica]:
    with replica("--data-dir", str(tmp_path)) as one:
        yield one


def test_what_somebody_would_do_who_asks_about_the_past(one: Replica, tmp_path: Path) -> None:
    play("README.md", one.port, tmp_path)
    given, _, lines = block("api.md", "H=").partition("curl")
    answers(one, "curl" + lines, given, ANSWERED_OF_THE_PAST)


def answers(one: Replica, text: str, given: str, expected_answers: Sequence[str]) -> None:
    """Each line answers as expected. What is given stands before each."""
    lines = text.splitlines()
    given = given.replace(":30100", f":{one.port}")
    assert len(lines) == len(expected_answers)
    for line, expected in zip(lines, expected_answers, strict=True):
        done = subprocess.run(["sh", "-euc", f"{given}\n{line}"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), line
        assert re.fullmatch(expected, done.stdout.strip(), re.DOTALL), f"{line} answered {done.stdout}"


def test_an_archive_is_written_to(tmp_path: Path) -> None:
    """Its command starts a registry: the flags are there, and the folder is made."""
    words = shlex.split(
        block("archive.md", "scripts/serve").replace("/var/lib/registry/archive", str(tmp_path / "archive"))
    )
    assert words.pop(0) == "scripts/serve"
    with replica("--data-dir", str(tmp_path / "data"), *words) as one:
        assert one.api("default").service("cart")


def test_clients_of_what_was_imported_go_on(redis_url: str, key_prefix: str) -> None:
    """Nobody notices the switch: the same ids, and a heartbeat is answered 200 where it was never sent before."""
    with (
        replica("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}old:") as old,
        replica("--redis-url", redis_url, "--redis-prefix", f"{key_prefix}new:") as new,
    ):
        service_id = old.api("default").service("cart")
        beat = f"/microservices/{service_id}/instances/{old.api('default').instance(service_id)}/heartbeat"
        for line in block("migration.md", "registry import").splitlines():
            assert new.api("default").put(beat).status == 400
            words = shlex.split(
                line.replace("old:30100", f"127.0.0.1:{old.port}").replace("new:30100", f"127.0.0.1:{new.port}"),
                comments=True,
            )
            done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
            assert done.stderr == "", line
        assert new.api("default").put(beat).status == 200


def test_keys_of_accounts_are_rotated_while_the_registry_runs(redis_url: str, key_prefix: str) -> None:
    where = {"REGISTRY_REDIS_URL": redis_url, "REGISTRY_REDIS_PREFIX": key_prefix}
    with replica(environment=where | settings_of("access.md")):
        for line in block("access.md", "registry accounts rotate-key").splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "registry"
            done = subprocess.run(
                [sys.executable, "-m", *words], capture_output=True, text=True, env={**os.environ, **where}
            )
            assert (done.returncode, done.stderr) == (0, ""), line
    assert done.stdout
