"""The console's modules are typed, as far as TypeScript can see."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.browser
def test_the_types_of_all_modules_fit(node_modules: Path) -> None:
    program = node_modules / ".bin" / "tsc"
    done = subprocess.run([program, "-p", HERE / "jsconfig.json"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
