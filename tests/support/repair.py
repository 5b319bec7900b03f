"""`registry repair` as an operator runs it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.replica import REPOSITORY

LIMIT_S = 60


def repair(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [sys.executable, "-m", "registry", "repair", "--redis-url", redis_url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=LIMIT_S, check=False)
