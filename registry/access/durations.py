"""Durations as Go writes them: `1h30m`, `12h`, `900s`."""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
LENGTH_MAX: Final = 40


def parse_duration(text: str) -> float | None:
    """Seconds; None: it is no duration."""
    if not text or len(text) > LENGTH_MAX or _PART.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
