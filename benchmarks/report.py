"""What was measured, as a table, as Markdown and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.measure import Result, Run, per_second
from benchmarks.servers import ROOT

#: A processor time whose rounding error may exceed this share is marked with "~".
COARSE: Final = 0.05

#: A bare app that kept less of its core busy was held up by wrk or by somebody else: its ratio is marked with "?".
SATURATED: Final = 0.9

COLUMNS: Final = (
    "scene",
    "conns",
    "body B",
    "req/s",
    "p50 ms",
    "p99 ms",
    "CPU µs",
    "of it redis",
    "busy",
    "wrk busy",
    "bare req/s",
    "bare CPU µs",
    "bare busy",
    "ratio",
    "(min–max)",
)


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """One row per scene, in the order of `COLUMNS`."""
    return [_row(result) for result in results]


def table(results: Sequence[Result]) -> str:
    """Columns for a terminal: the first to the left, numbers to the right."""
    lines = [COLUMNS, *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(_aligned(line, widths)) for line in lines)


def markdown(results: Sequence[Result]) -> str:
    """The same table for a README."""
    rule = ["---", *("---:" for _ in COLUMNS[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (COLUMNS, rule, *rows(results)))


def as_json(results: Sequence[Result], options: dict[str, Any], problem: str) -> dict[str, Any]:
    """Everything, with every round, for later comparison. `problem` is empty unless the run failed half-way."""
    facts = {"machine": machine(), "versions": versions(), "options": options, "problem": problem}
    return facts | {"scenes": [_scene(result) for result in results]}


def machine() -> dict[str, Any]:
    """Where and when: a number without its machine means nothing."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """What was measured with."""
    found = {"python": platform.python_version()}
    found |= {name: _package(name) for name in ("uvicorn", "httptools", "uvloop", "redis", "hiredis", "msgspec")}
    # The private server comes from the PATH where there is one.
    found["redis-server"] = _first(r"v=(\S+)", ["redis-server", "--version"])
    found["commit"] = _first(r"(\S+)", ["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    found["wrk"] = _first(r"wrk (\S+)", ["wrk", "-v"])
    return found


def sentence(facts: dict[str, Any]) -> str:
    """Facts on one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _row(result: Result) -> tuple[str, ...]:
    ours, theirs, ratios = result.registry, result.bare, result.ratios
    return (
        result.scene.name,
        str(result.connections),
        f"{result.body_bytes:,}",
        f"{per_second(ours):,.0f}",
        _milliseconds(ours, lambda run: run.counted.p50_us),
        _milliseconds(ours, lambda run: run.counted.p99_us),
        _cpu(ours, lambda run: run.cpu_us),
        _cpu(ours, lambda run: run.cpu_us_of("redis")),
        _busy(ours),
        f"{median(run.wrk_busy for run in ours):.2f}",
        f"{per_second(theirs):,.0f}",
        _cpu(theirs, lambda run: run.cpu_us),
        _busy(theirs),
        f"{'?' if median(run.busy for run in theirs) < SATURATED else ''}{result.ratio:.2f}",
        f"({ratios[0]:.2f}–{ratios[-1]:.2f})",
    )


def _milliseconds(runs: Sequence[Run], value: Callable[[Run], int]) -> str:
    return f"{median(value(run) for run in runs) / 1000:.2f}"


def _cpu(runs: Sequence[Run], value: Callable[[Run], float]) -> str:
    """A median of processor times; "-" when no process is known, "~" when ticks are too coarse for it."""
    if not all(run.used.processes for run in runs):
        return "-"
    used = median(value(run) for run in runs)
    error = median(run.used.error_us / run.counted.requests for run in runs)
    return f"{'~' if used and error > COARSE * used else ''}{used:.1f}"


def _busy(runs: Sequence[Run]) -> str:
    """Median of the cores kept busy; "-" when no process is known."""
    return f"{median(run.busy for run in runs):.2f}" if all(run.used.processes for run in runs) else "-"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]


def _scene(result: Result) -> dict[str, Any]:
    return {
        "name": result.scene.name,
        "question": result.scene.question,
        "connections": result.connections,
        "body_bytes": result.body_bytes,
        "ratio": round(result.ratio, 4),
        "ratios_by_round": [round(ratio, 4) for ratio in result.ratios],
        "registry": _side(result.registry),
        "bare": _side(result.bare),
    }


def _side(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "per_second": round(per_second(runs), 1),
        "p50_us": median(run.counted.p50_us for run in runs),
        "p99_us": median(run.counted.p99_us for run in runs),
        "cpu_us": round(median(run.cpu_us for run in runs), 2) if all(run.used.processes for run in runs) else None,
        "busy": round(median(run.busy for run in runs), 3) if all(run.used.processes for run in runs) else None,
        "wrk_busy": round(median(run.wrk_busy for run in runs), 3),
        "rounds": [asdict(run.counted) | {"cpu_by_process_us": run.used.by_name} for run in runs],
    }


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
