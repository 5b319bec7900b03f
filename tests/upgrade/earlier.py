"""Earlier versions, from this repository's history: their code runs with the packages that are installed here."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

from tests.support.replica import REPOSITORY, Replica

#: The version of which there is a recorded store, and which runs beside the present one.
EARLIER: Final = "6cd3c24"


def earlier_code(folder: Path, commit: str = EARLIER) -> Path:
    """The package as it was, laid into the folder. Skips the test where the history does not reach so far."""
    archive = ["git", "-C", str(REPOSITORY), "archive", commit, "registry"]
    done = subprocess.run(archive, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this clone does not hold commit {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def earlier_replica(code: Path, *options: str, environment: dict[str, str] | None = None) -> Replica:
    """A registry of that code; its workers and its process for the past are of it too."""
    found = {"PYTHONPATH": str(code), **(environment or {})}
    return Replica(*options, environment=found, program=("-P", "-m", "registry"))
