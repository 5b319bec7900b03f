"""The security page names settings and counters that exist, and the README's first screen names it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from registry.serving.certificates import Certificates
from registry.serving.shared import Limits, Shared
from registry.settings import Settings, variable
from tests.serving.apps import app
from tests.support.redis_modes import make_certificates

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "registry/docs/security.md").read_text()
#: What the first screen of the README may have.
FIRST_SCREEN_LINES = 30


def test_readme_names_it_on_its_first_screen() -> None:
    first = (ROOT / "README.md").read_text().splitlines()[:FIRST_SCREEN_LINES]
    assert "registry/docs/security.md" in "\n".join(first)


def test_settings_it_names_are_settings() -> None:
    named = set(re.findall(r"\bREGISTRY_[A-Z_]*[A-Z]\b", PAGE))
    assert named <= {variable(setting.name) for setting in fields(Settings)}
    assert len(named) > 15


def test_counters_of_the_server_are_named(tmp_path: Path) -> None:
    """Who sees that clients are refused finds out here what by."""
    files = make_certificates(tmp_path)
    figures = Shared(app, None, Limits()).figures()
    figures += Certificates(str(files.server), str(files.server_key)).figures()
    refusals = {
        f"registry_{figure.name}" for figure in figures if figure.name.endswith(("refused_total", "failed_total"))
    }
    assert refusals | {"registry_requests_refused_total"} <= set(re.findall(r"registry_\w+", PAGE))
