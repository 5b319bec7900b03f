"""Machine: where, when and with what a run was measured; a number without that means nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.servers import ROOT, STORE
from registry.running.redis_program import find_program


def machine() -> dict[str, Any]:
    """Where and when."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """With what."""
    found = {"python": platform.python_version()}
    found |= {name: _package(name) for name in ("uvicorn", "httptools", "uvloop", "redis", "hiredis", "msgspec")}
    found["store"] = str(find_program(STORE))
    found["commit"] = _first(r"(\S+)", ["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    found["wrk"] = _first(r"wrk (\S+)", ["wrk", "-v"])
    return found


def sentence(facts: dict[str, Any]) -> str:
    """Facts on one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else "unknown"


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _first(pattern: str, command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "missing"
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"
