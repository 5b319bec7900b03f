"""Dump files: written whole or not at all, read in lines; packed where the name ends in `.gz`."""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import IO, Final

from registry.domain.backup import LINE_MAX_BYTES, BadDump, Held, TenantLine, read
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.running.private_redis import CannotStart

STDOUT: Final = "-"


@contextlib.contextmanager
def writing(file: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The file, which its owner alone can read; it is there when all of it is. Raises CannotStart."""
    if file == STDOUT:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What is left in the buffer goes nowhere, without a complaint of Python's at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise CannotStart("standard output was closed before all was written") from None
        return
    path = Path(file)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with open(descriptor, "wb") as raw:
                if _is_packed(path):
                    with gzip.open(raw, "wb") as out:
                        yield out
                else:
                    yield raw
                raw.flush()
                os.fsync(raw.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as exc:
        raise CannotStart(f"{file} cannot be written: {exc.strerror}") from exc


def _is_packed(path: Path) -> bool:
    return path.suffix == ".gz"


@contextlib.contextmanager
def reading(file: str) -> Iterator[None]:
    """What is wrong with the file is told in one sentence. Raises CannotStart."""
    try:
        yield
    except (BadDump, EOFError, zlib.error) as exc:
        raise CannotStart(f"{file} is no whole dump: {exc}") from exc
    except OSError as exc:
        raise CannotStart(f"{file} cannot be read: {exc.strerror or exc}") from exc


def lines_of(path: Path) -> Iterator[TenantLine | Held]:
    with gzip.open(path, "rb") if _is_packed(path) else path.open("rb") as file:
        yield from read(iter(lambda: file.readline(LINE_MAX_BYTES + 1), b""))


def by_tenant(lines: Iterable[TenantLine | Held]) -> Iterator[tuple[Tenant, Iterator[Held]]]:
    tenant = DEFAULT_TENANT

    def of(line: TenantLine | Held) -> Tenant:
        nonlocal tenant
        if isinstance(line, TenantLine):
            tenant = line.tenant
        return tenant

    for key, some in groupby(lines, of):
        yield key, (line for line in some if not isinstance(line, TenantLine))
