"""The first two commands of README.md in a fresh checkout, from a folder where they might go wrong.

A story in one order, because each step is what the one before has left. It installs packages, as the commands do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import LONGEST
from tests.support.http import Connection
from tests.support.pages import REPOSITORY, block
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

#: To make a virtual environment and fill it, on a busy machine.
INSTALL_LIMIT_S: Final = 600.0
STOP_LIMIT_S: Final = 30.0
LEFT_OUT: Final = shutil.ignore_patterns(
    ".venv", ".git", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "data"
)
TOOLS: Final = {"pytest", "mypy", "ruff"}


class Served:
    """`scripts/serve`, run to the moment when it is ready, and ended."""

    def __init__(self, checkout: Path, *options: str) -> None:
        serve, test = (line.split("#")[0].strip() for line in block("README.md", "scripts/serve").splitlines())
        assert (serve, test) == ("scripts/serve", "scripts/test")
        self.folder = checkout.parent
        with (self.folder / "output").open("w+b") as output:
            self._output = Path(output.name)
            self._process = subprocess.Popen(
                # From the folder above, in which the checkout is one called `registry`.
                ["sh", "-c", f"exec {checkout.name}/{serve} --port 0 {' '.join(options)}"],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env=environment(),
            )
        try:
            until_sync(self._is_ready, "scripts/serve to be ready", INSTALL_LIMIT_S)
        finally:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_LIMIT_S)
            self._process.kill()
        self.exit_code = self._process.returncode
        self.lines = self._output.read_text().splitlines()

    def _is_ready(self) -> bool:
        said = self._output.read_text()
        assert self._process.poll() is None, said
        place = re.search(r"listens on http://127\.0\.0\.1:(\d+)", said)
        if place is None:
            return False
        with Connection("127.0.0.1", int(place[1])) as connection, contextlib.suppress(OSError):
            return connection.request("GET", "/v4/default/registry/health/readiness").status == 200
        return False

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    @property
    def said(self) -> list[str]:
        """What stands beside the log."""
        return [line for line in self.lines if not line.startswith("{")]


def environment() -> dict[str, str]:
    """That of a user: no virtual environment is active, and nothing is set for the registry."""
    set_here = {name for name in os.environ if name.startswith(("REGISTRY_", "PYTEST", "VIRTUAL_ENV"))}
    kept = {name: value for name, value in os.environ.items() if name not in set_here}
    return kept | {"PYTHON": getattr(sys, "_base_executable", sys.executable)}


def install(checkout: Path, *wanted: str) -> str:
    """What `scripts/install` says."""
    done = subprocess.run(
        [checkout / "scripts" / "install", *wanted], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == ""
    return done.stderr


def tools(checkout: Path) -> set[str]:
    return TOOLS & {path.name for path in (checkout / ".venv" / "bin").iterdir()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh one, called as `git clone` calls it."""
    return Path(shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("first") / "registry", ignore=LEFT_OUT))


@pytest.fixture(scope="module")
def first(checkout: Path) -> Served:
    return Served(checkout)


@pytest.fixture(scope="module")
def moved(checkout: Path, first: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, which has been moved since."""
    return Path(shutil.move(checkout, tmp_path_factory.mktemp("second") / "registry"))


def test_first_start_says_what_it_does(first: Served) -> None:
    """Half a minute of silence looks like a failure. It is said before it is done, and once."""
    assert first.lines[0] == ("install: installing what serving needs into .venv, once; this takes half a minute or so")
    assert first.said == first.lines[:1]
    assert first.exit_code == 0


def test_serving_installs_no_tools(first: Served, checkout: Path) -> None:
    assert tools(checkout) == set()


def test_private_redis_is_the_one_of_the_wheel(first: Served) -> None:
    """Whatever else the machine has; its data are where the command was given."""
    (message,) = (record["message"] for record in first.log if record.get("action") == "private_redis")
    assert message.startswith("Valkey ")
    assert message.endswith(f" keeps the data in {first.folder / 'data'}")


def test_later_starts_say_nothing_and_have_workers_too(first: Served, checkout: Path) -> None:
    """The workers, too, are started in a folder that holds one called `registry`."""
    served = Served(checkout, "--workers", "2")
    assert served.said == []
    assert [record for record in served.log if record.get("action") == "worker_ended"] == []


def test_another_registry_on_pythonpath_is_not_taken_for_this_one(
    first: Served, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "__init__.py").write_text("raise ImportError('another registry')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert Served(checkout, "--workers", "2").said == []


def test_moved_checkout_is_noticed(moved: Path) -> None:
    """The old path is written into `.venv`: its programs do not start, and the package is not found."""
    served = Served(moved)
    assert served.said == [
        "install: .venv is of another folder or Python, it is made anew",
        "install: installing what serving needs into .venv, once; this takes half a minute or so",
    ]


def test_testing_adds_its_tools_and_serving_keeps_them(moved: Path) -> None:
    """Either command may come first, and none undoes what the other one has done."""
    Served(moved)
    done = subprocess.run(
        ["scripts/test", "tests/unit/test_keys.py"], cwd=moved, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith("install: installing the registry and the tools of its tests into .venv, once")
    assert tools(moved) == TOOLS
    assert install(moved, "dev") == install(moved, "serve") == install(moved) == ""


def test_new_dependencies_are_installed(moved: Path) -> None:
    """After `git pull` nobody has to think of it; what is there for tests is there for serving."""
    install(moved, "dev")
    with (moved / "pyproject.toml").open("a") as file:
        file.write("\n# Another line.\n")
    assert install(moved, "dev").count("install:") == 1
    assert install(moved, "dev") == install(moved) == ""


def test_modules_that_go_first_are_there() -> None:
    """One that was renamed would be the last that everybody waits for."""
    assert [module for module in LONGEST if not (REPOSITORY / "tests" / module).exists()] == []


def test_ci_and_check_are_one_list() -> None:
    """Two lists differ sooner or later: what is checked stands in `scripts/check`, and CI calls that."""
    ci = (REPOSITORY / ".ci" / "run").read_text()
    check = (REPOSITORY / "scripts" / "check").read_text()
    assert "scripts/check" in ci
    for checked in ("ruff format --check", "ruff check", "mypy", "scripts/test"):
        assert checked in check
    assert not re.search(r"ruff|mypy|-m pytest", ci)
