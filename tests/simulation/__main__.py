"""`python -m tests.simulation SEED [PROFILE]`: run a seed again, print its history and what is wrong with it.

With `--count N` it judges N seeds from there and prints only their findings.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.simulation.faults import PROFILES
from tests.simulation.judging import judge, report
from tests.support.history import lines, write_history


def main() -> int:
    arguments = _arguments()
    began = time.process_time()
    bad = operations = faults = 0
    virtual_s = 0.0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        outcome, findings = judge(seed, arguments.profile, arguments.trace or arguments.digest)
        if arguments.trace:
            print("\n".join(outcome.trace))
        elif arguments.count == 1:
            print("\n".join(lines(outcome.history)))
        if arguments.digest:
            print(outcome.digest)
        if findings:
            print(report(seed, arguments.profile, findings))
        bad += bool(findings)
        operations += len(outcome.history.operations)
        faults += len(outcome.history.faults)
        virtual_s += outcome.virtual_s
        if arguments.save:
            write_history(arguments.save, outcome.history)
    took = time.process_time() - began
    print(
        f"{arguments.count} seeds, {bad} with findings, {operations} operations, {faults} faults, "
        f"{virtual_s:.0f} virtual s in {took:.1f} s, {took / arguments.count * 1000:.0f} ms a seed",
        file=sys.stderr,
    )
    return bad > 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, help="the first seed")
    parser.add_argument("profile", nargs="?", choices=PROFILES, default="all", help="which faults may happen")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--trace", action="store_true", help="print every call of the store too")
    parser.add_argument("--digest", action="store_true", help="print a digest of the trace")
    parser.add_argument("--save", type=Path, help="write the history of the last run here, as JSON lines")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
