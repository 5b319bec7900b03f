"""What `scripts/release` writes: the version, the changelog's heading, the note on upgrades."""

from __future__ import annotations

import pytest

from registry import __version__
from tests.support.pages import REPOSITORY
from tests.support.release import (
    CHANGELOG,
    INIT,
    NOTES,
    CannotRelease,
    breaking,
    unreleased,
    with_heading,
    with_notes,
    with_version,
)

LOG = """# Changelog

## Unreleased

### Added

- One thing
  on two lines.
- **Breaking**: another thing
  on two lines.

## 0.1.0 - 2026-01-01

- **Breaking**: an old thing.
"""


def text(name: str) -> str:
    return (REPOSITORY / name).read_text()


def test_the_version_is_written_where_it_stands() -> None:
    assert '__version__ = "9.0.0"\n' in with_version(text(INIT), "9.0.0")
    assert with_version(text(INIT), __version__) == text(INIT), "a first release may be of the version that it has"


@pytest.mark.parametrize("version", ["0.0.9", "1.0", "v1.0.0", "1.0.0rc1", ""])
def test_what_is_no_later_version_is_refused(version: str) -> None:
    with pytest.raises(CannotRelease, match=version or "is no version"):
        with_version('__version__ = "0.1.0"\n', version)


def test_what_was_unreleased_is_of_the_version() -> None:
    made = with_heading(LOG, "0.2.0", "2026-12-01")
    assert "## Unreleased\n\n## 0.2.0 - 2026-12-01\n\n### Added\n" in made
    with pytest.raises(CannotRelease, match="nothing under"):
        unreleased(made)
    with pytest.raises(CannotRelease, match=r"has 0\.2\.0 already"):
        with_heading(made, "0.2.0", "2026-12-01")


def test_the_note_tells_what_needs_a_change_of_the_users() -> None:
    assert breaking(unreleased(LOG)) == ["**Breaking**: another thing on two lines."]
    page = with_notes("# Upgrade\n\n## Notes\n\n### 0.1.0\n", "0.2.0", unreleased(LOG), 7)
    assert page.startswith("# Upgrade\n\n## Notes\n\n### 0.2.0\n\nEvents: format 7.\n\n- **Breaking**: another")
    assert page.endswith("\n\n### 0.1.0\n")


def test_the_files_of_this_repository_can_be_released() -> None:
    changes = unreleased(text(CHANGELOG))
    assert with_heading(text(CHANGELOG), "9.0.0", "2026-12-01") != text(CHANGELOG)
    assert "### 9.0.0\n" in with_notes(text(NOTES), "9.0.0", changes, 2)
