"""Catalogue: all scenes."""

from __future__ import annotations

from typing import Final

from benchmarks.errors import BenchmarkError
from benchmarks.scenes import (
    beating,
    churn,
    closed,
    cold_start,
    connections,
    different,
    growth,
    half_peak,
    leaving,
    memory,
    mixed,
    propagation,
    restart,
    size,
    tenants,
    upheaval,
    watch,
    workers,
)
from benchmarks.scenes.scene import Scene

#: The filled ones come last, and among them the mass restart, which makes the log longer.
SCENES: Final[tuple[Scene, ...]] = (
    *closed.SCENES,
    *different.SCENES,
    growth.SCENE,
    watch.SCENE,
    propagation.SCENE,
    workers.SCENE,
    mixed.SCENE,
    churn.SCENE,
    connections.SCENE,
    tenants.SCENE,
    upheaval.SCENE,
    leaving.SCENE,
    beating.SCENE,
    memory.SCENE,
    size.SCENE,
    half_peak.SCENE,
    cold_start.SCENE,
    restart.SCENE,
)


def select(names: str) -> list[Scene]:
    """The scenes named in a comma list, in the order of `SCENES`; empty means all."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = set(wanted) - {scene.name for scene in SCENES}
    if unknown:
        known = ", ".join(scene.name for scene in SCENES)
        raise BenchmarkError(f"there is no scene {', '.join(sorted(unknown))}; there are {known}.")
    return [scene for scene in SCENES if not wanted or scene.name in wanted]
