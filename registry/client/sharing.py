"""Sharing: processes of one machine that serve the same endpoints are one instance, which the last of them unregisters.

Each holds a shared lock on one file, as long as it lives. Who leaves asks for the lock alone: it gets it when nobody
else is left. The kernel lets go of the lock of a process that dies, so nothing stays behind but an empty file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from registry.domain.model import Microservice

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is pre-forked either
    fcntl = None  # type: ignore[assignment]  # the module is looked for before it is used

logger = logging.getLogger(__name__)

#: Seconds that a process that comes waits for one that is just unregistering: longer than that may take.
JOIN_LIMIT_S: Final = 10.0
JOIN_PAUSE_S: Final = 0.02


def instance_id_of(tenant: str, service: Microservice, host_name: str, endpoints: Iterable[str]) -> str:
    """The id that all processes of a host with these endpoints share, today and after a restart: 32 hex digits.

    A process that crashed and comes back takes its instance over, rather than standing beside it until its lease ends.
    """
    key = (service.environment, service.app_id, service.service_name, service.version)
    parts = (tenant, *key, host_name, *sorted(set(endpoints)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class Share:
    """This process's part of an instance.

    Args:
        name: of the instance, the same in all processes.
        folder: where the lock files are; None: one below the system's folder for temporary files.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._name = hashlib.sha256(name.encode()).hexdigest()[:32]
        self._folder = folder
        self._file = -1

    async def join(self) -> None:
        """Hold a part. Where there can be no lock, each process is alone, and a line in the log says so."""
        if fcntl is None or self._file >= 0:
            return
        try:
            file = os.open(self._path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            logger.warning("processes that serve the same endpoints cannot be told apart: %s", exc)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + JOIN_LIMIT_S
        while not _locked(file, fcntl.LOCK_SH) and loop.time() < deadline:  # noqa: ASYNC110 - another process lets go
            await asyncio.sleep(JOIN_PAUSE_S)
        self._file = file

    def leave(self) -> bool:
        """Ask to be the last. True: nobody else is left, and nobody joins before `close`."""
        return self._file < 0 or _locked(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give the part up. In a forked child this gives up only what it has inherited: the parent holds its own."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _path(self) -> Path:
        return (self._folder or _folder()) / self._name


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise
        return False
    return True


def _folder() -> Path:
    """A folder of this user alone.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder = Path(tempfile.gettempdir()) / f"registry-client-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user")
    return folder
