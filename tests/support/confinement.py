"""Confinement: commands that run in front of a registry and take away what root, or a machine of its own, has."""

from __future__ import annotations

import os
import subprocess

import pytest


def without(*capabilities: str) -> tuple[str, ...]:
    """The registry lacks these rights of root, as everybody else does."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--bounding-set", ",".join(f"-{name}" for name in capabilities))


def without_rights_on_files() -> tuple[str, ...]:
    """The permissions of files count for it."""
    return without("dac_override", "dac_read_search")


def mounted(script: str) -> tuple[str, ...]:
    """It sees file systems as the shell script has mounted them, which nobody else does."""
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'set -e; {script}; exec "$@"', "sh")


def may_mount() -> bool:
    try:
        return subprocess.run([*mounted(":"), "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_mounts = pytest.mark.skipif(not may_mount(), reason="this machine does not let its users have namespaces")
