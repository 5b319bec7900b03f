"""Redis in every way in which it is deployed, with real registries on it. Every test here is `slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder as slow: real processes, real leases, real failovers."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
