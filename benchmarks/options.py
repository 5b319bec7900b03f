"""Options: what one run measures with. A run with `--quick` has small numbers where none were given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: What is taken when nothing is given: in a run, in a quick one.
DEFAULTS: Final[dict[str, tuple[Any, Any]]] = {
    "rounds": (3, 1),
    "seconds": (4, 1),
    "instances": (10_000, 200),
    "per_service": (1000, 50),
    "growth": (20_000, 2000),
    "watchers": (1000, 20),
    "minutes": (1.0, 0.03),
    "change_rate": (1000.0, 100.0),
}


@dataclass(frozen=True, slots=True)
class Options:
    """Everything a scene may ask for."""

    url: str
    """Of a foreign registry; empty: we start our own."""
    second_url: str
    """Of another replica of it."""
    pids: tuple[int, ...]
    serve_args: str
    scenes: str
    rounds: int
    seconds: int
    """Of one measured run."""
    connections: int | None
    """None: what each scene asks for."""
    instances: int
    per_service: int
    growth: int
    watchers: int
    minutes: float
    """Of the mixed load."""
    change_rate: float
    """Changes per second of the propagation scene."""
    churn: float
    """Changes per second during the mixed load."""
    rate: float | None
    """Requests per second of the half-peak loads; None: half of what wrk reaches."""
    clients: int
    """Processes of our own client in the mixed load."""
    quick: bool


def read(arguments: Sequence[str] | None = None) -> tuple[Options, argparse.Namespace]:
    """Options from the command line, and beside them what is not about measuring (files, lists, comparisons)."""
    given = parser().parse_args(arguments)
    values = vars(given).copy()
    for name, (usual, quick) in DEFAULTS.items():
        if values[name] is None:
            values[name] = quick if given.quick else usual
    values["pids"] = tuple(values.pop("pid"))
    return Options(**{name: values[name] for name in Options.__dataclass_fields__}), given


def parser() -> argparse.ArgumentParser:
    """The command line."""
    built = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How many requests does a v4 registry answer, how fast, at what cost? See benchmarks/README.md.",
    )
    _add_target(built.add_argument_group("what is measured"))
    _add_sizes(built.add_argument_group("how much"))
    _add_results(built.add_argument_group("what comes out"))
    return built


def _add_target(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--base-url", "--url", dest="url", default="", help="a running v4 registry, http://host:port (default: our own)"
    )
    add("--second-url", default="", help="with --base-url: another replica of it, for propagation")
    add("--pid", type=int, action="append", default=[], help="with --base-url: a process to count, with its children")
    add("--serve-args", default="", help='more arguments for registries we start, as one string: "--workers 2"')
    add("--scenes", default="", help="comma list (default: all)")
    add("--list", action="store_true", help="list the scenes and end")
    add("--quick", action="store_true", help="small numbers, one round of a second: does it work at all?")


def _add_sizes(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--rounds", type=_positive, help=f"runs of each contender per scene ({_usual('rounds')})")
    add("--seconds", type=_positive, help=f"length of a run ({_usual('seconds')})")
    add("--connections", type=_positive, help="for every scene (default: each scene's own)")
    add("--instances", type=_positive, help=f"of the filled registry and the mixed load ({_usual('instances')})")
    add("--per-service", type=_positive, help=f"instances per service of the filled registry ({_usual('per_service')})")
    add("--growth", type=_positive, help=f"instances up to which one service grows ({_usual('growth')})")
    add("--watchers", type=_positive, help=f"sockets that watch one service ({_usual('watchers')})")
    add("--minutes", type=_number, help=f"length of the mixed load ({_usual('minutes')})")
    add("--change-rate", type=_number, help=f"changes per second for propagation ({_usual('change_rate')})")
    add("--churn", type=float, default=1.0, help="changes per second during the mixed load (default 1)")
    add("--rate", type=_number, help="requests per second of the half-peak loads (default: half of what wrk reaches)")
    add("--clients", type=_positive, default=1, help="processes of our own client in the mixed load (default 1)")


def _add_results(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--results", type=Path, metavar="FOLDER", help="for results.json, .md and plots (default build/bench/<time>)")
    add("--json", type=Path, metavar="FILE", help="write everything, with every round, to this file too")
    add("--markdown", action="store_true", help="print the tables as Markdown")
    add("--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="compare two runs and end")
    add("--plot", type=Path, metavar="FILE.json", help="plot an earlier run beside its file and end")


def _usual(name: str) -> str:
    usual, quick = DEFAULTS[name]
    return f"default {usual:,}, quick {quick:,}"


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _number(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value
