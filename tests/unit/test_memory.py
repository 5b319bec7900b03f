"""Memory: glibc is told how to hand out large pieces."""

from __future__ import annotations

import platform

from registry.running.memory import give_back_large_pieces


def test_glibc_takes_the_setting() -> None:
    """That it keeps a replica small is seen by fuzzing (tests/fuzz)."""
    assert give_back_large_pieces() is (platform.libc_ver()[0] == "glibc")
