"""The systemd unit, held against systemd itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from registry.environment import read_settings
from tests.support.deployments import DEPLOY, checker

UNIT = DEPLOY / "systemd" / "registry.service"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program that there is, since it looks for that too."""
    path = tmp_path / "registry.service"
    path.write_text(UNIT.read_text().replace("/opt/registry/bin/registry", "/bin/sh"))
    done = subprocess.run([checker("systemd-analyze"), "verify", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_variables_are_settings() -> None:
    text = (DEPLOY / "systemd" / "registry.env").read_text()
    given = re.findall(r"^(?:Environment=)?(REGISTRY_\w+)=(.*)$", text + UNIT.read_text(), re.MULTILINE)
    assert len(given) == 5
    read_settings(dict(given))


def test_what_cannot_work_is_not_tried_for_ever() -> None:
    """A start that cannot work ends with 2 and says why; systemd would say it every two seconds."""
    assert "RestartPreventExitStatus=2\n" in UNIT.read_text()
