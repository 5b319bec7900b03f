"""Release: what `scripts/release VERSION` does: version, changelog, upgrade notes, wheel, a look at the wheel, a tag.

The texts are made by functions of texts; the rest is git, pip and the installed wheel itself. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from registry.domain.events import EVENT_FORMAT
from tests.support.http import Connection

ROOT: Final = Path(__file__).resolve().parents[2]
INIT, CHANGELOG, NOTES = "registry/__init__.py", "CHANGELOG.md", "registry/docs/upgrade.md"
UNRELEASED: Final = "## Unreleased\n"
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_SAID: Final = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)
#: Seconds until the installed wheel serves.
START_LIMIT_S: Final = 60.0


class CannotRelease(Exception):
    """The message says what has to be done first."""


# -- texts -------------------------------------------------------------------------------------------------------------


def with_version(text: str, version: str) -> str:
    """`registry/__init__.py` of that version. Raises CannotRelease where it is not a later one."""
    found = _SAID.search(text)
    if found is None:
        raise CannotRelease(f"{INIT} names no version")
    if not _VERSION.fullmatch(version):
        raise CannotRelease(f"{version} is no version: three numbers, as in 1.2.0")
    if _numbers(version) < _numbers(found[1]):
        raise CannotRelease(f"{version} is before {found[1]}")
    return _SAID.sub(f'__version__ = "{version}"', text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def unreleased(changelog: str) -> str:
    """What is noted of the next version. Raises CannotRelease when nothing is."""
    _, heading, rest = changelog.partition(UNRELEASED)
    found = rest.partition("\n## ")[0].strip()
    if not heading or not found:
        raise CannotRelease(f"{CHANGELOG} has nothing under {UNRELEASED.strip()!r}")
    return found


def with_heading(changelog: str, version: str, day: str) -> str:
    """The changelog in which what was unreleased is of this version."""
    if f"\n## {version} " in changelog:
        raise CannotRelease(f"{CHANGELOG} has {version} already")
    unreleased(changelog)
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n## {version} - {day}\n", 1)


def breaking(changes: str) -> list[str]:
    """Each change that needs one of the user's, on one line."""
    entries = re.findall(r"^- (.*(?:\n  .*)*)", changes, re.MULTILINE)
    return [" ".join(entry.split()) for entry in entries if "**Breaking**" in entry]


def with_notes(page: str, version: str, changes: str, event_format: int) -> str:
    """The page on upgrades with a note of this version on top."""
    told = breaking(changes)
    lines = [f"### {version}", "", f"Events: format {event_format}."]
    lines += ["", *(f"- {one}" for one in told)] if told else ["Nothing needs a change of yours."]
    head, mark, tail = page.partition("## Notes\n")
    if not mark:
        raise CannotRelease(f"{NOTES} has no heading 'Notes'")
    return f"{head}{mark}\n" + "\n".join(lines) + "\n" + tail


# -- doing it ----------------------------------------------------------------------------------------------------------


def release(version: str, dry_run: bool) -> None:
    """Raises CannotRelease."""
    if _git("status", "--porcelain") and not dry_run:
        raise CannotRelease("commit first: what is released is what is committed")
    if _git("tag", "--list", f"v{version}"):
        raise CannotRelease(f"there is a tag v{version}")
    with _copy() as folder:
        _write(folder, version)
        print(_git("diff", "--stat", folder=folder))
        print(_git("diff", "--unified=0", "--", NOTES, folder=folder))
        wheel = _build(folder)
        _try(wheel, version)
        print(f"{wheel.relative_to(ROOT)} ({wheel.stat().st_size:,} bytes) is installed, says its version and serves")
        print(name_on_pypi(_name(folder)))
        if dry_run:
            print(f"Nothing was changed. Without --dry-run these changes are committed, and tagged v{version}.")
            return
        patch = _git("diff", folder=folder)
    subprocess.run(["git", "-C", str(ROOT), "apply", "--index"], input=patch + "\n", text=True, check=True)
    _git("commit", "--quiet", "--message", f"Release {version}")
    _git("tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    print(f"Committed and tagged v{version}. `git push --follow-tags` and `twine upload` are yours to type.")


def _git(*arguments: str, folder: Path = ROOT) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise CannotRelease(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def _copy() -> Iterator[Path]:
    """What is committed, in a work tree of its own."""
    with tempfile.TemporaryDirectory(prefix="release-") as parent:
        folder = Path(parent) / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(folder))
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _write(folder: Path, version: str) -> None:
    changes = unreleased((folder / CHANGELOG).read_text())
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    for name, text in (
        (INIT, with_version((folder / INIT).read_text(), version)),
        (CHANGELOG, with_heading((folder / CHANGELOG).read_text(), version, day)),
        (NOTES, with_notes((folder / NOTES).read_text(), version, changes, EVENT_FORMAT)),
    ):
        (folder / name).write_text(text)


def _build(folder: Path) -> Path:
    """The wheel, in `dist`."""
    dist = ROOT / "dist"
    before = set(dist.glob("*.whl"))
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), str(folder)])
    made = set(dist.glob("*.whl")) - before or {max(dist.glob("*.whl"), key=lambda path: path.stat().st_mtime)}
    return made.pop()


def _try(wheel: Path, version: str) -> None:
    """Install it where nothing else is, and serve."""
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        folder = Path(name)
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
        programs = folder / "venv" / "bin"
        _run([str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check", f"{wheel}[server]"])
        said = _run([str(programs / "registry"), "--version"]).strip()
        if said != version:
            raise CannotRelease(f"the installed wheel says that it is {said}")
        log = folder / "log"
        with log.open("wb") as out:
            command = [str(programs / "registry"), "serve", "--port", "0", "--data-dir", str(folder / "data")]
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
        try:
            _await_readiness(process, log)
        finally:
            process.terminate()
            process.wait(30)


def _await_readiness(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        place = re.search(r"listens on http://127\.0\.0\.1:(\d+)", log.read_text())
        if place:
            with Connection("127.0.0.1", int(place[1])) as connection, contextlib.suppress(OSError):
                if connection.request("GET", "/v4/default/registry/health/readiness").status == 200:
                    return
        time.sleep(0.1)
    raise CannotRelease(f"the installed wheel does not serve: {log.read_text()[-2000:]}")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        raise CannotRelease(f"{' '.join(command[:4])}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _name(folder: Path) -> str:
    return str(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"])


def name_on_pypi(name: str) -> str:
    """What PyPI says of the distribution's name, by `pip index versions`."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", name], capture_output=True, text=True, check=False
    )
    if "No matching distribution found" in done.stderr:
        return f"{name} is free on PyPI"
    if done.returncode:
        return f"whether {name} is free on PyPI is not known: {done.stderr.strip().splitlines()[-1][:200]}"
    return f"{name} is taken on PyPI: {done.stdout.splitlines()[0]}; upload only if it is yours"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/release", description="Make a release: see registry/docs/upgrade.md."
    )
    parser.add_argument("version", help="three numbers, as in 1.2.0")
    parser.add_argument("--dry-run", action="store_true", help="only build the wheel and say what would be changed")
    given = parser.parse_args(arguments)
    try:
        release(given.version, given.dry_run)
    except CannotRelease as exc:
        print(f"release: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
