"""How many requests does the registry answer, and at what cost, beside a bare uvicorn app on the same machine?

The ratio to the bare app, measured in turn with it, is what carries over to other machines; requests per second do not.
Not shown: a network, TLS, clients that reconnect. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import compare, options, plots, report
from benchmarks.errors import BenchmarkError
from benchmarks.report import Report
from benchmarks.run import run
from benchmarks.scenes import catalogue
from benchmarks.servers import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns 1 when anything was answered wrongly, or could not be done."""
    chosen, given = options.read(arguments)
    try:
        if given.list:
            print("\n".join(f"{scene.name:<21} {scene.question}" for scene in catalogue.SCENES))
        elif given.compare:
            print(compare.markdown(*(compare.read(path) for path in given.compare)))
        elif given.plot:
            _say_written(plots.plot(compare.read(given.plot), given.plot.parent))
        else:
            return _measure(chosen, given)
    except BenchmarkError as exc:
        _say(f"bench: {exc}")
        return 1
    return 0


def _measure(chosen: options.Options, given: argparse.Namespace) -> int:
    scenes = catalogue.select(chosen.scenes)
    folder = given.results or ROOT / "build" / "bench" / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    result = run(scenes, chosen, _say, lambda so_far: _write(so_far, folder, given.json))
    _write(result, folder, given.json)
    print(report.markdown(result) if given.markdown else report.text(result))
    _plot(result, folder)
    for problem in result.problems:
        _say(f"bench: {problem}")
    return 1 if result.problems else 0


def _write(result: Report, folder: Path, also: Path | None) -> None:
    document = json.dumps(result.as_json(), indent=2) + "\n"
    for path in [folder / "results.json", *([also] if also else [])]:
        path.write_text(document)
    (folder / "results.md").write_text(report.page(result))


def _plot(result: Report, folder: Path) -> None:
    written = [folder / "results.json", folder / "results.md"]
    try:
        written += plots.plot(result, folder)
    except BenchmarkError as exc:
        _say(f"bench: {exc}")
    _say_written(written)


def _say_written(paths: Sequence[Path]) -> None:
    _say("written: " + ", ".join(str(path) for path in paths))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
