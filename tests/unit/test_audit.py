"""The audit of dependencies: only a known weakness is a failure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.audit import verdict


def told(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


GOOD = {"name": "good", "version": "1", "vulns": []}
WEAK = {"name": "weak", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("code", "out", "err", "expected"),
    [
        (0, told(GOOD, GOOD), "", (0, "audit: no weakness of 2 packages is known")),
        (0, told(GOOD, UNKNOWN), "", (0, "audit: no weakness of 1 packages is known, 1 could not be asked about")),
        (1, told(GOOD, WEAK), "", (1, "audit: weak 2: PYSEC-1, mended in 3")),
        (0, told(UNKNOWN), "", (0, "audit: nothing is known, PyPI told nothing of 1 packages")),
        (1, "", "WARNING:x\nERROR:Could not connect", (0, "audit: nothing is known, ERROR:Could not connect")),
        (2, "", "", (0, "audit: nothing is known, pip-audit ended with 2")),
        (1, "no JSON", "", (0, "audit: nothing is known, pip-audit ended with 1")),
    ],
)
def test_only_a_known_weakness_is_a_failure(code: int, out: str, err: str, expected: tuple[int, str]) -> None:
    """A machine without a connection checks all else."""
    assert verdict(code, out, err) == expected
