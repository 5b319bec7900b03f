"""`scripts/fuzz`: fuzz real registries. Exit code 1 when something is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.world import Options, Report, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="how many are sent, about")
    parser.add_argument(
        "--seconds", type=float, default=3600.0, help="end after this time, no matter what has been sent"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides what is sent; by default the time")
    parser.add_argument("--rbac", choices=("off", "on", "both"), default="both", help="without or with accounts")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)

    def say(text: str) -> None:
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        report = run(Options(chosen.requests, chosen.seconds, chosen.seed, chosen.rbac, say), Path(folder))
    print(summary(report))
    return 1 if report.wrong else 0


def summary(report: Report) -> str:
    tally = report.tally
    statuses = ", ".join(f"{status}: {number}" for status, number in sorted(tally.statuses.items()))
    lines = [
        f"{tally.requests} requests, {tally.connections} connections, {tally.bytes_sent / 1e6:.0f} MB, "
        f"{report.seconds:.0f} s, {tally.requests / max(report.seconds, 0.001):.0f}/s",
        f"answers: {statuses}; failures excused: {tally.excused}",
        *(f"{name}: {warm:.1f} MiB warm, {end:.1f} at the end" for name, (warm, end) in report.memory.items()),
        *(wrong[:4000] for wrong in report.wrong[:20]),
        f"{len(report.wrong)} findings",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
