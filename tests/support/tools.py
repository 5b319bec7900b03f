"""Programs that some tests call. Where one is missing they are left out, but never by CI, which installs them."""

from __future__ import annotations

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The path of a program on the PATH."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is missing; .ci/run installs it")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
