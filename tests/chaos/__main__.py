"""`scripts/chaos`: one chaos run, or one judgement of a recorded history. Exit code 1 when something is wrong."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.chaos.bugs import BUGS
from tests.chaos.clocks import faketime_library
from tests.chaos.judging import judge
from tests.chaos.plan import NEMESES, WITH_CLOCKS
from tests.chaos.report import summary
from tests.chaos.world import Options, run
from tests.support.history import History, read_history, write_history


def main() -> int:
    chosen = _parser().parse_args()
    if chosen.check:
        return _judge(read_history(chosen.check))
    bad = 0
    for seed in range(chosen.seed, chosen.seed + chosen.count):
        print(f"seed {seed}: {','.join(chosen.nemeses)}", flush=True)
        began = time.monotonic()
        history = run(
            Options(
                seed=seed,
                seconds=chosen.seconds,
                settle_s=chosen.settle,
                replicas=chosen.replicas,
                instances=chosen.instances,
                nemeses=chosen.nemeses,
                serve=tuple(chosen.serve.split()),
                bug=chosen.bug,
                logs=_numbered(chosen.logs, seed, chosen.count),
                say=lambda text: print(text, flush=True),
            )
        )
        path = _numbered(chosen.history, seed, chosen.count)
        if path:
            write_history(path, history)
        bad += _judge(history)
        print(f"seed {seed} took {time.monotonic() - began:.0f} s", flush=True)
    return bad > 0


def _judge(history: History) -> int:
    findings = judge(history)
    print(summary(history, findings), flush=True)
    return bool(findings or history.failures)


def _numbered(path: Path | None, seed: int, count: int) -> Path | None:
    return path if path is None or count == 1 else path.with_suffix(f".{seed}{path.suffix}")


def _nemeses(text: str) -> list[str]:
    """Raises ArgumentTypeError."""
    chosen = [name for name in text.split(",") if name]
    if chosen == ["all"]:
        return [name for name in NEMESES if faketime_library() or name not in WITH_CLOCKS]
    unknown = set(chosen) - set(NEMESES)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such nemesis: {', '.join(unknown)}; there are {', '.join(NEMESES)}")
    if WITH_CLOCKS & set(chosen) and not faketime_library():
        raise argparse.ArgumentTypeError("clocks need libfaketime: apt-get install faketime")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="with faults and changes [60]")
    parser.add_argument("--settle", type=float, default=24, help="seconds without, afterwards [24]")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults and the clients [0]")
    parser.add_argument("--count", type=int, default=1, help="runs, with one seed after another [1]")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--instances", type=int, default=40)
    parser.add_argument("--nemeses", type=_nemeses, default="all", help=f"all, or some of {','.join(NEMESES)}")
    parser.add_argument("--serve", default="", help="further options of `registry serve`")
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant this bug in every replica")
    parser.add_argument("--history", type=Path, help="write the history here, as JSON lines")
    parser.add_argument("--logs", type=Path, help="write what the replicas logged here")
    parser.add_argument("--check", type=Path, metavar="FILE", help="judge a recorded history, run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
