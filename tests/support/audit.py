"""Audit: are weaknesses of the dependencies known? By pip-audit, which asks PyPI.

Without a connection nothing can be said, and that is said; only a known weakness is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

#: Seconds for each question, and for all of them.
ASK_TIMEOUT_S: Final = 10
ALL_TIMEOUT_S: Final = 180.0


def verdict(code: int, out: str, err: str) -> tuple[int, str]:
    """The exit code and what is said, of pip-audit's own and its JSON."""
    try:
        packages = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = err.strip().splitlines()[-1:] or [f"pip-audit ended with {code}"]
        return 0, f"audit: nothing is known, {last[0][:300]}"
    weak = [
        f"audit: {package['name']} {package['version']}: {found['id']}, "
        f"mended in {', '.join(found['fix_versions']) or 'no version'}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    asked = [package for package in packages if "vulns" in package]
    if weak:
        return 1, "\n".join(weak)
    if not asked:
        return 0, f"audit: nothing is known, PyPI told nothing of {len(packages)} packages"
    left = f", {len(packages) - len(asked)} could not be asked about" if len(asked) < len(packages) else ""
    return 0, f"audit: no weakness of {len(asked)} packages is known{left}"


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", str(ASK_TIMEOUT_S)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"audit: nothing is known, no answer within {ALL_TIMEOUT_S:.0f} s")
        return 0
    code, said = verdict(done.returncode, done.stdout, done.stderr)
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
