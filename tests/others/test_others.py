"""Clients that others have written, as they are published, against a real registry (clients.md 2).

They are built with Go and Maven, which fetch them: minutes on a first run, and only where it is asked for,
`REGISTRY_OTHER_CLIENTS=required scripts/test tests/others`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.access.people import ROOT_PASSWORD
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("REGISTRY_OTHER_CLIENTS") != "required", reason="REGISTRY_OTHER_CLIENTS=required asks for it"
    ),
]

HERE: Final = Path(__file__).parent
BUILD_LIMIT_S: Final = 900.0
RUN_LIMIT_S: Final = 120.0


@pytest.fixture
def registry(redis_url: str, key_prefix: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix) as one:
        yield one


def run(folder: Path, *command: str, limit_s: float = RUN_LIMIT_S, **variables: str) -> str:
    """What it writes; the program must be there, and succeed."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=limit_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_go_chassis_registers_is_found_called_and_leaves(registry: Replica, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(HERE / "go", tmp_path / "go"))
    for file in folder.rglob("chassis.yaml"):
        file.write_text(file.read_text().replace("30100", str(registry.port)).replace("PORT", str(free_port())))
    for program in ("provider", "consumer"):
        run(folder, "go", "build", "-mod=mod", "-o", f"{program}.bin", f"./{program}", limit_s=BUILD_LIMIT_S)
    with subprocess.Popen(
        [folder / "provider.bin"],
        env=os.environ | {"CHASSIS_HOME": str(folder / "provider")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as provider:
        try:
            until_sync(lambda: len(found(registry, "go-provider")) == 1, "the provider to be registered", RUN_LIMIT_S)
            assert "answer: hello\n" in run(folder, "./consumer.bin", CHASSIS_HOME=str(folder / "consumer"))
        finally:
            provider.send_signal(signal.SIGTERM)
    assert found(registry, "go-provider") == []


#: What `Client.java` says of each step.
STEPS: Final = [
    *("register", "beat twice", "read the schema", "read the own instance"),
    *("see the registry itself", "find a provider", "see that another has come", "set a status"),
    *("see that it is down", "see that it has left", "be told of each change", "beat by hand"),
]


@pytest.mark.parametrize("rbac", ["off", "on"])
def test_the_java_client_registers_beats_finds_and_is_told(
    redis_url: str, key_prefix: str, tmp_path: Path, rbac: str
) -> None:
    folder = Path(shutil.copytree(HERE / "java", tmp_path / "java"))
    run(folder, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", limit_s=BUILD_LIMIT_S)
    run(folder, "javac", "-cp", "lib/*", "Client.java")
    accounts = {"REGISTRY_RBAC": rbac, "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}
    logs_in = ["root", ROOT_PASSWORD] if rbac == "on" else []
    with replica("--redis-url", redis_url, "--redis-prefix", key_prefix, environment=accounts) as registry:
        # Twice: a service that is known is registered by another way than a new one.
        for _ in range(2):
            said = run(folder, "java", "-cp", "lib/*:.", "Client", f"http://127.0.0.1:{registry.port}", *logs_in)
            assert said.splitlines() == [f"ok: {step}" for step in (["log in"] if logs_in else []) + STEPS]


def found(registry: Replica, name: str) -> list[str]:
    response = registry.api("default").find(name, app="others")
    return [each["instanceId"] for each in response.json().get("instances", [])] if response.status == 200 else []
