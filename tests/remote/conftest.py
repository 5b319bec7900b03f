"""A registry for the remote verbs; each test is a tenant of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from registry.command import main
from tests.support.api import Api
from tests.support.replica import REPOSITORY, Replica, replica


class Done(NamedTuple):
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


@pytest.fixture(scope="session")
def registry(redis_url: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", f"remote-{uuid.uuid4().hex[:8]}:") as process:
        yield process


@pytest.fixture(scope="session")
def other(redis_url: str) -> Iterator[Replica]:
    """Another registry: it has nothing in common with the first one."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"other-{uuid.uuid4().hex[:8]}:") as process:
        yield process


@pytest.fixture
def new(other: Replica, tenant: str) -> Api:
    return other.api(tenant)


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def api(registry: Replica, tenant: str) -> Api:
    return registry.api(tenant)


class Shell:
    """Types commands: where the registry is and who asks is set by variables, as an operator sets them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "registry", *arguments]

    def run(self, *arguments: str, **variables: str) -> Done:
        """In this process, which is what the command does with its arguments."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("REGISTRY_")]:
                patch.delenv(name)
            for name, value in (self.environment | variables).items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(arguments)
        return Done(int(code), out.getvalue(), err.getvalue())

    def run_process(self, *arguments: str, **variables: str) -> Done:
        """In a process of its own."""
        environment = self.environment | variables
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*arguments), stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY, env=self.environment
        )


@pytest.fixture
def shell(registry: Replica, tenant: str, tmp_path: Path) -> Shell:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    own = {"REGISTRY_SERVER": f"127.0.0.1:{registry.port}", "REGISTRY_TENANT": tenant, "XDG_CONFIG_HOME": str(tmp_path)}
    return Shell(kept | own)
