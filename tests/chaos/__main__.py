"""`scripts/chaos`: chaos runs, or one judgement of a recorded history. Exit code 1 when something is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.chaos.bugs import BUGS
from tests.chaos.clocks import faketime_library
from tests.chaos.judging import judge
from tests.chaos.plan import NEMESES, WITH_CLOCKS
from tests.chaos.planting import PLANTED, is_found, planted
from tests.chaos.report import summary
from tests.chaos.world import Options, run
from tests.support.history import History, read_history, write_history

ALL: Final = "all"
#: Runs with planted bugs at once, and for how long each of them has faults and changes.
PLANTED_AT_ONCE: Final = 4
PLANTED_S: Final = 20.0


def main() -> int:
    chosen = _parser().parse_args()
    if chosen.check:
        return _judge(read_history(chosen.check))
    if chosen.planted:
        return _find_planted(chosen.seed)
    if chosen.faults == ALL:
        chosen.faults = [name for name in NEMESES if faketime_library() or name not in WITH_CLOCKS]
        if not faketime_library():
            print("Clocks are left alone: libfaketime is not installed (apt-get install faketime).")
    return max(_run(chosen, seed) for seed in range(chosen.seed, chosen.seed + chosen.count))


def _run(chosen: argparse.Namespace, seed: int) -> int:
    print(f"seed {seed}: {','.join(chosen.faults)}", flush=True)
    began = time.monotonic()
    history = run(
        Options(
            seed=seed,
            seconds=chosen.seconds,
            settle_s=chosen.settle,
            replicas=chosen.replicas,
            instances=chosen.instances,
            nemeses=chosen.faults,
            overlap=chosen.overlap,
            serve=tuple(chosen.serve.split()),
            archive=chosen.archive,
            bug=chosen.bug,
            logs=_numbered(chosen.logs, seed, chosen.count),
            say=lambda text: print(text, flush=True),
        )
    )
    bad = _judge(history)
    path = _numbered(chosen.history, seed, chosen.count)
    if bad and path is None:
        path = Path(tempfile.gettempdir()) / f"chaos-{seed}.jsonl"
    if path is not None:
        write_history(path, history)
        print(f"The history is kept: scripts/chaos --check {path}")
    print(f"seed {seed} took {time.monotonic() - began:.0f} s", flush=True)
    return bad


def _judge(history: History) -> int:
    findings = judge(history)
    print(summary(history, findings), flush=True)
    return int(bool(findings))


def _find_planted(seed: int) -> int:
    def look_for(bug: str) -> bool:
        history = run(planted(bug, seed, PLANTED_S))
        found = is_found(bug, history)
        rules = sorted({finding.rule for finding in judge(history)})
        what = f"found as {', '.join(rules)}" if found else f"NOT FOUND (expected {', '.join(PLANTED[bug].found_as)})"
        print(f"{bug:<16}{len(history.operations):>6} operations {len(history.faults):>3} faults  {what}", flush=True)
        return found

    with ThreadPoolExecutor(PLANTED_AT_ONCE) as pool:
        found = list(pool.map(look_for, PLANTED))
    print(f"{sum(found)} of {len(found)} planted bugs found")
    return int(not all(found))


def _numbered(path: Path | None, seed: int, count: int) -> Path | None:
    return path if path is None or count == 1 else path.with_suffix(f".{seed}{path.suffix}")


def _faults(text: str) -> list[str] | str:
    """Raises ArgumentTypeError."""
    chosen = [name for name in text.split(",") if name]
    if chosen == [ALL]:
        return ALL
    unknown = set(chosen) - set(NEMESES)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; there are {', '.join(NEMESES)}")
    if WITH_CLOCKS & set(chosen) and not faketime_library():
        raise argparse.ArgumentTypeError("clocks need libfaketime: apt-get install faketime")
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="with faults and changes [60]")
    parser.add_argument("--settle", type=float, default=24, help="seconds without, afterwards [24]")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults and the clients [0]")
    parser.add_argument("--count", type=int, default=1, help="runs, with one seed after another [1]")
    parser.add_argument("--replicas", type=int, default=3, help="[3]")
    parser.add_argument("--instances", type=int, default=40, help="[40]")
    parser.add_argument("--faults", type=_faults, default=ALL, help=f"all, or some of {','.join(NEMESES)} [all]")
    parser.add_argument("--overlap", action="store_true", help="faults of Redis while there are faults of replicas")
    parser.add_argument("--serve", default="", help="further options of `registry serve`")
    parser.add_argument("--archive", action="store_true", help="trim soon what goes to an archive")
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant this bug in every replica")
    parser.add_argument(
        "--planted", action="store_true", help="plant one bug after another, and look whether it is found"
    )
    parser.add_argument("--history", type=Path, help="write the history here, as JSON lines [on findings, to /tmp]")
    parser.add_argument("--logs", type=Path, help="write what the replicas logged here")
    parser.add_argument("--check", type=Path, metavar="FILE", help="judge a recorded history, run nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
