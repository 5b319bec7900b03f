"""`python -m tests.simulation --seed N --profile P [--trace] [--history FILE]`: replay one seed and judge it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.simulation.faults import PROFILES
from tests.simulation.world import run
from tests.support.checker import check
from tests.support.history import write_history


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--profile", choices=PROFILES, default="all")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--digest", action="store_true", help="print the digest of the trace")
    parser.add_argument("--history", type=Path, help="write the history of the last run here, as JSON lines")
    arguments = parser.parse_args()
    began = time.process_time()
    bad = operations = faults = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        outcome = run(seed, arguments.profile, arguments.trace or arguments.digest)
        if arguments.trace:
            print("\n".join(outcome.trace))
        if arguments.digest:
            print(outcome.digest)
        findings = check(outcome.history)
        bad += bool(findings)
        operations += len(outcome.history.operations)
        faults += len(outcome.history.faults)
        for finding in findings:
            print(f"seed {seed}: {finding}")
        if arguments.history:
            write_history(arguments.history, outcome.history)
    took = time.process_time() - began
    print(
        f"{arguments.count} seeds, {bad} with findings, {operations} operations, {faults} faults, "
        f"{took:.1f} s, {took / arguments.count * 1000:.0f} ms a seed",
        file=sys.stderr,
    )
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
