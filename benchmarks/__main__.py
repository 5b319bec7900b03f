"""How many requests does the registry answer, and at what cost, beside a bare uvicorn app on the same machine?

The ratio to the bare app, measured in turn with it, is what carries over to other machines; requests per second do not.
Not shown: what happens below saturation (wrk is a closed loop), over a network, with TLS, with watchers, with several
replicas, or with requests of many kinds at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import report, scenes, servers, wrk
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Plan, Result, Target, measure
from benchmarks.wire import Address


def main() -> int:
    """Run the chosen scenes. Returns 1, after what was measured until then, when anything went wrong."""
    options = _parser().parse_args()
    if options.list:
        print("\n".join(f"{scene.name:<17} {scene.question}" for scene in scenes.SCENES))
        return 0
    results: list[Result] = []
    problem = ""
    try:
        _measure_all(options, results)
    except BenchmarkError as exc:
        problem = str(exc)
    except KeyboardInterrupt:
        problem = "interrupted."
    _report(results, options, problem)
    return 1 if problem else 0


def _measure_all(options: argparse.Namespace, results: list[Result]) -> None:
    wrk.require()
    chosen = scenes.select(options.scenes)
    _say(report.sentence(report.machine()))
    _say(report.sentence(report.versions()))
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name, _target(options, Path(name)) as target:
        plan = Plan(options.rounds, options.seconds, options.connections, Path(name))
        for scene in chosen:
            result = measure(scene, target, plan, _say)
            results.append(result)
            _say(f"{scene.name:<17} {result.ratio:.2f} times bare")


@contextlib.contextmanager
def _target(options: argparse.Namespace, directory: Path) -> Iterator[Target]:
    """The registry to measure: the one at --url, or one of our own for the length of the run."""
    if options.url:
        yield Target(Address.of(options.url), options.pid)
        return
    with servers.registry(directory, shlex.split(options.serve_args)) as (address, pid):
        yield Target(address, [pid])


def _report(results: Sequence[Result], options: argparse.Namespace, problem: str) -> None:
    if results:
        print(report.markdown(results) if options.markdown else report.table(results))
    if options.json:
        document = report.as_json(results, vars(options) | {"json": str(options.json)}, problem)
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if problem:
        print(f"bench: {problem}", file=sys.stderr)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--url", help="a running v4 registry, http://host:port (default: start one with an empty data directory)")
    add("--pid", type=int, action="append", default=[], help="with --url: a process to count CPU of, with children")
    add("--serve-args", default="", help='more arguments for the registry we start, as one string: "--workers 2"')
    add("--scenes", default="", help="comma list (default: all)")
    add("--list", action="store_true", help="list the scenes and end")
    add("--rounds", type=_positive, default=3, help="runs of each contender per scene (default 3)")
    add("--seconds", type=_positive, default=4, help="length of a run (default 4)")
    add("--connections", type=_positive, help="for every scene (default: 64 for registers and heartbeats, else 32)")
    add("--json", type=Path, metavar="FILE", help="write everything, with every round, to a file")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
